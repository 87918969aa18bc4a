"""A padded batch is what a plain loop makes, and no row notices its batch mates or their padding."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqlab.data.batching.pairs import EncodedPairs
from seqlab.data.corpora.corpus import Example
from seqlab.models.transformer import Transformer, TransformerConfig

PAD, BOS, EOS = 0, 1, 2
VOCABULARY = 30


def ids(texts: Sequence[str]) -> list[list[int]]:
    return [[4 + ord(character) - ord("a") for character in text] for text in texts]


def encoded(examples: list[Example]) -> EncodedPairs:
    return EncodedPairs.encode(examples, ids, ids, pad_id=PAD, bos_id=BOS, eos_id=EOS)


words = st.text("abcdefghijklmnopqrstuvwxyz", max_size=12)
corpora = st.lists(st.builds(Example, words, words), min_size=1, max_size=6)
corpora_without_empty_sources = st.lists(
    st.builds(Example, words.filter(bool), words), min_size=1, max_size=6
)  # nothing to attend to is no question


@given(st.data(), corpora, st.integers(0, 5), st.integers(0, 5))
def test_a_batch_is_what_a_plain_loop_makes(
    data: st.DataObject, examples: list[Example], more_source: int, more_target: int
) -> None:
    pairs = encoded(examples)
    rows = data.draw(st.lists(st.integers(0, len(examples) - 1), min_size=1, max_size=8))
    widths = np.add(pairs.shapes[rows].max(axis=0), (more_source, more_target))
    batch = pairs.batch(np.array(rows), *widths.tolist())
    labels: list[int] = []
    for place, row in enumerate(rows):
        source, target = ids(examples[row])
        assert batch.source[place].tolist() == source + [PAD] * (widths[0] - len(source))
        assert batch.source_mask[place].tolist() == [True] * len(source) + [False] * (widths[0] - len(source))
        assert batch.target[place].tolist() == [BOS, *target] + [PAD] * (widths[1] - len(target) - 1)
        assert batch.target_mask[place].sum() == len(target) + 1
        labels += [*target, EOS]
    assert batch.labels.tolist() == labels


@pytest.fixture(scope="module", params=["sinusoidal-pre", "rotary-post"])
def model(request: pytest.FixtureRequest) -> Transformer:
    positions, placement = request.param.split("-")
    torch.manual_seed(0)
    config = TransformerConfig(
        width=16,
        feedforward=24,
        num_heads=2,
        encoder_layers=2,
        decoder_layers=2,
        dropout=0.0,
        positions=positions,
        norm_placement=placement,
        max_length=32,
    )
    return Transformer(config, VOCABULARY, VOCABULARY).double().eval()


def logits(model: Transformer, pairs: EncodedPairs, rows: list[int], widths: list[int]) -> torch.Tensor:
    batch = pairs.batch(np.array(rows), *widths)
    with torch.inference_mode():
        return model(*batch.inputs)


@settings(max_examples=25)
@given(examples=corpora_without_empty_sources, more_source=st.integers(0, 5), more_target=st.integers(0, 5))
def test_a_row_is_the_same_alone_and_among_others(
    model: Transformer, examples: list[Example], more_source: int, more_target: int
) -> None:
    pairs = encoded(examples)
    rows = list(range(len(examples)))
    widths = np.add(pairs.shapes.max(axis=0), (more_source, more_target)).tolist()
    together = logits(model, pairs, rows, widths)
    alone = torch.cat([logits(model, pairs, [row], pairs.shapes[row].tolist()) for row in rows])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


@settings(max_examples=25)
@given(examples=corpora_without_empty_sources, seed=st.integers(0, 99))
def test_the_order_of_the_rows_does_not_matter(model: Transformer, examples: list[Example], seed: int) -> None:
    pairs = encoded(examples)
    widths = pairs.shapes.max(axis=0).tolist()
    order = np.random.default_rng(seed).permutation(len(examples)).tolist()
    parts = logits(model, pairs, list(range(len(examples))), widths).split(pairs.targets.lengths.tolist())
    moved = logits(model, pairs, order, widths)
    torch.testing.assert_close(moved, torch.cat([parts[row] for row in order]), rtol=1e-9, atol=1e-9)
