"""The result tables of README.md and docs/results.md, made from the files in benchmarks/results.

python benchmarks/table.py            # prints them
python benchmarks/table.py --write    # puts them between the markers of the pages
"""

import csv
import json
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- {name}: python benchmarks/table.py --write -->", "<!-- end of {name} -->"

RECIPES = {
    "math-place-value": ("place value, exact match", ">= 99 % in 1 min on 1 core with AVX2"),
    "math-sort": ("sorting, exact match", ">= 90 % in 60 min"),
    "math-linear-1d": ("linear equations, answer at once", "the best of 60 min"),
    "math-linear-1d-working": ("linear equations, working shown first", "the best of 60 min"),
    "translate-numbers": ("numbers and dates spelled out, English to French, exact match", ">= 99 % in 2 min"),
    "multi30k-en-de": ("captions, English to German, BLEU", ">= 39 in 30 min on 2 cores"),
    "multi30k-en-fr": ("captions, English to French, BLEU", ">= 58 in 30 min on 2 cores"),
    "luong-multi30k-de-en": ("captions, German to English, LSTM with attention, BLEU", ">= 33 in 30 min on 2 cores"),
    "luong-newstest-de-en": ("news, German to English, LSTM with attention, BLEU-1", ">= 0.30 in 30 min"),
    "digits-rnn": ("8 x 8 digits pixel by pixel, LSTM, accuracy", "under 1 min"),
    "cola": ("is the sentence acceptable? MiniLM, Matthews correlation", ">= 0.35, the mean of 5 seeds"),
    "squad-fifth": ("answers in texts, a fifth of SQuAD, MiniLM, F1", ">= 65 % in 30 min on 2 cores"),
    "squad": ("the same with all of SQuAD, F1", ">= 75 %"),
    "paraphrase-captions": (
        "captions in other words, BART made of MiniLM, iBLEU",
        "above a copy, above random weights",
    ),
    "paraphrase-captions-random": ("the same from random weights, iBLEU", ""),
    "paraphrase-quora": ("questions in other words, BART made of MiniLM, iBLEU", "above a copy and random weights"),
    "paraphrase-quora-random": ("the same from random weights, iBLEU", ""),
    "mnist-rows": ("MNIST row by row, accuracy", ">= 99.0 % in 5 min on 2 cores"),
    "mnist-rows-permuted": ("the same, pixels permuted, accuracy", ">= 98.5 % in 5 min on 2 cores"),
    "mnist-pixels": ("MNIST pixel by pixel, accuracy", ">= 99.3 %, the best of 60 min"),
    "mnist-pixels-permuted": ("the same, pixels permuted, accuracy", ">= 97.5 %, the best of 60 min"),
}

RANDOM_ORDER = ("math-place-value",)
"""Recipes whose batches are not sorted by length."""

HEADLINE = {
    "math-place-value": ("which digit of a number?", "exact match"),
    "multi30k-en-de": ("captions, English to German", "BLEU"),
    "luong-multi30k-de-en": ("captions, German to English, LSTM with attention", "BLEU"),
    "squad-fifth": ("answers in texts, a fifth of SQuAD", "F1"),
    "cola": ("acceptable sentences", "Matthews correlation"),
    "paraphrase-quora": ("paraphrases of questions", "iBLEU"),
    "mnist-rows": ("MNIST, row by row", "accuracy"),
}
"""The rows of the README: task and unit of the score."""

DIGITS = {"bleu": ".1f", "ibleu": ".1f", "matthews": ".3f", "bleu1": ".3f"}
"""How scores are written that are no per cent; BLEU and iBLEU are out of 100."""

STEPS = {"step": "Intel Xeon with AMX", "step-zen4": "AMD EPYC (Zen 4, AVX512_BF16)"}
"""Machines that the training step was measured on."""


def main() -> None:
    if "--write" not in sys.argv:
        print("\n\n".join(make() for tables in PAGES.values() for make in tables.values()))
        return
    for page in PAGES:
        path = ROOT / page
        path.write_text(with_tables(page, path.read_text(encoding="utf-8")), encoding="utf-8")


def with_tables(page: str, text: str) -> str:
    """The text of a page with every table between its markers made anew."""
    for name, make in PAGES[page].items():
        begin, end = BEGIN.format(name=name), END.format(name=name)
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{make()}\n{end}{rest.partition(end)[2]}"
    return text


def headline() -> str:
    """One row for each kind of task: the score and the time that it takes."""
    lines = ["| task | recipe | score | training time |", "|---|---|---|---|"]
    for name, (what, unit) in HEADLINE.items():
        result = read(name)
        value, threads = result["value"]["median"], result["machine"]["threads"]
        digits = DIGITS.get(result["score"], near_one(value))
        cores = f"{threads} core{'s' * (threads > 1)}"
        link = f"[`{name}`](src/seqlab/recipes/{result['recipe']}.toml)"
        lines.append(
            f"| {what} | {link} | {value:{digits}} {unit} | {minutes(result['train_s']['median'])} on {cores} |"
        )
    return "\n".join(lines)


