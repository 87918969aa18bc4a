"""Tables of a corpus for a terminal, and the lengths of its texts for a page."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.table import Column, Table
from rich.text import Text

from seqlab.data.corpora.corpus import Corpus, CountTable
from seqlab.report import wording
from seqlab.report.sections.lengths import terminal_tables
from seqlab.runs.statistics import MOST, Statistics, describe


class Inspection(NamedTuple):
    """What `seqlab data` shows."""

    tables: Sequence[Table]
    remarks: Sequence[str]
    lengths: Statistics | None = None
    """of texts"""


def inspect(corpus: Corpus[Any], *, words: bool) -> Inspection:
    """Reads every set, and counts what there is of it. UserError when a file is missing.

    Args:
        corpus: the data.
        words: lengths are those of words, not of characters alone; a corpus that has a unit of its own overrules this.
    """
    corpus.check_files()
    overview = corpus.overview()
    tables = [] if overview.table is None else [count_table(overview.table)]
    if overview.texts is None:
        return Inspection(tables, overview.remarks)
    words = words if overview.unit is None else overview.unit == "words"
    lengths = describe(overview.texts, words=words, remarks=overview.remarks, sample=MOST)
    return Inspection([*tables, *terminal_tables(lengths)], overview.remarks, lengths)


def count_table(counts: CountTable) -> Table:
    """The counts as a table, with shares and sums where they are asked for.

    With shares, three columns with short titles fit into 80 characters.
    """
    return _with_shares(counts) if counts.shares else _plain(counts)


def _plain(counts: CountTable) -> Table:
    table = Table(
        counts.title,
        *(Column(title, justify="right") for title in counts.columns),
        box=None,
        caption=counts.caption or None,
    )
    for title, row in counts.rows.items():
        table.add_row(Text(title), *(f"{count:,}" for count in row))
    return table


def _with_shares(counts: CountTable) -> Table:
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
        show_footer=True,
        footer_style="bold",
        caption=counts.caption or None,
        caption_style="dim",
        caption_justify="left",
    )
    sums = [sum(column) for column in zip(*counts.rows.values(), strict=True)]
    table.add_column(counts.title, footer="all", overflow="fold")
    for title, total in zip(counts.columns, sums, strict=True):
        table.add_column(Text(title), footer=f"{total:,}", justify="right")
        table.add_column("share", justify="right", style="dim")
    for title, row in counts.rows.items():
        table.add_row(Text(title), *(cell for pair in zip(row, sums, strict=True) for cell in _cells(*pair)))
    return table


def _cells(count: int, total: int) -> tuple[Text | str, str]:
    # a class that a set lacks cannot be learned from it, or judged by it
    return f"{count:,}" if count else Text("none", style="yellow"), wording.per_cent(count / total if total else None)
