"""Which columns of a table are wanted, where they are, and what to propose when they are not found."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from seqlab.data.readers.languages import language_of, likely_language, plain_name, same_language
from seqlab.data.readers.reading import quote
from seqlab.errors import UserError

Column = str | Annotated[int, Field(ge=1)]
"""A column by its name in the header, or by its number (from 1)."""

SAMPLE = 20
"""Lines below the first that are looked at."""

SHOWN = 20
"""Columns that a message names."""

HEADER_WORDS = {
    *("source", "src", "target", "tgt", "translation", "input", "output", "question", "answer", "context"),
    *("text", "text1", "text2", "sentence", "sentence1", "sentence2", "premise", "hypothesis", "review"),
    *("label", "gold_label", "class", "category", "sentiment", "quality", "id", "idx", "index"),
}
"""What a cell of a header says that is hardly a text of its own."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are asked for."""

    wanted: tuple[Column, ...]
    guessed: bool = False
    """nobody said where they are, so a table of exactly two columns without a header has them in this order"""
    names: tuple[str, ...] = ()
    """what the first of them hold: languages, or the settings of `data` that name them"""
    are_languages: bool = True
    by_option: bool = False
    """the option --column says where they are, not settings of `data`"""

    @property
    def by_name(self) -> tuple[str, ...]:
        """The names of all, where numbers have none a number as text: for formats that number nothing."""
        names = (*self.names, *map(str, self.wanted[len(self.names) :]))
        return tuple(column if isinstance(column, str) else names[place] for place, column in enumerate(self.wanted))

    def find(self, known: Iterable[str], place: str) -> list[str | None]:
        """Every column among the known ones: by its name, or else by that of what it holds; None where it is not."""
        found = [find_column(name, known, place, languages=self.are_languages) for name in self.by_name]
        for number, name in enumerate(self.names):
            if found[number] is None:
                other = find_column(name, known, place, languages=self.are_languages)
                found[number] = None if other in found else other
        return found

    def proposal(self, chosen: Sequence[Column]) -> str:
        """The settings that would say where the columns are."""
        values = [str(column) if isinstance(column, int) else f'"{quote(column)}"' for column in chosen]
        if self.by_option:
            return " ".join(f"--column {value}" for value in values)
        pairs = zip(self.names or self.by_name, values, strict=False)
        if self.are_languages:
            return f"data.columns={{{', '.join(f'{name}={value}' for name, value in pairs)}}}"
        return " ".join(f"data.{name}={value}" for name, value in pairs)


@dataclass(frozen=True)
class TableLayout:
    """Where the wanted columns of a table stand."""

    positions: tuple[int, ...]
    has_header: bool
    note: str = ""
    """what the user should know of it"""


def find_column(name: str, known: Iterable[str], place: str, *, languages: bool = True) -> str | None:
    """The known column that is meant: by its very name, else whatever its case, else as a language.

    `en` finds `EN`, ` en `, `English` and `en-GB`. UserError where it may mean several, or two have this name.
    """
    known = list(known)
    if known.count(name) == 1:
        return name
    for same in (lambda a, b: plain_name(a) == plain_name(b), same_language)[: 1 + languages]:
        found = [other for other in known if same(name, other)]
        if len(found) > 1:
            both = " and ".join(f'"{quote(other)}"' for other in found)
            raise UserError(f"{place}: the column {name} is ambiguous, {both} match: name one of them")
        if found:
            return found[0]
    return None


