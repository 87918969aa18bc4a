"""Packing of sentences into rows: neighbours of one document, or two texts that may not belong together.

Source of the pairs: Devlin et al. (2019), "BERT: pre-training of deep bidirectional transformers", section 3.1 and
appendix A.2, and the code that was published with it: sentences that follow each other fill a row and are parted at
random; for half of the rows the second part is replaced by text of another document, and the replaced one starts the
next row.

Shapes: `T` tokens, `U` sentences, `D` documents, `N` rows.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np

from seqlab.data.corpora.passages import Document
from seqlab.errors import UserError
from seqlab.text.hf.pretrained import text_encoder
from seqlab.text.hf.wordpieces import CONTINUES
from seqlab.text.sentences import sentences

SPECIAL_TOKENS = 3
"""Of a row: one before the first text and one behind each; of a damaged row, at most, and of what is written for it."""

BEGINS = ("Ġ", "▁")
"""Stands before a piece that begins a word, in byte-level BPE and in unigram."""

CHUNK = 5000
"""Sentences that are encoded at once."""


@dataclass(frozen=True)
class Sentences:
    """Documents as ids, one after the other."""

    ids: np.ndarray  # (T,), int32
    starts_word: np.ndarray  # (T,), False where a token continues a word
    offsets: np.ndarray  # (U + 1,), where each sentence starts, and the end of the last
    documents: np.ndarray  # (D + 1,), the first sentence of each document, and U


@dataclass(frozen=True)
class Pairs:
    """Rows as stretches of tokens: the first text and the second, each from its start to its end."""

    spans: np.ndarray  # (N, 4)
    elsewhere: np.ndarray  # (N,), whether the second is of another document


def encode_documents(documents: Sequence[Document], tokenizer: Any, longest: int) -> Sentences:
    """Ids of all sentences; those of more than `longest` tokens are cut between words."""
    texts = [[text for paragraph in document.paragraphs for text in sentences(paragraph)] for document in documents]
    flat = [text for found in texts for text in found]
    rows = list(_encoded(flat, tokenizer))
    ids = np.concatenate(rows) if rows else np.empty(0, dtype=np.int32)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    starts_word = _begins_word(tokenizer)[ids]
    of_document = np.concatenate([[0], np.cumsum([len(found) for found in texts])])
    borders = offsets[of_document]  # in tokens: cutting moves the numbers of the sentences
    pieces = np.array(list(_cut(offsets.tolist(), starts_word, longest)), dtype=np.int64)
    starts_word[pieces[:-1]] = True  # no word continues from one text into another
    return Sentences(ids, starts_word, pieces, np.searchsorted(pieces, borders))


def fill_rows(encoded: Sentences, longest: int) -> np.ndarray:
    """(N, 2), the first sentence of each row and the one behind its last: each sentence once, `longest` tokens per row.

    No row has sentences of two documents, and none is made of a document without sentences.
    """
    offsets, documents = encoded.offsets.tolist(), encoded.documents.tolist()
    rows: list[tuple[int, int]] = []
    for start, stop in pairwise(documents):
        while start < stop:
            end = _fill(offsets, start, stop, longest)
            rows.append((start, end))
            start = end
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


def draw_pairs(encoded: Sentences, longest: int, random: Random) -> Pairs:
    """Rows of at most `longest` tokens that show every sentence about once; UserError where there is one document only.

    A document's last sentence, if it is left alone, is a first text and never a second one.
    """
    if len(encoded.documents) - 1 < 2:
        raise UserError("next-sentence prediction needs at least two documents, and there is only one")
    room = longest - SPECIAL_TOKENS
    offsets, documents = encoded.offsets.tolist(), encoded.documents.tolist()
    spans: list[tuple[int, int, int, int]] = []
    elsewhere: list[bool] = []
    filled = [number for number in range(len(documents) - 1) if documents[number] < documents[number + 1]]
    for turn, number in enumerate(filled):
        start, stop = documents[number : number + 2]
        while start < stop:
            end = _fill(offsets, start, stop, room)
            # Half of the row at most, whatever comes next: the length of the first text must not tell.
            most = _fill(offsets, start, end - 1, room - room // 2)
            middle = random.randint(start + 1, most) if end - start > 1 else end
            is_other = middle == end or random.random() < 0.5
            if is_other:
                other = filled[(turn + random.randrange(1, len(filled))) % len(filled)]
                second = random.randrange(documents[other], documents[other + 1])
                last = _fill(offsets, second, documents[other + 1], room - (offsets[middle] - offsets[start]))
            else:
                second, last = middle, end
            spans.append((offsets[start], offsets[middle], offsets[second], offsets[last]))
            elsewhere.append(is_other)
            start = middle if is_other else end
    return Pairs(np.array(spans, dtype=np.int64).reshape(-1, 4), np.array(elsewhere, dtype=bool))


def _fill(offsets: list[int], start: int, stop: int, room: int) -> int:
    """The end of the sentences from `start` on that fit; one always does."""
    return min(stop, bisect_right(offsets, offsets[start] + room) - 1)


def _begins_word(tokenizer: Any) -> np.ndarray:
    """(V,), whether a piece begins a word; where a text begins is not asked."""
    from tokenizers.models import WordPiece

    begins = np.zeros(len(tokenizer), dtype=bool)
    marked = isinstance(tokenizer.backend_tokenizer.model, WordPiece)  # which marks the others
    for piece, number in tokenizer.get_vocab().items():
        begins[number] = not piece.startswith(CONTINUES) if marked else piece.startswith(BEGINS)
    return begins


def _encoded(texts: Sequence[str], tokenizer: Any) -> Iterator[np.ndarray]:
    """The ids of each text."""
    backend = text_encoder(tokenizer)
    for start in range(0, len(texts), CHUNK):
        for found in backend.encode_batch_fast(texts[start : start + CHUNK], add_special_tokens=False):
            yield np.array(found.ids, dtype=np.int32)


def _cut(offsets: list[int], starts_word: np.ndarray, longest: int) -> Iterator[int]:
    """Where sentences start that are no longer than this, and the end of the last; empty ones are left out."""
    place = offsets[0]
    yield place
    for end in offsets[1:]:
        while end - place > longest:
            words = np.flatnonzero(starts_word[place + 1 : place + longest + 1])
            place += int(words[-1]) + 1 if len(words) else longest
            yield place
        if end > place:
            place = end
            yield place
