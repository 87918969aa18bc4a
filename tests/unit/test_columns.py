"""Columns are found by whatever people call them, and those that are not found are proposed."""

from pathlib import Path

import pytest

from seqlab.data.corpora.parallel import ParallelCorpus, ParallelData
from seqlab.data.readers.columns import Column, Columns, find_column, locate
from seqlab.data.readers.languages import language_of, likely_language, same_language
from seqlab.data.readers.reading import Reading
from seqlab.data.readers.tables import read_table
from seqlab.errors import UserError

GUESSED = Columns(("en", "fr"), guessed=True, names=("en", "fr"))
ROWS = [["0", "The cat is here.", "Le chat est ici.", "ok"], ["1", "A dog and a cat.", "Un chien et un chat.", ""]]
ROWS += [["2", "It is not a dog.", "Ce n'est pas un chien.", ""]]


@pytest.mark.parametrize(
    ("one", "other"),
    [("en", "EN"), ("en", " en "), ("en", "English"), ("fr", "Français"), ("de", "ger"), ("en", "en_GB")],
)
def test_one_language_has_many_names(one: str, other: str) -> None:
    assert same_language(one, other)
    assert same_language(other, one)


@pytest.mark.parametrize(("one", "other"), [("en-GB", "en-US"), ("zh-Hans", "zh-Hant"), ("en", "fr"), ("x", "source")])
def test_others_are_others(one: str, other: str) -> None:
    assert not same_language(one, other)


def test_codes_and_regions() -> None:
    assert language_of("Portuguese") == ("pt", "")
    assert language_of("pt_BR") == ("pt", "br")
    assert language_of("en-sentence") is None
    assert language_of("comment") is None


def test_the_language_of_a_text_is_told_by_its_common_words() -> None:
    assert likely_language(row[1] for row in ROWS) == "en"
    assert likely_language(row[2] for row in ROWS) == "fr"
    assert likely_language(["Tom"]) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("八八零。", "zh"),
        ("これは本です。", "ja"),
        ("コーヒー", "ja"),
        ("이것은 책입니다.", "ko"),
        ("นี่คือหนังสือ", "th"),
        ("我用 Python 写代码和测试", "zh"),
        ("The sign 八 is eight and it is Chinese", "en"),
        ("Это книга", None),
        ("12 + 3", None),
    ],
)
def test_the_language_of_a_text_is_told_by_its_script(text: str, code: str | None) -> None:
    assert likely_language([text]) == code


def test_a_column_is_what_its_name_says_before_what_it_resembles() -> None:
    assert find_column("en", ["EN", "en"], "t.tsv:1") == "en"
    assert find_column("en", ["English", "French"], "t.tsv:1") == "English"
    assert find_column("text", ["id", " Text "], "t.tsv:1", languages=False) == " Text "
    assert find_column("en", ["German", "French"], "t.tsv:1") is None
    with pytest.raises(
        UserError, match=r't\.tsv:1: the column en is ambiguous, "en-GB" and "en-US" match: name one of them'
    ):
        find_column("en", ["en-GB", "en-US", "fr"], "t.tsv:1")
    with pytest.raises(UserError, match='"en" and "en" match'):
        find_column("en", ["en", "en"], "t.tsv:1")


@pytest.mark.parametrize("header", ["EN\tFR", " en \t fr", "English\tFrench", "en-US\tfr_FR"])
def test_headers_of_language_pairs(tmp_path: Path, header: str) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(f"{header}\nOne.\tUn.\nTwo.\tDeux.\n", encoding="utf-8")
    found = [tuple(texts) for _, texts in read_table(path, GUESSED)]
    assert found == [("One.", "Un."), ("Two.", "Deux.")]


@pytest.mark.parametrize(
    ("first", "wanted", "captured"),
    [
        (
            ["id", "Satz", "Phrase", "note"],
            ("en", "fr"),
            "names neither en nor fr and has 4 columns: id, Satz, Phrase, note; say where they are, perhaps "
            'data.columns={en="Satz", fr="Phrase"} ("The cat is here.", "Le chat est ici.")',
        ),
        (
            ["id", "text_fr", "text_en", "note"],
            ("en", "fr"),
            'perhaps data.columns={en="text_en", fr="text_fr"} ("Le chat est ici.", "The cat is here.")',
        ),
        (["7", "Two cats.", "Deux chats.", ""], ("en", "fr"), 'perhaps data.columns={en=2, fr=3} ("Two cats.", "Deux'),
        (["Satz", "Phrase", "Satz", "note"], ("en", "fr"), "perhaps data.columns={en=2, fr=3}"),
        (["id", "a", "b", "note"], (2, 9), "no column 9; the first line has 4 columns: id, a, b, note; say where"),
    ],
)
def test_columns_are_proposed_by_name_and_by_what_they_hold(
    first: list[str], wanted: tuple[Column, ...], captured: str
) -> None:
    guessed = all(isinstance(column, str) for column in wanted)
    with pytest.raises(UserError) as caught:
        locate("t.tsv:1", first, ROWS, Columns(wanted, guessed, names=("en", "fr")))
    assert captured in str(caught.value)
    assert "en=1" not in str(caught.value)


