"""What does a corpus cost that streams? `python benchmarks/streaming.py [--out FILE]`; it writes 3 GB of files.

500,000 and 5 million generated sentence pairs. Each line of the table is a process of its own:

    first      reads and cleans the file, learns vocabularies, encodes the first part, has the first batch
    second     the same again: what the first has left in the cache is found there
    all parts  encodes all the other parts too, as training does the first time it comes to each
    in memory  without streaming, for comparison

Seconds are CPU seconds of all threads, which other work on the machine disturbs less, and seconds that passed.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from generator import machine

SIZES = (500_000, 5_000_000)

WORDS = 50_000
"""Distinct words of a side; the n-th of them is n times as rare as the first, as Zipf's law has it."""

DRAWN = 2_000_000


def write_pairs(path: Path, count: int) -> None:
    """A table with sentences of 3 to 13 words."""
    random = Random(count)
    drawn = [_words(random, letters) for letters in ("abcdefgh", "ijklmnop")]
    with path.open("w", encoding="utf-8") as file:
        file.write("en\tfr\n")
        for _ in range(count):
            length = random.randint(3, 13)
            places = [random.randrange(DRAWN - length) for _ in drawn]
            texts = [" ".join(words[place : place + length]) for words, place in zip(drawn, places, strict=True)]
            file.write("\t".join(texts) + "\n")


def _words(random: Random, letters: str) -> list[str]:
    """One long text that sentences are cut from."""
    words = ["".join(random.choices(letters, k=random.randint(2, 10))) for _ in range(WORDS)]
    return random.choices(words, [1 / rank for rank in range(1, WORDS + 1)], k=DRAWN)


def start(table: Path, cache: Path | None, *, all_parts: bool) -> dict[str, float]:
    """What a run does before its first update; everything that it costs this process."""
    from seqlab.data.batching.stream import Stream
    from seqlab.experiment.assembly import assemble
    from seqlab.experiment.config import load

    settings: dict[str, object] = {"data.train": str(table), "data.source": "en", "data.target": "fr", "sizes": "given"}
    if cache is not None:
        settings |= {"data.streaming": True, "data.cache": str(cache)}
    experiment = load("translate", settings)
    task = assemble(experiment).task
    stream = Stream(task.training, experiment.batch, seed=1)
    stream.next_group()
    stream.close()
    if all_parts:
        pairs = len(task.corpus.splits()["training"])
        for epoch in range(-(-pairs // experiment.data.epoch_size)):
            task.training(epoch)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu_s": round(usage.ru_utime + usage.ru_stime, 1), "peak_mb": usage.ru_maxrss // 1024}


def measured(*arguments: str) -> dict[str, float]:
    """The outcome of `start` in a process of its own."""
    begin = time.perf_counter()
    command = [sys.executable, __file__, "--start", *arguments]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return {**json.loads(told.stdout), "passed_s": round(time.perf_counter() - begin, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of pairs")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--start", type=Path, nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--all-parts", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start:
        table, cache = [*options.start, None][:2]
        print(json.dumps(start(table, cache, all_parts=options.all_parts)))
        return
    results = []
    for size in options.sizes:
        with TemporaryDirectory() as folder:
            table, cache = Path(folder) / "pairs.tsv", Path(folder) / "cache"
            write_pairs(table, size)
            streamed = [str(table), str(cache)]
            starts = {"first": streamed, "second": streamed, "all parts": [*streamed, "--all-parts"]}
            if size == min(options.sizes):
                starts["in memory"] = [str(table)]
            for name, arguments in starts.items():
                row = {"pairs": size, "file_mb": table.stat().st_size >> 20, "start": name, **measured(*arguments)}
                print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
                results.append(row)
    if options.out:
        report = {"command": "python benchmarks/streaming.py", "machine": machine(), "results": results}
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
