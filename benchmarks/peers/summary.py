"""From the single results to ratios with spread: seqlab against each peer."""

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from seqlab.engine.machine import describe

Result = dict[str, Any]
"""What a contender printed."""

OURS = "seqlab"
LEAST_BLEU = 1.0
"""Below this a translation shares words with its reference by chance."""


class Job(NamedTuple):
    """One measurement of one contender."""

    measure: str
    contender: str
    round: int


Results = dict[Job, Result]


def summary(results: Results, facts: dict[str, Any]) -> dict[str, Any]:
    """Everything that the results say."""
    names = list(dict.fromkeys(name for _, name, _ in results))
    return {
        "machine": describe(torch.device("cpu")),
        **facts,
        "contenders": {name: contender(results, name) for name in names},
        "seqlab_against": {name: against(results, name) for name in names if name != OURS and OURS in names},
    }


def contender(results: Results, name: str) -> dict[str, Any]:
    """The figures of one contender over its rounds."""
    speed, learn, decode = (rounds(results, measure, name) for measure in ("speed", "learn", "decode"))
    report: dict[str, Any] = {"parameters": next(iter([*speed, *learn, *decode]))["parameters"]}
    if speed:
        keys = ("tokens_per_s", "padding_share", "target_tokens_per_update", "peak_memory_mb")
        report["speed"] = {key: spread([result[key] for result in speed]) for key in keys}
    if learn:
        report["learn"] = learn
    if decode:
        keys = ("sentences_per_s", "tokens_per_sentence", "bleu", "peak_memory_mb")
        report["decode"] = {key: spread([result[key] for result in decode]) for key in keys}
    return report


def against(results: Results, peer: str) -> dict[str, Any]:
    """Ratios, above 1 where seqlab is better: rounds are compared with rounds of the same number."""
    pairs = {
        measure: list(zip(rounds(results, measure, OURS), rounds(results, measure, peer), strict=False))
        for measure in ("speed", "learn", "decode")
    }

    def ratio(measure: str, of: Callable[[Result, Result], float | None]) -> dict[str, float] | None:
        found = [value for ours, theirs in pairs[measure] if (value := of(ours, theirs)) is not None]
        return spread(found) if found else None

    return {
        "training_speed": ratio("speed", lambda ours, theirs: ours["tokens_per_s"] / theirs["tokens_per_s"]),
        "time_to_its_loss": ratio("learn", lambda ours, theirs: sooner(ours, theirs, "loss")),
        "time_to_its_bleu": ratio("learn", lambda ours, theirs: sooner(ours, theirs, "bleu")),
        "decoding_speed": ratio("decode", lambda ours, theirs: ours["sentences_per_s"] / theirs["sentences_per_s"]),
        "training_memory": ratio("speed", lambda ours, theirs: theirs["peak_memory_mb"] / ours["peak_memory_mb"]),
    }


def sooner(ours: Result, theirs: Result, score: str) -> float | None:
    """How many times sooner seqlab reaches the best score of the peer; None if it does not, or the peer has none."""
    sign = -1 if score == "loss" else 1
    target = max(sign * point[score] for point in theirs["curve"])
    if score == "bleu" and target < LEAST_BLEU:
        return None
    late, soon = (seconds_to(result["curve"], score, sign, target) for result in (theirs, ours))
    return late / soon if late and soon else None


def seconds_to(curve: list[Result], score: str, sign: int, target: float) -> float | None:
    """When a curve first reaches a score, between two looks on a straight line."""
    for before, point in zip([None, *curve], curve, strict=False):
        if (now := sign * point[score]) >= target:
            if before is None:
                return point["seconds"]
            then = sign * before[score]
            return before["seconds"] + (point["seconds"] - before["seconds"]) * (target - then) / (now - then)
    return None


def rounds(results: Results, measure: str, name: str) -> list[Result]:
    return [result for (kind, who, _), result in sorted(results.items()) if (kind, who) == (measure, name)]


def spread(values: list[float]) -> dict[str, float]:
    """Median and extremes."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def table(report: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "| contender | parameters | tokens/s | padding | MB | sentences/s | BLEU |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in report["contenders"].items():
        speed, decode = found.get("speed", {}), found.get("decode", {})
        cells = [f"{found['parameters']:,}", *(cell(speed, key) for key in ("tokens_per_s", "padding_share"))]
        cells += [cell(speed, "peak_memory_mb"), cell(decode, "sentences_per_s"), cell(decode, "bleu")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for peer, ratios in report["seqlab_against"].items():
        words = ", ".join(f"{name} {cell(ratios, name)}" for name, ratio in ratios.items() if ratio)
        lines.append(f"\nseqlab against {peer}: {words}")
    return "\n".join(lines)


def cell(figures: dict[str, Any], key: str) -> str:
    if not figures.get(key):
        return ""
    median, low, high = (f"{figures[key][name]:,.{digits(figures[key][name])}f}" for name in ("median", "min", "max"))
    return f"{median} ({low} to {high})"


def digits(value: float) -> int:
    """Decimal places that make about three figures."""
    return 0 if value >= 100 else 1 if value >= 10 else 2
