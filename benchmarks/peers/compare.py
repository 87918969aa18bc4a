"""How fast does seqlab train and translate, next to what a user would pick instead?

    python benchmarks/peers/compare.py --corpus DIR [--minutes 25] [--out benchmarks/results/peers.json]

Contenders take turns, round after round, so that whatever else the machine does hits all alike. Every result is kept
in its own file: what is there is not measured again, and a run that was cut off goes on. See README.md.
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sacrebleu
from contender import read_ids
from corpus import prepare, texts_of
from environments import INSTALLS, python_of
from summary import Job, summary, table

HERE = Path(__file__).parent
CONTENDERS = {
    "seqlab": ("seqlab", "auto"),
    "joeynmt": ("joeynmt", ""),
    "transformers-bf16": ("transformers", "bf16"),
    "transformers-fp32": ("transformers", "fp32"),
    "eole-bf16": ("eole", "bf16"),
    "eole-amp": ("eole", "amp"),
    "eole-fp32": ("eole", "fp32"),
}
"""Name: toolkit and variant."""


def main() -> None:
    options = read_options()
    folder, start = options.folder.absolute(), time.monotonic()
    data = folder / "data"
    if not (data / "vocabularies").exists():
        prepare(options.corpus, data)
    pythons = {CONTENDERS[name][0]: None for name in options.contenders}
    pythons = {toolkit: python_of(toolkit, folder / "environments") for toolkit in pythons}
    for job in jobs(options):
        if path_of(job, folder).exists():
            continue
        if options.minutes is not None and time.monotonic() - start > 60 * options.minutes:
            print("the time is up: run this again to go on")
            break
        measure(job, pythons[CONTENDERS[job.contender][0]], folder, options)
    results = {
        job: json.loads(path_of(job, folder).read_text()) for job in jobs(options) if path_of(job, folder).exists()
    }
    report = summary(results, {"command_options": vars(options), "installs": INSTALLS})
    print(table(report))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1, default=str) + "\n")


def jobs(options: argparse.Namespace) -> Iterator[Job]:
    """Everything in order: rounds of speed, then training, then decoding with the trained models."""
    for name in options.measures:
        rounds = options.learn_rounds if name == "learn" else options.rounds
        for number in range(1, rounds + 1):
            for contender in options.contenders:
                yield Job(name, contender, number)


def path_of(job: Job, folder: Path) -> Path:
    """Where the result of a measurement is kept."""
    return folder / "results" / f"{job.measure}-{job.contender}-{job.round}.json"


def measure(job: Job, python: Path, folder: Path, options: argparse.Namespace) -> None:
    """Runs one measurement in a process of its own and keeps its result; a failure is told and left out."""
    toolkit, variant = CONTENDERS[job.contender]
    work = folder / "work" / job.contender
    work.mkdir(parents=True, exist_ok=True)
    command = [str(python), str(HERE / f"{toolkit}_contender.py"), job.measure, "--data", str(folder / "data")]
    command += ["--work", str(work), "--variant", variant, "--seed", str(job.round)]
    command += ["--updates", str(options.updates), "--minutes", str(options.learn_minutes)]
    command += ["--cpu-time"] if options.cpu_time else []
    log = work / f"{job.measure}-{job.round}.log"
    began = time.monotonic()
    with log.open("w") as errors:
        quiet = {"PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1"}
        told = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, **quiet})
    took = time.monotonic() - began
    if told.returncode != 0:
        print(f"{job.measure} {job.contender}: failed, see {log}", flush=True)
        return
    result = scored(json.loads(told.stdout.splitlines()[-1]), job.measure, folder / "data")
    path = path_of(job, folder)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{job.measure} {job.contender} round {job.round}: {took:.0f} s, {headline(result)}", flush=True)


def scored(result: dict[str, Any], measure: str, data: Path) -> dict[str, Any]:
    """The result with the BLEU of its translations, the same way for all."""
    for point in [*result.get("curve", []), *([result] if measure == "decode" else [])]:
        split = "test" if measure == "decode" else "val"
        references = (data / f"{split}.text.de").read_text(encoding="utf-8").split("\n")[:-1]
        translations = texts_of(data, read_ids(Path(point.pop("translations"))))
        point["bleu"] = sacrebleu.corpus_bleu(translations, [references]).score
    return result


def headline(result: dict[str, Any]) -> str:
    """The numbers worth watching."""
    found = {**result, **result.get("curve", [{}])[-1]}
    names = ("tokens_per_s", "sentences_per_s", "loss", "bleu", "tokens_per_sentence", "peak_memory_mb")
    return ", ".join(f"{name} {found[name]:,.4g}" for name in names if name in found)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus = Path(os.environ.get("SEQLAB_DATA", ".")) / "multi30k"
    parser.add_argument("--corpus", type=Path, default=corpus, help="folder of Multi30k, default $SEQLAB_DATA/multi30k")
    parser.add_argument("--folder", type=Path, default=Path("runs/peers"), help="environments, data and results")
    parser.add_argument("--contenders", type=names_of(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--measures", type=names_of(("speed", "learn", "decode")), default=["speed", "learn", "decode"])
    parser.add_argument("--rounds", type=int, default=3, help="of speed and decode")
    parser.add_argument("--learn-rounds", type=int, default=1)
    parser.add_argument("--updates", type=int, default=27, help="that count in a measurement of speed")
    parser.add_argument("--learn-minutes", type=float, default=6.0, help="of training, for each contender")
    parser.add_argument(
        "--cpu-time", action="store_true", help="count seconds on the CPU; for one thread on a core that others use too"
    )
    parser.add_argument("--minutes", type=float, help="start nothing new after this time")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def names_of(known: Any) -> Any:
    """A reader of comma-separated names."""

    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(known)}")
        return names

    return read


if __name__ == "__main__":
    main()
