"""Scores of paraphrases: copies are seen through."""

import pytest
from judging import PARAPHRASE, quick_scores, translation_scores

from seqlab.data.corpora.corpus import Example
from seqlab.metrics import paraphrase
from seqlab.metrics.bleu import BleuConfig
from seqlab.metrics.registry import MetricsConfig, build_metrics
from seqlab.tasks.sequence_to_sequence.evaluation import OutputEvaluation, TokenCounts
from seqlab.tasks.task import Prediction

SOURCES = ["how do i learn to swim in the sea ?", "what is the capital of france today ?", "a man rides a red horse ."]
REFERENCES = ["how can i learn swimming in the sea ?", "which city is the capital of france ?", "a man is on a horse ."]
GOOD = ["how can i learn to swim at sea ?", "which town is the capital of france ?", "a man sits on a horse ."]


def test_ibleu_is_bleu_less_what_is_copied() -> None:
    scores = translation_scores(GOOD, REFERENCES, SOURCES, names=PARAPHRASE, resamples=10)
    bleu, own = (quick_scores(GOOD, texts)["bleu"] for texts in (REFERENCES, SOURCES))
    assert scores["bleu"].value == pytest.approx(bleu)
    assert scores["self_bleu"].value == pytest.approx(own)
    assert scores["ibleu"].value == pytest.approx(0.8 * bleu - 0.2 * own)
    quick = quick_scores(GOOD, REFERENCES, SOURCES, names=PARAPHRASE)
    assert quick["ibleu"] == pytest.approx(scores["ibleu"].value)
    assert next(iter(scores)) == "ibleu"


def test_copies_score_high_by_bleu_and_low_by_ibleu() -> None:
    copies = quick_scores(SOURCES, REFERENCES, SOURCES, names=PARAPHRASE)
    good = translation_scores(GOOD, REFERENCES, SOURCES, names=PARAPHRASE)
    assert copies["bleu"] > 15
    assert copies["self_bleu"] == pytest.approx(100)
    assert copies["ibleu"] < good["ibleu"].value
    assert copies["copied"] == 1


def test_distinct_outputs_are_counted() -> None:
    assert paraphrase.distinct([["a", "b", "a", "c"], ["a", "a"]]) == pytest.approx((0.75 + 0.5) / 2)


def test_an_evaluation_shows_the_copy_beside_the_scores() -> None:
    found = OutputEvaluation(
        build_metrics(MetricsConfig(names=PARAPHRASE)),
        TokenCounts(characters=9, tokens=3, right=1, nats=2.0),
        [False] * 3,
        [Prediction(text, -1.0) for text in GOOD],
        [Example(*pair) for pair in zip(SOURCES, REFERENCES, strict=True)],
        BleuConfig(),
        outputs=[["a", "b"]] * 3,
    )
    result = found.to_json()
    assert result["baselines"]["copy of the source"].keys() >= {"ibleu", "bleu", "bleu1", "bleu2", "rouge_l"}
    assert result["scores"]["distinct"] == {"value": 1.0}
    assert found.quick_scores["ibleu"] == pytest.approx(result["scores"]["ibleu"]["value"])
