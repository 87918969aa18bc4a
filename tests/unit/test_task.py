"""Text in, text out: the loss by hand, and exact match on a model that says what a script tells it."""

import math
from collections import Counter
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import pytest
import torch
from rounding import additions, rounding
from torch import Tensor, nn

from seqlab.data.corpora.corpus import Example
from seqlab.decode.contract import RowSelection
from seqlab.decode.settings import DecodeConfig
from seqlab.models.transformer import Transformer, TransformerConfig
from seqlab.tasks.sequence_to_sequence.task import SequenceToSequence, SequenceToSequenceConfig
from seqlab.text.tokenizer import BOS_ID, EOS_ID
from seqlab.text.vocabularies import TextConfig, Vocabularies, build_vocabularies

QUESTIONS = "abcdefgh"
ANSWERS = "0123456789"


class Nothing:
    """A corpus that a test hands no examples to."""

    def training(self, epoch: int) -> list[Example]:
        return []

    def validation(self) -> list[Example]:
        return []

    def test(self) -> list[Example]:
        return []

    def scored_text(self, text: str) -> str:
        return text

    @property
    def languages(self) -> None:
        return None


class Worked(Nothing):
    """Targets are `working;answer`; the answer counts."""

    def scored_text(self, text: str) -> str:
        return text.rpartition(";")[2]


class ScriptState(NamedTuple):
    sources: Tensor  # (B, S)
    position: int


class Script(nn.Module):
    """Says for every source what the script has for it, then ends; to other sources it says "0" for ever."""

    def __init__(self, vocabularies: Vocabularies, script: dict[str, str]) -> None:
        super().__init__()
        self.vocabularies = vocabularies
        self.lines = {source: [*vocabularies.target.encode(text), EOS_ID] for source, text in script.items()}
        self.bias = nn.Parameter(torch.zeros(vocabularies.target.vocab_size))
        self.modes: set[bool] = set()
        self.rows_seen = 0

    def forward(self, source: Tensor, source_mask: Tensor, target: Tensor, target_index: Tensor) -> Tensor:
        self.modes.add(self.training)
        return self.bias.expand(len(target_index), -1)

    def encode(self, source: Tensor, source_mask: Tensor) -> Tensor:
        return source

    def start(self, memory: Tensor) -> ScriptState:
        return ScriptState(memory, 0)

    def step(self, tokens: Tensor, state: ScriptState) -> tuple[Tensor, ScriptState]:
        self.modes.add(self.training)
        self.rows_seen += len(tokens)
        wanted = torch.tensor([self._next(source, state.position) for source in state.sources.tolist()])
        logits = 20.0 * nn.functional.one_hot(wanted, self.vocabularies.target.vocab_size)
        return logits, ScriptState(state.sources, state.position + 1)

    def select_rows(self, state: ScriptState, selection: RowSelection) -> ScriptState:
        return ScriptState(state.sources[selection.rows], state.position)

    def _next(self, source: list[int], position: int) -> int:
        line = self.lines.get(self.vocabularies.source.decode(source), [])
        return line[position] if position < len(line) else self.vocabularies.target.encode("0")[0]


def task_of(
    corpus: Nothing | None = None, text: TextConfig | None = None, answers: str = ANSWERS, **settings
) -> SequenceToSequence:
    decode = DecodeConfig(**{"max_length": 6, **settings.pop("decode", {})})
    vocabularies = build_vocabularies(text or TextConfig(), QUESTIONS, answers)
    return SequenceToSequence(SequenceToSequenceConfig(**settings), decode, corpus or Nothing(), vocabularies)


def random_examples(number: int) -> list[Example]:
    rng = np.random.default_rng(3)

    def word(alphabet: str, longest: int) -> str:
        return "".join(rng.choice(list(alphabet), size=rng.integers(1, longest)))

    return [Example(word(QUESTIONS, 12), word(ANSWERS, 6)) for _ in range(number)]


def small_model(task: SequenceToSequence) -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig(
        width=16, feedforward=32, num_heads=2, encoder_layers=1, decoder_layers=1, dropout=0.1, max_length=32
    )
    source, target = task.vocabularies
    return Transformer(config, source.vocab_size, target.vocab_size)


def evaluate(task: SequenceToSequence, model: nn.Module, examples: list[Example], quick: bool = True):
    return task.evaluate(model, examples, quick=quick, autocast=nullcontext)


