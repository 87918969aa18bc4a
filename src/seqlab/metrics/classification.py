"""Metrics of a classifier, overall and by class, from its confusion matrix.

All of them are functions of three counts for each class: how often it was rightly predicted, how often it was true, how
often it was predicted. So a thousand resampled sets of examples are scored at once, as arrays (1000, K) of `K` classes,
which the functions of scikit-learn cannot do; the tests hold every score against theirs. A ratio 0 / 0 is 0, as there.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqlab.metrics.intervals import Interval, wilson

AVERAGES = ("macro avg", "weighted avg")
"""The last two rows of a table."""


class ClassRow(NamedTuple):
    """Scores of one class, or their average over the classes."""

    name: str
    precision: float
    """of the examples that were predicted to be of this class, the share that is"""
    recall: float
    """of the examples of this class, the share that was predicted to be"""
    f1: float
    """harmonic mean of both"""
    support: int
    """number of examples of this class"""


class ClassCounts(NamedTuple):
    """What scores follow from: counts of each class, of one set of examples or of many: (..., K)."""

    right: np.ndarray
    true: np.ndarray
    predicted: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """(...), the number of examples."""
        return self.true.sum(-1)

    @property
    def occurs(self) -> np.ndarray:
        """(..., K), whether a class is true or predicted anywhere; averages leave the others out."""
        return (self.true > 0) | (self.predicted > 0)


def confusion_matrix(true: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """(K, K): how many examples of class i (row) were predicted to be of class j (column).

    Args:
        true, predicted: (N,), class numbers below `num_classes`.
        num_classes: K.

    Raises ValueError without examples, and for a class number that is out of range.
    """
    true, predicted = np.asarray(true), np.asarray(predicted)
    if not len(true) or len(true) != len(predicted):
        raise ValueError(f"nothing to score: {len(true)} labels, {len(predicted)} predictions")
    if min(true.min(), predicted.min()) < 0 or max(true.max(), predicted.max()) >= num_classes:
        raise ValueError(f"a class number is not below {num_classes}")
    cells = np.bincount(true * num_classes + predicted, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def classification_scores(matrix: np.ndarray, *, resamples: int = 1000, seed: int = 1) -> dict[str, Interval]:
    """Accuracy, macro F1, weighted F1 and Matthews correlation of a confusion matrix, with 95 % intervals.

    Accuracy has Wilson's interval, the others a percentile bootstrap: as often as `resamples` says, N examples are
    drawn with replacement. For counts this is one draw of a multinomial distribution over the cells.
    """
    counts, resampled = _counts(matrix), _resampled(matrix, resamples, seed)
    scores = {"macro_f1": _macro_f1, "weighted_f1": _weighted_f1, "matthews": _matthews}
    intervals = {name: _percentiles(float(score(counts)), score(resampled)) for name, score in scores.items()}
    return {"accuracy": wilson(int(counts.right.sum()), int(counts.total)), **intervals}


def quick_scores(matrix: np.ndarray) -> dict[str, float]:
    """The same without intervals, for curves."""
    counts = _counts(matrix)
    return {
        "accuracy": float(counts.right.sum() / counts.total),
        "macro_f1": float(_macro_f1(counts)),
        "weighted_f1": float(_weighted_f1(counts)),
        "matthews": float(_matthews(counts)),
    }


def class_table(matrix: np.ndarray, names: Sequence[str]) -> list[ClassRow]:
    """A row for each class that is true or predicted anywhere, then the two averages over these classes.

    Args:
        matrix: (K, K), as `confusion_matrix` makes it.
        names: of the K classes.
    """
    counts = _counts(matrix)
    scores = np.stack(_precision_recall_f1(counts), axis=1)  # (K, 3)
    present, total = np.flatnonzero(counts.occurs).tolist(), int(counts.total)
    averages = scores[present].mean(0), counts.true @ scores / total
    return [
        *(_row(names[label], scores[label], counts.true[label]) for label in present),
        *(_row(name, average, total) for name, average in zip(AVERAGES, averages, strict=True)),
    ]


def class_text(matrix: np.ndarray, names: Sequence[str], digits: int = 2) -> str:
    """The table as text, laid out as `classification_report` of scikit-learn prints it."""
    rows = class_table(matrix, names)
    width = max(len(row.name) for row in rows)
    accuracy, total = f"{np.trace(matrix) / matrix.sum():.{digits}f}", rows[-1].support
    lines = [_line(width, "", "precision", "recall", "f1-score", "support"), ""]
    for row in rows:
        if row.name == AVERAGES[0]:
            lines += ["", _line(width, "accuracy", "", "", accuracy, total)]
        lines.append(_line(width, row.name, *(f"{score:.{digits}f}" for score in row[1:4]), row.support))
    return "\n".join(lines) + "\n"


def _row(name: str, scores: np.ndarray, support: int) -> ClassRow:
    precision, recall, f1 = map(float, scores)
    return ClassRow(name, precision, recall, f1, int(support))


def _line(width: int, name: str, *cells: object) -> str:
    return f"{name:>{width}} " + "".join(f" {cell!s:>9}" for cell in cells)


# Scores


def _precision_recall_f1(counts: ClassCounts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every class, each (..., K)."""
    return (
        _ratio(counts.right, counts.predicted),
        _ratio(counts.right, counts.true),
        _ratio(2 * counts.right, counts.true + counts.predicted),
    )


def _macro_f1(counts: ClassCounts) -> np.ndarray:
    return _precision_recall_f1(counts)[2].sum(-1) / counts.occurs.sum(-1)


def _weighted_f1(counts: ClassCounts) -> np.ndarray:
    return (_precision_recall_f1(counts)[2] * counts.true).sum(-1) / counts.total


def _matthews(counts: ClassCounts) -> np.ndarray:
    """Source: Gorodkin (2004), "Comparing two K-category assignments by a K-category correlation coefficient"."""
    right, true, predicted = (count.astype(float) for count in counts)
    total = true.sum(-1)
    covariance = right.sum(-1) * total - (true * predicted).sum(-1)
    variances = (total**2 - (true**2).sum(-1)) * (total**2 - (predicted**2).sum(-1))
    return _ratio(covariance, np.sqrt(variances))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) > 0)


# Counts


def _counts(matrix: np.ndarray) -> ClassCounts:
    return ClassCounts(np.diagonal(matrix), matrix.sum(1), matrix.sum(0))


def _resampled(matrix: np.ndarray, resamples: int, seed: int) -> ClassCounts:
    """Counts (`resamples`, K) of as many examples, drawn from the matrix."""
    true, predicted = np.nonzero(matrix)
    cells, classes = matrix[true, predicted], np.arange(len(matrix))
    total = int(cells.sum())
    drawn = np.random.default_rng(seed).multinomial(total, cells / total, size=resamples).astype(float)
    of_true, of_predicted = true[:, None] == classes, predicted[:, None] == classes  # (cells that are not empty, K)
    # sums of whole numbers, which floats hold exactly and multiply fast
    return ClassCounts(drawn @ (of_true & of_predicted), drawn @ of_true, drawn @ of_predicted)


def _percentiles(value: float, resampled: np.ndarray) -> Interval:
    low, high = map(float, np.quantile(resampled, (0.025, 0.975)))
    return Interval(value, min(value, low), max(value, high))  # a percentile of few examples may miss the value itself
