"""A vocabulary of single characters: the right unit where every character counts, as in mathematics."""

import json
from collections import Counter
from collections.abc import Iterable

from seqlab.errors import UserError
from seqlab.text.tokenizer import SPECIALS, UNK_ID


class CharacterTokenizer:
    """One id a character, after the four special ids.

    `reverse` writes and reads the ids last character first. A Transformer that counts from the front then finds the
    units digit of a trailing number at a fixed place, and an answer is produced in the order in which carries run.
    """

    def __init__(self, characters: Iterable[str], *, reverse: bool = False) -> None:
        self.characters = tuple(sorted(set(characters)))
        self.reverse = reverse
        self._ids = {character: index for index, character in enumerate(self.characters, start=len(SPECIALS))}

    @property
    def vocab_size(self) -> int:
        """Number of characters and of special ids."""
        return len(SPECIALS) + len(self.characters)

    def encode(self, text: str) -> list[int]:
        """Ids of the characters; an unknown one becomes `<unk>`."""
        known = self._ids
        try:
            ids = [known[character] for character in text]
        except KeyError:
            ids = [known.get(character, UNK_ID) for character in text]
        return ids[::-1] if self.reverse else ids

    def decode(self, ids: list[int]) -> str:
        """The text of the ids; `<unk>` stays visible, the other special ids vanish."""
        first = len(SPECIALS)
        pieces = [
            self.characters[index - first] if index >= first else SPECIALS[index]
            for index in ids
            if index >= first or index == UNK_ID
        ]
        return "".join(reversed(pieces) if self.reverse else pieces)

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """How often each character that has no id occurs in the texts."""
        return Counter(character for text in texts for character in text if character not in self._ids)

    def to_json(self) -> str:
        """The settings as JSON."""
        return json.dumps(
            {"kind": "characters", "characters": "".join(self.characters), "reverse": self.reverse}, ensure_ascii=False
        )

    @classmethod
    def from_json(cls, text: str, origin: str) -> "CharacterTokenizer":
        """The tokenizer that `to_json` described; raises UserError that names `origin` if it is damaged."""
        try:
            fields = json.loads(text)
            return cls(fields["characters"], reverse=fields["reverse"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{origin}: not a character vocabulary ({error!r}); take it from the run again") from None
