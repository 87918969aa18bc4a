"""Vocabularies of pieces of words, by the library `tokenizers`: BPE and unigram, over bytes, so nothing is unknown.

A text is split into words first, each with the space before it. One space is put before the first word, and taken away
when decoding, so that a word has the same ids wherever it stands. The words are UTF-8 bytes, written with the
characters that GPT-2 gave to the 256 bytes, as the library expects them; the first ids after the special ones are the
single bytes. The special ids have no entry in the model of the library, hence no text can produce them.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from seqlab.text.merging import DropoutMerging
from seqlab.text.tokenizer import FIRST_BYTE_ID, SPECIALS, ByteEntries, Tokenizer, normalized
from seqlab.text.unigram import learn_pieces

if TYPE_CHECKING:
    import tokenizers
    from tokenizers.pre_tokenizers import PreTokenizer

WORD = r" ?[\p{L}\p{M}]{1,64}| ?\p{N}| ?[^\s\p{L}\p{M}\p{N}]{1,64}|\s{1,64}(?!\S)|\s{1,64}"
"""Letters, one digit, punctuation, or spaces; the last space before a word belongs to it. Digits stay alone so that
every number is spelled the same way; the limit bounds what a line without spaces costs."""

CHUNK = 5000
"""Texts that are encoded together: what the library says of a text takes about 2 kB."""


def _byte_characters() -> tuple[str, ...]:
    """The character that stands for each byte: itself where it is visible, one from 256 on where it is not."""
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return tuple(chr(byte if byte in visible else next(others)) for byte in range(256))


CHARACTERS = _byte_characters()
BYTE_OF = {character: byte for byte, character in enumerate(CHARACTERS)}


@dataclass(frozen=True)
class Merges:
    """What BPE learns: pairs of pieces, in the order in which they are joined."""

    pairs: tuple[tuple[str, str], ...]
    dropout: float = 0.0
    """probability that a merge is left out while training"""

    def entries(self) -> list[str]:
        """The pieces by id, without the special ones: first the bytes; two pairs may make the same piece."""
        return list(dict.fromkeys(chain(CHARACTERS, (left + right for left, right in self.pairs))))

    def tokenizer(self) -> "tokenizers.Tokenizer":
        """The tokenizer of the library that applies them to words."""
        from tokenizers import Tokenizer
        from tokenizers.models import BPE

        ids = _ids(self.entries())
        if unknown := [piece for pair in self.pairs for piece in pair if piece not in ids]:
            raise ValueError(f"no merge makes {unknown[0]!r}")
        return Tokenizer(BPE(ids, list(self.pairs)))

    def to_json(self) -> str:
        """One line a merge."""
        merges = [f"{left} {right}" for left, right in self.pairs]
        return json.dumps({"kind": "bpe", "dropout": self.dropout, "merges": merges}, ensure_ascii=False, indent=0)


@dataclass(frozen=True)
class UnigramPieces:
    """What unigram learns: pieces with their log-probabilities, by id without the special ones, first the bytes."""

    scores: dict[str, float]

    def entries(self) -> list[str]:
        """The pieces by id, without the special ones."""
        return list(self.scores)

    def tokenizer(self) -> "tokenizers.Tokenizer":
        """The tokenizer of the library that finds the most probable pieces of a word."""
        from tokenizers import Tokenizer
        from tokenizers.models import Unigram

        # Ids are places in this list. A space never stands in a word made of byte characters, so these match nothing.
        special = [(f" {name}", 0.0) for name in SPECIALS]
        return Tokenizer(Unigram([*special, *self.scores.items()]))

    def to_json(self) -> str:
        """One line a piece."""
        return json.dumps({"kind": "unigram", "pieces": self.scores}, ensure_ascii=False, indent=0)


class SubwordTokenizer(Tokenizer):
    """Pieces of words that are frequent in the training texts, down to single bytes."""

    def __init__(self, learned: Merges | UnigramPieces) -> None:
        entries = learned.entries()
        if tuple(entries[:256]) != CHARACTERS:
            raise ValueError("the first 256 pieces are not the bytes")
        self.learned = learned
        self._entries = ByteEntries(bytes([BYTE_OF[character] for character in entry]) for entry in entries)
        self._num_bytes = np.array([len(entry) for entry in self._entries.all])
        self._tokenizer = learned.tokenizer()
        self._tokenizer.pre_tokenizer = _splitter()

    @property
    def vocab_size(self) -> int:
        """Number of pieces and of special ids."""
        return len(self._entries)

    @property
    def varies(self) -> bool:
        """Whether merges are left out at random."""
        return isinstance(self.learned, Merges) and self.learned.dropout > 0

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of the pieces; every text has some, as every byte has an id."""
        return [found.ids for chunk in _chunks(texts) for found in self._tokenizer.encode_batch_fast(chunk)]

    def encode_varied(self, texts: Sequence[str], seed: int) -> list[list[int]]:
        """Ids of the pieces with merges left out at random."""
        if not (isinstance(self.learned, Merges) and self.varies):
            return self.encode_batch(texts)
        merging = self._merging(self.learned)
        generator = np.random.default_rng(seed)
        return [ids for chunk in _chunks(texts) for ids in self._varied(chunk, merging, generator)]

    def _varied(self, texts: list[str], merging: DropoutMerging, generator: np.random.Generator) -> list[list[int]]:
        symbols, num_bytes, num_words = self._words(texts)
        merged, num_ids = merging.merge(symbols, num_bytes, generator)
        ends = np.cumsum(np.append(0, num_ids))[np.cumsum(num_words)].tolist()
        ids = merged.tolist()
        return [ids[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def _words(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The bytes of all texts as ids; how many there are in each word; how many words there are in each text."""
        found = self._tokenizer.encode_batch(texts)  # the fast one does not tell which word an id belongs to
        word_ids = [encoding.word_ids for encoding in found]
        num_ids = [len(words) for words in word_ids]
        num_words = np.array([len(set(words)) for words in word_ids])
        words = np.fromiter(chain.from_iterable(word_ids), dtype=np.int64, count=sum(num_ids))
        words += np.repeat(np.cumsum(num_words) - num_words, num_ids)  # counted through all texts
        ids = np.fromiter(chain.from_iterable(encoding.ids for encoding in found), dtype=np.int64, count=sum(num_ids))
        num_bytes = np.bincount(words, weights=self._num_bytes[ids]).astype(np.int64)
        symbols = FIRST_BYTE_ID + np.frombuffer("".join(texts).encode(), dtype=np.uint8).astype(np.int64)
        return symbols, num_bytes, num_words

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the pieces; bytes that make no character become `�`."""
        return self._entries.text(ids).removeprefix(" ")

    def tokens(self, ids: Sequence[int]) -> list[str]:
        r"""The pieces; `▁` is the space before a word, `\xc3` a byte that is a part of a character."""
        return self._entries.names(ids)

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """Nothing: every text is bytes."""
        return Counter()

    def to_json(self) -> str:
        """What was learned, as JSON."""
        return self.learned.to_json()

    def _merging(self, learned: Merges) -> DropoutMerging:
        ids = _ids(learned.entries())
        merges = [(ids[left], ids[right], ids[left + right]) for left, right in learned.pairs]
        return DropoutMerging(merges, self.vocab_size, learned.dropout)


def train_bpe(texts: Iterable[str], vocab_size: int, min_frequency: int, dropout: float) -> SubwordTokenizer:
    """Merges the most frequent pair of pieces again and again, until `vocab_size` ids are used."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer

    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = _splitter()
    trainer = BpeTrainer(
        vocab_size=vocab_size - len(SPECIALS),
        min_frequency=min_frequency,
        initial_alphabet=list(CHARACTERS),
        show_progress=False,
    )
    tokenizer.train_from_iterator(map(_prefixed, texts), trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]  # nothing else tells the order of the merges
    return SubwordTokenizer(Merges(tuple((left, right) for left, right in merges), dropout))


def train_unigram(texts: Iterable[str], vocab_size: int) -> SubwordTokenizer:
    """Keeps the pieces without which the texts would be much less probable, until `vocab_size` ids are left."""
    words = Counter(word for text in texts for word, _ in _splitter().pre_tokenize_str(_prefixed(text)))
    return SubwordTokenizer(UnigramPieces(learn_pieces(words, CHARACTERS, vocab_size - len(SPECIALS))))


@cache
def _splitter() -> "PreTokenizer":
    """Finds the words of a text and writes their bytes as characters."""
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    return Sequence([Split(Regex(WORD), behavior="isolated"), ByteLevel(add_prefix_space=False, use_regex=False)])


def _prefixed(text: str) -> str:
    """The text with the space that its first word has inside a sentence; an empty text stays empty."""
    return f" {normalized(text)}" if text else ""


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), CHUNK):
        yield [_prefixed(text) for text in texts[start : start + CHUNK]]


def _ids(entries: Iterable[str]) -> dict[str, int]:
    return {entry: index for index, entry in enumerate(entries, start=len(SPECIALS))}
