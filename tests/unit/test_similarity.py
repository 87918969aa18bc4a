"""Similarity by a sentence encoder, and ParaScore."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.errors import UserError
from seqlab.metrics.metric import Outputs, quick_scores
from seqlab.metrics.registry import MetricsConfig, build_metrics
from seqlab.metrics.similarity import GAMMA, divergence, edit_distance, embed

TEXTS = ["who wrote the notes?", "the notes", "a", "who wrote the notes? the notes who wrote the notes", "wrote who"]


def scored(encoder: Path, predictions: list[str], references: list[list[str]], sources: list[str]) -> dict[str, float]:
    settings = MetricsConfig.model_validate(
        {"names": ("similarity", "parascore"), "similarity": {"encoder": str(encoder)}}
    )
    return quick_scores(build_metrics(settings), Outputs(predictions, references, sources))


def test_embeddings_are_means_over_real_tokens(tiny_encoder: Path) -> None:
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_encoder)
    network = transformers.AutoModel.from_pretrained(tiny_encoder).eval()
    found = embed(str(tiny_encoder), TEXTS)
    assert sorted(found) == sorted(TEXTS)
    for text in TEXTS:  # one at a time: no padding
        with torch.inference_mode():
            mean = network(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0).numpy()
        np.testing.assert_allclose(found[text], mean / np.linalg.norm(mean), atol=1e-5)


def test_the_nearest_reference_counts(tiny_encoder: Path) -> None:
    near = scored(tiny_encoder, TEXTS[:2], [["a", "a"], TEXTS[:2]], ["x", "y"])
    far = scored(tiny_encoder, TEXTS[:2], [["a", "a"]], ["x", "y"])
    assert near["similarity"] == pytest.approx(1, abs=1e-5)
    assert far["similarity"] < 0.99


def test_a_copy_has_no_more_than_19_of_20(tiny_encoder: Path) -> None:
    copies = scored(tiny_encoder, TEXTS, [TEXTS], TEXTS)
    assert copies["parascore"] == pytest.approx(0.95, abs=1e-5)
    # the same meaning to an encoder that sees the same reference, in other words than the input
    others = scored(tiny_encoder, ["the notes who wrote"], [["the notes who wrote"]], ["a b c d"])
    assert others["parascore"] == pytest.approx(1 + 0.05 * GAMMA, abs=1e-5)


@pytest.mark.parametrize(
    ("prediction", "source", "value"),
    [
        ("a b c d", "a b c d", -1),
        ("a b c x", "a b c d", 0.25 * 1.35 / 0.35 - 1),
        ("x y z w", "a b c d", 0.35),
        ("", "a b", 0.35),
        ("", "", -1),
    ],
)
def test_divergence(prediction: str, source: str, value: float) -> None:
    assert divergence(prediction, source) == pytest.approx(value)


@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
def test_edit_distance_is_that_of_all_alignments(first: list[str], second: list[str]) -> None:
    @cache
    def fewest(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        return min(fewest(i - 1, j) + 1, fewest(i, j - 1) + 1, fewest(i - 1, j - 1) + (first[i - 1] != second[j - 1]))

    assert edit_distance(first, second) == fewest(len(first), len(second))


def test_a_missing_encoder_is_one_line_that_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metrics\.similarity\.encoder=.*none: no such folder"):
        scored(tmp_path / "none", ["a"], [["a"]], ["a"])
