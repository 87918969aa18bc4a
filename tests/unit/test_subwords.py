"""Pieces of words: what is learned from small texts by hand, BPE dropout against its exact law, the same every time."""

import json
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import combinations, pairwise
from math import exp, prod

import numpy as np
import pytest

from seqlab.text import subwords
from seqlab.text.merging import DropoutMerging
from seqlab.text.subwords import CHARACTERS, Merges, SubwordTokenizer, UnigramPieces, train_bpe, train_unigram
from seqlab.text.tokenizer import SPECIALS, UNK_ID, ByteTokenizer
from seqlab.text.unigram import Lattice, learn_pieces

TEXTS = ["der kleine Hund", "ein kleiner Mann", "der Mann und der Hund", "klein, kleiner, am kleinsten", "犬と Hündin"]


def words(number: int, letters: str = "abcdeéß犬", seed: int = 0) -> list[str]:
    """Random texts in which pieces repeat."""
    rng = random.Random(seed)
    stock = ["".join(rng.choices(letters, k=rng.randint(1, 8))) for _ in range(50)]
    return [" ".join(rng.choices(stock, k=rng.randint(1, 12))) for _ in range(number)]


def bpe(texts: list[str] = TEXTS, vocab_size: int = 300, min_frequency: int = 2, dropout: float = 0.0):
    return train_bpe(texts, vocab_size, min_frequency, dropout)


class TestBpe:
    def test_the_most_frequent_pair_is_merged_first(self) -> None:
        tokenizer = bpe(["ab ab ab abc abc", "x ab"])
        assert tokenizer.tokens([260, 261, 262]) == ["ab", "▁ab", "▁abc"]
        assert tokenizer.vocab_size == 263  # nothing else is there twice
        assert tokenizer.encode("ab abc bc") == [261, 262, 4 + ord(" "), 4 + ord("b"), 4 + ord("c")]

    def test_rare_pairs_are_not_merged(self) -> None:
        assert bpe(["abc abc"], min_frequency=3).vocab_size == len(SPECIALS) + 256
        assert bpe(["abc abc"], min_frequency=2).tokens([262]) == ["▁abc"]

    def test_the_vocabulary_is_as_large_as_asked_for_where_the_texts_allow_it(self) -> None:
        assert bpe(words(200), vocab_size=333).vocab_size == 333
        assert bpe(["ab"], vocab_size=8000, min_frequency=1).vocab_size == 262

    def test_two_ways_to_a_piece_are_one_id(self) -> None:
        tokenizer = SubwordTokenizer(Merges((("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc"))))
        assert tokenizer.tokens(range(260, tokenizer.vocab_size)) == ["ab", "bc", "abc"]

    def test_single_bytes_have_the_ids_of_the_byte_vocabulary(self) -> None:
        text = "Ünï\x00\U0001f600"
        assert bpe(["a"]).encode(text) == ByteTokenizer().encode(f" {text}")


@pytest.fixture(params=["bpe", "unigram"])
def tokenizer(request: pytest.FixtureRequest) -> SubwordTokenizer:
    """Learned from `TEXTS`."""
    return bpe() if request.param == "bpe" else train_unigram(TEXTS, 300)


