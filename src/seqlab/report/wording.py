"""Numbers as text: units, digits and thousands, the same in tables and pages."""

from collections.abc import Mapping, Sequence
from typing import Any

from seqlab.metrics.registry import measure
from seqlab.report.folder import RunRecord, Score

ABSENT = "–"


def number(value: float | None) -> str:
    """Four significant digits, thousands apart: `1,234,567`, `0.01234`, `3.2e-05`."""
    if value is None:
        return ABSENT
    if isinstance(value, int) or (abs(value) >= 1000 and value < 1e12):
        return f"{value:,.0f}"
    return f"{value:.4g}"


def counted(number: int, noun: str) -> str:
    """`1 question`, `1,234 questions`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def per_cent(share: float | None, digits: int = 1) -> str:
    """`0.0448 -> 4.5 %`; never rounded up to 100, which is only said of all."""
    if share is None:
        return ABSENT
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    return f"{min(100 * share, 100 - 10**-digits):.{digits}f} %"


def score_value(name: str, value: float | None) -> str:
    """A score in its own scale: per cent for shares, with two digits near 1, where they tell; `41.2`; else as it is."""
    if value is None:
        return ABSENT
    match measure(name).unit:
        case "share":
            return per_cent(value, digits=2 if value > 0.98 else 1)
        case "points":
            return f"{value:.1f}"
        case "fraction":
            return f"{value:.3f}"
        case "number":
            return number(value)


def is_share(name: str) -> bool:
    """Whether a score is a share, which is drawn and written in per cent."""
    return measure(name).unit == "share"


def interval(score: Score) -> str:
    """`98.9 to 99.6 %`, or nothing where no interval was measured."""
    if score.low is None or score.high is None:
        return ""
    if is_share(score.name):
        digits = 2 if score.high > 0.98 else 1
        return f"{per_cent(score.low, digits).removesuffix(' %')} to {per_cent(score.high, digits)}"
    return f"{score_value(score.name, score.low)} to {score_value(score.name, score.high)}"


def with_interval(score: Score) -> str:
    """`99.35 % (98.90 to 99.62 %)`."""
    ends = interval(score)
    return score_value(score.name, score.value) + (f" ({ends})" if ends else "")


def counted_unit(record: RunRecord) -> str:
    """What throughput counts: real target tokens, or where an output is not generated token by token, examples."""
    return "examples" if record.counts_examples else "tokens"


def best(name: str, values: Sequence[float]) -> float | None:
    """The best of the values of a score; None of none."""
    return measure(name).best(values)


def title(name: str) -> str:
    """`token_accuracy -> token accuracy`, `bleu -> BLEU`."""
    found = heading(name)
    return found if found != name.replace("_", " ").capitalize() else found.lower()


def heading(name: str) -> str:
    """`token_accuracy -> Token accuracy`, `chrf -> chrF`."""
    return measure(name).title


def baselines(results: Mapping[str, Any]) -> dict[str, str]:
    """What can be had without a model: `{"copy of the source": "BLEU 4.1, chrF 18.3"}`."""
    return {
        name: ", ".join(f"{title(score)} {score_value(score, value)}" for score, value in scores.items())
        for name, scores in results.get("baselines", {}).items()
    }


def duration(seconds: float | None) -> str:
    """`3.2 s`, `48 s`, `1 min 53 s`, `2 h 05 min`."""
    if seconds is None:
        return ABSENT
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def memory(megabytes: float | None) -> str:
    """`512 MB`, `1.9 GB`; of 1,024 each."""
    if megabytes is None:
        return ABSENT
    return f"{megabytes / 1024:.1f} GB" if megabytes >= 1024 else f"{megabytes:.0f} MB"


def parameters(count: int | None) -> str:
    """`3.24 million`, or the exact number below a hundred thousand."""
    if count is None:
        return ABSENT
    if count >= 1e9:
        return f"{count / 1e9:.2f} billion"
    return f"{count / 1e6:.2f} million" if count >= 1e5 else f"{count:,}"


def setting(value: Any) -> str:
    """A value of the config, as one would write it in TOML but without quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(setting(part) for part in value) or "(none)"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value != "" else "(empty)"


def fact(key: str, value: Any) -> str:
    """A fact of the environment; rates get their unit."""
    return f"{value / 1e9:,.0f} GFLOP/s" if key == "matrix_flops" else setting(value)


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}} -> {"a.b": 1}`."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return leaves


def machine(record: RunRecord) -> str:
    """The processor that did the work: `NVIDIA H100`, or `AMD EPYC 9B14, 2 threads`."""
    environment = record.environment
    if environment.get("gpu"):
        return str(environment["gpu"])
    threads = environment.get("threads")
    processor = str(environment.get("cpu") or ABSENT)
    return f"{processor}, {counted(threads, 'thread')}" if threads else processor


def measures(record: RunRecord) -> dict[str, str]:
    """What every run is judged by besides its scores: label -> value with its unit."""
    results = record.results or {}
    throughput = record.median("tokens_per_s")
    return {
        "training time": duration(record.train_s),
        "updates": number(record.last_step),
        "parameters": parameters(results.get("parameters")),
        "peak memory": memory(record.peak_memory_mb),
        f"{counted_unit(record)} per second": number(round(throughput)) if throughput is not None else ABSENT,
        "padding": per_cent(record.median("padding_share")),
        "machine": machine(record),
    }
