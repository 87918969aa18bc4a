"""What every vocabulary offers, whatever its units: text to ids, ids to text, one JSON object to keep it in."""

import unicodedata
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
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
    prompt: tuple[int, ...] = ()
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
        """Ids of each text, without begin and end marks."""
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
