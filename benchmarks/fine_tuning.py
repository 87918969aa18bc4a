"""What does each option of fine-tuning buy on CoLA? Matthews correlation, and seconds of processor time.

    SEQLAB_DATA=... OMP_NUM_THREADS=1 python benchmarks/fine_tuning.py [--seeds 3] [--only plain,lora] [--out FILE]

Every run is `seqlab train cola`, a process of its own; its processor time is that of the whole process, from importing
libraries to the report, which other processes on the machine disturb less than the clock. One seed of all comes before
the next seed. Finished runs are kept below --folder: the same command resumes where it was cut off.
`--steps` trains less, to try the script; runs of another length want another --folder.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import torch

from seqlab.engine.machine import describe
from seqlab.experiment.config import load

CONFIGURATIONS: dict[str, list[str]] = {
    "plain": [],
    "layer-decay": ["model.layer_decay=0.8"],
    "frozen": ["model.freeze_layers=3"],
    "frozen-cached": ["model.freeze_layers=3", "model.cache_frozen=fp32"],
    "new-top": ["model.reinitialize_layers=1"],
    "lora": ["model.lora_rank=8", "optimizer.lr=1e-3"],  # factors that start at 0 want about ten times the rate
    "twice-as-long": [],
}
RECIPE, LONGER = "cola", "twice-as-long"


def main() -> None:
    options = read_options()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in options.only}
    for seed in range(1, options.seeds + 1):
        for name in options.only:
            found[name].append(measured(name, seed, options))
            print(f"seed {seed}, {name}: {json.dumps(found[name][-1])}", flush=True)
    report = {
        "machine": describe(torch.device("cpu")),
        "command_options": vars(options),
        "configurations": {name: {"settings": settings(name, options), "runs": runs} for name, runs in found.items()},
    }
    print(table(found, options))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1, default=str) + "\n", encoding="utf-8")


def settings(name: str, options: argparse.Namespace) -> list[str]:
    """What differs from the recipe."""
    steps = options.steps or load(RECIPE).train.max_steps
    length = [f"train.max_steps={2 * steps if name == LONGER else steps}"]
    return [*CONFIGURATIONS[name], *length, f"train.precision={options.precision}"]


def measured(name: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """The score and the seconds of a run, which is trained if it is not there."""
    folder = options.folder / f"{name}-seed{seed}"
    result = folder.with_suffix(".json")
    if not result.exists():
        options.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "seqlab", "train", RECIPE, *settings(name, options)]
        command += ["--seed", str(seed), "--out", str(folder), "--overwrite"]
        with folder.with_suffix(".log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{name}: the training failed, see {log.name}")
        found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        score = found["scores"]["matthews"]["value"]
        result.write_text(
            json.dumps({"matthews": score, "cpu_s": used.ru_utime + used.ru_stime, "train_s": found["train_s"]})
        )
    return json.loads(result.read_text())


def table(found: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> str:
    """Markdown."""
    lines = ["| | settings | Matthews correlation | runs | CPU seconds |", "|---|---|---|---|---|"]
    for name, runs in found.items():
        scores, seconds = ([run[key] for run in runs] for key in ("matthews", "cpu_s"))
        score = f"{statistics.mean(scores):.3f} ({min(scores):.3f} to {max(scores):.3f})"
        own = " ".join(settings(name, options)[:-1])
        lines.append(f"| {name} | `{own}` | {score} | {len(runs)} | {statistics.median(seconds):.0f} |")
    return "\n".join(lines)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(CONFIGURATIONS))
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16", help="the same for all")
    parser.add_argument("--steps", type=int, help="updates, instead of those of the recipe")
    parser.add_argument("--folder", type=Path, default=Path("runs/fine-tuning"))
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    if unknown := [name for name in options.only if name not in CONFIGURATIONS]:
        parser.error(f"{unknown[0]} is none of {', '.join(CONFIGURATIONS)}")
    return options


if __name__ == "__main__":
    main()
