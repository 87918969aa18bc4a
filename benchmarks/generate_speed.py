"""How many sentences does our beam search write through the adapter, next to `generate` of transformers?

    python benchmarks/generate_speed.py [--checkpoint FOLDER] [--sentences 32] [--rows 16] [--tokens 24] [--beam 5]
                                        [--out FILE]

The same weights, the same sentences in the same batches, in seconds of processor time, which other processes on the
machine disturb less than the clock. Without a checkpoint the model is a BART with random weights. Sentences are random
ids, so outputs say nothing; their length and their log-probability are compared. Both searches compare plain
log-probabilities (length penalty 0), as their penalties for other settings differ. `generate` prefers a cut
output to an ended one where it is more probable, and ours does not, so log p is summed over sentences that both end.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqlab.decode.search import search
from seqlab.decode.settings import DecodeConfig
from seqlab.engine.machine import describe, prepare_cpu
from seqlab.models.hf.encoder import set_attention
from seqlab.models.hf.encoder_decoder import PretrainedEncoderDecoder, PretrainedEncoderDecoderConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=32)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    prepare_cpu()
    torch.manual_seed(1)
    network = build_network(options)
    config = network.config
    prompt = (config.decoder_start_token_id,) if config.model_type == "bart" else ()
    first = config.bos_token_id if prompt else config.decoder_start_token_id
    model = PretrainedEncoderDecoder(PretrainedEncoderDecoderConfig(checkpoint=""), network, prompt).eval()

    def ours(ids: Tensor, mask: Tensor) -> list[list[int]]:
        decode = DecodeConfig(method="beam", beam_width=options.beam, length_penalty=0.0, max_length=options.tokens)
        found = search(model, ids, mask, decode, bos_id=first, eos_id=config.eos_token_id)
        return [best.ids + [config.eos_token_id] * best.finished for best, *_ in found]

    @torch.inference_mode()
    def theirs(ids: Tensor, mask: Tensor) -> list[list[int]]:
        rows = network.generate(
            input_ids=ids,
            attention_mask=mask.long(),
            max_new_tokens=options.tokens + 1 + len(prompt),
            num_beams=options.beam,
            do_sample=False,
            length_penalty=0.0,
            early_stopping="never",
            forced_bos_token_id=first if prompt else None,
            forced_eos_token_id=None,
        )[:, 1 + len(prompt) :].tolist()
        end = config.eos_token_id
        return [row[: row.index(end) + 1] if end in row else row[: options.tokens] for row in rows]

    batches = list(sentences(options.sentences, options.rows, config))
    measured = {"ours": measure(ours, batches)}
    set_attention(network, "sdpa")
    measured["generate"] = reference = measure(theirs, batches)
    set_attention(network, "seqlab")
    written = {name: [ids for part in outputs for ids in part] for name, (_, outputs) in measured.items()}
    ended = {name: [ids[-1] == config.eos_token_id for ids in found] for name, found in written.items()}
    both_ended = [all(both) for both in zip(*ended.values(), strict=True)]
    results = {}
    for name, (seconds, _) in measured.items():
        alone = ((ids[row : row + 1], mask[row : row + 1]) for ids, mask in batches for row in range(len(ids)))
        log_p = sum(
            log_prob(model, *source, first, found)
            for source, found, both_end in zip(alone, written[name], both_ended, strict=True)
            if both_end
        )
        results[name] = result = {
            "sentences_per_s": options.sentences / seconds,
            "times": reference[0] / seconds,
            "tokens": sum(map(len, written[name])),
            "ended": sum(ended[name]),
            "log_p": log_p,
        }
        print(f"{name}:", ", ".join(f"{key} {value:.4g}" for key, value in result.items()), flush=True)
    if options.out:
        report = {"machine": describe(torch.device("cpu")), "results": results}
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def build_network(options: argparse.Namespace) -> Any:
    """The checkpoint, or a BART with random weights that differ enough for outputs to depend on their source."""
    import transformers

    if options.checkpoint:
        return transformers.AutoModelForSeq2SeqLM.from_pretrained(options.checkpoint, local_files_only=True).eval()
    shape = {"layers": options.layers, "attention_heads": 8, "ffn_dim": 4 * options.width}
    sizes = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in shape.items()}
    config = transformers.BartConfig(vocab_size=8000, d_model=options.width, init_std=0.4, **sizes)
    network = transformers.BartForConditionalGeneration(config).eval()
    network.final_logits_bias[0, config.eos_token_id] = 15.0  # else hardly anything ends
    return network


def sentences(number: int, rows: int, config: Any) -> Any:
    """Batches of random ids (B, S) with their masks, from short to long."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(8, 33, (number,), generator=generator).sort().values
    for part in lengths.split(rows):
        mask = torch.arange(int(part.max())) < part[:, None]
        ids = torch.randint(4, config.vocab_size, mask.shape, generator=generator)
        yield ids.where(mask, config.pad_token_id), mask


def measure(write: Callable[[Tensor, Tensor], list[list[int]]], batches: list[Any]) -> tuple[float, list[Any]]:
    """Seconds of processor time for all batches, after a first one that does not count; and what was written."""
    write(*(part[:2] for part in batches[0]))
    start = time.process_time()
    outputs = [write(*batch) for batch in batches]
    return time.process_time() - start, outputs


@torch.inference_mode()
def log_prob(model: PretrainedEncoderDecoder, ids: Tensor, mask: Tensor, first: int, written: list[int]) -> float:
    """Of one source (1, S) to become these tokens."""
    target = torch.tensor([[first, *written[:-1]]])
    logits = model(ids, mask, target, torch.arange(target.numel()))
    return logits.log_softmax(-1).gather(1, torch.tensor(written)[:, None]).sum().item()


if __name__ == "__main__":
    main()
