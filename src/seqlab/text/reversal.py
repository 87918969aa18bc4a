"""Any vocabulary, written and read last id first."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from seqlab.text.tokenizer import SpecialIds, Tokenizer


class Reversed(Tokenizer):
    """The ids of another tokenizer, last one first.

    With characters, a Transformer that counts from the front then finds the units digit of a trailing number at a
    fixed place, and an answer is produced in the order in which carries run.
    """

    def __init__(self, inner: Tokenizer) -> None:
        self.inner = inner

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

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, last one first."""
        return [ids[::-1] for ids in self.inner.encode_batch(texts)]

    def encode_varied(self, texts: Sequence[str], seed: int) -> list[list[int]]:
        """The ids of each text as an epoch sees them, last one first."""
        return [ids[::-1] for ids in self.inner.encode_varied(texts, seed)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text, in its own order."""
        return self.inner.decode(ids[::-1])

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """In the order of the ids."""
        return self.inner.tokens(ids)

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """As inside."""
        return self.inner.unknown(texts)

    def to_json(self) -> str:
        """The JSON of the tokenizer inside, marked as reversed."""
        return json.dumps(json.loads(self.inner.to_json()) | {"reverse": True}, ensure_ascii=False, indent=0)
