"""Attention maps: which examples, which tokens on the axes, and that weights and tokens belong together."""

import json
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqlab.data.corpora.corpus import Example
from seqlab.data.corpora.mathematics import Mathematics, MathematicsData
from seqlab.decode.contract import RowSelection
from seqlab.decode.settings import DecodeConfig
from seqlab.models.recurrent import RecurrentConfig, RecurrentEncoderDecoder
from seqlab.models.transformer import Transformer, TransformerConfig
from seqlab.report.figures import columns_of
from seqlab.report.sections import attention
from seqlab.runs.schema import AttentionMap
from seqlab.tasks.sequence_to_sequence.evaluation import LONGEST, NUM_MAPS, attention_maps
from seqlab.tasks.sequence_to_sequence.task import SequenceToSequence, SequenceToSequenceConfig
from seqlab.text.tokenizer import BOS_ID
from seqlab.text.vocabularies import TextConfig, build_vocabularies

pytestmark = pytest.mark.usefixtures("drawn_figures")

LETTERS = "abcdefgh"


def task_of(method: str = "greedy", **text: Any) -> SequenceToSequence:
    vocabularies = build_vocabularies(TextConfig(**text), LETTERS, LETTERS)
    decode = DecodeConfig.model_validate({"method": method, "max_length": 40})
    corpus = Mathematics(MathematicsData(module="comparison__sort"))
    return SequenceToSequence(SequenceToSequenceConfig(), decode, corpus, vocabularies)


def model_of(task: SequenceToSequence, layers: int = 2) -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig(width=16, feedforward=16, num_heads=4, encoder_layers=1, decoder_layers=layers)
    source, target = task.vocabularies
    return Transformer(config, source.vocab_size, target.vocab_size).eval()


def random_examples(lengths: list[int]) -> list[Example]:
    rng = np.random.default_rng(0)
    return [Example("".join(rng.choice(list(LETTERS), length)), "ab") for length in lengths]


