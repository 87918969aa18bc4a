"""Rows of text from translation memories (TMX 1.1 to 1.4).

The file is parsed as it is read, so memory holds one block of it. Inline elements of a segment that carry the markup of
the original document (`bpt`, `ept`, `it`, `ph`, `ut`) are left out, highlighted text (`hi`) is kept. Entities may not
be declared: a few of them that name each other would fill any memory.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.parsers import expat

from seqlab.data.readers.lines import opened
from seqlab.errors import UserError

BLOCK = 1 << 16
"""Bytes that are parsed at once."""

MARKUP = {"bpt", "ept", "it", "ph", "ut"}


def read_tmx(path: Path, languages: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """The number of every translation unit and its texts in the given languages, "" where it has none.

    `en` stands for `EN` and `en-GB` too. Of several texts in one language, the first counts.

    Raises UserError: not well-formed (with the line), declared entities, no unit with one of the languages (with those
    that there are), and all that `opened` raises.
    """
    units = _Units(path, languages)
    with opened(path) as file:
        while block := file.read(BLOCK):
            yield from units.parse(block)
        yield from units.parse(b"", is_final=True)
    for language in languages:
        if not any(_matches(code, language) for code in units.codes):
            known = ", ".join(sorted(units.codes)) or "none"
            raise UserError(f"{path}: no text in {language}; the languages are {known}")


class _Units:
    """The translation units that the parser meets on its way."""

    def __init__(self, path: Path, languages: Sequence[str]) -> None:
        self.codes: set[str] = set()
        self._path, self._languages = path, languages
        self._number = 0
        self._finished: list[tuple[int, list[str]]] = []
        self._texts: dict[str, str] = {}
        self._code = ""
        self._pieces: list[str] = []
        self._inside_segment, self._inside_markup = False, 0
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.EntityDeclHandler = self._entity

    def parse(self, block: bytes, *, is_final: bool = False) -> list[tuple[int, list[str]]]:
        """The units that end in the block."""
        self._finished = []
        try:
            self._parser.Parse(block, is_final)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            raise UserError(f"{self._path}:{error.lineno}: not well-formed XML ({reason})") from None
        return self._finished

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self._inside_segment:
            self._inside_markup += name in MARKUP
        elif name == "tu":
            self._number += 1
            self._texts = {}
        elif name == "tuv":
            self._code = attributes.get("xml:lang") or attributes.get("lang", "")
            self.codes.add(self._code)
        elif name == "seg":
            self._inside_segment, self._pieces = True, []

    def _end(self, name: str) -> None:
        if name == "seg":
            self._inside_segment = False
            self._texts.setdefault(self._code, "".join(self._pieces))
        elif self._inside_segment:
            self._inside_markup -= name in MARKUP
        elif name == "tu":
            texts = [
                next((text for code, text in self._texts.items() if _matches(code, language)), "")
                for language in self._languages
            ]
            self._finished.append((self._number, texts))

    def _text(self, text: str) -> None:
        if self._inside_segment and not self._inside_markup:
            self._pieces.append(text)

    def _entity(self, name: str, *_: object) -> None:
        line = self._parser.CurrentLineNumber
        raise UserError(f'{self._path}:{line}: declares the entity "{name}", which is not allowed: write it out')


def _matches(code: str, language: str) -> bool:
    code, language = code.lower(), language.lower()
    return code == language or code.startswith(f"{language}-")
