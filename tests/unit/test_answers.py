"""Exact match and F1 of SQuAD: cases by hand, and a second implementation of the official definition."""

import random
import re
import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.metrics.answers import (
    Match,
    answer_scores,
    baselines,
    best_threshold,
    f1,
    first_sentence,
    match,
    mean_scores,
    normalized,
    question_word,
    random_span,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Broncos!", "broncos"),
        ("a  cat, an  owl\tand the dog", "cat owl and dog"),
        ("U.S.A.", "usa"),
        ("well-known", "wellknown"),
        ("theatre another", "theatre another"),  # articles are whole words
        ("“quoted”", "“quoted”"),  # only ASCII punctuation is taken out
        ("The", ""),
    ],
)
def test_normalisation(text: str, expected: str) -> None:
    assert normalized(text) == expected


@pytest.mark.parametrize(
    ("predicted", "answers", "expected"),
    [
        ("Denver Broncos", ["the Denver Broncos"], Match(True, 1.0)),
        ("Broncos", ["Denver Broncos"], Match(False, 2 / 3)),  # precision 1, recall 1/2
        ("Denver Broncos team of 2016", ["Broncos", "Denver Broncos"], Match(False, 4 / 7)),  # 2/5 and 2/2
        ("one one two", ["one two two"], Match(False, 2 / 3)),  # each word as often as it occurs: 2/3 and 2/3
        ("cat", ["dog"], Match(False, 0.0)),
        ("", ["dog"], Match(False, 0.0)),
        ("", [], Match(True, 1.0)),  # rightly without an answer
        ("dog", [], Match(False, 0.0)),
        ("the", [""], Match(True, 1.0)),
        ("The", ["The", "rock"], Match(False, 0.0)),
    ],
)
def test_matches_by_hand(predicted: str, answers: list[str], expected: Match) -> None:
    assert match(predicted, answers) == pytest.approx(expected)


def official(predicted: str, golds: list[str]) -> tuple[float, float]:
    """The definition of version 2.0 in other words: no shared code with what it tests."""

    def tokens(text: str) -> list[str]:
        kept = "".join(c for c in text.lower() if c not in string.punctuation)
        return re.sub(r"\b(a|an|the)\b", " ", kept).split()

    def overlap(gold: list[str], found: list[str]) -> float:
        if not gold or not found:
            return float(gold == found)
        same = sum((Counter(gold) & Counter(found)).values())
        if same == 0:
            return 0.0
        precision, recall = same / len(found), same / len(gold)
        return 2 * precision * recall / (precision + recall)

    wanted = [tokens(gold) for gold in golds if tokens(gold)] or [[]]
    return (
        max(float(" ".join(gold) == " ".join(tokens(predicted))) for gold in wanted),
        max(overlap(gold, tokens(predicted)) for gold in wanted),
    )


TEXTS = st.lists(st.sampled_from(["the", "A", "an", "cat", "Cat!", "dog", "-", "’s", "éa", "a.n"]), max_size=6).map(
    " ".join
)


@given(TEXTS, st.lists(TEXTS, max_size=3))
def test_scores_are_the_official_ones(predicted: str, golds: list[str]) -> None:
    assert match(predicted, golds) == pytest.approx(official(predicted, golds))


@given(TEXTS, TEXTS)
def test_f1_is_symmetric_and_one_for_equal_texts(left: str, right: str) -> None:
    assert f1(left, right) == pytest.approx(f1(right, left))
    assert f1(left, left) == 1.0


def test_means_and_intervals() -> None:
    matches = [Match(True, 1.0), Match(False, 0.5), Match(False, 0.0), Match(True, 1.0)]
    scores = answer_scores(matches)
    assert {name: score.value for name, score in scores.items()} == mean_scores(matches)
    assert mean_scores(matches) == {"f1": 0.625, "exact_match": 0.5}
    for score in scores.values():
        assert score.low is not None
        assert score.high is not None
        assert 0 <= score.low < score.value < score.high <= 1


def test_the_first_sentence() -> None:
    assert first_sentence('He said "Go." Then he left.') == 'He said "Go.'
    assert first_sentence("Version 1.5 came. It was late.") == "Version 1.5 came."
    assert first_sentence(" no end ") == "no end"


def test_random_spans_are_words_in_a_row_and_seeded() -> None:
    context = "one two three four five six seven"
    spans = [random_span(context, random.Random(seed)) for seed in range(50)]
    assert all(span in context and 1 <= len(span.split()) <= 5 for span in spans)
    assert len(set(spans)) > 10
    assert random_span("alone", random.Random(1)) == "alone"


def test_question_words() -> None:
    asked = ["In what year did it end?", "How many?", "Name the city.", "To whom was it sent?"]
    assert [question_word(question) for question in asked] == ["what", "how", "other", "whom"]


def test_baselines() -> None:
    contexts = ["Ada wrote. It was 1843."] * 20
    scores = baselines(contexts, [["Ada wrote"]] * 20)
    assert scores["first sentence"] == {"f1": 1.0, "exact_match": 1.0}
    assert 0 < scores["random span"]["f1"] < 1
    assert scores == baselines(contexts, [["Ada wrote"]] * 20)


QUESTIONS = st.lists(
    st.tuples(st.integers(-3, 3).map(float), st.sampled_from([0.0, 0.5, 1.0]), st.booleans()), min_size=1, max_size=8
)


@given(QUESTIONS)
def test_no_threshold_is_better_than_the_best(questions: list[tuple[float, float, bool]]) -> None:
    margins, scores, known = zip(*questions, strict=True)

    def mean(threshold: float) -> float:
        answered = [score if has_answer else 0.0 for score, has_answer in zip(scores, known, strict=True)]
        silent = [0.0 if has_answer else 1.0 for has_answer in known]
        rows = zip(margins, answered, silent, strict=True)
        return sum(said if margin <= threshold else unsaid for margin, said, unsaid in rows) / len(questions)

    best = best_threshold(margins, scores, known)
    assert best.value == pytest.approx(mean(best.threshold))
    assert best.value == pytest.approx(max(mean(threshold) for threshold in (-10.0, *margins)))