def test_columns_of_labelled_texts_are_proposed() -> None:
    columns = Columns(("text", "label"), names=("text", "label"), are_languages=False)
    rows = [[f"It is number {n}.", "xy"[n % 2]] for n in range(6)]
    with pytest.raises(UserError) as caught:
        locate("t.csv:1", ["review", "sentiment"], rows, columns)
    assert str(caught.value) == (
        "t.csv:1: no column text; the columns are review, sentiment; say where they are, perhaps "
        'data.text="review" data.label="sentiment" ("It is number 0.", "x")'
    )


def corpus(path: Path, **columns: Column) -> ParallelCorpus:
    return ParallelCorpus(
        ParallelData(source="en", target="fr", train=(str(path),), columns=columns, test_size=1, validation_size=1)
    )


def test_numbered_columns_with_a_header_skip_it_and_say_so(tmp_path: Path) -> None:
    lines = [f"{n},Number {n} is here.,Le nombre {n} est ici.," for n in range(20)]
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(["id,English,French,comment", *lines]), encoding="utf-8")
    found = corpus(path, en=2, fr=3)
    assert sum(map(len, found.splits().values())) == 20
    assert not any(pair.source == "English" for part in found.splits().values() for pair in part)
    assert "pairs.csv: the first line (English, French) is a header and was left out" in found.remarks()


def test_a_file_for_scoring_with_a_header_of_its_own_is_read_by_it(tmp_path: Path) -> None:
    one = tmp_path / "one.tsv"
    one.write_text("en\tfr\nTom runs.\tTom court.\n", encoding="utf-8")
    other = tmp_path / "other.csv"
    other.write_text("French,English\nTom court.,Tom runs.\n", encoding="utf-8")
    for path in (one, other):
        assert corpus(one, en=1, fr=2).read(path) == [("Tom runs.", "Tom court.")]
    reading = Reading()
    columns = Columns((1, 2), names=("en", "fr"))
    assert list(read_table(other, columns, reading=reading)) == [(2, ["Tom runs.", "Tom court."])]
    assert list(reading.notes) == [
        "other.csv: the first line is a header that names en, fr: read by name, not by number"
    ]


def test_columns_of_another_name_are_found_by_their_language(tmp_path: Path) -> None:
    columns = Columns(("Satz", "Phrase"), names=("de", "fr"))
    contents = {
        "a.tsv": "de\tfr\nEins.\tUn.\n",
        "a.jsonl": '{"DE": "Eins.", "fr": "Un."}\n',
        "a.tmx": "<tmx><tu><tuv xml:lang='de-DE'><seg>Eins.</seg></tuv>"
        "<tuv xml:lang='fr'><seg>Un.</seg></tuv></tu></tmx>",
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        assert [tuple(texts) for _, texts in read_table(path, columns)] == [("Eins.", "Un.")]
    (tmp_path / "b.tsv").write_text("de\ten\nEins.\tOne.\n", encoding="utf-8")
    with pytest.raises(UserError, match="no column Phrase; the columns are de, en"):
        list(read_table(tmp_path / "b.tsv", columns))


def test_a_first_line_that_is_a_pair_is_no_header(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("English\tAnglais\nTwo.\tDeux.\n", encoding="utf-8")
    assert [tuple(texts) for _, texts in read_table(path, GUESSED)] == [("English", "Anglais"), ("Two.", "Deux.")]
    columns = Columns((1, 2), names=("en", "fr"))
    assert [tuple(texts) for _, texts in read_table(path, columns)] == [("English", "Anglais"), ("Two.", "Deux.")]


def test_source_and_target_are_a_header_of_two_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("source\ttarget\nTwo.\tDeux.\n", encoding="utf-8")
    reading = Reading()
    assert list(read_table(path, GUESSED, reading=reading)) == [(2, ["Two.", "Deux."])]
    assert list(reading.notes) == [
        "t.tsv: the first line (source, target) is a header; its columns were taken in this order"
    ]
