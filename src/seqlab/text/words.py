"""A vocabulary of words and punctuation marks: the shortest sequences, and no way to spell what is not in it."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from seqlab.errors import UserError
from seqlab.text.tokenizer import SPECIALS, UNK_ID, Tokenizer, normalized

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer

JOINER = "￭"
"""Stands where a punctuation mark touches its neighbour, as in the OpenNMT tokenizer."""


class WordTokenizer(Tokenizer):
    """One id per word or punctuation mark, after the four special ids.

    A word is a run of letters, digits, combining marks and underscores; every other character that is no space is a
    piece of its own. A punctuation mark carries a joiner on each side where no space was, so that `l'homme (ici).` is
    `l`, `￭'￭`, `homme`, `(￭`, `ici`, `￭)`, `￭.`: words keep one entry wherever they stand, and decoding gives back the
    text, with single spaces, in any language. The joiner itself is read as a space.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self.entries = tuple(entries)
        self._ids = {entry: index for index, entry in enumerate(self.entries, start=len(SPECIALS))}
        self._names = (*SPECIALS, *self.entries)

    @property
    def vocab_size(self) -> int:
        """Number of entries and of special ids."""
        return len(self._names)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of the pieces; an unknown one becomes `<unk>`."""
        return [[self._ids.get(piece, UNK_ID) for piece in pieces(text)] for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """The pieces with spaces between them, save where a joiner stands; `<unk>` stays visible."""
        return _text(self._names[index] for index in ids if index >= UNK_ID)

    def decode_with(self, ids: Sequence[int], unknown: Iterator[str]) -> str:
        """See `Tokenizer`."""
        return _text(next(unknown) if index == UNK_ID else self._names[index] for index in ids if index >= UNK_ID)

    @property
    def unk_id(self) -> int:
        """`<unk>`."""
        return UNK_ID

    def pieces(self, text: str) -> list[str]:
        """The words and punctuation marks without their joiners."""
        return [piece.strip(JOINER) for piece in pieces(text)]

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The pieces without their joiners."""
        return [self._names[index].strip(JOINER) for index in ids]

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """How often each piece that has no id occurs in the texts."""
        return Counter(piece.strip(JOINER) for text in texts for piece in pieces(text) if piece not in self._ids)

    def to_json(self) -> str:
        """The entries as JSON."""
        return json.dumps({"kind": "words", "entries": self.entries}, ensure_ascii=False, indent=0)


def train_words(texts: Iterable[str], vocab_size: int, min_frequency: int) -> WordTokenizer:
    """The most frequent pieces of the texts, at most `vocab_size` with the special ids, none rarer than given.

    Raises:
        UserError: if no piece is frequent enough.
    """
    counts = Counter(piece for text in texts for piece in pieces(text))
    # Ties are broken by the alphabet, so that the order of the texts does not matter.
    frequent = sorted((-count, piece) for piece, count in counts.items() if count >= min_frequency)
    if not frequent:
        raise UserError(
            f"text.min_frequency={min_frequency}: no word of the training texts occurs that often: lower it"
        )
    return WordTokenizer(piece for _, piece in frequent[: vocab_size - len(SPECIALS)])


def _text(entries: Iterable[str]) -> str:
    return " ".join(entries).replace(f" {JOINER}", "").replace(f"{JOINER} ", "").strip(JOINER)


def pieces(text: str) -> list[str]:
    """The words and punctuation marks of a text, the latter with their joiners."""
    found: list[str] = []
    end = -1  # where the piece before ends
    for piece, (start, stop) in _splitter().pre_tokenize_str(normalized(text)):
        punctuation = not (piece[0].isalnum() or piece[0] == "_" or len(piece) > 1)
        if start == end:
            if punctuation:
                piece = JOINER + piece
            else:
                found[-1] += JOINER
        found.append(piece)
        end = stop
    return found


@cache
def _splitter() -> "PreTokenizer":
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import Split

    return Split(Regex(rf"\w+|[^\w\s{JOINER}]"), behavior="removed", invert=True)
