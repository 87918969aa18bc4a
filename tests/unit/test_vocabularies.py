"""Characters, words and bytes to ids and back, and the files that keep the vocabularies of a run."""

import json
from pathlib import Path

import pytest

from seqlab.config.settings import build
from seqlab.errors import UserError
from seqlab.text.tokenizer import (
    BOS_ID,
    EOS_ID,
    PAD_ID,
    SPECIALS,
    UNK_ID,
    ByteTokenizer,
    CharacterTokenizer,
    Protected,
    Reversed,
)
from seqlab.text.vocabularies import TextConfig, Unit, Vocabularies, build_vocabularies
from seqlab.text.words import WordTokenizer, train_words

UNITS: list[Unit] = ["character", "word", "bpe", "unigram", "byte"]
TEXTS = ["der kleine Hund", "ein kleiner Mann, ein Hund", "l'été\n(ici)"] * 2


class TestCharacters:
    def test_ids_follow_the_special_ones_in_sorted_order(self) -> None:
        tokenizer = CharacterTokenizer("cabba")
        assert tokenizer.vocab_size == 7
        assert tokenizer.encode("abc") == [4, 5, 6]
        assert tokenizer.decode([4, 5, 6]) == "abc"

    def test_the_order_of_the_characters_given_does_not_matter(self) -> None:
        assert CharacterTokenizer("abc").to_json() == CharacterTokenizer({"c", "b", "a"}).to_json()

    def test_unknown_characters_become_one_visible_id(self) -> None:
        tokenizer = CharacterTokenizer("ab")
        assert tokenizer.encode("aéb😀") == [4, UNK_ID, 5, UNK_ID]
        assert tokenizer.decode([4, UNK_ID, 5]) == "a<unk>b"

    def test_unknown_characters_are_counted(self) -> None:
        assert CharacterTokenizer("ab").unknown(["abc", "ccd"]) == {"c": 3, "d": 1}

    def test_other_special_ids_leave_no_trace(self) -> None:
        assert CharacterTokenizer("ab").decode([BOS_ID, 4, PAD_ID, 5, EOS_ID]) == "ab"

    def test_characters_that_spell_a_special_name_are_plain_characters(self) -> None:
        tokenizer = CharacterTokenizer("<unkeos>")
        for special in SPECIALS[2:]:
            assert UNK_ID not in tokenizer.encode(special)
            assert tokenizer.decode(tokenizer.encode(special)) == special

    def test_reversed_text_is_read_and_written_last_character_first(self) -> None:
        tokenizer = Reversed(CharacterTokenizer("123"))
        assert tokenizer.encode("123") == [6, 5, 4]
        assert tokenizer.decode([6, 5, 4]) == "123"
        assert tokenizer.decode([6, UNK_ID, 4]) == "1<unk>3"  # the mark itself stays readable

    def test_empty_text_is_no_ids(self) -> None:
        assert CharacterTokenizer("a").encode("") == []
        assert CharacterTokenizer("a").decode([]) == ""

    def test_a_letter_is_one_character_however_it_was_typed(self) -> None:
        source, _ = build_vocabularies(TextConfig(), ["cafe\u0301"], ["a"])
        assert source.tokens(range(4, source.vocab_size)) == ["a", "c", "f", "é"]
        assert source.encode("e\u0301") == source.encode("é") == [7]
        assert source.unknown(["e\u0301"]) == {}

    def test_a_space_is_seen_on_an_axis(self) -> None:
        assert CharacterTokenizer(" a").tokens([BOS_ID, 4, 5, UNK_ID]) == ["<bos>", "▁", "a", "<unk>"]


