"""The result table of the README, made from the JSON files in benchmarks/results.

python benchmarks/table.py            # prints it
python benchmarks/table.py --write    # puts it between the markers of README.md
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- results: python benchmarks/table.py --write -->", "<!-- end of results -->"

RECIPES = {
    "math-place-value": ("place value, exact match", ">= 99 % in 2 min"),
    "math-sort": ("sorting, exact match", ">= 90 % in 60 min"),
    "math-linear-1d": ("linear equations, answer at once", "the best of 60 min"),
    "math-linear-1d-working": ("linear equations, working shown first", "the best of 60 min"),
    "translate-numbers": ("numbers and dates spelled out, English to French, exact match", ">= 99 % in 2 min"),
    "multi30k-en-de": ("captions, English to German, BLEU", ">= 39 in 30 min on 2 cores"),
    "multi30k-en-fr": ("captions, English to French, BLEU", ">= 58 in 30 min on 2 cores"),
}


def main() -> None:
    table = render()
    if "--write" not in sys.argv:
        print(table)
        return
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    readme.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def render() -> str:
    """The table in Markdown."""
    lines = ["| what | goal | median (lowest to highest) | runs | training time | where |", "|---|---|---|---|---|---|"]
    lines += [recipe_row(name, *words) for name, words in RECIPES.items() if (RESULTS / f"{name}.json").exists()]
    paddings = [run["padding_share"] for name in RECIPES for run in read(name).get("runs", [])]
    if paddings:
        lines.append(
            f"| padding share of the runs above | <= 8 % | at most {max(paddings):.1%} | {len(paddings)} | | |"
        )
    return "\n".join([*lines, *step_rows()])


def recipe_row(name: str, what: str, goal: str) -> str:
    """One recipe over its seeds."""
    result = read(name)
    value, seconds, machine = result["value"], result["train_s"], result["machine"]
    digits = ".1f" if result["score"] == "bleu" else ".1%"  # BLEU is out of 100
    spread = f" ({value['min']:{digits}} to {value['max']:{digits}})" if len(result["runs"]) > 1 else ""
    task = f"[`{name}`](src/seqlab/recipes/{name}.toml): {what}, {result['runs'][0]['examples']:,} test examples"
    threads = f"{machine['threads']} {'thread' if machine['threads'] == 1 else 'threads'}"
    score = f"{value['median']:{digits}}{spread}"
    return f"| {task} | {goal} | {score} | {len(result['runs'])} | {minutes(seconds['median'])} | {threads} |"


def step_rows() -> list[str]:
    """The share of the matrix rate, in both number formats."""
    step = read("step")
    if not step:
        return []
    threads = f"{step['machine']['threads']} threads"
    rows = [
        f"| {mode} training step: share of the {step[mode]['ceiling_gflops']:,} GFLOP/s of a matrix product | {goal} | "
        f"{percent(step[mode]['share_of_ceiling'])} | | | {threads} |"
        for mode, goal in (("fp32", ">= 65 %"), ("bf16", ">= 50 %"))
    ]
    gain = step["bf16_gain"]
    speed = f"{gain['median']:.1f} times ({gain['min']:.1f} to {gain['max']:.1f})"
    return [*rows, f"| speed of a bf16 step against fp32 | >= 1.6 times | {speed} | | | {threads} |"]


def read(name: str) -> dict[str, Any]:
    """A result file, or nothing if it has not been made."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def percent(spread: dict[str, float]) -> str:
    return f"{spread['median']:.0%} ({spread['min']:.0%} to {spread['max']:.0%})"


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 100 else f"{seconds:.0f} s"


if __name__ == "__main__":
    main()
