"""What does pretraining buy? The same network fine-tuned from a run that pretrained it here, and from random weights.

    SEQLAB_DATA=... python benchmarks/pretraining_helps.py [--pretrain-minutes 30] [--steps 1000] [--seeds 1 2 3]
        [--only bert bart t5] [--recipe RECIPE] [--pretraining KEY=VALUE ...] [--fine-tuning KEY=VALUE ...] [--out FILE]

Three networks, each pretrained once (`pretrain-bert`, `pretrain-bart`, `pretrain-t5`, seed 1): the BERT is fine-tuned
on CoLA, the other two on the paraphrases of PAWS, MRPC and Quora, or all by one recipe that is named. The random
weights are those that pretraining starts from: a run of one update at a rate of nearly 0. So both starts have the same
tokenizer, the same sizes and, of a BERT or a BART, the same frequencies of tokens; updates, learning rate and seeds of
fine-tuning are the same too. Every run is an ordinary run folder under runs/benchmarks/, named for its settings: a
finished one is read, an interrupted one is resumed, so that the same command resumes where it was cut off. The file is
written after every network.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from recipes import RESULTS, run, spread
from seqlab.metrics.intervals import student

RECIPES = {"bert": "cola", "bart": "bart-paraphrase", "t5": "bart-paraphrase"}
"""What each network is then to learn, unless another recipe is asked for."""

SCORES = ("matthews", "ibleu", "bleu", "rouge_l", "loss")
"""Those that are compared, where a recipe has them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pretrain-minutes", type=float, default=30.0)
    parser.add_argument("--steps", type=int, default=1000, help="updates of fine-tuning")
    parser.add_argument("--lr", type=float, default=5e-4, help="of fine-tuning, for either start")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of fine-tuning")
    parser.add_argument("--test-examples", type=int, default=500, help="that the score is taken from, at most")
    parser.add_argument("--only", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--recipe", help="of fine-tuning, for all networks")
    parser.add_argument("--pretraining", nargs="+", default=[], metavar="KEY=VALUE", help="more settings of it")
    parser.add_argument("--fine-tuning", nargs="+", default=[], metavar="KEY=VALUE", help="more settings of it")
    parser.add_argument("--threads", type=int, default=1, help="cores for one run")
    parser.add_argument("--out", type=Path, default=RESULTS / "pretraining-helps.json")
    options = parser.parse_args()
    summary: dict[str, Any] = {
        "command": f"python benchmarks/pretraining_helps.py {' '.join(sys.argv[1:])}".rstrip(),
        "pretrain_minutes": options.pretrain_minutes,
        "steps": options.steps,
        "lr": options.lr,
        "networks": {},
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        found = compare(name, options.recipe or RECIPES[name], options)
        summary["machine"] = found.pop("machine")
        summary["networks"][name] = found
        options.out.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(table(summary["networks"]))


def compare(network: str, recipe: str, options: argparse.Namespace) -> dict[str, Any]:
    """Pretrains where that has not been done, fine-tunes from both starts with every seed; returns what is kept."""
    pretraining = f"pretrain-{network}"
    lengths = {
        "pretrained": [f"train.max_minutes={options.pretrain_minutes:g}"],
        "random": ["train.max_minutes=null", "train.max_steps=1", "optimizer.lr=1e-9"],
    }
    settings = [
        f"optimizer.lr={options.lr:g}",
        "train.max_minutes=null",
        f"train.max_steps={options.steps}",
        f"train.evaluate_every={max(1, options.steps // 4)}",
        f"train.test_examples={options.test_examples}",
        "train.final=last",
        *options.fine_tuning,
    ]
    made: dict[str, dict[str, Any]] = {}
    starts: dict[str, list[dict[str, Any]]] = {}
    for start, length in lengths.items():
        own = [*options.pretraining, *length]
        name = f"{pretraining}-{_digest(own)}"
        made[start] = run(pretraining, own, 1, options.threads, name, None)
        own = [*settings, f"model.checkpoint={Path('runs/benchmarks') / f'{name}-seed1'}"]
        name = f"{network}-{recipe}-{start}-{_digest(own)}"
        starts[start] = [run(recipe, own, seed, options.threads, name, None) for seed in options.seeds]
    compared = [score for score in SCORES if score in starts["random"][0]["scores"]]
    return {
        "recipe": recipe,
        "settings": settings,
        "scores": {score: compared_by(score, starts) for score in compared},
        "machine": made["pretrained"]["machine"],
        "pretraining": {start: _kept(found) for start, found in made.items()},
        "runs": {start: [_kept(found) for found in runs] for start, runs in starts.items()},
    }


def compared_by(score: str, starts: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Median and extremes of each start, and the mean difference over the seeds with its interval."""
    values = {start: [found["scores"][score] for found in runs] for start, runs in starts.items()}
    differences = [one - other for one, other in zip(values["pretrained"], values["random"], strict=True)]
    return {**{start: spread(found) for start, found in values.items()}, "difference": student(differences).to_json()}


def table(networks: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| network | score | pretrained | random weights | mean difference, 95 % interval |",
        "|---|---|---|---|---|",
    ]
    for name, found in networks.items():
        for score, rows in found["scores"].items():
            cells = [
                "{median:.3f} ({min:.3f} to {max:.3f})".format(**rows[start]) for start in ("pretrained", "random")
            ]
            gain = rows["difference"]
            interval = f" ({gain['low']:+.3f} to {gain['high']:+.3f})" if "low" in gain else ""
            lines.append(f"| {name} | {score} | {' | '.join(cells)} | {gain['value']:+.3f}{interval} |")
    return "\n".join(lines)


def _digest(settings: list[str]) -> str:
    """Eight letters that other settings would not have."""
    return hashlib.sha256(" ".join(settings).encode()).hexdigest()[:8]


def _kept(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in ("machine", "score")}


if __name__ == "__main__":
    main()
