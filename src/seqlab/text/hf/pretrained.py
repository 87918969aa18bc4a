"""The tokenizer of a pretrained model, with its own special tokens."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any

from seqlab.errors import UserError
from seqlab.text.tokenizer import SpecialIds, Tokenizer, visible


class PretrainedTokenizer(Tokenizer):
    """A tokenizer in the format of the library `tokenizers`, as a checkpoint of `transformers` brings it.

    Text is left in the Unicode form that it has: what becomes of it is the tokenizer's own affair.
    """

    def __init__(
        self,
        tokenizer: str,
        special: SpecialIds,
        unknown_id: int | None = None,
        *,
        add_special_tokens: bool = False,
        prefix: str = "",
    ) -> None:
        """A side of a vocabulary.

        Args:
            tokenizer: the content of tokenizer.json.
            special: the ids that the model wants.
            unknown_id: what stands for a piece without an id; None where every text has ids.
            add_special_tokens: put those of the checkpoint around the ids, as sources have them.
            prefix: stands before every text, such as "translate German to English: ".
        """
        self._json, self._special, self._unknown_id = tokenizer, special, unknown_id
        self._add_special_tokens, self._prefix = add_special_tokens, prefix

    @property
    def vocab_size(self) -> int:
        """Number of ids, added ones among them."""
        return self._inner.get_vocab_size()

    @property
    def special(self) -> SpecialIds:
        """As the checkpoint has them."""
        return self._special

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text behind the prefix, with special tokens where they are wanted."""
        return [encoding.ids for encoding in self._encodings([self._prefix + text for text in texts])]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids, special tokens and prefix aside."""
        return self._inner.decode(list(ids)).strip()

    @property
    def unk_id(self) -> int | None:
        """As the checkpoint has it."""
        return self._unknown_id

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The pieces; those of bytes as the text that they stand for."""
        if not self._reads_bytes:
            return [self._inner.id_to_token(index) or "" for index in ids]
        return [visible(self._inner.decode([index], skip_special_tokens=False)) for index in ids]

    def spelled(self, texts: Sequence[str]) -> list[str]:
        """What `decode` makes of the pieces of each text, and of what it has in place of those without an id."""
        plain = self._inner.encode_batch([*map(_sound, texts)], add_special_tokens=False)
        return [self._spelled(text, encoding) for text, encoding in zip(texts, plain, strict=True)]

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """How often each piece of the texts occurs that has no id."""
        found: Counter[str] = Counter()
        if self._unknown_id is None:
            return found
        written = list(texts)
        for text, encoding in zip(written, self._encodings(written), strict=True):
            places = zip(encoding.ids, encoding.offsets, strict=True)
            found.update(text[start:end].strip() for index, (start, end) in places if index == self._unknown_id)
        return found

    def to_json(self) -> str:
        """The whole tokenizer, so that a run needs nothing else."""
        fields = {
            "kind": "pretrained",
            "special": self._special._asdict(),
            "unknown_id": self._unknown_id,
            "add_special_tokens": self._add_special_tokens,
            "prefix": self._prefix,
            "tokenizer": self._json,
        }
        return json.dumps(fields, ensure_ascii=False, indent=0)

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> "PretrainedTokenizer":
        """What `to_json` wrote; raises ValueError, TypeError or LookupError if it is damaged."""
        ids = fields["special"]
        prefix = ids.pop("prompt", ()) or ids.pop("decoder_prefix", ())  # runs of version 0.1 say prompt, and marks
        special = SpecialIds(**ids, decoder_prefix=tuple(prefix))
        tokenizer = cls(
            fields["tokenizer"],
            special,
            fields["unknown_id"],
            add_special_tokens=fields["add_special_tokens"] if "add_special_tokens" in fields else fields["marks"],
            prefix=fields["prefix"],
        )
        if tokenizer.vocab_size <= max(special.pad, special.bos, special.eos, *special.decoder_prefix):
            raise ValueError("its special ids are not in it")
        return tokenizer

    def _spelled(self, text: str, encoding: Any) -> str:
        if self._unknown_id is None or self._unknown_id not in encoding.ids:
            return self._inner.decode(encoding.ids).strip()
        pieces = [
            _sound(text)[slice(*place)] if index == self._unknown_id else piece
            for index, piece, place in zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True)
        ]
        decoder = self._inner.decoder
        return (" ".join(pieces) if decoder is None else decoder.decode(pieces)).strip()

    def _encodings(self, texts: Sequence[str]) -> list[Any]:
        return self._inner.encode_batch([*map(_sound, texts)], add_special_tokens=self._add_special_tokens)

    @cached_property
    def _inner(self) -> Any:
        return _plain_encoder(self._json)

    @cached_property
    def _reads_bytes(self) -> bool:
        """Whether a piece is written in the letters that stand for bytes (Radford et al. 2019)."""
        decoder = json.loads(self._json).get("decoder") or {}
        return decoder.get("type") == "ByteLevel"