class TestLoss:
    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_is_the_cross_entropy_of_every_token_by_hand(self, smoothing: float) -> None:
        task, examples = task_of(label_smoothing=smoothing), random_examples(9)
        model = small_model(task).double().eval()
        batch = task.encode(examples).batch(np.arange(9), 12, 8)
        loss, tokens = task.loss(model, batch)

        expected = 0.0
        for example in examples:
            source = torch.tensor([task.vocabularies.source.encode(example.source)])
            said = [*task.vocabularies.target.encode(example.target), EOS_ID]
            fed = torch.tensor([[BOS_ID, *said[:-1]]])
            logits = model(source, torch.ones_like(source, dtype=torch.bool), fed, torch.arange(fed.numel()))
            for place, wanted in zip(logits.tolist(), said, strict=True):
                normaliser = math.log(sum(map(math.exp, place)))
                log_probs = [value - normaliser for value in place]
                uniform = sum(log_probs) / len(log_probs)
                expected -= (1 - smoothing) * log_probs[wanted] + smoothing * uniform
        assert loss.item() == pytest.approx(expected, rel=1e-12)
        assert tokens == sum(len(example.target) + 1 for example in examples)

    def test_of_an_evaluation_is_the_mean_over_tokens_without_smoothing(self) -> None:
        examples = random_examples(20)
        plain, smoothed = task_of(evaluation_tokens=30), task_of(evaluation_tokens=30, label_smoothing=0.3)
        model = small_model(plain).eval()
        loss, tokens = plain.loss(model, plain.encode(examples).batch(np.arange(20), 12, 8))
        for task in (plain, smoothed):
            found = evaluate(task, model, examples).loss
            assert found == pytest.approx(loss.item() / tokens, rel=rounding(additions(model)))

    def test_knows_nothing_before_training(self) -> None:
        """A model without a preference has the loss of a fair die."""
        task = task_of()
        silent = Script(task.vocabularies, {})
        assert evaluate(task, silent, random_examples(5)).loss == pytest.approx(math.log(14))


class TestExactMatch:
    SCRIPT = {"a": "12", "b": "13", "c": "1", "d": "", "e": "123456"}  # noqa: RUF012 - never changed

    @pytest.mark.parametrize("quick", [True, False])
    def test_every_character_counts_and_the_end_too(self, quick: bool) -> None:
        task = task_of()
        model = Script(task.vocabularies, self.SCRIPT)
        examples = [
            Example("a", "12"),  # right
            Example("a", "13"),  # wrong at the end
            Example("b", "23"),  # wrong at the start
            Example("c", "12"),  # too short
            Example("a", "1"),  # too long
            Example("e", "123456"),  # right, and just as long as is allowed
            Example("h", "000000"),  # would never end
        ]
        found = evaluate(task, model, examples, quick=quick)
        assert found.correct == [True, False, False, False, False, True, False]
        assert found.quick_scores["accuracy"] == pytest.approx(2 / 7)
        assert tuple(found.quick_scores) == ("loss", "accuracy")

    def test_predictions_are_whole_unless_only_the_score_is_asked_for(self) -> None:
        task = task_of()
        examples = [Example("b", "93"), Example("a", "12")]
        whole = evaluate(task, model := Script(task.vocabularies, self.SCRIPT), examples, quick=False)
        assert [prediction.text for prediction in whole.predictions] == ["13", "12"]
        steps = model.rows_seen
        cut = evaluate(task, model, examples)
        assert [prediction.text for prediction in cut.predictions] == ["1", "12"]  # wrong from the first character on
        assert model.rows_seen - steps < steps

    def test_what_is_cut_at_the_maximum_length_is_marked(self) -> None:
        task = task_of()
        examples = [Example("h", "000000"), Example("a", "12"), Example("e", "123456")]
        found = evaluate(task, Script(task.vocabularies, self.SCRIPT), examples, quick=False)
        assert [prediction.capped for prediction in found.predictions] == [True, False, False]
        assert found.capped == 1
        assert found.scores["accuracy"].value == pytest.approx(2 / 3)

    def test_a_row_given_up_early_is_not_called_cut(self) -> None:
        task = task_of()
        found = evaluate(task, Script(task.vocabularies, self.SCRIPT), [Example("h", "999999")])
        assert not found.predictions[0].capped

    @pytest.mark.parametrize("quick", [True, False])
    def test_an_unknown_character_in_the_answer_is_never_right(self, quick: bool) -> None:
        """Even when the model says <unk> at its place."""
        task = task_of()
        model = Script(task.vocabularies, {"a": "1é"})
        found = evaluate(task, model, [Example("a", "1é"), Example("a", "1ü")], quick=quick)
        assert found.correct == [False, False]
        assert found.predictions[0].text == "1<unk>"
        assert task.vocabularies.unknown([Example("a", "1é")]) == {"target": Counter("é")}

    def test_texts_are_compared_when_the_target_is_reversed(self) -> None:
        task = task_of(text=TextConfig(reverse_target=True))
        found = evaluate(task, Script(task.vocabularies, {"a": "12"}), [Example("a", "12"), Example("a", "21")])
        assert found.correct == [True, False]
        assert found.predictions[0].text == "12"

    def test_only_the_answer_counts_where_a_corpus_shows_its_working(self) -> None:
        """And a wrong step in the working does not end the search."""
        task = task_of(Worked(), answers=ANSWERS + ";")
        model = Script(task.vocabularies, {"a": "9;12", "b": "1;3"})
        found = evaluate(task, model, [Example("a", "3;12"), Example("b", "1;4")])
        assert found.correct == [True, False]
        assert found.predictions[0].text == "9;12"

    def test_beam_search_is_scored_too(self) -> None:
        task = task_of(decode={"method": "beam", "beam_width": 2})
        examples = [Example("a", "12"), Example("b", "12")]
        found = evaluate(task, Script(task.vocabularies, self.SCRIPT), examples, quick=False)
        assert found.correct == [True, False]


