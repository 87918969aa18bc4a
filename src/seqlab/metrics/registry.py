"""Which metrics there are: text metrics that a recipe lists by name, and the measures that tasks bring of their own."""

from collections.abc import Callable, Iterable
from typing import Any

from pydantic import Field, field_validator

from seqlab.config.imports import imported
from seqlab.config.settings import Config
from seqlab.errors import UserError, nearest
from seqlab.metrics.bleu import Bleu, BleuConfig, LengthRatio
from seqlab.metrics.chrf import Chrf, ChrfConfig
from seqlab.metrics.exact_match import ExactMatch
from seqlab.metrics.metric import Measure, Metric
from seqlab.metrics.paraphrase import Copied, IBleu, SelfBleu
from seqlab.metrics.rouge import RougeL
from seqlab.metrics.similarity import ParaScore, Similarity, SimilarityConfig


class MetricsConfig(Config):
    """Which metrics judge outputs, and their settings."""

    names: tuple[str, ...] = ("accuracy",)
    """the first one selects the best checkpoint; "package.module:Class" names a metric of your own"""
    bleu: BleuConfig = BleuConfig()
    """how BLEU, ROUGE-L and iBLEU split words"""
    chrf: ChrfConfig = ChrfConfig()
    """chrF"""
    similarity: SimilarityConfig = SimilarityConfig()
    """the sentence encoder of similarity and ParaScore"""
    own: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """settings of metrics of your own, by their import path"""

    @field_validator("names")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or len(set(names)) < len(names):
            raise ValueError("name at least one metric, and none twice")
        for name in names:
            if name not in BUILT_IN and ":" not in name:
                raise ValueError(f'no metric "{name}"{nearest(name, BUILT_IN)} (there are {", ".join(BUILT_IN)})')
        return names


BUILT_IN: dict[str, Callable[[MetricsConfig], Metric]] = {
    "accuracy": lambda settings: ExactMatch("accuracy"),
    "exact_match": lambda settings: ExactMatch(),
    "bleu": lambda settings: Bleu(settings.bleu),
    "bleu1": lambda settings: Bleu(settings.bleu, order=1),
    "bleu2": lambda settings: Bleu(settings.bleu, order=2),
    "chrf": lambda settings: Chrf(settings.chrf),
    "rouge_l": lambda settings: RougeL(settings.bleu),
    "length_ratio": lambda settings: LengthRatio(settings.bleu),
    "ibleu": lambda settings: IBleu(settings.bleu),
    "self_bleu": lambda settings: SelfBleu(settings.bleu),
    "copied": lambda settings: Copied(),
    "similarity": lambda settings: Similarity(settings.similarity),
    "parascore": lambda settings: ParaScore(settings.similarity),
}
"""Text metrics by name. One of your own needs no line here: its import path is its name."""


def build_metrics(settings: MetricsConfig) -> list[Metric]:
    """The metrics that the settings name, in order. Raises UserError where one of the user's own cannot be used."""
    return [BUILT_IN[name](settings) if name in BUILT_IN else _own(name, settings) for name in settings.names]


def _own(path: str, settings: MetricsConfig) -> Metric:
    module, _, name = path.partition(":")
    try:
        metric = imported(f'metric "{path}"', module, name)(**settings.own.get(path, {}))
    except (TypeError, ValueError) as error:  # settings that the class does not take
        raise UserError(f'metric "{path}": {" ".join(str(error).split())}') from None
    if not isinstance(metric, Metric):
        raise UserError(f'metric "{path}": lacks measure, statistics, score or signature (seqlab.metrics.metric)')
    declare([metric.measure])
    return metric


OF_TASKS = {
    measure.name: measure
    for measure in (
        Measure("loss", "Loss", better="lower"),
        Measure("smoothed_loss", "Smoothed loss", better="lower"),
        Measure("masked_loss", "Masked loss", better="lower"),
        Measure("hidden_loss", "Hidden loss", better="lower"),
        Measure("perplexity", "Perplexity", better="lower"),
        Measure("bits_per_character", "Bits per character", better="lower"),
        Measure("token_accuracy", "Token accuracy", "share"),
        Measure("hidden_accuracy", "Hidden accuracy", "share"),
        Measure("masked_accuracy", "Masked accuracy", "share"),
        Measure("nsp_accuracy", "Next sentence accuracy", "share"),
        Measure("distinct", "Distinct", "share"),
        Measure("f1", "F1", "share"),
        Measure("has_answer_f1", "F1 where there is an answer", "share"),
        Measure("has_answer_exact_match", "Exact match where there is an answer", "share"),
        Measure("no_answer_f1", "F1 where there is no answer", "share"),
        Measure("no_answer_exact_match", "Exact match where there is no answer", "share"),
        Measure("macro_f1", "Macro F1"),
        Measure("weighted_f1", "Weighted F1"),
        Measure("matthews", "Matthews correlation"),
    )
}
"""Measures that follow from the loss, from classes or from spans, not from texts alone."""

_TEXT = {name: make(MetricsConfig()).measure for name, make in BUILT_IN.items()}


_DECLARED: dict[str, Measure] = {}
"""Scores of metrics of the user's own: known once such a metric is built, or a run folder that has one is read."""


def declare(measures: Iterable[Measure]) -> None:
    """Makes scores known whose metrics do not come with the package; those that do keep their meaning."""
    _DECLARED.update({measure.name: measure for measure in measures})


def measure(name: str) -> Measure:
    """How the score of this name is called, written and compared; one that is not known is a number, more is better."""
    known = _TEXT.get(name) or OF_TASKS.get(name) or _DECLARED.get(name)
    return known or Measure(name, name.replace("_", " ").capitalize())