def locate(place: str, first: Sequence[str], sample: Sequence[Sequence[str]], columns: Columns) -> TableLayout:
    """Where the wanted columns stand in a table whose first line, and some below it, are given.

    The first line is a header if a column is asked for by name; unless nobody said where the columns are, and it names
    none of them. Where they are numbered, it is one if it says what such a cell would not.

    Raises UserError, which proposes columns, when one is not there.
    """
    if not any(isinstance(column, str) for column in columns.wanted):
        return _numbered(place, first, sample, columns)
    named = columns.find(first, place)
    found = [name if isinstance(column, str) else column for name, column in zip(named, columns.wanted, strict=True)]
    if columns.guessed and (not {*columns.wanted} & {*first} and None in found):
        if len(first) != len(found):
            raise _not_named(place, first, sample, columns)
        has_header = all(plain_name(cell) in HEADER_WORDS for cell in first)
        note = f"the first line ({_shown(first)}) is a header; its columns were taken in this order"
        return TableLayout(tuple(range(len(first))), has_header, note if has_header else "")
    for column, there in zip(columns.wanted, found, strict=True):
        if there is None or (isinstance(there, int) and there > len(first)):
            header = not columns.by_option or is_header(first, sample)
            raise UserError(f"{place}: {missing(column, first)}{proposed(first, sample, columns, header=header)}")
    return TableLayout(tuple(first.index(c) if isinstance(c, str) else c - 1 for c in found if c is not None), True)


def missing(column: Column, known: Collection[str]) -> str:
    """What is said of a column that is not among the known ones."""
    return f"no column {quote(str(column))}; the columns are {_shown(known)}"


def _shown(cells: Collection[str]) -> str:
    more = f" and {len(cells) - SHOWN} more" if len(cells) > SHOWN else ""
    return ", ".join(quote(cell) for cell in list(cells)[:SHOWN]) + more


def _numbered(place: str, first: Sequence[str], sample: Sequence[Sequence[str]], columns: Columns) -> TableLayout:
    numbers = [column for column in columns.wanted if isinstance(column, int)]
    named = [find_column(name, first, place, languages=columns.are_languages) for name in columns.names]
    if columns.names and len(named) == len(numbers) and None not in named:
        positions = tuple(first.index(name) for name in named if name is not None)
        if positions != tuple(number - 1 for number in numbers):
            note = f"the first line is a header that names {', '.join(columns.names)}: read by name, not by number"
            return TableLayout(positions, True, note)
    if too_large := [number for number in numbers if number > len(first)]:
        size = f"{len(first)} column" + "s" * (len(first) > 1)
        raise UserError(
            f"{place}: no column {too_large[0]}; the first line has {size}: {_shown(first)}"
            + proposed(first, sample, columns, header=is_header(first, sample))
        )
    positions = tuple(number - 1 for number in numbers)
    has_header = is_header(first, sample, positions, columns)
    note = f"the first line ({_shown([first[position] for position in positions])}) is a header and was left out"
    return TableLayout(positions, has_header, note if has_header else "")


def is_header(
    first: Sequence[str],
    sample: Sequence[Sequence[str]],
    positions: Sequence[int] | None = None,
    columns: Columns | None = None,
) -> bool:
    """Whether the first line names columns: its wanted cells (all, without `positions`) are names, or a column below it
    has numbers only."""
    names = columns.names if columns is not None else ()
    cells = [first[position] for position in positions] if positions is not None else list(first)
    if all(
        plain_name(cell) in HEADER_WORDS
        or any(same_language(cell, name) for name in names[place : place + 1])
        or (columns is None and len(cells) > 1 and language_of(cell) is not None)
        for place, cell in enumerate(cells)
    ):
        return True
    rows = [row for row in sample if len(row) == len(first)]
    if columns is None and _are_short_names(first, rows):
        return True
    return len(rows) >= 3 and any(
        not is_number(first[place]) and first[place].strip() and all(is_number(row[place]) for row in rows)
        for place in range(len(first))
    )


