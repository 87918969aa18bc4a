"""Eole 0.5.3: its Trainer with token batches from length buckets, and its Translator.

Variants: "bf16", where weights are bf16 too and its optimizer keeps what rounding loses (Kahan summation), as in Eole's
own recipes for translation; "amp", fp32 weights and autocast; "fp32".
"""

import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
import torch.nn.functional as F
from contender import (
    BETAS,
    CLIP,
    DROPOUT,
    FEEDFORWARD,
    HEADS,
    LABEL_SMOOTHING,
    LAYERS,
    LENGTH_RATIO,
    PEAK_RATE,
    VOCABULARY,
    WARMUP,
    WIDTH,
    Clock,
    Options,
    run,
)

# Eole imports torchaudio for its speech models; text needs none of it, and there is no build for this torch.
sys.modules.update({"torchaudio": MagicMock(), "torchaudio.transforms": MagicMock()})

from eole.config.run import PredictConfig, TrainConfig  # noqa: E402
from eole.constants import CorpusTask  # noqa: E402
from eole.inputters.dynamic_iterator import build_dynamic_dataset_iter  # noqa: E402
from eole.models.model import get_model_class  # noqa: E402
from eole.predict import GNMTGlobalScorer, Translator  # noqa: E402
from eole.train_single import TrainingInitializer, configure_process  # noqa: E402
from eole.trainer import build_trainer  # noqa: E402
from eole.utils.optimizers import Optimizer  # noqa: E402

CPU = -1
DECODE_TOKENS = 4096  # of the sources translated together; with 256 and 1024 it is slower


class Eole:
    """The Transformer of an Eole config, with layer norms before the sublayers."""

    def __init__(self, options: Options) -> None:
        self.options = options
        config = TrainConfig(**settings(options))
        configure_process(config, CPU)
        self.context = TrainingInitializer(config).initialize()
        config, vocabularies = self.context.config, self.context.vocabs
        self.model = get_model_class(config.model).for_training(
            config.model, vocabularies, config.training, metadata=None, device_id=CPU
        )
        self.pad_id = vocabularies["tgt"][vocabularies["specials"]["pad_token"]]

    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)

    def train(self, clock: Clock) -> None:
        config, vocabularies = self.context.config, self.context.vocabs
        optimizer = Optimizer.from_config(self.model, config, metadata=None)
        trainer = build_trainer(config, CPU, self.model, vocabularies, optimizer)
        trainer.train(self._clocked(self._batches(CorpusTask.TRAIN), clock), config.training.train_steps)

    def _clocked(self, batches: Any, clock: Clock) -> Iterator[Any]:
        """Tells the clock when an update begins: the loop takes a batch as soon as it has made the update before."""
        for batch, bucket in batches:
            source, target = batch["src"], batch["tgt"][:, 1:]
            target_tokens = int((target != self.pad_id).sum())
            clock.begin(target_tokens, target_tokens + int(batch["srclen"].sum()), source.numel() + target.numel())
            self.model.train()
            yield batch, bucket

    def validation(self) -> Iterator[tuple[float, int]]:
        model = deepcopy(self.model).float().eval()
        with torch.no_grad():
            for batch, _ in self._batches(CorpusTask.VALID):
                targets = batch["tgt"][:, 1:].flatten()
                hidden = model(batch["src"], batch["tgt"], batch["srclen"])[0]
                logits = model.generator(hidden.flatten(0, 1))
                loss = F.cross_entropy(logits, targets, ignore_index=self.pad_id, reduction="sum")
                yield loss.item(), int((targets != self.pad_id).sum())

    def translate(self, split: str, beam: int, length: int | None = None) -> list[list[int]]:
        self.model.eval()
        config, vocabularies = self.context.config, self.context.vocabs
        source = self.options.data / f"{split}.en"
        search = PredictConfig(
            model_path=[str(self.options.work)],
            src=str(source),
            model=config.model,
            compute_dtype=config.training.compute_dtype,
            share_vocab=True,
            batch_size=DECODE_TOKENS,
            batch_type="tokens",
            beam_size=beam,
            length_penalty="wu",
            alpha=1.0,
            **({"max_length_ratio": LENGTH_RATIO} if length is None else {"min_length": length, "max_length": length}),
        )
        scorer = GNMTGlobalScorer.from_config(search)
        translator = Translator(
            self.model, vocabularies, search, config.model, device_id=CPU, global_scorer=scorer, report_score=False
        )
        batches = build_dynamic_dataset_iter(search, {}, vocabularies, task=CorpusTask.INFER, device_id=CPU)
        with torch.no_grad():
            found = translator._predict(batches, transform={}, attn_debug=False, align_debug=False)[2]
        self.model.decoder._disable_cache()
        return [[int(word) for word in best[0].split() if word.isdigit()] for best in found]

    def save(self, path: Path) -> None:
        torch.save(self.model.state_dict(), path)

    def load(self, path: Path) -> None:
        self.model.load_state_dict(torch.load(path))
        if self.options.variant != "fp32":
            self.model.to(torch.bfloat16)  # what `eole predict` does with compute_dtype bf16

    def _batches(self, task: str) -> Any:
        context = self.context
        return build_dynamic_dataset_iter(context.config, context.transforms, context.vocabs, task=task, device_id=CPU)


def settings(options: Options) -> dict[str, Any]:
    """What a user would write in YAML."""
    both = {"layers": LAYERS, "hidden_size": WIDTH, "heads": HEADS, "transformer_ff": FEEDFORWARD}
    stack = {**both, "add_qkvbias": True, "add_ffnbias": True}
    files = {
        name: {"path_src": str(options.data / f"{split}.en"), "path_tgt": str(options.data / f"{split}.de")}
        for name, split in (("corpus", "train"), ("valid", "val"))
    }
    return {
        "seed": options.seed,
        "data": files,
        "src_vocab": str(options.data / "pieces.txt"),
        "share_vocab": True,
        "src_vocab_size": VOCABULARY,
        "tgt_vocab_size": VOCABULARY,
        "model": {
            "architecture": "transformer",
            **both,
            "embeddings": {"word_vec_size": WIDTH, "position_encoding_type": "SinusoidalInterleaved"},
            "share_embeddings": True,
            "share_decoder_embeddings": True,
            "generator_bias": False,
            "encoder": {"encoder_type": "transformer", **stack},
            "decoder": {"decoder_type": "transformer", **stack},
        },
        "training": {
            "model_path": str(options.work / "eole"),
            "compute_dtype": "fp32" if options.variant == "fp32" else "bf16",
            "use_amp": options.variant == "amp",
            "batch_type": "tokens",
            "batch_size": options.batch_tokens,
            "valid_batch_size": options.batch_tokens,
            "bucket_size": 29_000,  # all pairs: the default waits until it has read them nine times
            "num_workers": 0,
            "normalization": "tokens",
            "train_steps": 1_000_000,
            "dropout": [DROPOUT],
            "attention_dropout": [0.0],
            "label_smoothing": LABEL_SMOOTHING,
            "optim": "adam",
            "adam_beta1": BETAS[0],
            "adam_beta2": BETAS[1],
            "max_grad_norm": CLIP,
            "param_init_method": "xavier_uniform",
            "decay_method": "noam",
            "warmup_steps": WARMUP,
            "learning_rate": PEAK_RATE * (WIDTH * WARMUP) ** 0.5,  # "noam" divides by this root at its peak
            "log_attention_entropy": False,
        },
    }


if __name__ == "__main__":
    run(Eole)
