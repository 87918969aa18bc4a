"""Characters to ids and back, and the files that keep the vocabularies of a run."""

import json
from pathlib import Path

import pytest

from seqlab.errors import UserError
from seqlab.text.characters import CharacterTokenizer
from seqlab.text.reversal import Reversed
from seqlab.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, SPECIALS, UNK_ID
from seqlab.text.vocabularies import TextConfig, Vocabularies, build_vocabularies


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


class TestBothSides:
    def test_each_side_has_its_own_characters(self) -> None:
        source, target = build_vocabularies(TextConfig(), "abc", "12")
        assert source.tokens(range(4, 7)) == ["a", "b", "c"]
        assert target.tokens(range(4, 6)) == ["1", "2"]

    def test_a_shared_vocabulary_has_those_of_both(self) -> None:
        source, target = build_vocabularies(TextConfig(shared=True, reverse_target=True), "abc", "1a")
        assert source.tokens(range(4, 8)) == target.tokens(range(4, 8)) == ["1", "a", "b", "c"]
        assert (source.encode("1a"), target.encode("1a")) == ([4, 5], [5, 4])

    def test_each_side_is_reversed_on_its_own(self) -> None:
        source, target = build_vocabularies(TextConfig(reverse_source=True), "ab", "ab")
        assert (source.encode("ab"), target.encode("ab")) == ([5, 4], [4, 5])

    def test_unknown_characters_are_told_by_side(self) -> None:
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

    def test_come_back_as_they_were(self, saved: Path) -> None:
        again = Vocabularies.load(saved)
        expected = build_vocabularies(TextConfig(reverse_source=True), 'a"\\\n ä😀', "12")
        assert [side.to_json() for side in again] == [side.to_json() for side in expected]
        text = 'ä\n"a" 😀\\'
        assert again.source.decode(again.source.encode(text)) == text

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
            '{"kind": "characters", "reverse": false}',
            '{"kind": "characters", "characters": 3, "reverse": false}',
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
