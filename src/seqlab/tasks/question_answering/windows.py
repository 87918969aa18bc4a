"""Windows of tokens for a question with a long text, and the mapping of places between window and text.

A window holds the question and a part of the text; neighbouring windows share some tokens (Devlin et al. 2019).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from seqlab.data.batching.pairs import Ragged
from seqlab.data.batching.token_rows import TokenRows
from seqlab.data.corpora.squad import Question, Span
from seqlab.text.hf.pretrained import text_encoder

CHUNK = 1000
"""Questions that are encoded at once: tokenizers give lists of Python objects, many times larger than arrays."""

NOWHERE = -1
"""Instead of a place: the token is none of the text, or the answer stands nowhere."""

NO_ANSWER = 0
"""The place that means that the window does not hold the answer: that of the first token, which is no text."""


class WindowSize(NamedTuple):
    """In tokens."""

    window: int
    stride: int
    """tokens that neighbouring windows share"""
    question: int
    """longest question; the rest of a longer one is not read"""


@dataclass(frozen=True)
class Windows:
    """The windows of some questions."""

    rows: TokenRows  # the label of a window: the places of the first and the last token of the answer
    question: np.ndarray  # (N,), whose window it is
    first: Ragged  # where the text of each token begins in the context, in characters; NOWHERE for other tokens
    last: Ragged  # where it ends
    is_cut: list[bool]  # which questions were too long

    def __len__(self) -> int:
        return len(self.question)

    def text_mask(self, rows: np.ndarray, width: int) -> np.ndarray:
        """(B, S): which tokens of these windows belong to the text."""
        return self.first.padded(rows, width, NOWHERE) >= 0

    def characters(self, window: int, first: int, last: int) -> tuple[int, int]:
        """Where the text from one token to another begins and ends."""
        offset = int(self.first.offsets[window])
        return int(self.first.ids[offset + first]), int(self.last.ids[offset + last])


def encode_windows(tokenizer: Any, questions: Sequence[Question], size: WindowSize) -> Windows:
    """Cuts every text into windows.

    Args:
        tokenizer: a fast one of `transformers`.
        questions: what to encode.
        size: of the windows.
    """
    starts = range(0, max(len(questions), 1), CHUNK)
    return _joined([_packed(tokenizer, questions[start : start + CHUNK], start, size) for start in starts])


def place(first: np.ndarray, last: np.ndarray, answer: Span | None) -> tuple[int, int]:
    """The first and the last token of an answer in a window whose tokens begin and end at these characters.

    NO_ANSWER twice where there is no answer, or the window does not hold all of it; NOWHERE twice where it does not
    occur in the text at all.
    """
    if answer is None:
        return NO_ANSWER, NO_ANSWER
    if answer.start is None:
        return NOWHERE, NOWHERE
    start, end = answer.start, answer.start + len(answer.text.rstrip())
    start += len(answer.text) - len(answer.text.lstrip())
    held = np.flatnonzero((first >= 0) & (last > start) & (first < end))
    text = np.flatnonzero(first >= 0)
    if not len(held) or first[text[0]] > start or last[text[-1]] < end:
        return NO_ANSWER, NO_ANSWER
    return int(held[0]), int(held[-1])


def _packed(tokenizer: Any, questions: Sequence[Question], number: int, size: WindowSize) -> Windows:
    """The windows of questions of which the first has this number."""
    backend = text_encoder(tokenizer)
    texts = _shortened(backend, [question.question.strip() for question in questions], size.question)
    backend.enable_truncation(size.window, stride=size.stride, strategy="only_second")
    encodings = backend.encode_batch(
        [(text, question.context) for (text, _), question in zip(texts, questions, strict=True)]
    )
    backend.no_truncation()
    of_question = [(encoding, *encoding.overflowing) for encoding in encodings]
    windows = [window for group in of_question for window in group]
    places = [_places(window) for window in windows]
    numbers = np.repeat(np.arange(len(questions)), [len(group) for group in of_question])
    wanted = [question.target or next(iter(question.answers), None) for question in questions]
    labels = [place(*found, wanted[row]) for found, row in zip(places, numbers, strict=True)]
    types = [window.type_ids for window in windows] if "token_type_ids" in tokenizer.model_input_names else None
    ids = [window.ids for window in windows]
    return Windows(
        rows=TokenRows.of(ids, types, np.array(labels, dtype=np.int64).reshape(-1, 2), tokenizer.pad_token_id),
        question=numbers + number,
        first=_ragged([first for first, _ in places]),
        last=_ragged([last for _, last in places]),
        is_cut=[is_cut for _, is_cut in texts],
    )


def _places(window: Any) -> tuple[np.ndarray, np.ndarray]:
    """Where each token begins and ends in the text; NOWHERE for those that are none of it."""
    of_text = np.array([sequence == 1 for sequence in window.sequence_ids])
    offsets = np.array(window.offsets, dtype=np.int32).reshape(-1, 2)
    return np.where(of_text, offsets[:, 0], NOWHERE), np.where(of_text, offsets[:, 1], NOWHERE)


def _joined(parts: Sequence[Windows]) -> Windows:
    """All windows, one part after the other."""
    rows = [part.rows for part in parts]
    types = [part.types for part in rows if part.types is not None]
    return Windows(
        rows=TokenRows(
            Ragged.joined([part.ids for part in rows]),
            Ragged.joined(types) if types else None,
            np.concatenate([part.labels for part in rows]),
            rows[0].pad_id,
        ),
        question=np.concatenate([part.question for part in parts]),
        first=Ragged.joined([part.first for part in parts]),
        last=Ragged.joined([part.last for part in parts]),
        is_cut=[is_cut for part in parts for is_cut in part.is_cut],
    )


def _shortened(backend: Any, questions: Sequence[str], longest: int) -> list[tuple[str, bool]]:
    """Questions of at most so many tokens, and whether something was cut off."""
    found = []
    for question, encoding in zip(
        questions, backend.encode_batch(list(questions), add_special_tokens=False), strict=True
    ):
        is_long = len(encoding.ids) > longest
        found.append((question[: encoding.offsets[longest - 1][1]] if is_long else question, is_long))
    return found


def _ragged(arrays: Sequence[np.ndarray]) -> Ragged:
    offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
    np.cumsum([len(array) for array in arrays], out=offsets[1:])
    return Ragged(np.concatenate([np.empty(0, dtype=np.int32), *arrays]).astype(np.int32), offsets)
