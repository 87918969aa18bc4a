"""Texts become windows and back: exact characters, however they are written; and the best spans, by brute force."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.corpora.squad import Question, Span
from seqlab.runs.hf_folder import find_checkpoint, load_tokenizer
from seqlab.tasks.question_answering.spans import Candidate, best_spans, log_probabilities, merged
from seqlab.tasks.question_answering.windows import NO_ANSWER, NOWHERE, Windows, WindowSize, encode_windows, place

SIZE = WindowSize(window=24, stride=6, question=6)
TEXT = "Ada wrote  the Notes, été 43 — ça va? Straße 9. The notes end 1843!"


@pytest.fixture(scope="module")
def tokenizer(tiny_encoder: Path) -> Any:
    return load_tokenizer(find_checkpoint(str(tiny_encoder)))


def asked(answer: str | None, question: str = "Who?", context: str = TEXT) -> Question:
    answers = () if answer is None else (Span(answer, context.index(answer) if answer in context else None),)
    return Question("1", "", question, context, answers)


def answers_of(windows: Windows, context: str) -> set[str]:
    """What the labels of the windows point to in the text."""
    labels = enumerate(windows.rows.labels.tolist())
    found = (windows.characters(row, *label) for row, label in labels if label[0] > 0)
    return {context[start:end] for start, end in found}


@pytest.mark.parametrize("answer", ["Ada", "Notes", "été 43 — ça", "Straße", "9", "1843", "1843!", " Notes "])
def test_a_label_points_to_the_very_characters_of_the_answer(tokenizer: Any, answer: str) -> None:
    context = TEXT.replace("Notes", " Notes ")
    windows = encode_windows(tokenizer, [asked(answer, context=context)], SIZE)
    assert len(windows) > 1
    assert answers_of(windows, context) == {answer.strip()}


def test_windows_cover_the_text_and_share_the_stride(tokenizer: Any) -> None:
    windows = encode_windows(tokenizer, [asked("Ada")], SIZE)
    assert windows.rows.shapes[:, 0].max() == SIZE.window
    assert windows.rows.shapes[:, 1].tolist() == [1] * len(windows)
    spans = []
    for row in range(len(windows)):
        begins = windows.first.ids[windows.first.offsets[row] : windows.first.offsets[row + 1]]
        ends = windows.last.ids[windows.last.offsets[row] : windows.last.offsets[row + 1]]
        spans.append([(b, e) for b, e in zip(begins.tolist(), ends.tolist(), strict=True) if b != NOWHERE])
    for before, after in pairwise(spans):
        assert before[-SIZE.stride :] == after[: SIZE.stride]
    covered = {place for window in spans for begin, end in window for place in range(begin, end)}
    assert {n for n, letter in enumerate(TEXT) if not letter.isspace()} <= covered


def test_windows_without_the_whole_answer_point_to_the_first_token(tokenizer: Any) -> None:
    windows = encode_windows(tokenizer, [asked("Ada"), asked(None), asked("Babbage")], SIZE)
    labels = windows.rows.labels
    assert windows.question.tolist() == sorted(windows.question.tolist())
    of_ada = labels[windows.question == 0]
    assert (of_ada[0] > 0).all()
    assert (of_ada[1:] == NO_ANSWER).all()
    assert (labels[windows.question == 1] == NO_ANSWER).all()
    assert (labels[windows.question == 2] == NOWHERE).all()


def test_a_special_token_in_a_text_is_text(tokenizer: Any) -> None:
    context = "Ada [SEP] wrote [PAD] the Notes."
    windows = encode_windows(tokenizer, [asked("the Notes", "Who [SEP]?", context)], WindowSize(48, 6, 8))
    ids = windows.rows.ids.ids.tolist()
    assert ids.count(tokenizer.sep_token_id) == 2
    assert tokenizer.pad_token_id not in ids
    assert answers_of(windows, context) == {"the Notes"}


def test_long_questions_are_cut_and_counted(tokenizer: Any) -> None:
    windows = encode_windows(tokenizer, [asked("Ada", "who wrote the notes zzzzzz?"), asked("Ada")], SIZE)
    assert windows.is_cut == [True, False]
    assert windows.rows.shapes[:, 0].max() == SIZE.window


def test_types_tell_the_question_from_the_text(tokenizer: Any) -> None:
    windows = encode_windows(tokenizer, [asked("Ada")], SIZE)
    batch = windows.rows.batch(torch.arange(1).numpy(), SIZE.window, 1)
    assert batch.types is not None
    mask = torch.from_numpy(windows.text_mask(batch.rows, SIZE.window))
    assert not mask[batch.types == 0].any()
    assert mask.sum() == batch.types.sum() - 1  # the mark at the end is none of the text


def test_no_questions_no_windows(tokenizer: Any) -> None:
    assert len(encode_windows(tokenizer, [], SIZE)) == 0


def test_places_by_hand() -> None:
    first, last = torch.tensor([-1, 0, 4, 8]).numpy(), torch.tensor([-1, 3, 7, 9]).numpy()
    assert place(first, last, Span("abc", 0)) == (1, 1)
    assert place(first, last, Span("b", 1)) == (1, 1)  # the token that holds it
    assert place(first, last, Span("c def", 2)) == (1, 2)
    assert place(first, last, Span("f gh", 6)) == (NO_ANSWER, NO_ANSWER)  # the window ends before it
    assert place(first, last, None) == (NO_ANSWER, NO_ANSWER)
    assert place(first, last, Span("x", None)) == (NOWHERE, NOWHERE)


@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(1, 5))
def test_the_best_spans_are_those_of_a_plain_search(seed: int, tokens: int, longest: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    start, end = torch.randn(2, 3, tokens, generator=generator)
    text = torch.rand(3, tokens, generator=generator) > 0.3
    found = best_spans(start, end, text, longest, number=4)
    for row in range(3):
        spans = sorted(
            (
                (float(start[row, i] + end[row, j]), i, j)
                for i in range(tokens)
                for j in range(i, min(i + longest, tokens))
                if text[row, i] and text[row, j]
            ),
            reverse=True,
        )[:4]
        columns = (part[row].tolist() for part in (found.scores, found.first, found.last))
        kept = [entry for entry in zip(*columns, strict=True) if entry[0] != -math.inf]
        assert [(i, j) for _, i, j in kept] == [(i, j) for _, i, j in spans]
        assert [score for score, *_ in kept] == pytest.approx([score for score, *_ in spans])
        assert float(found.null[row]) == pytest.approx(float(start[row, 0] + end[row, 0]))


def test_spans_of_several_windows_are_merged() -> None:
    one, other = [Candidate(0, 3, 1.0), Candidate(4, 7, 0.5)], [Candidate(4, 7, 2.0), Candidate(8, 9, 0.0)]
    assert merged([one, other], number=2) == [Candidate(4, 7, 2.0), Candidate(0, 3, 1.0)]


def test_probabilities_add_up_to_one() -> None:
    scores = log_probabilities([Candidate(0, 1, 900.0), Candidate(1, 2, 899.0)])
    assert sum(map(math.exp, scores)) == pytest.approx(1)
    assert math.exp(scores[0] - scores[1]) == pytest.approx(math.e)
    assert log_probabilities([]) == []