class TestWords:
    def test_punctuation_stands_alone_and_knows_what_it_touches(self) -> None:
        tokenizer = WordTokenizer(["l", "￭'￭", "homme", "(￭", "ici", "￭)", "￭."])
        text = "l'homme (ici)."
        assert tokenizer.encode(text) == [4, 5, 6, 7, 8, 9, 10]
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert tokenizer.tokens(tokenizer.encode(text)) == ["l", "'", "homme", "(", "ici", ")", "."]

    @pytest.mark.parametrize(
        "text",
        [
            'He said: "3.5 is (almost) a_b - no!?"',
            "« Où est-ce ? » – L'été…",
            "a ,b , c,",
            "…",
            "(( x ))",
            "😀😀 हिन्दी",
            "<unk>",
        ],
    )
    def test_a_text_with_single_spaces_comes_back(self, text: str) -> None:
        assert train_words([text], 99, 1).decode(train_words([text], 99, 1).encode(text)) == text

    def test_other_spaces_become_single_ones(self) -> None:
        tokenizer = train_words(["a b , c"], 99, 1)
        assert tokenizer.decode(tokenizer.encode(" a\tb\u00a0 , c\n")) == "a b , c"
        assert tokenizer.decode(tokenizer.encode("a￭b")) == "a b"

    def test_the_most_frequent_come_first_and_ties_go_by_the_alphabet(self) -> None:
        tokenizer = train_words(["b a c", "c b d"], 8, min_frequency=1)
        assert tokenizer.entries == ("b", "c", "a", "d")
        assert train_words(["b a c", "c b d"], 6, min_frequency=1).entries == ("b", "c")
        assert train_words(["b a c", "c b d"], 99, min_frequency=2).entries == ("b", "c")

    def test_unknown_words_stay_visible_and_are_counted(self) -> None:
        tokenizer = train_words(["the dog, the cat,"] * 2, 99, 2)
        assert tokenizer.decode(tokenizer.encode("the bird, the worm.")) == "the <unk>, the <unk> <unk>"
        assert tokenizer.unknown(["the bird, the bird."]) == {"bird": 2, ".": 1}

    def test_text_that_spells_a_special_id_is_plain_text(self) -> None:
        text = " ".join(SPECIALS)
        tokenizer = train_words([text], 99, 1)
        assert min(tokenizer.encode(text)) >= len(SPECIALS)
        assert tokenizer.decode(tokenizer.encode(text)) == text

    def test_no_word_that_is_frequent_enough_is_reported(self) -> None:
        with pytest.raises(UserError, match=r"text\.min_frequency=2: no word .* occurs that often: lower it"):
            build_vocabularies(TextConfig(unit="word"), ["a b c"], ["x x"])


class TestBytes:
    def test_byte_b_has_the_id_four_plus_b(self) -> None:
        assert ByteTokenizer().vocab_size == 260
        assert ByteTokenizer().encode("aé\x00") == [4 + 97, 4 + 0xC3, 4 + 0xA9, 4]
        assert ByteTokenizer().decode([BOS_ID, 4 + 97, 4 + 0xC3, 4 + 0xA9, EOS_ID, UNK_ID]) == "aé<unk>"

    def test_half_a_character_stays_visible(self) -> None:
        assert ByteTokenizer().decode([4 + 0xC3, 4 + 97]) == "�a"
        assert ByteTokenizer().tokens([4 + 0xC3, 4 + 97, 4 + 32, PAD_ID]) == ["\\xc3", "a", "▁", "<pad>"]

    def test_nothing_is_unknown(self) -> None:
        assert ByteTokenizer().unknown(["犬"]) == {}


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "complaint"),
        [
            ({"vocab_size": 500}, 'vocab_size=500 has no effect with unit="character"'),
            ({"unit": "byte", "vocab_size": 500}, 'choose unit="word" or unit="bpe" or unit="unigram"'),
            ({"unit": "unigram", "min_frequency": 3}, "or leave min_frequency at 2"),
            ({"unit": "word", "dropout": 0.1}, 'dropout=0.1 has no effect with unit="word": choose unit="bpe"'),
            ({"unit": "bpe", "vocab_size": 259}, 'vocab_size=259 is too small: unit="bpe" needs 260 or more'),
            ({"unit": "word", "vocab_size": 4}, "needs 5 or more"),
            ({"unit": "bpe", "dropout": 1.0}, "less than 1"),
            ({"unit": "wrod"}, 'did you mean "word"'),
        ],
    )
    def test_what_makes_no_sense_is_an_error(self, settings: dict[str, object], complaint: str) -> None:
        with pytest.raises(UserError) as error:
            build(TextConfig, settings, "recipe x")
        assert complaint in str(error.value)


