"""Sentence ends, and pieces of texts that are too long."""

import lzma
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.readers.lines import read_lines
from seqlab.tasks.sequence_to_sequence.reading import SourceLimits
from seqlab.text.sentences import cut, joined, max_sentences_p99, sentences
from seqlab.text.vocabularies import TextConfig, mostly_tagged


@pytest.mark.parametrize(
    "expected",
    [
        ["One.", "Two!", "Three?", "Four…", "Five"],
        ["It costs 3.5 francs.", "Really?!", "Yes ..."],
        ["Wait ... what?", "She asked: why? and left."],
        ['He said "Go!" and went.', '"Now?"', "(Yes.)", "“No.”", "«Nein.»", "Ach."],
        ["Il a dit : « Oui. »", "Et alors ?", "« Non »"],
        ["Er sagt: „Ja.“", "Sie schweigt."],
        [
            "Dr. Jekyll met Mr. Hyde.",
            "They had tea, coffee etc. at No. 5, Baker St. near the U.S. Embassy.",
            "No.",
            "They did not.",
        ],
        ["J. S. Bach, z. B. am 3. Mai, i.e. Kants Werke vgl. Bd. 2."],
        ["That was in 1998.", "Then came 2,000.5.", "Done."],
        ["Ph.D. Students write.", "So it is.", "Was it?"],
        ["¿Vienes?", "¡Sí!", "Él ya no."],
        ["क्या हाल है।", "ठीक है।"],
    ],
)
def test_sentences_end_where_they_end(expected: list[str]) -> None:
    assert list(sentences(" ".join(expected))) == expected
    assert list(sentences("\t" + " \n ".join(expected) + "  ")) == expected


def test_chinese_and_japanese_need_no_spaces() -> None:
    assert list(sentences("我很好。你呢？「是的。」他说。好")) == ["我很好。", "你呢？", "「是的。」", "他说。", "好"]
    assert list(sentences("そうです！！行こう。 はい")) == ["そうです！！", "行こう。", "はい"]


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_blanks_have_no_sentences(text: str) -> None:
    assert list(sentences(text)) == []
    assert cut(text, lambda piece: True).pieces == []


