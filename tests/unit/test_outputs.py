"""Texts of outputs: equal ones are one; unknown tokens are forbidden, counted, or replaced by words of the source."""

import itertools
import math
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from seqlab.data.corpora.corpus import Example
from seqlab.decode.contract import Hypothesis, RowSelection
from seqlab.decode.settings import DecodeConfig
from seqlab.errors import UserError
from seqlab.experiment.config import load
from seqlab.tasks.sequence_to_sequence.outputs import different
from seqlab.tasks.sequence_to_sequence.task import SequenceToSequence, SequenceToSequenceConfig
from seqlab.text.tokenizer import EOS_ID, SPECIALS, UNK_ID, Tokenizer
from seqlab.text.vocabularies import TextConfig, Vocabularies, build_vocabularies
from seqlab.text.words import WordTokenizer

PIECES = ("a", "b", "ab")


class Ambiguous(WordTokenizer):
    """Pieces without spaces between them: "ab" has two spellings, "abab" four."""

    def decode(self, ids: Any) -> str:
        return "".join(self.entries[index - len(SPECIALS)] for index in ids if index >= len(SPECIALS))


class Table(torch.nn.Module):
    """Logits that depend on the number of tokens so far, and on the last one."""

    attention_layers = 0

    def __init__(self, vocab_size: int, seed: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        generator = torch.Generator().manual_seed(seed)
        self.logits = 2 * torch.randn(140, vocab_size, vocab_size, generator=generator)
        self.logits[..., [0, 1, UNK_ID]] = -torch.inf

    def encode(self, source: Tensor, source_mask: Tensor) -> Tensor:
        return torch.zeros(len(source), dtype=torch.long)

    def start(self, memory: Tensor) -> Tensor:
        return memory

    def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return self.logits[state, tokens], state + 1

    def select_rows(self, state: Tensor, selection: RowSelection) -> Tensor:
        return state[selection.rows]

    def log_prob(self, ids: tuple[int, ...]) -> float:
        before = (1, *ids)
        after = (*ids, EOS_ID)
        pairs = enumerate(zip(before, after, strict=True))
        return sum(self.logits[n, last].double().log_softmax(-1)[token].item() for n, (last, token) in pairs)


def task_of(decode: DecodeConfig, target: Tokenizer, source: Tokenizer | None = None) -> SequenceToSequence:
    corpus: Any = SimpleNamespace(languages=None, scored_text=str)
    vocabularies = Vocabularies(source or WordTokenizer(["x"]), target)
    return SequenceToSequence(SequenceToSequenceConfig(), decode, corpus, vocabularies)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_n_best_texts_are_those_of_all_spellings(seed: int, alpha: float) -> None:
    target, longest = Ambiguous(PIECES), 4
    model = Table(target.vocab_size, seed)
    # wide enough for every sequence and every step behind the last one; those that are cut are no outputs
    decode = DecodeConfig(method="beam", beam_width=400, n_best=6, max_length=longest, length_penalty=alpha)
    (found,) = task_of(decode, target).predict(model, ["x"], autocast=nullcontext)

    totals: dict[str, list[tuple[float, int]]] = {}
    for length in range(longest + 1):
        for ids in itertools.product(range(len(SPECIALS), target.vocab_size), repeat=length):
            totals.setdefault(target.decode(ids), []).append((model.log_prob(ids), length + 1))
    expected = {}
    for text, ways in totals.items():
        best_length = max(ways, key=lambda way: way[0] / ((5 + way[1]) / 6) ** alpha)[1]
        log_prob = math.log(sum(math.exp(score) for score, _ in ways))
        expected[text] = (log_prob, log_prob / ((5 + best_length) / 6) ** alpha)
    ranked = sorted(expected, key=lambda text: -expected[text][1])
    assert [prediction.text for prediction in found] == ranked[:6]
    assert [prediction.score for prediction in found] == pytest.approx(
        [expected[text][0] for text in ranked[:6]], abs=1e-4
    )


def test_a_list_is_filled_by_a_wider_beam() -> None:
    target = Ambiguous(PIECES)
    model = Table(target.vocab_size, 0)
    decode = DecodeConfig(method="beam", beam_width=3, n_best=3, max_length=6)
    found = task_of(decode, target).predict(model, ["x"] * 2, autocast=nullcontext)
    for one in found:
        assert len({prediction.text for prediction in one}) == len(one) == 3


def test_equal_texts_are_one_with_both_probabilities() -> None:
    half = math.log(0.5)
    hypotheses = [
        Hypothesis([4, 5], half, True),
        Hypothesis([6], half - 1, True),
        Hypothesis([5, 4], half - 2, True),
        Hypothesis([4, 4], 0.0, False, True),
        Hypothesis([6], -9.0, False, True),
    ]
    found = different(hypotheses, Ambiguous(PIECES).decode, 0.0)
    assert [one.ids for one in found] == [[4, 5], [5, 4], [4, 4]]  # the cut ones last, and not added to ended ones
    assert found[0].score == pytest.approx(math.log(0.5 + 0.5 * math.exp(-1)))


SOURCE = ["Tom", "visited", "him", "￭."]
TARGET = ["Tom", "a", "vu", "￭."]


class Copying(torch.nn.Module):
    """Writes ids that are given, and looks at source places that are given."""

    attention_layers = 2

    def __init__(self, ids: list[int], places: list[int]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.ids, self.places = ids, places

    def encode(self, source: Tensor, source_mask: Tensor) -> Tensor:
        return torch.zeros(len(source), dtype=torch.long)

    def start(self, memory: Tensor) -> Tensor:
        return memory

    def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        logits = torch.zeros(len(tokens), len(SPECIALS) + len(TARGET))
        wanted = torch.tensor([*self.ids, EOS_ID])[state]
        logits[torch.arange(len(tokens)), wanted] = 9.0
        logits[:, 4] += 1.0
        return logits, state + 1

    def select_rows(self, state: Tensor, selection: RowSelection) -> Tensor:
        return state[selection.rows]

    def attention_weights(self, source: Tensor, source_mask: Tensor, target: Tensor, *_: Any, **which: Any) -> Tensor:
        assert (which["kind"], which["depth"]) == ("cross", 1)
        assert target.tolist() == [[1, *self.ids[:-1]]]
        weights = torch.zeros(1, 2, target.size(1), source.size(1))
        weights[0, :, torch.arange(target.size(1)), torch.tensor(self.places)] = 1.0
        return weights


LINE = "Tom visited Quetzalcoatl (yesterday)."


def written(**decode: Any) -> Any:
    model = Copying([4, 5, 6, UNK_ID, UNK_ID, 7], [0, 1, 1, 2, 4, 6])
    task = task_of(DecodeConfig(**decode), WordTokenizer(TARGET), WordTokenizer(SOURCE))
    return task, model


def test_unknown_tokens_are_counted() -> None:
    task, model = written()
    ((found,),) = task.predict(model, [LINE], autocast=nullcontext)
    assert (found.text, found.unknown) == ("Tom a vu <unk> <unk>.", 2)


def test_unknown_tokens_are_never_written() -> None:
    task, model = written(forbid_unk=True)
    ((found,),) = task.predict(model, [LINE], autocast=nullcontext)
    assert (found.text, found.unknown) == ("Tom a vu Tom Tom.", 0)


def test_words_of_the_source_are_copied() -> None:
    task, model = written(replace_unk="copy")
    ((found,),) = task.predict(model, [LINE], autocast=nullcontext)
    assert (found.text, found.unknown) == ("Tom a vu Quetzalcoatl yesterday.", 0)


def test_a_model_without_attention_cannot_copy() -> None:
    task = task_of(DecodeConfig(replace_unk="copy"), WordTokenizer(TARGET))
    with pytest.raises(UserError, match=r"needs a model with attention.*decode\.forbid_unk=true"):
        task.predict(Table(8, 0), ["x"], autocast=nullcontext)


def test_pieces_and_copies_of_reversed_and_protected_sides() -> None:
    config = TextConfig(unit="word", min_frequency=1, protected=("<x>",), reverse_source=True, reverse_target=True)
    side = build_vocabularies(config, ["a b"], ["a b"]).target
    ids = side.encode("<x> a Q, R b")
    assert side.pieces("<x> a Q, R b") == ["b", "R", ",", "Q", "a", "<x>"]
    assert side.decode_with(ids, iter(["3", "2", "1"])) == "<x> a 1 2 3 b"  # the comma is unknown too


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"decode.replace_unk": "copy"}, 'decode.replace_unk needs text.unit="word" or "character"'),
        ({"decode.forbid_unk": True}, 'decode.forbid_unk has no effect with text.unit="bpe"'),
        ({"text.unit": "word", "decode.forbid_unk": True, "decode.replace_unk": "copy"}, "leave one out"),
    ],
)
def test_settings_without_effect_are_refused(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        load("translate", settings)


def test_evaluation_counts_outputs_with_unknown_tokens() -> None:
    task, model = written()
    model.forward = lambda source, mask, target, index: torch.zeros(len(index), len(SPECIALS) + len(TARGET))
    found = task.evaluate(model, [Example(LINE, "Tom a vu Anna .")], quick=False, autocast=nullcontext)
    assert found.to_json()["outputs_with_unk"] == 1
    assert "1 of 1 outputs have <unk>" in found.notes()