class Copies(nn.Module):
    """Copies its source, and while it writes a token looks at the same one in the source with every head."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(1, 1)
        self.attention_layers = 3
        self.attention_layers = 3
        self.eval()

    def encode(self, source: Tensor, source_mask: Tensor) -> Tensor:
        return source

    def start(self, memory: Tensor) -> tuple[Tensor, int]:
        return memory, 0

    def step(self, tokens: Tensor, state: tuple[Tensor, int]) -> tuple[Tensor, tuple[Tensor, int]]:
        source, position = state
        end = torch.full((len(source), 1), 2)
        wanted = torch.cat([source, end], dim=1)[:, position]
        return 9.0 * nn.functional.one_hot(wanted, 4 + len(LETTERS)), (source, position + 1)

    def select_rows(self, state: tuple[Tensor, int], selection: RowSelection) -> tuple[Tensor, int]:
        return state[0][selection.rows], state[1]

    def attention_weights(
        self, source: Tensor, source_mask: Tensor, target: Tensor, target_mask: Tensor, kind: str, depth: int
    ) -> Tensor:
        assert kind == "cross"
        assert target[0, 0] == BOS_ID
        assert target[0, 1:].tolist() == source[0].tolist()[: target.shape[1] - 1]
        weights = torch.eye(target.shape[1], source.shape[1])
        weights[source.shape[1] :] = 1 / source.shape[1]  # the end mark looks everywhere
        return (weights * (1.0 if depth == 2 else 0.5)).expand(1, 2, -1, -1)


@pytest.mark.parametrize("reverse", [False, True])
def test_rows_and_columns_are_the_tokens_that_belong_together(reverse: bool) -> None:
    task = task_of(reverse_source=reverse)
    examples = random_examples([5])
    (found,) = attention_maps(task, Copies(), examples, nullcontext)
    text = examples[0].source
    assert found["text"] == text
    assert found["source"] == list(text)  # as people read it, however the model does
    assert found["predicted"] == [*(reversed(text) if reverse else text), "<eos>"]
    heads = np.array(found["heads"])
    assert heads.shape == (2, 6, 5)
    assert (heads[:, :5] == (np.eye(5)[:, ::-1] if reverse else np.eye(5))).all()
    assert heads[:, 5].tolist() == [[0.2] * 5] * 2
    assert found["layers"] == 3
    assert np.array(found["all_layers"]) == pytest.approx(heads.mean(0) * 2 / 3, abs=1e-3)


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_weights_of_a_transformer_are_shares(method: str) -> None:
    task = task_of(method)
    found = attention_maps(task, model_of(task), random_examples([4, 9, 12, 15, 17]), nullcontext)
    assert len(found) == NUM_MAPS
    for each in json.loads(json.dumps(found)):
        heads, every = np.array(each["heads"]), np.array(each["all_layers"])
        assert heads.shape == (4, len(each["predicted"]), len(each["source"]))
        assert heads.sum(-1) == pytest.approx(np.ones(heads.shape[:2]), abs=0.01)
        assert every.sum(-1) == pytest.approx(np.ones(len(every)), abs=0.01)


def test_examples_are_of_medium_length_and_always_the_same() -> None:
    task = task_of()
    lengths = [*range(1, 60), *range(1, 60)]
    examples = random_examples(lengths)
    found = attention_maps(task, Copies(), examples, nullcontext)
    chosen = [len(each["source"]) for each in found]
    assert chosen == sorted(chosen)
    assert 1 < chosen[0] < chosen[-1] < LONGEST
    assert attention_maps(task, Copies(), examples, nullcontext) == found


def test_what_is_too_long_is_left_out_or_cut() -> None:
    task = task_of()
    assert attention_maps(task, Copies(), random_examples([LONGEST + 1, LONGEST + 5]), nullcontext) == []
    (found,) = attention_maps(task, Copies(), random_examples([LONGEST]), nullcontext)
    assert len(found["predicted"]) == LONGEST  # the end mark does not fit


def test_a_model_that_cannot_show_its_attention_has_no_maps() -> None:
    assert attention_maps(task_of(), nn.Linear(1, 1), random_examples([5]), nullcontext) == []


def recurrent(task: SequenceToSequence, kind: str, radius: int = 2) -> RecurrentEncoderDecoder:
    torch.manual_seed(0)
    window = {"window_radius": radius} if kind.startswith("local") else {}
    config = RecurrentConfig.model_validate({"width": 16, "num_layers": 1, "attention": kind, **window})
    source, target = task.vocabularies
    return RecurrentEncoderDecoder(config, source.vocab_size, target.vocab_size).eval()


@pytest.mark.parametrize(("kind", "reverse"), [("local-m", False), ("local-p", False), ("local-p", True)])
def test_weights_lie_in_the_windows_as_people_read_them(kind: str, reverse: bool) -> None:
    task = task_of(reverse_source=reverse)
    for found in attention_maps(task, recurrent(task, kind), random_examples([9, 12, 15]), nullcontext):
        centres, weights = np.array(found["centres"]), np.array(found["heads"])[0]
        assert centres.shape == (len(found["predicted"]),)
        assert found["window_radius"] == 2
        if kind == "local-m":
            assert centres.tolist() == list(range(1, len(centres) + 1))
        distances = np.abs(np.arange(1, weights.shape[1] + 1) - centres[:, None])
        assert not weights[distances > 2.001].any()
        inside = (centres >= 1) & (centres <= weights.shape[1])
        assert (weights[inside].sum(-1) > 0.1).all()


@pytest.mark.parametrize("kind", ["global", "bahdanau"])
def test_who_sees_all_of_the_source_has_no_windows(kind: str) -> None:
    task = task_of()
    (found,) = attention_maps(task, recurrent(task, kind), random_examples([9]), nullcontext)
    assert not found.keys() & {"centres", "window_radius"}
    assert AttentionMap(**found).centres is None


@pytest.mark.parametrize(
    ("centres", "fields"),
    [
        ([2.0, 3.4, 4.0], [(1, 3), (3, 4), (3, 5)]),  # 3.4 +- 1 holds the places 3 and 4
        ([0.4, 5.6, 9.0], [(1, 1), (5, 5), None]),  # windows end with the source; the last one lies beyond it
    ],
)
def test_the_outline_holds_what_could_be_seen(
    monkeypatch: pytest.MonkeyPatch, centres: list[float], fields: list[tuple[int, int] | None]
) -> None:
    drawn = []
    monkeypatch.setattr("matplotlib.axes.Axes.stairs", lambda axes, *args, **more: drawn.append((args, more)))
    weights = [[0.2] * 5] * 3
    found = AttentionMap("a b c d e", list("abcde"), list("xyz"), 1, [weights], weights, centres, window_radius=1)
    attention.plots(found, "map")
    (((ends, borders), more),) = drawn
    assert borders.tolist() == [-0.5, 0.5, 1.5, 2.5]
    outlines = [
        None if np.isnan(end) else (int(start + 1.5), int(end + 0.5))
        for start, end in zip(more["baseline"], ends, strict=True)
    ]
    assert outlines == fields


def test_characters_without_a_glyph_here_stay_text() -> None:
    """The reader's fonts draw them; matplotlib's complaints would be errors in this test."""
    weights = [[0.5, 0.5]]
    (plot,) = attention.plots(AttentionMap("八 零", ["八", "ลาว"], ["。"], 1, [weights], weights), "map")
    assert ">八<" in plot.svg
    assert ">ลาว<" in plot.svg
    assert "DejaVu Sans', sans-serif" in plot.svg
    assert columns_of("八a。") == 5


def test_a_page_has_outlines_only_where_there_are_windows() -> None:
    weights = [[0.2] * 5] * 3
    plain = AttentionMap("a b c d e", list("abcde"), list("xyz"), 1, [weights], weights)
    local = AttentionMap(**{**vars(plain), "centres": [1.0, 2.5, 9.0], "window_radius": 2})
    colour = "var(--series-2"
    ((before,), (after,)) = (attention.plots(found, "map") for found in (plain, local))
    assert colour not in before.svg
    assert colour in after.svg
