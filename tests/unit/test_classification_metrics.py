"""Scores of a confusion matrix: scikit-learn is the reference, and drawing examples the reference of intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from seqlab.metrics.classification import class_table, class_text, classification_scores, confusion_matrix, quick_scores
from seqlab.metrics.intervals import bootstrap, wilson


def labels(n: int, num_classes: int, errors: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    true = generator.integers(num_classes, size=n)
    return true, np.where(generator.random(n) < errors, generator.integers(num_classes, size=n), true)


pairs = st.integers(1, 6).flatmap(
    lambda k: st.tuples(
        st.just(k), st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=40)
    )
)


@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")
@settings(max_examples=60)
@given(pairs)
def test_scores_are_those_of_scikit_learn(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    num_classes, examples = drawn
    true, predicted = np.array(examples).T
    matrix = confusion_matrix(true, predicted, num_classes)
    np.testing.assert_array_equal(matrix, reference.confusion_matrix(true, predicted, labels=np.arange(num_classes)))
    expected = {
        "accuracy": reference.accuracy_score(true, predicted),
        "macro_f1": reference.f1_score(true, predicted, average="macro"),
        "weighted_f1": reference.f1_score(true, predicted, average="weighted"),
        "matthews": reference.matthews_corrcoef(true, predicted),
    }
    assert quick_scores(matrix) == pytest.approx(expected, abs=1e-12)
    intervals = classification_scores(matrix, resamples=20)
    assert {name: score.value for name, score in intervals.items()} == pytest.approx(expected, abs=1e-12)
    assert all(score.low <= score.value <= score.high for score in intervals.values())


@settings(max_examples=30)
@given(pairs)
def test_the_table_is_that_of_scikit_learn(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    num_classes, examples = drawn
    true, predicted = np.array(examples).T
    matrix, names = confusion_matrix(true, predicted, num_classes), [f"class {i}" for i in range(num_classes)]
    present = [names[i] for i in sorted({*true, *predicted})]
    report = reference.classification_report(true, predicted, target_names=present, output_dict=True, zero_division=0)
    rows = class_table(matrix, names)
    assert [row.name for row in rows] == [*present, "macro avg", "weighted avg"]
    for row in rows:
        expected = [report[row.name][score] for score in ("precision", "recall", "f1-score", "support")]
        assert [*row[1:]] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("num_classes", "digits"), [(3, 2), (10, 4), (120, 3)])
def test_the_text_is_that_of_scikit_learn_letter_by_letter(num_classes: int, digits: int) -> None:
    true, predicted = labels(2000, num_classes, errors=0.3)
    names = [f"ankle boot {i}" for i in range(num_classes)]
    expected = reference.classification_report(true, predicted, target_names=names, digits=digits)
    assert class_text(confusion_matrix(true, predicted, num_classes), names, digits) == expected


def test_intervals_are_those_of_drawing_examples() -> None:
    true, predicted = labels(500, 4, errors=0.3)
    matrix = confusion_matrix(true, predicted, 4)
    cells = np.eye(16)[true * 4 + predicted]  # what each example adds to the flat matrix
    drawn = bootstrap(cells, lambda sums: quick_scores(sums.reshape(4, 4)), resamples=2000)
    found = classification_scores(matrix, resamples=20_000)
    for name in ("macro_f1", "weighted_f1", "matthews"):
        assert found[name] == pytest.approx(drawn[name], abs=0.006)
        assert 0.05 < found[name].high - found[name].low < 0.12
    assert found["accuracy"] == wilson(int((true == predicted).sum()), 500)


def test_the_same_seed_gives_the_same_ends() -> None:
    matrix = confusion_matrix(*labels(100, 3, errors=0.5), 3)
    assert classification_scores(matrix) == classification_scores(matrix)
    assert classification_scores(matrix) != classification_scores(matrix, seed=2)


def test_all_right_and_all_wrong() -> None:
    perfect = classification_scores(np.diag([3, 4, 5]))
    assert [tuple(perfect[name]) for name in ("macro_f1", "weighted_f1", "matthews")] == [(1.0, 1.0, 1.0)] * 3
    assert quick_scores(np.array([[0, 5], [5, 0]])) == {
        "accuracy": 0.0,
        "macro_f1": 0.0,
        "weighted_f1": 0.0,
        "matthews": -1.0,
    }


@pytest.mark.parametrize(("true", "predicted"), [([], []), ([0, 1], [0]), ([0, 3], [0, 1]), ([0, -1], [0, 1])])
def test_what_cannot_be_scored(true: list[int], predicted: list[int]) -> None:
    with pytest.raises(ValueError, match=r"nothing to score|class number"):
        confusion_matrix(np.array(true, dtype=int), np.array(predicted, dtype=int), 3)
