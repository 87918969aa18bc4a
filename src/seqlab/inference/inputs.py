"""Inputs from a user's file: the cells of a table, the questions of a SQuAD file, or the lines of a text."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from seqlab.data.corpora.corpus import Example, ReferencedExample
from seqlab.data.readers.columns import Column, Columns
from seqlab.data.readers.lines import find, format_suffix, is_file, read_lines
from seqlab.data.readers.reading import DEFAULT, Reading
from seqlab.data.readers.tables import FORMATS, read_table
from seqlab.errors import UserError
from seqlab.tasks.task import Task

_BREAKS = re.compile(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
"""What would end a line or a cell."""


def read_inputs(
    task: Task, path: Path, named: Sequence[str] = (), *, with_context: bool = False
) -> tuple[Iterator[str], Reading]:
    """An input per line of text, in the order of the file, and what there is to say of the reading in the end.

    Args:
        task: of the run, whose data knows the columns of an input.
        path: a table by its name (in one of the formats that are trained on), or a text with an input on each line.
        named: columns, by name or number, that hold an input; when there are none, those that the run was trained on.
        with_context: an input is a question alone: its text comes from elsewhere.

    Raises:
        UserError: a table does not have the columns (the message names those that it has), or has a bad line: none is
            left out, as outputs are to line up with inputs.
    """
    file = find(path) or path
    reading = Reading(getattr(getattr(task.corpus, "config", None), "reading", DEFAULT), at_once=True)
    known: Sequence[Columns] = getattr(task.corpus, "input_columns", list)()
    is_table = format_suffix(file) in FORMATS and format_suffix(file) not in getattr(task, "own_formats", ())
    if not named and not (is_table and known):
        return iter(task.inputs(file)), reading
    size = 1 if with_context or not known else len(known[0].wanted)
    wanted = (
        [Columns(tuple(map(_column, named)), are_languages=False)] if named else [_first(known[0], size), *known[1:]]
    )
    if len(named) > size:
        raise UserError(f"--column names {len(named)} columns, but an input of this run has {size}")
    rows = _rows(file, [replace(columns, by_option=True) for columns in wanted], reading)
    return (_line(cells[:size]) for cells in rows), reading


def with_references(task: Task, path: Path, examples: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """The examples of a file with further references.

    Args:
        task: writes texts.
        path: the file.
        examples: what was read of it.
        names: of its columns, or of files with a reference on each line.

    Raises:
        UserError: there is no such column, or there are more or fewer references than examples.
    """
    if not all(isinstance(example, Example) for example in examples):
        raise UserError("--reference needs a run that generates text: leave it out")
    sides = []
    for name in names:
        side = list(read_lines(Path(name)) if is_file(Path(name)) else read_inputs(task, path, (name,))[0])
        if len(side) != len(examples):
            raise UserError(f"{path} has {len(examples):,} examples, but {name} has {len(side):,} references")
        sides.append(side)
    rows = zip(*sides, strict=True)
    return [ReferencedExample(e.source, e.target, others) for e, others in zip(examples, rows, strict=True)]


def _column(name: str) -> Column:
    return int(name) if name.isdecimal() else name


def _rows(file: Path, wanted: Sequence[Columns], reading: Reading) -> Iterator[Sequence[str]]:
    """The cells of the first columns that the table has."""
    for place, columns in enumerate(wanted):
        rows = (cells for _, cells in read_table(file, columns, reading=reading))
        try:
            first = next(rows, None)
        except UserError:
            if place + 1 < len(wanted) and _has_them(file, wanted[place + 1]):
                continue
            raise
        return chain([] if first is None else [first], rows)
    raise AssertionError("the last columns are there, or an error was raised")


def _has_them(file: Path, columns: Columns) -> bool:
    try:
        next(iter(read_table(file, columns)), None)
    except UserError:
        return False
    return True


def _first(columns: Columns, size: int) -> Columns:
    return replace(columns, wanted=columns.wanted[:size], names=columns.names[:size])


def _line(cells: Sequence[str]) -> str:
    """The cells of a row with tabs between them; blank where one of them is."""
    texts = [_BREAKS.sub(" ", cell).strip() for cell in cells]
    return "\t".join(texts) if all(texts) else ""
