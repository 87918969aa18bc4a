"""Rows of text from translation memories (TMX 1.1 to 1.4).

The file is parsed as it is read, so memory holds one unit of it. Inline elements of a segment that carry the markup of
the original document (`bpt`, `ept`, `it`, `ph`, `ut`) are left out, highlighted text (`hi`) is kept. Entities may not
be declared: a few of them that name each other would fill any memory. Those of HTML 4, which files name without
declaring them, are known.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from html.entities import name2codepoint
from itertools import chain
from pathlib import Path
from xml.parsers import expat

from seqlab.data.readers.languages import plain_name, same_language
from seqlab.data.readers.lines import BLOCK, decoded, marked_encoding, opened, refuse_binary, too_long
from seqlab.data.readers.reading import Reading, is_text_encoding, quote, text_fault
from seqlab.errors import UserError

MARKUP = {"bpt", "ept", "it", "ph", "ut"}

DEEPEST = 1000
"""Elements inside each other."""

MOST_LANGUAGES = 1000

_DECLARED = re.compile(rb"""^<\?xml[^>]*?\sencoding\s*=\s*["']([^"'>]*)["']""")


def read_tmx(path: Path, languages: Sequence[str], reading: Reading | None = None) -> Iterator[tuple[int, list[str]]]:
    """The number of every translation unit and its texts in the given languages, "" where it has none.

    `en` stands for `EN`, `en-GB` and `English` too. Of several texts in one language, the first counts.

    Raises UserError: not well-formed (with the line), declared or unknown entities, an unknown encoding, no unit with
    one of the languages (with those that there are), and all that `opened` raises.
    """
    reading = reading or Reading()
    units = _Units(path, languages, reading)
    with opened(path) as file:
        first = file.read(BLOCK)
        refuse_binary(path, first)
        blocks = chain([first], iter(partial(file.read, BLOCK), b""))
        encoding = reading.config.encoding or _encoding(path, first)
        for text in decoded(path, blocks, encoding):
            yield from units.parse(text)
        yield from units.parse("", is_final=True)
    for language in languages:
        if not any(_matches(code, language) for code in units.codes):
            known = ", ".join(map(quote, sorted(units.codes))) or "none"
            raise UserError(
                f"{path}: no text in {language}; the languages are {known}: "
                "name them in data.source and data.target, or in data.columns"
            )


def _encoding(path: Path, start: bytes) -> str:
    """The encoding that a byte order mark or the XML declaration tells; UserError for one that nobody knows."""
    if marked := marked_encoding(start):
        return marked
    for pattern, name in ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be")):
        if start.startswith(pattern):
            return name
    found = _DECLARED.match(start.removeprefix(b"\xef\xbb\xbf"))
    if found is None:
        return "utf-8"
    name = found[1].decode("latin-1")
    if not is_text_encoding(name):
        raise UserError(
            f'{path}:1: the encoding "{quote(name)}" is not known: convert the file to UTF-8, or name its encoding, '
            'for example data.reading.encoding="cp1252"'
        )
    return name


class _Units:
    """The translation units that the parser meets on its way."""

    def __init__(self, path: Path, languages: Sequence[str], reading: Reading) -> None:
        self.codes: set[str] = set()
        self._path, self._languages, self._config = path, languages, reading.config
        self._number = self._depth = self._fed = self._begin = 0
        self._finished: list[tuple[int, list[str]]] = []
        self._texts: dict[str, str] | None = None
        self._code = ""
        self._pieces: list[str] = []
        self._inside_segment, self._inside_markup = False, 0
        self._parser = expat.ParserCreate("utf-8")  # whatever the declaration says: the text is decoded already
        self._parser.buffer_text = True
        self._parser.UseForeignDTD(True)  # an entity that nobody declared is then one to be looked up
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.EntityDeclHandler = self._entity
        self._parser.SkippedEntityHandler = self._named_character

    @property
    def line(self) -> int:
        """The line that was reached."""
        return self._parser.CurrentLineNumber

    def parse(self, text: str, *, is_final: bool = False) -> list[tuple[int, list[str]]]:
        """The units that end in this piece of text."""
        self._finished = []
        if fault := text_fault(text):
            raise UserError(f"{self._path}:{self.line}: {fault}")
        block = text.encode()
        self._fed += len(block)
        try:
            self._parser.Parse(block, is_final)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            raise UserError(f"{self._path}:{error.lineno}: not well-formed XML ({reason})") from None
        waiting = self._fed - max(self._parser.CurrentByteIndex, 0)
        if waiting > max(self._config.max_line_bytes, 2 * len(block)):
            raise too_long(f"{self._path}:{self.line}", self._config)
        return self._finished

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise UserError(f"{self._path}:{self.line}: more than {DEEPEST:,} elements inside each other")
        self._check_size()
        if self._inside_segment:
            self._inside_markup += name in MARKUP
        elif name == "tu":
            self._number += 1
            self._texts = {}
            self._begin = self._parser.CurrentByteIndex
        elif name == "tuv":
            self._code = attributes.get("xml:lang") or attributes.get("lang", "")
            if len(self.codes) < MOST_LANGUAGES:
                self.codes.add(self._code)
        elif name == "seg":
            self._inside_segment, self._inside_markup, self._pieces = True, 0, []

    def _end(self, name: str) -> None:
        self._depth -= 1
        if name == "seg":
            self._inside_segment = False
            if self._texts is not None:
                self._texts.setdefault(self._code, "".join(self._pieces))
            self._pieces = []
        elif self._inside_segment:
            self._inside_markup -= name in MARKUP
        elif name == "tu":
            found = self._texts or {}
            texts = [
                next((text for code, text in found.items() if _matches(code, language)), "")
                for language in self._languages
            ]
            self._texts = None
            self._finished.append((self._number, texts))

    def _text(self, text: str) -> None:
        self._check_size()
        if self._inside_segment and not self._inside_markup and self._texts is not None:
            self._pieces.append(text)

    def _check_size(self) -> None:
        if self._texts is not None and self._parser.CurrentByteIndex - self._begin > self._config.max_line_bytes:
            raise too_long(f"{self._path}:{self.line}: translation unit {self._number}", self._config)

    def _named_character(self, name: str, is_parameter: bool) -> None:
        if name not in name2codepoint or is_parameter:
            raise UserError(
                f'{self._path}:{self.line}: the entity "&{quote(name)};" is not known: write the character itself'
            )
        self._text(chr(name2codepoint[name]))

    def _entity(self, name: str, *_: object) -> None:
        raise UserError(
            f'{self._path}:{self.line}: declares the entity "{quote(name)}", which is not allowed: write it out'
        )


def _matches(code: str, language: str) -> bool:
    return same_language(code, language) or plain_name(code).startswith(f"{plain_name(language)}-")
