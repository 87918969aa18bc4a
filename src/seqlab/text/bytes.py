"""A vocabulary of bytes: nothing to learn, nothing unknown, and the longest sequences."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from seqlab.text.tokenizer import SPECIALS, UNK_ID, Tokenizer, normalized, visible

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