@pytest.mark.parametrize("text", ["...", "?", '"', "a", "No end", ". . .", "!?!"])
def test_oddities_stay_whole(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


def test_sentences_that_fit_are_not_cut() -> None:
    found = cut("First one. Second, which is longer. Third.", lambda piece: len(piece) <= 25)
    assert found == (["First one.", "Second, which is longer.", "Third."], 3)


def test_a_long_sentence_is_cut_at_the_last_space_that_fits() -> None:
    found = cut("Short. Aaa bbb  ccc\tddd eee", lambda piece: len(piece) <= 8)
    assert found == (["Short.", "Aaa bbb", "ccc ddd", "eee"], 2)


def test_a_long_word_is_cut_anywhere() -> None:
    assert cut("ab " + "x" * 11 + " cd", lambda piece: len(piece) <= 4).pieces == ["ab", "xxxx", "xxxx", "xxx", "cd"]


def test_a_character_is_never_cut() -> None:
    assert cut("äöü", lambda piece: len(piece.encode()) <= 1).pieces == ["ä", "ö", "ü"]


@given(st.text(alphabet='aB1 .?\t。»"äé'), st.integers(1, 12))
def test_nothing_is_lost_and_all_fits(text: str, limit: int) -> None:
    found = cut(text, lambda piece: len(piece) <= limit)
    assert "".join("".join(found.pieces).split()) == "".join(text.split())
    assert all(0 < len(piece) <= limit for piece in found.pieces)
    assert len(found.pieces) >= found.sentences == len(list(sentences(text)))


@given(st.text(alphabet="ab .", min_size=1), st.integers(2, 9))
def test_pieces_inside_a_sentence_are_as_long_as_can_be(text: str, limit: int) -> None:
    text = text.replace(".", "c")  # one sentence
    pieces = cut(text, lambda piece: len(piece) <= limit).pieces
    for piece, following in pairwise(pieces):
        first = following.split(" ")[0]
        joined = len(piece) + 1 + len(first)
        assert joined > limit or len(piece) == limit


def test_the_work_grows_with_the_text_not_with_its_square() -> None:
    looked_at = 0

    def fits(piece: str) -> bool:
        nonlocal looked_at
        looked_at += len(piece)
        return len(piece) <= 100

    text = "word " * 40_000
    assert len(cut(text, fits).pieces) == 2000
    assert looked_at < 20 * len(text)


def test_the_usual_number_is_that_of_nearly_all() -> None:
    one, three = "Only one.", "One. Two. Three."
    assert max_sentences_p99([one] * 98 + [three] * 2) == 3
    assert max_sentences_p99([one] * 99 + [three]) == 1
    assert max_sentences_p99([one, *[three] * 5]) == 3
    assert max_sentences_p99(["", ""]) == max_sentences_p99([]) == 1


@pytest.mark.parametrize(
    ("name", "column", "usual"),
    [("multi30k/train.en.gz", 0, 1), ("tatoeba/en-fr.tsv.xz", 0, 1), ("bible/en-fr.tsv.xz", 1, 2)],
)
def test_the_usual_number_of_corpora(reference_data: Path, name: str, column: int, usual: int) -> None:
    lines = list(read_lines(reference_data / name))
    assert max_sentences_p99(line.split("\t")[column] for line in lines[:: len(lines) // 5000]) == usual


@pytest.mark.parametrize(
    "name", ["en-fr/newstest2013.en-fr.en", "en-fr/newstest2013.en-fr.fr", "de-en/newstest2014.de-en.de"]
)
def test_sentences_of_the_news_are_told_apart(reference_data: Path, name: str) -> None:
    """Neighbours of a file with one sentence a line, put on one line: nearly every end is found, few are made up."""
    with lzma.open(reference_data / "newstest" / f"{name}.xz", "rt", encoding="utf-8") as file:
        lines = [line for line in file if line.rstrip("\"'”“»)] \xa0\n").endswith((".", "!", "?"))]
    ends = found = made_up = 0
    for first, second in zip(lines[::2], lines[1::2], strict=False):
        captured = list(sentences(f"{first} {second}"))
        lengths = [len("".join("".join(captured[:number]).split())) for number in range(1, len(captured))]
        ends += 1
        found += len("".join(first.split())) in lengths
        made_up += len(captured) - 1 - (len("".join(first.split())) in lengths)
    assert found / ends > 0.99
    assert made_up / len(lines) < 0.02  # most of these are lines that do hold two sentences


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["One.", "Two."], "One. Two."),
        (["一二三。", "四五六。"], "一二三。四五六。"),
        (["「はい！」", "と言った。"], "「はい！」と言った。"),
        (["中文没有", "空格"], "中文没有空格"),
        (["한 문장.", "다른 문장."], "한 문장. 다른 문장."),
        (["Er sagte 你好", "und ging."], "Er sagte 你好 und ging."),
        (["Hello.", "你好。", "Bye."], "Hello. 你好。Bye."),
        (["", "One.", "", "Two."], "One. Two."),
        ([], ""),
    ],
)
def test_sentences_are_joined_as_their_script_does(texts: list[str], expected: str) -> None:
    assert joined(texts) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("<2de> One two. Three.", ["<2de> One two.", "<2de> Three."]),
        ("<2de><formal>One two. Three.", ["<2de><formal>One two.", "<2de><formal>Three."]),
        (">>fr<< One two. Three.", [">>fr<< One two.", ">>fr<< Three."]),
        ("__de__ [formal] One two. Three.", ["__de__ [formal] One two.", "__de__ [formal] Three."]),
        ("One <b> two. Three.", ["One <b> two.", "Three."]),
        ("<2de> One two.", ["<2de> One two."]),
        ("a < bee. Three > 2.", ["a < bee.", "Three > 2."]),
    ],
)
def test_every_piece_of_a_line_has_its_tag(line: str, expected: list[str]) -> None:
    limits = SourceLimits(100, 1, True, TextConfig().line_prefix(tagged=True))
    assert limits.pieces(line, 9, len, 1).texts == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["<b> One.", "Two."]),  # training knows no tags
        ({"protected": ("<b>", "<2de>")}, ["<b> One.", "<b> Two."]),
        ({"prefix_pattern": "<b> "}, ["<b> One.", "<b> Two."]),
        ({"prefix_pattern": "", "protected": ("<b>",)}, ["<b> One.", "Two."]),
    ],
)
def test_what_is_a_prefix_is_a_setting(settings: dict[str, Any], expected: list[str]) -> None:
    limits = SourceLimits(100, 1, True, TextConfig(**settings).line_prefix(tagged=False))
    assert limits.pieces("<b> One. Two.", 9, len, 1).texts == expected


def test_tags_are_learned_from_the_training_sources() -> None:
    assert mostly_tagged(["<2de> one.", ">>fr<< two."])
    assert not mostly_tagged(["<b> bold.", *["plain."] * 9])
    assert not mostly_tagged([])


def test_a_tag_counts_where_a_sentence_is_cut() -> None:
    limits = SourceLimits(10, None, True, TextConfig().line_prefix(tagged=True))
    found = limits.pieces("<x> one two three", 17, len, 1)
    assert found.texts == ["<x> one", "<x> two", "<x> three"]
    assert max(map(len, found.texts)) <= 10
