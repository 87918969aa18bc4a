"""Does a recipe keep its promise? Trains it with several seeds and keeps scores, times and curves as JSON.

    python benchmarks/recipes.py math-place-value --seeds 1 2 3 [--threads N] [KEY=VALUE ...]

Every run is an ordinary run folder under runs/benchmarks/. A seed whose run is finished is read, not trained again, and
an interrupted one is resumed, so the script can be stopped and started.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
MACHINE = ("cpu", "cores", "threads", "memory_gb", "gpu", "torch", "python", "seqlab", "git_commit", "precision")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, help="cores for one run; all when absent")
    parser.add_argument("--name", help="of the result file; the recipe's when absent")
    parser.add_argument("--score", help="which one is reported; the most important one of the task when absent")
    options = parser.parse_args()
    name = options.name or options.recipe
    runs = [run(options.recipe, options.settings, seed, options.threads, name, options.score) for seed in options.seeds]
    values, seconds = [r["value"] for r in runs], [r["train_s"] for r in runs]
    summary = {
        "recipe": options.recipe,
        "settings": options.settings,
        "command": f"python benchmarks/recipes.py {' '.join(sys.argv[1:])}",
        "score": runs[0].pop("score"),
        "value": spread(values),
        "train_s": spread(seconds),
        "machine": runs[0].pop("machine"),
        "runs": [{key: value for key, value in r.items() if key not in ("machine", "score")} for r in runs],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps({key: summary[key] for key in ("recipe", "score", "value", "train_s")}, indent=1))


def run(
    recipe: str, settings: list[str], seed: int, threads: int | None, name: str, score: str | None
) -> dict[str, Any]:
    """Trains one seed, unless that is done already; returns what is kept of it."""
    folder = Path("runs/benchmarks") / f"{name}-seed{seed}"
    if not (folder / "results.json").exists():
        goes_on = any((folder / "checkpoints").glob("step-*"))
        place = ["--resume", str(folder)] if goes_on else [recipe, *settings, "--out", str(folder), "--overwrite"]
        variables = {**os.environ, "OMP_NUM_THREADS": str(threads)} if threads else None
        seed_flag = [] if goes_on else ["--seed", str(seed)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "seqlab", "train", *place, *seed_flag], check=True, env=variables)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if not goes_on:
            (folder / "cpu_s").write_text(f"{cpu_s:.1f}\n")
    results = json.loads((folder / "results.json").read_text())
    environment = json.loads((folder / "environment.json").read_text())
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    cpu_file = folder / "cpu_s"
    main_score = next(iter(results["scores"]))  # the most important one stands first
    score = score or main_score
    found = results["scores"][score]
    padding = [event["padding_share"] for event in events if event["kind"] == "update"]
    return {
        "seed": seed,
        "score": score,
        "value": found["value"],
        "interval": [found["low"], found["high"]],
        "scores": {name: other["value"] for name, other in results["scores"].items()},
        "baselines": results.get("baselines"),
        **{key: scores for key, scores in results.items() if key.startswith("by_")},  # of groups of examples
        "examples": results["examples"],
        "train_s": round(results["train_s"], 1),
        "process_cpu_s": float(cpu_file.read_text()) if cpu_file.exists() else None,
        "steps": results["step"],
        "parameters": results["parameters"],
        "peak_memory_mb": round(results["peak_memory_mb"]),
        "padding_share": round(statistics.mean(padding), 4),
        "curve": [
            [event["step"], round(event["time_s"], 1), event.get(score, event[main_score])]
            for event in events
            if event["kind"] == "evaluation" and event["split"] == "validation"
        ],
        "machine": {key: environment[key] for key in MACHINE},
    }


def spread(values: list[float]) -> dict[str, float]:
    """Median and extremes."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


if __name__ == "__main__":
    main()
