"""What every tokenizer offers, whatever its units, and those with nothing to learn: characters and bytes."""

import json
import re
import unicodedata
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol

PAD_ID, BOS_ID, EOS_ID, UNK_ID = range(4)
SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")
"""The first four ids of every vocabulary made here. No text is ever encoded as one of them, save as `<unk>`."""


class SpecialIds(NamedTuple):
    """The ids that a model needs to know; those of every vocabulary made here, unless a checkpoint brings others."""

    pad: int = PAD_ID
    bos: int = BOS_ID
    """what the decoder reads before the first token of an output"""
    eos: int = EOS_ID
    decoder_prefix: tuple[int, ...] = ()
    """what the decoder reads even before that"""


class Tokenizer(Protocol):
    """Turns one side of an example into ids and back."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of ids, the four special ones among them."""
        ...

    @abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without begin and end of sequence."""
        ...

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids; special ids other than unknown leave no trace."""
        ...

    @abstractmethod
    def tokens(self, ids: Sequence[int]) -> list[str]:
        """What a person reads for each id; a space is shown as `▁`."""
        ...

    @abstractmethod
    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """How often each piece of the texts occurs that has no id."""
        ...

    def spelled(self, texts: Sequence[str]) -> list[str]:
        """The texts as an output would spell them, perhaps without capitals; pieces without an id stay as they are."""
        return list(texts)

    @abstractmethod
    def to_json(self) -> str:
        """Everything needed to make the same tokenizer again, with its `kind`."""
        ...

    @property
    def special(self) -> SpecialIds:
        """Padding, begin and end."""
        return SpecialIds()

    @property
    def unk_id(self) -> int | None:
        """The id of what has none of its own; None where every text has ids."""
        return None

    def pieces(self, text: str) -> list[str]:
        """The piece of the text that each of its ids stands for; characters and words only."""
        return []

    def decode_with(self, ids: Sequence[int], unknown: Iterator[str]) -> str:
        """The text of the ids, the next `unknown` text in the place of each `unk_id`; characters and words only."""
        return self.decode(ids)

    @property
    def varies(self) -> bool:
        """Whether `encode_varied` depends on its seed."""
        return False

    def encode_varied(self, texts: Sequence[str], seed: int) -> list[list[int]]:
        """Ids of each text as an epoch of the training sees them: a pure function of the texts and the seed."""
        return self.encode_batch(texts)

    def encode(self, text: str) -> list[int]:
        """Ids of one text."""
        return self.encode_batch([text])[0]


def normalized(text: str) -> str:
    """The text as every tokenizer reads it: in the normal form NFC, where "é" is one character however it was typed."""
    text = unicodedata.normalize("NFC", text)
    # Half a surrogate pair is no character, but JSON can bring one in: it becomes "?".
    return text if text.isascii() else text.encode("utf-8", errors="replace").decode("utf-8")


def visible(text: str) -> str:
    """A piece of text as an axis of a figure shows it."""
    return text.replace(" ", "▁")