class TestBothKinds:
    def test_a_word_has_the_same_ids_at_the_start_and_inside(self, tokenizer: SubwordTokenizer) -> None:
        first, second = tokenizer.encode("Hund"), tokenizer.encode("der Hund")
        assert second[-len(first) :] == first
        assert tokenizer.decode(first) == "Hund"

    @pytest.mark.parametrize("text", ["", " ", "  a  ", "\n a", "a\u00a0b\t", "e\u0301", "x" * 999, "2014", "\r\n"])
    def test_spaces_come_back_and_text_is_normalised(self, tokenizer: SubwordTokenizer, text: str) -> None:
        assert tokenizer.decode(tokenizer.encode(text)) == text.replace("e\u0301", "é")

    def test_an_empty_text_has_no_ids(self, tokenizer: SubwordTokenizer) -> None:
        assert tokenizer.encode_batch(["", "a", ""])[::2] == [[], []]
        assert tokenizer.encode_batch([]) == []

    def test_half_a_character_from_json_becomes_a_question_mark(self, tokenizer: SubwordTokenizer) -> None:
        assert tokenizer.decode(tokenizer.encode(json.loads('"a\\ud800"'))) == "a?"

    def test_every_digit_stands_alone(self, tokenizer: SubwordTokenizer) -> None:
        assert len(tokenizer.encode("7402")) in (4, 5)  # with or without the space before it

    def test_text_that_spells_a_special_id_is_plain_text(self) -> None:
        text = " ".join(SPECIALS)
        for learned in (bpe([text] * 50), train_unigram([text] * 50, 300)):
            assert min(learned.encode(text)) >= len(SPECIALS)
            assert learned.decode(learned.encode(text)) == text

    def test_ids_of_an_untrained_model_are_text_too(self, tokenizer: SubwordTokenizer) -> None:
        assert tokenizer.decode([4 + 0xC3, 4 + ord("a"), UNK_ID]) == "�a<unk>"
        assert tokenizer.tokens([0, UNK_ID, 4 + 0xC3, 4 + ord(" ")]) == ["<pad>", "<unk>", "\\xc3", "▁"]

    def test_nothing_is_unknown(self, tokenizer: SubwordTokenizer) -> None:
        assert tokenizer.unknown(["never seen: \U0001f600"]) == {}

    def test_the_bytes_are_written_as_the_library_writes_them(self) -> None:
        from tokenizers.pre_tokenizers import ByteLevel

        assert sorted(CHARACTERS) == sorted(ByteLevel.alphabet())
        for character in ("a", "é", "犬", "\U0001f600", "\x00", "\xad"):
            [(written, _)] = ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(character)
            assert [CHARACTERS[byte] for byte in character.encode()] == list(written)

    def test_the_size_of_the_chunks_does_not_matter(
        self, tokenizer: SubwordTokenizer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        texts = ["", *TEXTS, "", *words(20)]
        whole = tokenizer.encode_batch(texts)
        monkeypatch.setattr(subwords, "CHUNK", 3)
        assert tokenizer.encode_batch(texts) == whole == [tokenizer.encode(text) for text in texts]


def ways(word: str, pieces: Iterable[str]) -> list[list[str]]:
    """Every way to write a word in some pieces."""
    cuts = (cut for number in range(len(word)) for cut in combinations(range(1, len(word)), number))
    found = ([word[start:end] for start, end in pairwise((0, *cut, len(word)))] for cut in cuts)
    return [way for way in found if set(way) <= set(pieces)]


class TestUnigram:
    def test_expected_counts_are_those_of_all_ways_to_write_the_words(self) -> None:
        pieces = dict(
            zip(["a", "b", "c", "ab", "abc", "ca", "bca"], [0.3, 0.2, 0.1, 0.15, 0.05, 0.12, 0.08], strict=True)
        )
        counts = {"abcab": 3, "ca": 2, "b": 1, "abc": 5}
        wanted, totals = Counter[str](), []
        for word, count in counts.items():
            probabilities = [prod(pieces[piece] for piece in way) for way in ways(word, pieces)]
            totals.append(sum(probabilities))
            for way, probability in zip(ways(word, pieces), probabilities, strict=True):
                for piece in way:
                    wanted[piece] += count * probability / totals[-1]  # pyright: ignore[reportArgumentType]
        ids = {piece: index for index, piece in enumerate(pieces)}
        lattice, weights = Lattice(counts, ids), np.array(list(pieces.values()))
        assert lattice.totals(weights) == pytest.approx(totals)
        assert lattice.expected(weights, np.array(list(counts.values()))) == pytest.approx(
            [wanted[piece] for piece in pieces]
        )
        others = Lattice(["abc", "ca", "b"], ids, proper=True).totals(weights)
        assert others == pytest.approx([0.3 * 0.2 * 0.1 + 0.15 * 0.1, 0.1 * 0.3, 0])

    def test_frequent_words_are_kept_and_their_letters(self) -> None:
        counts = {"Ġwoman": 900, "Ġman": 800, "Ġdog": 700, "Ġxyzzy": 1, "Ġmandog": 2}
        learned = learn_pieces(counts, sorted(set("".join(counts))), 14)
        assert len(learned) == 14
        assert set(learned) - set("".join(counts)) == {"Ġwoman", "Ġman", "Ġdog"}
        assert max(learned, key=lambda piece: learned[piece]) == "Ġwoman"
        assert sum(map(exp, learned.values())) == pytest.approx(1, abs=0.01)

    def test_as_many_as_asked_for_where_the_texts_allow_it(self) -> None:
        assert train_unigram(words(300), 333).vocab_size == 333
        assert train_unigram(["ab"], 8000).vocab_size == len(SPECIALS) + 256 + 3  # "ab", " ab" and " a"
        assert train_unigram(["ab"], 260).vocab_size == 260

    def test_very_long_words_and_rare_letters(self) -> None:
        letters = "".join(map(chr, range(0x4E00, 0x4E00 + 3000)))
        tokenizer = train_unigram([letters, "a" * 5000, *words(50)], 400)
        assert tokenizer.decode(tokenizer.encode(letters)) == letters

    def test_a_word_becomes_its_most_probable_pieces(self) -> None:
        tokenizer = train_unigram(words(300, "abc"), 290)
        assert isinstance(tokenizer.learned, UnigramPieces)
        scores = tokenizer.learned.scores
        for word in ("abcab", "cabba", "bbbbbb", "acacbcb"):
            best = max(ways(f"Ġ{word}", scores), key=lambda way: sum(scores[piece] for piece in way))
            assert tokenizer.tokens(tokenizer.encode(word)) == [piece.replace("Ġ", "▁") for piece in best]


def exact_law(word: str, pairs: list[tuple[str, str]], dropout: float) -> dict[tuple[str, ...], float]:
    """The probability of every outcome of BPE dropout, by following every choice (Provilkov et al., algorithm 1)."""
    law: dict[tuple[str, ...], float] = defaultdict(float)
    waiting = [(tuple(word), 1.0)]
    while waiting:
        pieces, probability = waiting.pop()
        possible = [place for place in range(len(pieces) - 1) if pieces[place : place + 2] in pairs]
        ranked = sorted(possible, key=lambda place: (pairs.index((pieces[place], pieces[place + 1])), place))
        for dropped, place in enumerate(ranked):  # those before it are dropped, it is not
            merged = (*pieces[:place], pieces[place] + pieces[place + 1], *pieces[place + 2 :])
            waiting.append((merged, probability * dropout**dropped * (1 - dropout)))
        law[pieces] += probability * dropout ** len(ranked)
    return law


class TestDropout:
    PAIRS = [("a", "b"), ("b", "a"), ("ab", "a"), ("ab", "ab"), ("aba", "b")]  # noqa: RUF012

    def test_outcomes_are_as_frequent_as_the_law_says(self) -> None:
        number, dropout = 20_000, 0.4
        tokenizer = SubwordTokenizer(Merges(tuple(self.PAIRS), dropout))
        [ids] = tokenizer.encode_varied(["\n".join(["ababa"] * number)], seed=3)
        text = "|".join(tokenizer.tokens(ids)).replace("▁|", "")
        found = Counter(tuple(word.strip("|").split("|")) for word in text.split("\n"))
        law = exact_law("ababa", self.PAIRS, dropout)
        assert sum(law.values()) == pytest.approx(1)
        assert len(law) > 5
        assert set(found) <= set(law)
        for outcome, probability in law.items():
            spread = (number * probability * (1 - probability)) ** 0.5
            assert abs(found[outcome] - number * probability) < 4 * spread + 1

    def test_without_dropout_it_is_what_the_library_does(self) -> None:
        texts = [*TEXTS, *words(300), "", "x" * 200, "   ", "a  b\n"]
        plain = bpe(texts, 600, dropout=0.0)
        assert isinstance(plain.learned, Merges)
        assert not plain.varies
        assert plain.encode_varied(texts, seed=1) == plain.encode_batch(texts)
        hardly = SubwordTokenizer(Merges(plain.learned.pairs, dropout=1e-12))  # the seeded way, nothing dropped
        assert hardly.varies
        assert hardly.encode_varied(texts, seed=1) == plain.encode_batch(texts)

    def test_almost_everything_dropped_leaves_bytes(self) -> None:
        tokenizer = bpe(dropout=1 - 1e-9)
        assert tokenizer.encode_varied(TEXTS, seed=0) == ByteTokenizer().encode_batch([f" {text}" for text in TEXTS])
        assert tokenizer.encode_batch(TEXTS) == bpe().encode_batch(TEXTS)  # evaluation never drops

    def test_is_a_pure_function_of_texts_and_seed(self) -> None:
        tokenizer = bpe(dropout=0.3)
        first = tokenizer.encode_varied(TEXTS * 9, seed=5)
        tokenizer.encode_varied(TEXTS, seed=1)
        assert tokenizer.encode_varied(TEXTS * 9, seed=5) == first
        assert tokenizer.encode_varied(TEXTS * 9, seed=6) != first

    def test_every_occurrence_is_drawn_on_its_own(self) -> None:
        tokenizer = bpe(dropout=0.5)
        assert len({tuple(ids) for ids in tokenizer.encode_varied(["der kleine Hund"] * 50, seed=0)}) > 25

    def test_nothing_to_merge(self) -> None:
        empty = np.zeros(0, dtype=np.int64)
        merging, generator = DropoutMerging([], 260, 0.5), np.random.default_rng(0)
        assert [part.tolist() for part in merging.merge(np.array([7, 8, 9]), np.array([2, 1]), generator)] == [
            [7, 8, 9],
            [2, 1],
        ]
        assert [part.tolist() for part in merging.merge(empty, empty, generator)] == [[], []]


SCRIPT = """
import sys, json
from seqlab.text.subwords import train_bpe, train_unigram
texts = json.load(sys.stdin)
bpe = train_bpe(texts, 700, 2, 0.1)
print(json.dumps([bpe.to_json(), train_unigram(texts, 700).to_json(), bpe.encode_varied(texts, 3)]))
"""


def test_every_process_learns_and_draws_the_same() -> None:
    """Also with another number of threads, another hash seed of Python, and the texts in another order."""
    texts = words(400) + words(400, "xyzüß", seed=1)

    def captured(parallel: str, texts: list[str]) -> list:
        environment = {"TOKENIZERS_PARALLELISM": parallel, "PYTHONHASHSEED": "random"}
        command = [sys.executable, "-c", SCRIPT]
        asked = subprocess.run(
            command, input=json.dumps(texts), env=environment, capture_output=True, text=True, check=True
        )
        return json.loads(asked.stdout)

    first = captured("true", texts)
    assert captured("true", texts) == captured("false", texts) == first
    assert captured("true", texts[::-1])[:2] == first[:2]
