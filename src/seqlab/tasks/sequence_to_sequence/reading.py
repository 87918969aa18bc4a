"""Sources longer than those of the training, and how they are cut into pieces."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from seqlab.errors import UserError
from seqlab.text.sentences import cut, sentences


class SourcePieces(NamedTuple):
    """A source as the model reads it; a blank one has no pieces."""

    texts: list[str]
    remark: str = ""


@dataclass(frozen=True)
class SourceLimits:
    """Bounds under which a source is read whole."""

    tokens: int
    """most tokens"""
    sentences: int | None
    """most sentences; None: any number"""
    cuts: bool
    """whether others are cut: half a question of mathematics is none"""
    prefix: str = ""
    """regular expression of what at the start of a line belongs in front of every piece, such as a tag"""

    def pieces(self, source: str, tokens: int, count: Callable[[str], int], number: int) -> SourcePieces:
        """The source whole, or cut at the ends of sentences, and inside those that are too long themselves.

        Args:
            source: one line of text.
            tokens: how many it has.
            count: the tokens of a text.
            number: of the line, for the remark.

        Raises:
            UserError: if it is too long, and nothing is cut.
        """
        if not source.strip():
            return SourcePieces([])
        prefix = found[0] if self.prefix and (found := re.match(self.prefix, source)) else ""
        text = source[len(prefix) :]
        too_many = self.cuts and self.sentences is not None and sum(1 for _ in sentences(text)) > self.sentences
        if tokens <= self.tokens and not too_many:
            return SourcePieces([source])
        if not self.cuts:
            raise UserError(
                f"line {number}: {tokens:,} tokens, but the model reads {self.tokens:,} at most: shorten it"
            )
        found = cut(text, lambda piece: count(prefix + piece) <= self.tokens)
        where = "also inside sentences" if len(found.pieces) > found.sentences else "at sentence ends"
        remark = f"line {number}: {tokens:,} tokens, over {self.tokens:,}: cut into {len(found.pieces)}, {where}"
        return SourcePieces([prefix + piece for piece in found.pieces], remark if tokens > self.tokens else "")