class CharacterTokenizer(Tokenizer):
    """One id a character, after the four special ids."""

    def __init__(self, characters: Iterable[str]) -> None:
        self.characters = tuple(sorted(set(characters)))
        self._ids = {character: index for index, character in enumerate(self.characters, start=len(SPECIALS))}
        self._texts = ("", "", "", SPECIALS[UNK_ID], *self.characters)
        self._names = (*SPECIALS, *map(visible, self.characters))

    @property
    def vocab_size(self) -> int:
        """Number of characters and of special ids."""
        return len(self._names)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of the characters; an unknown one becomes `<unk>`."""
        return [self._encoded(normalized(text)) for text in texts]

    def _encoded(self, text: str) -> list[int]:
        known = self._ids
        try:
            return [known[character] for character in text]
        except KeyError:
            return [known.get(character, UNK_ID) for character in text]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids; `<unk>` stays visible, the other special ids vanish."""
        return "".join([self._texts[index] for index in ids])

    @property
    def unk_id(self) -> int:
        """`<unk>`."""
        return UNK_ID

    def pieces(self, text: str) -> list[str]:
        """The characters."""
        return list(normalized(text))

    def decode_with(self, ids: Sequence[int], unknown: Iterator[str]) -> str:
        """See `Tokenizer`."""
        return "".join([next(unknown) if index == UNK_ID else self._texts[index] for index in ids])

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The characters."""
        return [self._names[index] for index in ids]

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """How often each character that has no id occurs in the texts."""
        return Counter(character for text in texts for character in normalized(text) if character not in self._ids)

    def to_json(self) -> str:
        """The characters as JSON."""
        return json.dumps({"kind": "characters", "characters": "".join(self.characters)}, ensure_ascii=False)


FIRST_BYTE_ID = len(SPECIALS)
SINGLE_BYTES = tuple(bytes([value]) for value in range(256))


class ByteEntries:
    """What ids stand for where each one, after the four special ids, is a piece of UTF-8 text."""

    def __init__(self, entries: Iterable[bytes]) -> None:
        entries = tuple(entries)
        self.all = (b"", b"", b"", SPECIALS[UNK_ID].encode(), *entries)
        self._names = (*SPECIALS, *(visible(entry.decode(errors="backslashreplace")) for entry in entries))

    def __len__(self) -> int:
        return len(self.all)

    def text(self, ids: Sequence[int]) -> str:
        """The text of the ids; `<unk>` stays visible, other special ids vanish, bytes that are no text become `�`."""
        return b"".join([self.all[index] for index in ids]).decode(errors="replace")

    def names(self, ids: Sequence[int]) -> list[str]:
        r"""What a person reads for each id: `▁` for a space, `\xc3` for a byte that is a part of a character."""
        return [self._names[index] for index in ids]


class ByteTokenizer(Tokenizer):
    """One id a byte of the UTF-8 text, after the four special ids: byte b has the id 4 + b."""

    def __init__(self) -> None:
        self._entries = ByteEntries(SINGLE_BYTES)

    @property
    def vocab_size(self) -> int:
        """256 bytes and the special ids."""
        return len(self._entries)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of the bytes."""
        return [[FIRST_BYTE_ID + value for value in normalized(text).encode()] for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the bytes; those that make no character become `�`."""
        return self._entries.text(ids)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        r"""ASCII characters, and `\xc3` for a byte that is a part of another character."""
        return self._entries.names(ids)

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """Nothing: every text is bytes."""
        return Counter()

    def to_json(self) -> str:
        """The kind, as there is nothing else to keep."""
        return json.dumps({"kind": "bytes"})


class Wrapped(Tokenizer):
    """A tokenizer around another one, which says all that is not said here."""

    inner: Tokenizer

    @property
    def vocab_size(self) -> int:
        """As inside."""
        return self.inner.vocab_size

    @property
    def special(self) -> SpecialIds:
        """As inside."""
        return self.inner.special

    @property
    def varies(self) -> bool:
        """As inside."""
        return self.inner.varies

    @property
    def unk_id(self) -> int | None:
        """As inside."""
        return self.inner.unk_id

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """As inside."""
        return self.inner.unknown(texts)

    def spelled(self, texts: Sequence[str]) -> list[str]:
        """As inside."""
        return self.inner.spelled(texts)


class Protected(Wrapped):
    """Another tokenizer, and symbols that are one id each: tags such as `<2de>`, placeholders such as `{1}`.

    Their ids follow those of the other tokenizer, which never sees them. White space around a symbol is not kept:
    decoding writes one space on each side.
    """

    def __init__(self, inner: Tokenizer, symbols: Iterable[str]) -> None:
        self.inner = inner
        self.symbols = tuple(map(normalized, symbols))
        self._ids = {symbol: index for index, symbol in enumerate(self.symbols, start=inner.vocab_size)}

    @property
    def vocab_size(self) -> int:
        """Ids of the other tokenizer, and one per symbol."""
        return self.inner.vocab_size + len(self.symbols)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of the symbols and of what stands between them."""
        return self._encoded(texts, self.inner.encode_batch)

    def encode_varied(self, texts: Sequence[str], seed: int) -> list[list[int]]:
        """Symbols stay as they are, the rest varies."""
        return self._encoded(texts, lambda plain: self.inner.encode_varied(plain, seed))

    def decode(self, ids: Sequence[int]) -> str:
        """The texts between the symbols, and these, with single spaces."""
        return " ".join(filter(None, self._each(ids, lambda plain: [self.inner.decode(plain)])))

    def pieces(self, text: str) -> list[str]:
        """Symbols, and the pieces inside."""
        parts = self._parts(text)
        return [piece for part in parts for piece in ([part] if part in self._ids else self.inner.pieces(part))]

    def decode_with(self, ids: Sequence[int], unknown: Iterator[str]) -> str:
        """See `Tokenizer`."""
        return " ".join(filter(None, self._each(ids, lambda plain: [self.inner.decode_with(plain, unknown)])))

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Symbols as they are."""
        return self._each(ids, self.inner.tokens)

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """As inside."""
        return self.inner.unknown(part for text in texts for part in self._parts(text) if part not in self._ids)

    def spelled(self, texts: Sequence[str]) -> list[str]:
        """Symbols as they are."""
        rows = [self._parts(text) for text in texts]
        plain = iter(self.inner.spelled([part for row in rows for part in row if part not in self._ids]))
        return [" ".join(part if part in self._ids else next(plain) for part in row) for row in rows]

    def to_json(self) -> str:
        """The JSON of the tokenizer inside, and the symbols."""
        fields = json.loads(self.inner.to_json()) | {"protected": self.symbols}
        return json.dumps(fields, ensure_ascii=False, indent=0)

    def _parts(self, text: str) -> list[str]:
        return split_at(normalized(text), self.symbols)

    def _encoded(self, texts: Sequence[str], encode: Callable[[list[str]], list[list[int]]]) -> list[list[int]]:
        rows = [self._parts(text) for text in texts]
        plain = iter(encode([part for row in rows for part in row if part not in self._ids]))
        return [
            [index for part in row for index in ([self._ids[part]] if part in self._ids else next(plain))]
            for row in rows
        ]

    def _each(self, ids: Sequence[int], shown: Callable[[list[int]], list[str]]) -> list[str]:
        """The symbols, and what is shown of the ids between them."""
        first, found = self.inner.vocab_size, []
        for is_symbol, group in groupby(ids, lambda index: index >= first):
            part = list(group)
            found += [self.symbols[index - first] for index in part] if is_symbol else shown(part)
        return found


def split_at(text: str, symbols: Sequence[str]) -> list[str]:
    """The symbols in a text, the longest ones first, and what stands between them without white space at its ends.

    A text without symbols is one part, as it is.
    """
    parts = re.split(f"({any_of(symbols)})", text)
    return parts if len(parts) == 1 else [part.strip() for part in parts if part.strip()]


def any_of(symbols: Iterable[str]) -> str:
    """A regular expression of symbols, of which the longest counts where one begins like another."""
    return "|".join(map(re.escape, sorted(symbols, key=len, reverse=True)))


class Reversed(Wrapped):
    """The ids of another tokenizer, last one first.

    With characters, a Transformer that counts from the front then finds the units digit of a trailing number at a
    fixed place, and an answer is produced in the order in which carries run.
    """

    def __init__(self, inner: Tokenizer) -> None:
        self.inner = inner

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, last one first."""
        return [ids[::-1] for ids in self.inner.encode_batch(texts)]

    def encode_varied(self, texts: Sequence[str], seed: int) -> list[list[int]]:
        """The ids of each text as an epoch sees them, last one first."""
        return [ids[::-1] for ids in self.inner.encode_varied(texts, seed)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text, in its own order."""
        return self.inner.decode(ids[::-1])

    def pieces(self, text: str) -> list[str]:
        """In the order of the ids."""
        return self.inner.pieces(text)[::-1]

    def decode_with(self, ids: Sequence[int], unknown: Iterator[str]) -> str:
        """The text, in its own order; `unknown` is in that of the ids."""
        return self.inner.decode_with(ids[::-1], iter([*unknown][::-1]))

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """In the order of the ids."""
        return self.inner.tokens(ids)

    def to_json(self) -> str:
        """The JSON of the tokenizer inside, marked as reversed."""
        return json.dumps(json.loads(self.inner.to_json()) | {"reverse": True}, ensure_ascii=False, indent=0)
