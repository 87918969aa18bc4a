"""How fast is each unit of text, and how many ids does a word become? In CPU time of one thread.

python benchmarks/vocabularies.py train.en train.de --held-out val.en val.de [--out FILE]
"""

import argparse
import gzip
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from generator import machine
from seqlab.text.vocabularies import TextConfig, build_vocabularies
from timing import rounds_within

REPEATS = 5
SETTINGS: dict[str, TextConfig] = {
    "character": TextConfig(shared=True),
    "byte": TextConfig(unit="byte", shared=True),
    "word": TextConfig(unit="word", shared=True),
    "bpe": TextConfig(unit="bpe", shared=True),
    "bpe, dropout 0.1": TextConfig(unit="bpe", shared=True, dropout=0.1),
    "unigram": TextConfig(unit="unigram", shared=True),
}


def lines(path: Path) -> list[str]:
    """The lines of a text file, also of one that ends in .gz."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        return file.read().splitlines()


def seconds(work: Callable[[], Any], repeats: int) -> dict[str, float]:
    """CPU seconds of the work: median, least and most."""
    taken = []
    for _ in rounds_within(repeats, limit_s=300):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return {"median": statistics.median(taken), "min": min(taken), "max": max(taken)}


def measure(config: TextConfig, source: list[str], target: list[str], held_out: list[str]) -> dict[str, Any]:
    """Times and lengths of one unit."""
    texts = source + target
    tokenizer = build_vocabularies(config, source, target).source
    ids = tokenizer.encode_varied(texts, seed=0)
    held_out_ids = tokenizer.encode_batch(held_out)
    return {
        "vocab_size": tokenizer.vocab_size,
        "make_s": seconds(lambda: build_vocabularies(config, source, target), REPEATS),
        "encode_s": seconds(lambda: tokenizer.encode_varied(texts, seed=0), REPEATS),
        "decode_s": seconds(lambda: [tokenizer.decode(line) for line in ids], REPEATS),
        "ids_per_word": sum(map(len, ids)) / sum(len(text.split()) for text in texts),
        "held_out_ids_per_word": sum(map(len, held_out_ids)) / sum(len(text.split()) for text in held_out),
        "held_out_unknown": tokenizer.unknown(held_out).total() / sum(map(len, held_out_ids)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--held-out", type=Path, nargs=2, required=True)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # CPU time of threads that wait for each other says nothing

    source, target = lines(arguments.source), lines(arguments.target)
    held_out = [line for path in arguments.held_out for line in lines(path)]
    results = {}
    print("| unit | ids | make, s | encode, s | decode, s | ids a word | held out | unknown there |")
    print("|---|---|---|---|---|---|---|---|")
    for name, config in SETTINGS.items():
        result = results[name] = measure(config, source, target, held_out)
        times = " | ".join(
            f"{taken['median']:.2f} ({taken['min']:.2f} to {taken['max']:.2f})"
            for taken in (result["make_s"], result["encode_s"], result["decode_s"])
        )
        print(
            f"| {name} | {result['vocab_size']:,} | {times} | {result['ids_per_word']:.2f} | "
            f"{result['held_out_ids_per_word']:.2f} | {result['held_out_unknown']:.2%} |",
            flush=True,
        )
    if arguments.out:
        report = {"lines": len(source) + len(target), "repeats": REPEATS, "machine": machine(), "results": results}
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
