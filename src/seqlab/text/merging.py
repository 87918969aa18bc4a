"""BPE dropout (Provilkov et al. 2020): merges left out at random, from a seed.

The library's own dropout draws from generators of its threads that nobody can seed, and an epoch could then never be
made again. Here all words of a batch are merged together by array operations. Every occurrence of a word is drawn on
its own, as in the paper: before each merge every possible one is dropped with probability p, the first in training
order of those left is made, and a word is done when none is left.

Words of equal length go together: every remaining row makes exactly one merge a round and so stays as long as its
neighbours, and nothing is ever padded.

Shapes: N symbols, M merges, R words of one length, L symbols in each of them.
"""

from collections.abc import Iterator, Sequence

import numpy as np

NEVER = np.iinfo(np.int32).max
"""The rank of a pair that no merge joins."""


class DropoutMerging:
    """Merges, ranked by the order in which they were learned."""

    def __init__(self, merges: Sequence[tuple[int, int, int]], vocab_size: int, dropout: float) -> None:
        """Takes the ids (left, right, result) of each merge; all are below `vocab_size`."""
        table = np.array(merges, dtype=np.int64).reshape(-1, 3)  # (M, 3)
        self._results = table[:, 2]
        self._vocab_size, self._dropout = vocab_size, dropout
        keys = table[:, 0] * vocab_size + table[:, 1]
        self._order = np.argsort(keys).astype(np.int32)
        self._keys = keys[self._order]

    def merge(
        self, symbols: np.ndarray, lengths: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Merges within words.

        Args:
            symbols: (N,) ids, word after word.
            lengths: symbols of each word.
            generator: draws which merges are left out.

        Returns:
            The ids that are left, word after word, and how many each word has.
        """
        starts = np.cumsum(lengths) - lengths
        merged = []
        for length in np.unique(lengths).tolist():
            words = np.flatnonzero(lengths == length)
            rows = symbols[starts[words, None] + np.arange(length)]
            merged += self._merge_rows(words, rows, generator)
        lengths = np.empty_like(lengths)
        for words, rows in merged:
            lengths[words] = rows.shape[1]
        starts = np.cumsum(lengths) - lengths
        ids = np.empty(lengths.sum(), dtype=np.int64)
        for words, rows in merged:
            ids[starts[words, None] + np.arange(rows.shape[1])] = rows
        return ids, lengths

    def _merge_rows(
        self, words: np.ndarray, rows: np.ndarray, generator: np.random.Generator
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Words (R,) of equal length with their symbols (R, L), as they get done."""
        ranks = self._ranks(rows[:, :-1], rows[:, 1:])  # (R, L - 1)
        while len(words) and ranks.shape[1]:
            left = np.where(generator.random(ranks.shape, dtype=np.float32) < self._dropout, NEVER, ranks)
            places = left.argmin(axis=1)
            going = left[np.arange(len(left)), places] < NEVER
            yield words[~going], rows[~going]
            words, rows, ranks = words[going], rows[going], ranks[going]
            rows, ranks = self._merged_at(places[going], rows, ranks)
        yield words, rows

    def _merged_at(self, places: np.ndarray, rows: np.ndarray, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each row with its symbols at place and place + 1 merged, and the ranks of its pairs."""
        number, length = rows.shape
        every, columns = np.arange(number), np.arange(length)
        merged = rows[columns != places[:, None] + 1].reshape(number, length - 1)
        merged[every, places] = self._results[ranks[every, places]]
        ranks = ranks[columns[:-1] != places[:, None]].reshape(number, length - 2)
        for side in (places - 1, places):  # the pairs that the merged symbol is part of
            inside = (side >= 0) & (side < length - 2)
            row, column = every[inside], side[inside]
            ranks[row, column] = self._ranks(merged[row, column], merged[row, column + 1])
        return merged, ranks

    def _ranks(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The rank of the merge that joins each pair of ids, or NEVER."""
        if not len(self._keys):
            return np.full(left.shape, NEVER, dtype=np.int32)
        keys = left * self._vocab_size + right
        found = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        return np.where(self._keys[found] == keys, self._order[found], NEVER)
