"""What is in the data of a recipe? Tables for a terminal, and numbers for a page where there are lengths to draw."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Column, Table

from seqlab.data.corpus import build_corpus
from seqlab.data.images import ImageCorpus, ImagesData
from seqlab.data.labelled import LabelledCorpus, LabelledData
from seqlab.data.mathematics import MathematicsData
from seqlab.data.numbers import NumbersData
from seqlab.data.parallel import ParallelData
from seqlab.data.passages import Passages, PassagesData, count_words
from seqlab.data.squad import Squad, SquadData
from seqlab.experiment import Experiment
from seqlab.report.image_statistics import class_table
from seqlab.report.lengths import terminal_tables
from seqlab.report.statistics import MOST, Splits, Statistics, describe


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
