"""Cutting texts that are too long to be read at once: at sentence ends, inside a sentence only if needed.

A sentence ends with `.`, `!`, `?`, `…` or their like before white space; quotes and brackets that close belong to it.
It does not end where

- the next word begins with a small letter: "Wait ... what?"
- the full stop follows initials or an abbreviation that has one inside: "J. S. Bach", "e.g.", "z. B.", "U.S."
- the full stop follows a common abbreviation, "Dr.", or a number of one or two digits, as German writes ordinals:
  "am 3. Mai".

So an end is rather missed than made up. Chinese and Japanese full stops need no white space after them.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from string import whitespace
from typing import NamedTuple

OPENING, CLOSING = "\"'“‘„‚«‹([{¿¡「『（", "\"'”’“‘»›)]}」』）"
UNSPACED_ENDS = "。！？｡"
ENDS = ".!?…؟।॥۔" + UNSPACED_ENDS

_ABBREVIATION = re.compile(
    r"(?:[^\W\d_]{1,2}\.)*[^\W\d_]|\d{1,2}"  # initials; ordinals; then English, French and German
    "|approx|apr|aug|av|bd|bzw|ca|cap|capt|cf|chap|co|col|corp|dec|dept|dr|ed|eds|etc|evtl|feb|fig|fr|gen|ggf|hon|hr|inc"
    "|inkl|jan|jr|lt|ltd|mio|mlle|mme|mm|mr|mrd|mrs|ms|mt|nov|nr|oct|op|pp|prof|rev|sept|sgt|sr|st|str|tel|usw|vgl|vol|vs",
    re.IGNORECASE,
)
_OF_NUMBERS = re.compile("art|no|nos", re.IGNORECASE)  # abbreviations before a number only

_WORD = re.compile(r'\S+(?:\s(?:[»”)\]](?!\S)|"\s*\Z))*')  # marks that close a quotation may stand apart, as in French
_UNSPACED_SCRIPT = re.compile(r"[\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")  # kana, Han
_UNSPACED_MARK = re.compile(r"[\u3001-\u301b\uff01-\uff0f\uff1a-\uff20\uff61-\uff65]")  # 。、」！？ and their like
_UNSPACED = re.compile(rf"([{UNSPACED_ENDS}]+[{re.escape(CLOSING)}]*)(?=\S)")


class Cut(NamedTuple):
    """The pieces of a text that was too long."""

    pieces: list[str]
    sentences: int
    """how many sentences it has; with more pieces than that, some were cut inside"""


def cut(text: str, fits: Callable[[str], bool]) -> Cut:
    """The sentences of a text; one that does not fit is cut at white space, and a word that does not fit anywhere.

    Args:
        text: of any length.
        fits: whether a piece is short enough; what is shorter than a piece that fits must fit, too.
    """
    found = list(sentences(text))
    pieces = [piece for sentence in found for piece in ([sentence] if fits(sentence) else _parts(sentence, fits))]
    return Cut(pieces, len(found))


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text, without the white space between them."""
    text = _UNSPACED.sub(r"\1 ", text)
    words = list(_WORD.finditer(text))
    if not words:
        return
    start = words[0].start()
    for word, following in pairwise(words):
        if _ends_sentence(word[0], following[0]):
            yield text[start : word.end()]
            start = following.start()
    yield text[start : words[-1].end()]


def joined(texts: Iterable[str]) -> str:
    """Sentences with a space between them, except in scripts that part sentences by none (Chinese, Japanese)."""
    whole = ""
    for text in filter(None, texts):
        whole += text if not whole or _touch(whole[-1], text[0]) else f" {text}"
    return whole


def _touch(last: str, first: str) -> bool:
    return bool(_UNSPACED_MARK.match(last)) or bool(_UNSPACED_SCRIPT.match(last) and _UNSPACED_SCRIPT.match(first))


def max_sentences_p99(texts: Iterable[str]) -> int:
    """How many sentences 99 of 100 texts have at most; at least one."""
    counts = sorted(sum(1 for _ in sentences(text)) for text in texts)
    return max(1, counts[(99 * len(counts) - 1) // 100]) if counts else 1


def _ends_sentence(word: str, following: str) -> bool:
    core = word.rstrip(CLOSING + whitespace)
    mark = core[-1:]
    if not mark or mark not in ENDS:
        return False
    if mark in UNSPACED_ENDS:
        return True
    if following.lstrip(OPENING)[:1].islower():
        return False
    stem = core[:-1].lstrip(OPENING)
    shortened = _ABBREVIATION.fullmatch(stem) or (_OF_NUMBERS.fullmatch(stem) and following[:1].isdigit())
    return mark != "." or not shortened


def _parts(sentence: str, fits: Callable[[str], bool]) -> Iterator[str]:
    """Pieces that are as long as fits."""
    text = " ".join(sentence.split())
    while text:
        end = _longest(text, fits)
        space = text.rfind(" ", 1, end + 1)
        if end < len(text) and space > 0:
            end = space
        yield text[:end]
        text = text[end:].lstrip()


def _longest(text: str, fits: Callable[[str], bool]) -> int:
    """How many characters of a text fit, at least one. Never looks at much more than that: the text may be huge."""
    high = 2
    while high < len(text) and fits(text[:high]):
        high *= 2
    return bisect_left(range(2, min(high, len(text)) + 1), True, key=lambda size: not fits(text[:size])) + 1
