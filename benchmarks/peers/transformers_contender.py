"""Hugging Face transformers: Seq2SeqTrainer and `generate` with a MarianMT model from a config.

Variants: "bf16" (autocast) and "fp32". Sentences of similar length are grouped; there are no token batches, so a batch
has as many sentences as the token budget holds on average.
"""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from contender import (
    BETAS,
    BOS_ID,
    CLIP,
    DROPOUT,
    EOS_ID,
    FEEDFORWARD,
    HEADS,
    LABEL_SMOOTHING,
    LAYERS,
    PAD_ID,
    PEAK_RATE,
    UNK_ID,
    VOCABULARY,
    WARMUP,
    WIDTH,
    Clock,
    Options,
    length_limit,
    read_ids,
    run,
)
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    AutoModelForSeq2SeqLM,
    DataCollatorForSeq2Seq,
    MarianConfig,
    PreTrainedTokenizerFast,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    set_seed,
)

Example = dict[str, Any]
ATTENTION = "eager"  # with the default, "sdpa", the backward pass in bf16 is slow on CPUs
DECODE_ROWS = 64  # sentences translated together; 32 and 125 are no faster


class Transformers:
    """MarianMT, with the layer norms after the sublayers that it has."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.training = Dataset.from_list(examples(options.data, "train"))
        self.splits = {name: examples(options.data, name) for name in ("val", "test")}
        set_seed(options.seed)
        self.model = AutoModelForSeq2SeqLM.from_config(model_config(), attn_implementation=ATTENTION)
        self.collate = DataCollatorForSeq2Seq(padder(), model=self.model)

    def parameters(self) -> int:
        return self.model.num_parameters(only_trainable=True)

    def train(self, clock: Clock) -> None:
        trainer = ClockedTrainer(
            model=self.model,
            args=self._arguments(),
            train_dataset=self.training,
            data_collator=self.collate,
        )
        trainer.clock = clock
        trainer.train()

    def validation(self) -> Iterator[tuple[float, int]]:
        self.model.eval()
        with torch.no_grad():
            for start in range(0, len(self.splits["val"]), DECODE_ROWS):
                batch = self.collate([without_length(row) for row in self.splits["val"][start : start + DECODE_ROWS]])
                tokens = int((batch["labels"] != -100).sum())
                yield self.model(**batch).loss.item() * tokens, tokens

    def translate(self, split: str, beam: int, length: int | None = None) -> list[list[int]]:
        self.model.eval()
        found = []
        sources = [{"input_ids": example["input_ids"]} for example in self.splits[split]]
        mixed = self.options.variant == "bf16" and self.model.dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            for start in range(0, len(sources), DECODE_ROWS):
                batch = self.collate(sources[start : start + DECODE_ROWS])
                limit = length or length_limit(batch["input_ids"].shape[1])
                least = {} if length is None else {"min_new_tokens": length}
                rows = self.model.generate(
                    **batch, num_beams=beam, max_new_tokens=limit, early_stopping=beam > 1, **least
                )
                found += [[word for word in row if word > UNK_ID] for row in rows.tolist()]
        return found

    def save(self, path: Path) -> None:
        torch.save(self.model.state_dict(), path)

    def load(self, path: Path) -> None:
        self.model.load_state_dict(torch.load(path))
        if self.options.variant == "bf16":
            self.model.to(torch.bfloat16)  # faster than autocast where nothing is trained

    def _arguments(self) -> Seq2SeqTrainingArguments:
        target_length = statistics.mean(map(len, self.training["labels"]))
        return Seq2SeqTrainingArguments(
            output_dir=str(self.options.work),
            use_cpu=True,
            bf16=self.options.variant == "bf16",
            per_device_train_batch_size=round(self.options.batch_tokens / target_length),
            train_sampling_strategy="group_by_length",
            learning_rate=PEAK_RATE,
            lr_scheduler_type="inverse_sqrt",
            warmup_steps=WARMUP,
            adam_beta1=BETAS[0],
            adam_beta2=BETAS[1],
            max_grad_norm=CLIP,
            label_smoothing_factor=LABEL_SMOOTHING,
            num_train_epochs=1000,
            seed=self.options.seed,
            dataloader_pin_memory=False,
            logging_strategy="no",
            save_strategy="no",
            eval_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )


class ClockedTrainer(Seq2SeqTrainer):
    """Tells the clock when an update begins."""

    clock: Clock

    def training_step(self, model: torch.nn.Module, inputs: Example, *args: Any, **kwargs: Any) -> torch.Tensor:
        targets = int((inputs["labels"] != -100).sum())
        slots = inputs["input_ids"].numel() + inputs["labels"].numel()
        self.clock.begin(targets, targets + int(inputs["attention_mask"].sum()), slots)
        return super().training_step(model, inputs, *args, **kwargs)


def model_config() -> MarianConfig:
    return MarianConfig(
        vocab_size=VOCABULARY,
        d_model=WIDTH,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=FEEDFORWARD,
        decoder_ffn_dim=FEEDFORWARD,
        activation_function="relu",
        dropout=DROPOUT,
        scale_embedding=True,
        max_position_embeddings=512,
        pad_token_id=PAD_ID,
        bos_token_id=BOS_ID,
        eos_token_id=EOS_ID,
        forced_eos_token_id=None,
        decoder_start_token_id=BOS_ID,
    )


def examples(data: Path, split: str) -> list[Example]:
    """Ids with end marks; `length` is what sentences are grouped by."""
    sides = zip(read_ids(data / f"{split}.en"), read_ids(data / f"{split}.de"), strict=True)
    return [
        {"input_ids": [*source, EOS_ID], "labels": [*target, EOS_ID], "length": 1 + max(len(source), len(target))}
        for source, target in sides
    ]


def without_length(example: Example) -> Example:
    return {name: ids for name, ids in example.items() if name != "length"}


def padder() -> PreTrainedTokenizerFast:
    """A tokenizer that is only asked to pad ids."""
    words = {"<pad>": PAD_ID, "<bos>": BOS_ID, "<eos>": EOS_ID, "<unk>": UNK_ID}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(words, "<unk>")), pad_token="<pad>")


if __name__ == "__main__":
    run(Transformers)
