"""Learns the pieces of a unigram vocabulary (Kudo 2018): those without which the words would be much less probable.

Every piece has a probability, and a word that of all the ways to write it in pieces. Starting from all frequent parts
of words, two steps of expectation maximisation and dropping the least useful quarter take turns.

Why not the trainer of `tokenizers` (0.23.3): it takes its candidates from the distinct words, each counted once, so
that 114 of the 300 most frequent words of Multi30k (English and German, 8,000 ids) have no id of their own, "woman"
among them, and a word is 1.48 ids instead of 1.24; and it adds up in the order of a hash table, so that no two
trainings give the same scores. Nor that of `sentencepiece` (0.2.3): twice as fast, but its pieces make
sequences 5 to 15 % longer (docs/techniques/vocabularies.md).
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

LONGEST_PIECE = 16
LONGEST_WORD = 64
"""In letters; of longer words only the start is learned from."""
NUM_WORDS = 100_000
"""The most frequent words are learned from; it bounds time and memory."""
CANDIDATES = 10
"""Candidates at the start for each piece wanted."""
KEPT = 0.75
"""Share of the pieces that a round keeps."""
SCALE = np.exp(2.5)
"""Factor a letter, about the inverse of its probability, that keeps the products of a long word in range."""


def learn_pieces(words: Mapping[str, int], letters: Sequence[str], num_pieces: int) -> dict[str, float]:
    """The pieces to keep with their log-probabilities; a pure function of its arguments.

    Args:
        words: how often each word occurs.
        letters: what words consist of; they are pieces whatever happens, and come first.
        num_pieces: how many to keep at most, letters included.
    """
    words = _common(words)
    candidates = _candidates(words, letters, CANDIDATES * num_pieces)
    rounds = _Rounds(words, candidates, len(letters))
    rounds.fit()
    while (number := int(rounds.kept.sum())) > num_pieces:
        rounds.keep(max(num_pieces, int(KEPT * number)))
        rounds.fit()
    scores = np.log(rounds.probabilities(), where=rounds.kept, out=np.zeros(len(candidates)))
    # Four decimals: the logarithms of two machines may differ in the last bit.
    return {piece: round(float(scores[index]), 4) for index, piece in enumerate(candidates) if rounds.kept[index]}


def _common(words: Mapping[str, int]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for word, count in words.items():
        counts[word[:LONGEST_WORD]] += count
    return {word: counts[word] for word in sorted(counts, key=lambda word: (-counts[word], word))[:NUM_WORDS]}


def _candidates(words: Mapping[str, int], letters: Sequence[str], number: int) -> dict[str, int]:
    """Parts of words with the letters of text that they cover: all single letters, and those that cover most."""
    covered: Counter[str] = Counter(dict.fromkeys(letters, 0))
    for word, count in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(start + LONGEST_PIECE, len(word)) + 1):
                covered[word[start:end]] += count * (end - start)
    single = {letter: covered.pop(letter) for letter in letters}
    longer = sorted(covered, key=lambda part: (-covered[part], part))[: number - len(letters)]
    return single | {part: covered[part] for part in longer}


class _Rounds:
    """What is known between the rounds: which candidates are left, and how often each is expected."""

    def __init__(self, words: Mapping[str, int], candidates: Mapping[str, int], num_letters: int) -> None:
        ids = {piece: index for index, piece in enumerate(candidates)}
        self._words, self._counts = Lattice(words, ids), np.array(list(words.values()), dtype=np.float64)
        self._pieces = Lattice(candidates, ids, proper=True)
        self._sizes = SCALE ** np.array([len(piece) for piece in candidates])
        self._num_letters = num_letters
        self._expected = np.array(list(candidates.values()), dtype=np.float64)
        self.kept = np.ones(len(candidates), dtype=bool)

    def probabilities(self) -> np.ndarray:
        """The share of each piece; zero for one that was dropped.

        Half a count less than expected is close to exp(digamma(count)), the estimate under a sparse prior.
        """
        shares = np.where(self.kept, np.maximum(self._expected - 0.5, 0.01), 0.0)
        return shares / shares.sum()

    def fit(self) -> None:
        """Two steps of expectation maximisation."""
        for _ in range(2):
            self._expected = self._words.expected(self.probabilities() * self._sizes, self._counts)

    def keep(self, number: int) -> None:
        """Drops all but the most useful pieces, and the letters.

        The use of a piece is what the log-likelihood would lose: its expected count times how much more probable it is
        than all other ways to write it together.
        """
        weights = self.probabilities() * self._sizes
        others = self._pieces.totals(weights)
        kept = np.flatnonzero(self.kept)
        kept = kept[kept >= self._num_letters]
        loss = self._expected[kept] * np.log(weights[kept] / others[kept])
        best = kept[np.argsort(-loss, kind="stable")[: number - self._num_letters]]
        self.kept[self._num_letters :] = False
        self.kept[best] = True


class Lattice:
    """All the ways to write each of some words as pieces.

    The nodes of a word are the places between its letters, those of all words stand in one row. An edge is a piece,
    from a node to a later one. Edges are sorted by the place in the word where they end, so that a sum over the ways
    needs one array operation a place.
    """

    def __init__(self, words: Iterable[str], ids: Mapping[str, int], *, proper: bool = False) -> None:
        """Takes the words and the id of each piece; `proper` leaves out the piece that is the whole word."""
        edges, firsts, node = array("q"), [], 0
        for word in words:
            firsts.append(node)
            for end in range(1, len(word) + 1):
                for start in range(max(0, end - LONGEST_PIECE), end):
                    piece = ids.get(word[start:end])
                    if piece is not None and not (proper and end - start == len(word)):
                        edges.extend((end, node + start, node + end, piece))
            node += len(word) + 1
        table = np.frombuffer(edges, dtype=np.int64).reshape(-1, 4)
        table = np.ascontiguousarray(table[np.argsort(table[:, 0], kind="stable")].T)
        self._edges = table[1:]
        self._places = np.split(self._edges, np.flatnonzero(np.diff(table[0])) + 1, axis=1)
        self._firsts = np.array(firsts)
        self._lasts = np.append(self._firsts[1:], node) - 1
        self._num_nodes = node

    def totals(self, weights: np.ndarray) -> np.ndarray:
        """For every word, the sum over the ways to write it of the product of the weights of their pieces."""
        return self._forward(weights)[self._lasts]

    def expected(self, weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """How often each piece is expected in words that occur so often, each way weighted by its share."""
        forward, backward = self._forward(weights), np.zeros(self._num_nodes)
        totals = forward[self._lasts]
        # A word that is too improbable for a number teaches nothing this time.
        backward[self._lasts] = np.divide(counts, totals, out=np.zeros_like(totals), where=totals > 1e-250)
        for starts, ends, pieces in reversed(self._places):
            np.add.at(backward, starts, backward[ends] * weights[pieces])
        starts, ends, pieces = self._edges
        return np.bincount(pieces, forward[starts] * backward[ends] * weights[pieces], minlength=len(weights))

    def _forward(self, weights: np.ndarray) -> np.ndarray:
        sums = np.zeros(self._num_nodes)
        sums[self._firsts] = 1.0
        for starts, ends, pieces in self._places:
            np.add.at(sums, ends, sums[starts] * weights[pieces])
        return sums