class TestAnyBatch:
    @pytest.mark.parametrize("tokens", [1, 24, 100])
    def test_scores_do_not_depend_on_the_batch_size(self, tokens: int) -> None:
        examples = random_examples(40)
        model = small_model(task := task_of(decode={"max_length": 4}))
        alike = evaluate(task, model, examples, quick=False)
        # answers that this model gives, so that some are right
        examples = [
            Example(example.source, prediction.text if row % 3 else example.target)
            for row, (example, prediction) in enumerate(zip(examples, alike.predictions, strict=True))
        ]
        whole = evaluate(task, model, examples)
        small = evaluate(task_of(evaluation_tokens=tokens, decode={"max_length": 4}), model, examples)
        assert small.correct == whole.correct
        assert small.loss == pytest.approx(whole.loss, rel=rounding(additions(model)))
        assert [p.text for p in small.predictions] == [p.text for p in whole.predictions]
        assert [p.score for p in small.predictions] == pytest.approx(
            [p.score for p in whole.predictions], rel=rounding(additions(model))
        )

    def test_predictions_come_in_the_order_of_the_sources(self) -> None:
        task = task_of(evaluation_tokens=12)
        sources = ["abcdefgh"[: 1 + place % 8] for place in range(20)]
        script = {source: str(len(source)) for source in sources}
        found = task.predict(Script(task.vocabularies, script), sources, autocast=nullcontext)
        assert [best[0].text for best in found] == [str(len(source)) for source in sources]
        assert [best[0].score for best in found] == pytest.approx([0.0] * 20, abs=1e-3)  # all but certain
        assert not any(best[0].capped for best in found)

    def test_several_answers_a_source(self) -> None:
        task = task_of(decode={"method": "beam", "beam_width": 3, "n_best": 3})
        found = task.predict(small_model(task), ["abc", "h"], autocast=nullcontext)
        assert [len(answers) for answers in found] == [3, 3]
        assert all(answers[0].score >= answers[-1].score or answers[-1].capped for answers in found)

    def test_sampling_answers_the_same_question_alike(self) -> None:
        task = task_of(decode={"method": "sample"})
        model = small_model(task)
        first, again = (task.predict(model, ["abc", "h"], autocast=nullcontext) for _ in range(2))
        assert first == again


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_while_evaluating_and_as_it_was_afterwards(training: bool) -> None:
    task = task_of()
    model = Script(task.vocabularies, {}).train(training)
    evaluate(task, model, random_examples(3))
    task.predict(model, ["a"], autocast=nullcontext)
    assert model.modes == {False}
    assert model.training is training


def test_a_large_set_is_evaluated_in_parts_with_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    task, examples = task_of(), [*random_examples(20), Example("a?", "9")]
    model = Script(task.vocabularies, dict(examples[::2]))
    whole = task.evaluate(model, examples, quick=False, autocast=nullcontext)
    monkeypatch.setattr("seqlab.tasks.sequence_to_sequence.task.TOGETHER", 8)
    parts = task.evaluate(model, examples, quick=False, autocast=nullcontext)
    assert list(parts.records()) == list(whole.records())
    assert parts.unknown == whole.unknown == {"source": Counter("?")}
    assert (parts.counts.characters, parts.counts.tokens) == (whole.counts.characters, whole.counts.tokens)
    assert parts.loss == pytest.approx(whole.loss)
    assert parts.to_json()["scores"].keys() == whole.to_json()["scores"].keys()


def test_evaluation_leaves_no_gradient() -> None:
    model = small_model(task := task_of())
    evaluate(task, model, random_examples(3))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_precision_of_the_run_is_used() -> None:
    """Both for the loss and for the search."""
    task = task_of()
    seen: list[bool] = []

    class Watched(Script):
        def forward(self, source: Tensor, source_mask: Tensor, target: Tensor, target_index: Tensor) -> Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().forward(source, source_mask, target, target_index)

        def encode(self, source: Tensor, source_mask: Tensor) -> Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().encode(source, source_mask)

    def autocast() -> torch.autocast:
        return torch.autocast("cpu", dtype=torch.bfloat16)

    task.evaluate(Watched(task.vocabularies, {}), random_examples(3), quick=True, autocast=autocast)
    assert seen == [True, True]