def results() -> str:
    """What the recipes reach, and how fast a step is."""
    lines = ["| what | goal | median (lowest to highest) | runs | training time | where |", "|---|---|---|---|---|---|"]
    lines += [recipe_row(name, *words) for name, words in RECIPES.items() if (RESULTS / f"{name}.json").exists()]
    lines += padding_rows()
    for name, cpu in STEPS.items():
        lines += step_rows(name, cpu) if (RESULTS / f"{name}.json").exists() else []
    return "\n".join(lines)


def padding_rows() -> list[str]:
    """The worst padding share of the recipes whose batches are sorted by length, and of each other one."""
    runs = {name: read(name).get("runs", []) for name in RECIPES}
    shares = {name: [run["padding_share"] for run in runs[name]] for name in RECIPES if runs[name]}
    sorted_ones = [share for name in shares if name not in RANDOM_ORDER for share in shares[name]]
    rows = [
        f"| padding share of {name}, in random order | | at most {max(shares[name]):.0%} | {len(shares[name])} | | |"
        for name in RANDOM_ORDER
        if name in shares
    ]
    if sorted_ones:
        what = "padding share of the other runs above"
        rows.append(f"| {what} | <= 8 % | at most {max(sorted_ones):.1%} | {len(sorted_ones)} | | |")
    return rows


def near_one(share: float) -> str:
    """Two digits where they tell, and 100 % is said of all only."""
    return ".2%" if 0.98 < share < 1 else ".1%"


def recipe_row(name: str, what: str, goal: str) -> str:
    """One recipe over its seeds."""
    result = read(name)
    value, seconds, machine = result["value"], result["train_s"], result["machine"]
    digits = DIGITS.get(result["score"], near_one(value["min"]))
    spread = f" ({value['min']:{digits}} to {value['max']:{digits}})" if len(result["runs"]) > 1 else ""
    examples = result["runs"][0]["examples"]
    task = f"[`{name}`](../src/seqlab/recipes/{result['recipe']}.toml): {what}, {examples:,} test examples"
    threads = f"{machine['threads']} {'thread' if machine['threads'] == 1 else 'threads'}"
    values = [run["value"] for run in result["runs"]]
    average = f", mean {statistics.mean(values):{digits}}" if len(values) >= 5 else ""
    score = f"{value['median']:{digits}}{spread}{average}{beside_a_copy(result)}"
    return f"| {task} | {goal} | {score} | {len(values)} | {minutes(seconds['median'])} | {threads} |"


def beside_a_copy(result: dict[str, Any]) -> str:
    """Of paraphrases: ROUGE-L too, and both scores of handing in the inputs."""
    if result["score"] != "ibleu":
        return ""
    copy = result["runs"][0]["baselines"]["copy of the source"]
    rouge = statistics.median(run["scores"]["rouge_l"] for run in result["runs"])
    return f", ROUGE-L {rouge:.3f}; a copy {copy['ibleu']:.1f}, {copy['rouge_l']:.3f}"


def step_rows(name: str, cpu: str) -> list[str]:
    """The share of the matrix rate, in both number formats."""
    step = read(name)
    where = f"{step['machine']['threads']} threads, {cpu}"
    rows = [
        f"| {mode} training step: share of the {step[mode]['ceiling_gflops']:,} GFLOP/s of a matrix product | {goal} | "
        f"{percent(step[mode]['share_of_ceiling'])} | | | {where} |"
        for mode, goal in (("fp32", ">= 65 %"), ("bf16", ">= 50 %"))
        if mode in step
    ]
    if (gain := step["bf16_gain"]) is None:
        return rows
    speed = f"{gain['median']:.1f} times ({gain['min']:.1f} to {gain['max']:.1f})"
    return [*rows, f"| speed of a bf16 step against fp32 | >= 1.6 times | {speed} | | | {where} |"]


def ablation() -> str:
    """What each technique is worth on Multi30k, all trained equally long; means over the seeds."""
    path = RESULTS / "multi30k-ablation.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["state"] == "finished"]
    names = list(dict.fromkeys(row["configuration"] for row in rows))
    baseline = mean(rows, "baseline", "tokens_per_s")
    lines = [
        "| switched on | real target tokens/s | padding | peak memory | updates | validation loss | test BLEU | runs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        speed = mean(rows, name, "tokens_per_s")
        cells = (
            f"{speed:,.0f} ({speed / baseline:.1f}x)",
            f"{mean(rows, name, 'padding_share'):.0%}",
            f"{mean(rows, name, 'peak_memory_mb') / 1024:.1f} GB",
            f"{mean(rows, name, 'updates'):,.0f}",
            f"{mean(rows, name, 'loss_at_equal_time'):.2f}",
            f"{mean(rows, name, 'test_bleu'):.1f}",
            str(sum(row["configuration"] == name for row in rows)),
        )
        lines.append(f"| {'nothing' if name == 'baseline' else name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean(rows: list[dict[str, str]], name: str, column: str) -> float:
    return statistics.mean(float(row[column]) for row in rows if row["configuration"] == name)


def read(name: str) -> dict[str, Any]:
    """A result file, or nothing if it has not been made."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def percent(spread: dict[str, float]) -> str:
    return f"{spread['median']:.0%} ({spread['min']:.0%} to {spread['max']:.0%})"


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 100 else f"{seconds:.0f} s"


PAGES = {"README.md": {"headline": headline}, "docs/results.md": {"results": results, "ablation": ablation}}
"""The tables of each page by the name that their markers have."""


if __name__ == "__main__":
    main()
