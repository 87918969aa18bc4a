"""Text metrics by name, as a recipe lists them, on plain lists of texts."""

from collections.abc import Sequence

from seqlab.metrics import metric
from seqlab.metrics.bleu import BleuConfig
from seqlab.metrics.intervals import Interval
from seqlab.metrics.metric import Outputs
from seqlab.metrics.registry import MetricsConfig, build_metrics

TRANSLATION = ("bleu", "chrf", "bleu1", "bleu2", "rouge_l", "length_ratio", "exact_match")
PARAPHRASE = ("ibleu", "self_bleu", "copied", *TRANSLATION)


def translation_scores(
    predictions: Sequence[str],
    references: Sequence[str],
    sources: Sequence[str] = (),
    *,
    names: Sequence[str] = TRANSLATION,
    tokenize: str = "13a",
    resamples: int = 1000,
    seed: int = 1,
) -> dict[str, Interval]:
    """With intervals."""
    metrics = build_metrics(MetricsConfig(names=tuple(names), bleu=BleuConfig(tokenize=tokenize)))
    return metric.scores(metrics, Outputs(predictions, [references], sources), resamples=resamples, seed=seed)


def quick_scores(
    predictions: Sequence[str],
    references: Sequence[str],
    sources: Sequence[str] = (),
    *,
    names: Sequence[str] = ("bleu", "chrf"),
    tokenize: str = "13a",
) -> dict[str, float]:
    """Without intervals."""
    metrics = build_metrics(MetricsConfig(names=tuple(names), bleu=BleuConfig(tokenize=tokenize)))
    return metric.quick_scores(metrics, Outputs(predictions, [references], sources))
