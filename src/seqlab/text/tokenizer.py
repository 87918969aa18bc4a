"""What every vocabulary offers, whatever its units: text to ids, ids to text, one JSON file to keep it in."""

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

PAD_ID, BOS_ID, EOS_ID, UNK_ID = range(4)
SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")
"""The first four ids of every vocabulary made here."""


class Tokenizer(Protocol):
    """Turns one side of an example into ids and back."""

    @property
    def vocab_size(self) -> int:
        """Number of ids, the four special ones among them."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of the text, without begin and end marks."""
        ...

    def decode(self, ids: list[int]) -> str:
        """The text of the ids; special ids other than unknown leave no trace."""
        ...

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """How often each piece of the texts occurs that has no id."""
        ...

    def to_json(self) -> str:
        """Everything needed to make the same tokenizer again."""
        ...
