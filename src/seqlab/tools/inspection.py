"""What is in the data of a recipe? Tables for a terminal, and numbers for a page where there are lengths to draw."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from rich.table import Column, Table
from rich.text import Text

from seqlab.data.corpora.images import ImageCorpus, ImagesData
from seqlab.data.corpora.kinds import build_corpus
from seqlab.data.corpora.labelled import LabelledCorpus, LabelledData
from seqlab.data.corpora.mathematics import MathematicsData
from seqlab.data.corpora.numbers import NumbersData
from seqlab.data.corpora.parallel import ParallelData
from seqlab.data.corpora.passages import Passages, PassagesData, count_words
from seqlab.data.corpora.squad import Squad, SquadData
from seqlab.experiment.config import Experiment
from seqlab.report import wording
from seqlab.report.sections.lengths import terminal_tables
from seqlab.runs.statistics import MOST, Splits, Statistics, describe


class Inspection(NamedTuple):
    """What `seqlab data` shows."""

    tables: Sequence[Table]
    remarks: Sequence[str]
    lengths: Statistics | None = None
    """of texts"""


def inspect(experiment: Experiment) -> Inspection:
    """Reads every set, and counts what there is of it."""
    match experiment.data:
        case ImagesData() as data:
            return _images(ImageCorpus(data))
        case MathematicsData() | NumbersData() | ParallelData() as data:
            corpus, words = build_corpus(data), experiment.text.unit != "character"
            found = describe(corpus.splits(), words=words, remarks=corpus.remarks(), sample=MOST)
            return Inspection(terminal_tables(found), found.remarks, found)
        case SquadData() as data:
            return _questions(Squad(data))
        case LabelledData() as data:
            labelled = LabelledCorpus(data)
            splits = {name: [(e.source, e.label) for e in part] for name, part in labelled.splits().items()}
            return _texts(splits, labelled.remarks())
        case PassagesData() as data:
            return _passages(Passages(data))


def _questions(corpus: Squad) -> Inspection:
    """Questions and the answers that are trained on."""
    splits = {
        name: [(question.question, question.target.text if question.target else "") for question in questions]
        for name, questions in corpus.splits().items()
    }
    return _texts(splits, corpus.remarks())


def _passages(corpus: Passages) -> Inspection:
    """How much text there is."""
    table = Table("", *(Column(name, justify="right") for name in ("documents", "paragraphs", "words")), box=None)
    for name, documents in corpus.splits().items():
        paragraphs = sum(len(document.paragraphs) for document in documents)
        table.add_row(name, f"{len(documents):,}", f"{paragraphs:,}", f"{sum(map(count_words, documents)):,}")
    return Inspection([table], [])


def _texts(splits: Splits, remarks: Sequence[str]) -> Inspection:
    """Texts and what they belong to, whose lengths are counted in words."""
    found = describe(splits, words=True, remarks=remarks, sample=MOST)
    return Inspection(terminal_tables(found), found.remarks, found)


def _images(corpus: ImageCorpus) -> Inspection:
    splits = corpus.splits()
    labels = {name: images.labels for name, images in splits.items()}
    size = splits["training"]
    return Inspection([class_table(labels, corpus.classes, size.height, size.width)], corpus.remarks())


def class_table(labels: Mapping[str, np.ndarray], classes: Sequence[str], height: int, width: int) -> Table:
    """Counts of every class by set, with their share of the set; within 80 columns for three sets and short names.

    Args:
        labels: the class numbers (N,) of every set, by its name.
        classes: name of every class, by its number.
        height, width: of every image, in pixels.
    """
    counts = {name: np.bincount(numbers, minlength=len(classes)) for name, numbers in labels.items()}
    caption = f"{sum(map(len, labels.values())):,} images of {height} x {width} pixels"
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
        show_footer=True,
        footer_style="bold",
        caption=caption,
        caption_style="dim",
        caption_justify="left",
    )
    table.add_column("class", footer="all", overflow="fold")
    for name, numbers in labels.items():
        table.add_column(Text(name), footer=f"{len(numbers):,}", justify="right")
        table.add_column("share", justify="right", style="dim")
    for label, title in enumerate(classes):
        table.add_row(Text(title), *(cell for count in counts.values() for cell in _cells(int(count[label]), count)))
    return table


def _cells(count: int, counts: np.ndarray) -> tuple[Text | str, str]:
    total = int(counts.sum())
    # a class that a set lacks cannot be learned from it, or judged by it
    return f"{count:,}" if count else Text("none", style="yellow"), wording.per_cent(count / total if total else None)