class TestBothSides:
    @pytest.mark.parametrize("unit", UNITS)
    def test_a_shared_vocabulary_is_made_of_both(self, unit: Unit) -> None:
        source, target = build_vocabularies(
            TextConfig(unit=unit, shared=True), ["der der Hund"] * 9, ["犬 the dog"] * 9
        )
        assert source.to_json() == target.to_json()
        assert UNK_ID not in source.encode("der Hund the 犬")

    @pytest.mark.parametrize("unit", ["character", "word", "bpe", "unigram"])
    def test_otherwise_each_side_has_its_own(self, unit: Unit) -> None:
        english = ["the dogs barked", "the dog there"] * 9
        source, target = build_vocabularies(TextConfig(unit=unit), ["der Hund"] * 9, english)
        assert len(target.encode(english[0])) < len(source.encode(english[0])) or source.unknown(english)

    @pytest.mark.parametrize("unit", UNITS)
    def test_each_side_is_reversed_on_its_own(self, unit: Unit) -> None:
        plain = build_vocabularies(TextConfig(unit=unit), TEXTS, TEXTS)
        source, target = build_vocabularies(TextConfig(unit=unit, reverse_source=True), TEXTS, TEXTS)
        text = TEXTS[0]
        assert source.encode_batch([text, ""]) == [plain.source.encode(text)[::-1], []]
        assert source.encode_varied([text], seed=1) == [source.encode(text)]
        assert source.decode(source.encode(text)) == text
        assert source.tokens(source.encode(text)) == plain.source.tokens(plain.source.encode(text))[::-1]
        assert target.encode(text) == plain.target.encode(text)

    def test_only_bpe_with_dropout_varies(self) -> None:
        def varies(**settings) -> bool:
            return build_vocabularies(TextConfig(**settings), TEXTS, TEXTS).source.varies

        assert not any(varies(unit=unit) for unit in UNITS)
        assert varies(unit="bpe", dropout=0.1)
        assert varies(unit="bpe", dropout=0.1, reverse_source=True)

    def test_texts_may_be_read_only_once(self) -> None:
        once = build_vocabularies(TextConfig(unit="bpe", shared=True), iter(TEXTS), iter(TEXTS[:2]))
        assert (
            once.source.to_json()
            == build_vocabularies(TextConfig(unit="bpe", shared=True), TEXTS, TEXTS[:2]).source.to_json()
        )

    @pytest.mark.parametrize("unit", UNITS)
    @pytest.mark.parametrize("empty", [[], ["", ""]])
    def test_a_side_without_text_is_reported(self, unit: Unit, empty: list[str]) -> None:
        for shared in (False, True):
            with pytest.raises(UserError, match="the target side of the training texts is empty"):
                build_vocabularies(TextConfig(unit=unit, shared=shared), TEXTS, empty)

    def test_unknown_pieces_are_told_by_side(self) -> None:
        vocabularies = build_vocabularies(TextConfig(), "ab", "1")
        assert vocabularies.unknown([("abx", "1"), ("x", "1")]) == {"source": {"x": 2}}
        assert vocabularies.unknown([("x", "22")]) == {"source": {"x": 1}, "target": {"2": 2}}
        assert vocabularies.unknown([("a", "1")]) == {}


class TestFiles:
    @pytest.fixture
    def saved(self, tmp_path: Path) -> Path:
        config = TextConfig(reverse_source=True)
        build_vocabularies(config, 'a"\\\n ä😀', "12").save(tmp_path / "tokenizers")
        return tmp_path / "tokenizers"

    @pytest.mark.parametrize("unit", UNITS)
    @pytest.mark.parametrize("reverse", [False, True])
    def test_come_back_as_they_were(self, tmp_path: Path, unit: Unit, reverse: bool) -> None:
        dropout = 0.5 if unit == "bpe" else 0.0
        made = build_vocabularies(TextConfig(unit=unit, dropout=dropout, reverse_target=reverse), TEXTS, TEXTS[1:])
        made.save(tmp_path)
        again = Vocabularies.load(tmp_path)
        texts = [*TEXTS, 'ä\n"a" 😀\\', ""]
        for before, after in zip(made, again, strict=True):
            assert after.to_json() == before.to_json()
            assert after.encode_batch(texts) == before.encode_batch(texts)
            assert after.encode_varied(texts, seed=2) == before.encode_varied(texts, seed=2)
            assert after.decode(after.encode(texts[0])) == before.decode(before.encode(texts[0]))

    def test_of_the_first_version_still_load(self, saved: Path) -> None:
        (saved / "source.json").write_text('{"kind": "characters", "characters": "0123é", "reverse": true}\n')
        (saved / "target.json").write_text('{"kind": "characters", "characters": "0123", "reverse": false}\n')
        source, target = Vocabularies.load(saved)
        assert (source.encode("10é"), target.encode("103")) == ([8, 4, 5], [5, 4, 7])

    def test_a_missing_one_is_named(self, saved: Path) -> None:
        (saved / "target.json").unlink()
        with pytest.raises(UserError, match=r"target\.json: cannot read the vocabulary of this run"):
            Vocabularies.load(saved)

    @pytest.mark.parametrize(
        "damaged",
        [
            "",
            "{",
            "[]",
            "null",
            '{"characters": "ab"}',
            '{"kind": "letters", "characters": "ab"}',
            '{"kind": "characters", "reverse": false}',
            '{"kind": "characters", "characters": 3, "reverse": false}',
            '{"kind": "words"}',
            '{"kind": "words", "entries": ["a", 3]}',
            '{"kind": "bpe", "merges": ["a b"]}',
            '{"kind": "bpe", "merges": ["ab"], "dropout": 0.0}',
            '{"kind": "bpe", "merges": ["a b c"], "dropout": 0.0}',
            '{"kind": "bpe", "merges": ["ab c"], "dropout": 0.0}',
            '{"kind": "bpe", "merges": ["a 犬"], "dropout": 0.0}',
            '{"kind": "bpe", "merges": [3], "dropout": 0.0}',
            '{"kind": "unigram", "pieces": {"a": -1.0}}',
            '{"kind": "unigram", "pieces": ["a"]}',
        ],
    )
    def test_a_damaged_one_is_named(self, saved: Path, damaged: str) -> None:
        (saved / "source.json").write_text(damaged)
        with pytest.raises(UserError, match=r"source\.json: not a vocabulary"):
            Vocabularies.load(saved)

    def test_bytes_that_are_no_text_are_reported(self, saved: Path) -> None:
        (saved / "source.json").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(UserError, match=r"source\.json"):
            Vocabularies.load(saved)

    def test_are_readable_json(self, saved: Path) -> None:
        assert json.loads((saved / "target.json").read_text())["characters"] == "12"