def text_encoder(tokenizer: Any) -> Any:
    """What turns texts into ids as a tokenizer of `transformers` does: not padded, not cut, nothing in them is special.

    It is a copy: what is set there is not saved with the tokenizer.
    """
    encoder = _plain_encoder_of(tokenizer)
    encoder.no_truncation()
    return encoder


@lru_cache(maxsize=2)
def _plain_encoder_of(tokenizer: Any) -> Any:
    return _plain_encoder(tokenizer.backend_tokenizer.to_str())


def _plain_encoder(text: str) -> Any:
    """The tokenizer of this tokenizer.json, for which "</s>" in a text is text: it must not end it.

    Raises ValueError where it is damaged.
    """
    from tokenizers import Regex, Tokenizer, pre_tokenizers

    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(str(error)) from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    special = {index: token.content for index, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    found = tokenizer.encode_batch([*special.values()], add_special_tokens=False)
    names = [name for (index, name), row in zip(special.items(), found, strict=True) if index in row.ids]
    if names := [name for name in names if len(name) > 1]:
        # Unigram has them among its pieces: their first character is parted from the rest.
        starts = "|".join(f"{re.escape(name[0])}(?={re.escape(name[1:])})" for name in names)
        parted = pre_tokenizers.Split(Regex(starts), behavior="isolated")
        before = [] if tokenizer.pre_tokenizer is None else [tokenizer.pre_tokenizer]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*before, parted])
    return tokenizer


def sides(tokenizer: Any, start_id: int | None, prefix: str = "") -> tuple[PretrainedTokenizer, PretrainedTokenizer]:
    """Source and target as a pretrained encoder-decoder reads and writes them.

    A source has the prefix and the special tokens of the checkpoint. A target is what the decoder reads and writes
    between its first special token and its last: T5 starts from padding, BART from `</s>` and then `<s>`.

    Args:
        tokenizer: a fast one of `transformers`.
        start_id: the id that the decoder starts from.
        prefix: stands before every source.

    Raises:
        UserError: where the checkpoint does not say how an output starts or ends.
    """
    text = tokenizer.backend_tokenizer.to_str()
    special = special_ids(tokenizer, start_id)
    unknown_id = tokenizer.unk_token_id
    source = PretrainedTokenizer(text, special, unknown_id, add_special_tokens=True, prefix=prefix)
    return source, PretrainedTokenizer(text, special, unknown_id)


def _sound(text: str) -> str:
    """Half a surrogate pair is no character, but JSON can bring one in: it becomes "?"."""
    return text if text.isascii() else text.encode("utf-8", errors="replace").decode("utf-8")


def special_ids(tokenizer: Any, start_id: int | None) -> SpecialIds:
    """Padding, begin, end, and what the decoder reads before the begin token; UserError as in `sides`."""
    if start_id is None:
        raise UserError("model.checkpoint: its config.json has no decoder_start_token_id, which outputs start with")
    before, after = special_tokens_around(tokenizer)
    if len(after) != 1:
        raise UserError(
            f"model.checkpoint: its tokenizer ends a text with {len(after)} special tokens; exactly one is needed, "
            "to stop at"
        )
    read = before if before[:1] == [start_id] else [start_id, *before]
    return SpecialIds(pad=tokenizer.pad_token_id, bos=read[-1], eos=after[0], decoder_prefix=tuple(read[:-1]))


def special_tokens_around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What a tokenizer of `transformers` puts before a text, and what behind it."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    marked = tokenizer("a")["input_ids"]
    start = next((n for n in range(len(marked)) if marked[n : n + len(plain)] == plain), len(marked))
    return marked[:start], marked[start + len(plain) :]
