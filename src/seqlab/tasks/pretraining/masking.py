"""Masking of rows: which tokens are hidden, and by what.

15 % of the words of every row, at least one, are hidden whole: all of their pieces are to be predicted. Of these
pieces 80 % become [MASK], 10 % a random piece, and 10 % stay. Source: Devlin et al. (2019), "BERT: pre-training of deep
bidirectional transformers", section 3.1, and the whole-word masking that was published with its code in May 2019.
There 15 % of the tokens are hidden, word by word; here it is 15 % of the words.

Shapes: `T` tokens, `W` words, `M` hidden tokens, `N` rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from seqlab.data.batching.masked_rows import MaskedRows
from seqlab.data.batching.pairs import Ragged, ranges
from seqlab.errors import UserError
from seqlab.tasks.pretraining.packing import Pairs, Sentences
from seqlab.text.hf.wordpieces import CONTINUES

SHOWN, RANDOM = 0.1, 0.1
"""Shares of the hidden tokens that stay as they are, and that become a random one."""


@dataclass(frozen=True)
class SpecialTokens:
    """The ids that mean something to a BERT."""

    pad: int
    cls: int
    sep: int
    mask: int
    ordinary: np.ndarray
    """all ids that are no special tokens, for random tokens"""

    @classmethod
    def of(cls, tokenizer: Any) -> "SpecialTokens":
        """Those of a tokenizer of `transformers`; UserError where it is not of the type of BERT."""
        ids = [getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep", "mask")]
        if None in ids or not any(piece.startswith(CONTINUES) for piece in tokenizer.get_vocab()):
            raise UserError(
                "model.checkpoint: whole-word masking needs a WordPiece tokenizer, such as BERT's: "
                "choose another checkpoint, or none"
            )
        return cls(*ids, ordinary=np.setdiff1d(np.arange(len(tokenizer)), tokenizer.all_special_ids))


def masked_rows(
    encoded: Sentences, pairs: Pairs, special: SpecialTokens, share: float, generator: np.random.Generator
) -> MaskedRows:
    """The rows `[CLS] first [SEP] second [SEP]` with `share` of the words of each hidden."""
    starts, ends = pairs.spans[:, 0::2], pairs.spans[:, 1::2]
    lengths = ends - starts  # (N, 2)
    offsets = np.concatenate([[0], np.cumsum(lengths.sum(1) + 3)])
    begin, middle = offsets[:-1], offsets[:-1] + 1 + lengths[:, 0]
    ids = np.full(offsets[-1], special.sep, dtype=np.int32)
    ids[begin] = special.cls
    # Where the tokens of both texts come from, and where they go; the other places are special tokens.
    source = ranges(starts.ravel(), lengths.ravel())
    target = ranges(np.stack([begin + 1, middle + 1], 1).ravel(), lengths.ravel())
    ids[target] = encoded.ids[source]
    row_of_token = np.repeat(np.arange(len(begin)), lengths.sum(1))
    places = target[hidden_tokens(encoded.starts_word[source], row_of_token, share, generator)]
    labels = ids[places].copy()
    ids[places] = disguised(labels, special, generator)
    row_of_place = np.searchsorted(offsets, places, side="right") - 1
    number = np.concatenate([[0], np.cumsum(np.bincount(row_of_place, minlength=len(begin)))])
    return MaskedRows(
        ids=Ragged(ids, offsets),
        first=lengths[:, 0] + 2,
        columns=Ragged((places - offsets[row_of_place]).astype(np.int32), number),
        labels=Ragged(labels, number),
        elsewhere=pairs.elsewhere.astype(np.int64),
        pad_id=special.pad,
    )


def hidden_tokens(starts_word: np.ndarray, row: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """(M,), in order: the tokens of a random `share` of the words of each row, rounded, at least one word.

    Args:
        starts_word: (T,), whether a token begins a word; the first one of a row does.
        row: (T,), to which row a token belongs, in order.
        share: of the words.
        generator: draws one number per word.
    """
    word = np.cumsum(starts_word) - 1  # (T,)
    row_of_word = row[starts_word]  # (W,)
    words = np.bincount(row_of_word)
    wanted = np.maximum(1, np.rint(share * words)).astype(np.int64)
    order = np.lexsort((generator.random(len(row_of_word)), row_of_word))  # by row, then at random
    rank = np.arange(len(order)) - (np.cumsum(words) - words)[row_of_word]  # order keeps the rows where they are
    is_hidden = np.zeros(len(order), dtype=bool)
    is_hidden[order[rank < wanted[row_of_word]]] = True
    return np.flatnonzero(is_hidden[word])


def disguised(labels: np.ndarray, special: SpecialTokens, generator: np.random.Generator) -> np.ndarray:
    """(M,), what stands in the place of hidden tokens; each is drawn for itself."""
    chance = generator.random(len(labels))
    random = special.ordinary[generator.integers(len(special.ordinary), size=len(labels))]
    return np.where(chance < SHOWN, labels, np.where(chance < SHOWN + RANDOM, random, special.mask)).astype(np.int32)