class TestProtectedSymbols:
    SYMBOLS = ("<2de>", "<2fr>", "{1}", "<2de>x")

    @pytest.fixture(params=UNITS)
    def side(self, request: pytest.FixtureRequest) -> Protected:
        config = TextConfig(unit=request.param, protected=self.SYMBOLS, shared=True)
        found = build_vocabularies(config, ["<2de> one two.", "<2fr> one {1} two."], ["eins <2de>"] * 2).source
        assert isinstance(found, Protected)
        return found

    def test_are_one_id_each_behind_all_others(self, side: Protected) -> None:
        first = side.inner.vocab_size
        assert side.vocab_size == first + 4
        assert [side.encode(symbol) for symbol in self.SYMBOLS] == [[first], [first + 1], [first + 2], [first + 3]]
        assert side.encode("<2de> one") == [first, *side.inner.encode("one")]
        # the longest one counts, and the one that stands first
        assert side.encode("<2de>x<2de>") == [first + 3, first]
        assert side.tokens(side.encode("<2fr> two"))[0] == "<2fr>"

    def test_a_text_without_them_stays_as_it_is(self, side: Protected) -> None:
        assert side.encode(" one  two ") == side.inner.encode(" one  two ")

    def test_are_not_learned_from(self) -> None:
        config = TextConfig(unit="character", protected=self.SYMBOLS)
        side = build_vocabularies(config, ["<2de> one{1}", "x<2fr>"], ["a"]).source
        assert isinstance(side, Protected)
        assert side.inner.tokens(range(4, side.inner.vocab_size)) == ["e", "n", "o", "x"]

    def test_come_back_with_single_spaces(self, side: Protected) -> None:
        assert side.decode(side.encode("<2de>one two{1}  one")) == "<2de> one two {1} one"
        assert side.decode(side.encode("")) == ""
        assert side.spelled(["<2de>one {1}"]) == ["<2de> one {1}"]
        assert side.unknown(["<2de> one"]) == {}

    def test_come_back_from_the_files_of_a_run(self, side: Protected, tmp_path: Path) -> None:
        Vocabularies(side, Reversed(side)).save(tmp_path)
        source, target = Vocabularies.load(tmp_path)
        text = "<2fr> one {1} two"
        assert source.encode(text) == side.encode(text) == target.encode(text)[::-1]
        assert target.decode(target.encode(text)) == text

    def test_stay_when_merges_are_left_out(self) -> None:
        config = TextConfig(unit="bpe", dropout=0.9, protected=("<2de>",))
        side = build_vocabularies(config, ["<2de> onetwo onetwo"] * 9, ["a"]).source
        varied = [side.encode_varied(["<2de> onetwo", "onetwo <2de>"], seed) for seed in range(9)]
        assert len({len(one[0]) for one in varied}) > 1
        assert all(one[0][0] == one[1][-1] == side.vocab_size - 1 for one in varied)

    @pytest.mark.parametrize(
        ("settings", "complaint"),
        [
            ({"protected": [" "]}, "no white space at their ends"),
            ({"protected": ["<unk>"]}, "is a special token of every vocabulary"),
            ({"protected": ["<a>", "<a>"]}, "lists a symbol twice"),
            ({"prefix_pattern": "("}, "prefix_pattern is not a regular expression"),
        ],
    )
    def test_odd_ones_are_refused(self, settings: dict[str, object], complaint: str) -> None:
        with pytest.raises(UserError, match=complaint):
            build(TextConfig, settings, "text")
