"""A vocabulary of single characters: the right unit where every character counts, as in mathematics."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from seqlab.text.tokenizer import SPECIALS, UNK_ID, Tokenizer, normalized, visible


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

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The characters."""
        return [self._names[index] for index in ids]

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """How often each character that has no id occurs in the texts."""
        return Counter(character for text in texts for character in normalized(text) if character not in self._ids)

    def to_json(self) -> str:
        """The characters as JSON."""
        return json.dumps({"kind": "characters", "characters": "".join(self.characters)}, ensure_ascii=False)