def _are_short_names(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether all cells are filled, with a word or two, above lines with a column of whole sentences."""
    if not rows or not all(cell.strip() and len(cell.split()) <= 2 and cell[-1].isalnum() for cell in first):
        return False
    return any(sum(len(row[place].split()) for row in rows) >= 3 * len(rows) for place in range(len(first)))


def is_number(text: str) -> bool:
    """Whether a cell is a number, as ids and scores are."""
    return re.fullmatch(r"\s*[+-]?\d+(?:[.,]\d+)*(?:[eE][+-]?\d+)?\s*", text) is not None


def _not_named(place: str, first: Sequence[str], sample: Sequence[Sequence[str]], columns: Columns) -> UserError:
    size = f"{len(first)} column" + "s" * (len(first) > 1)
    return UserError(
        f"{place}: the first line names neither {' nor '.join(columns.by_name)} and has {size}: {_shown(first)}"
        + proposed(first, sample, columns, header=is_header(first, sample))
    )


def proposed(first: Sequence[str], sample: Sequence[Sequence[str]], columns: Columns, *, header: bool) -> str:
    """The settings that would be right by what the header says and the cells hold, with a line of it; or how to say
    it."""
    rows = [row for row in sample if len(row) == len(first)]
    chosen = _chosen(first, rows if header else [first, *rows], columns, header=header)
    if chosen is None:
        example = [2, 3] if len(columns.names or columns.by_name) == 2 else list(range(1, 1 + len(columns.by_name)))
        return f"; say where they are, in the form {columns.proposal(example)}" if len(first) > 1 else ""
    line = next((row for row in (rows if header else [first])), None)
    shown = "" if line is None else " (" + ", ".join(f'"{quote(line[position], 30)}"' for position in chosen) + ")"
    named = header and len({*first}) == len(first)
    settings = columns.proposal([first[position] if named else position + 1 for position in chosen])
    return f"; say where they are, perhaps {settings}{shown}"


def _chosen(first: Sequence[str], rows: Sequence[Sequence[str]], columns: Columns, *, header: bool) -> list[int] | None:
    """The likely positions of the wanted columns: by the words of their names, then by what their cells hold."""
    names = (columns.names or columns.by_name)[: len(columns.wanted)]
    chosen: dict[str, int] = {}
    words = [re.findall(r"[^\W\d_]+", cell.casefold()) if header else [] for cell in first]
    for name in names:
        fits = [place for place, found in enumerate(words) if any(_alike(name, word, columns) for word in found)]
        free = [place for place in fits if place not in chosen.values()]
        if free:
            chosen[name] = free[0]
    texts = [place for place in range(len(first)) if place not in chosen.values() and _holds_text(rows, place)]
    if columns.are_languages:
        for place in list(texts):
            code = likely_language(row[place] for row in rows)
            name = next((n for n in names if n not in chosen and code and same_language(n, code)), None)
            if name is not None:
                chosen[name] = place
                texts.remove(place)
    for name in names:
        if name not in chosen:
            fits = _classes(rows, chosen.values()) if name == "label" else texts
            if not fits:
                return None
            chosen[name] = fits[0]
            texts = [place for place in texts if place != fits[0]]
    return [chosen[name] for name in names]


def _alike(name: str, word: str, columns: Columns) -> bool:
    if columns.are_languages:
        return same_language(name, word)
    return word in {"text": {"text", "sentence", "review"}, "label": {"label", "class", "category", "sentiment"}}.get(
        name, {name}
    )


def _holds_text(rows: Sequence[Sequence[str]], place: int) -> bool:
    """Whether most cells are filled and differ, and are not ids: neither numbers nor all alike at their beginning."""
    cells = [row[place].strip() for row in rows]
    filled = [cell for cell in cells if cell and not is_number(cell)]
    if len(filled) < max(1, len(cells) / 2) or len({*filled}) < len(filled) / 2:
        return False
    return len(filled) < 3 or len({cell[:4] for cell in filled}) > 1


def _classes(rows: Sequence[Sequence[str]], taken: Collection[int]) -> list[int]:
    """Columns with few values that occur again and again, so that they may be labels."""
    if len(rows) < 4:
        return []
    places = [place for place in range(len(rows[0])) if place not in taken]
    return [place for place in places if 1 < len({row[place] for row in rows}) <= len(rows) / 2]
