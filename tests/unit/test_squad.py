"""Questions with their texts: what is read, what is wrong with a file, and who is held out."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqlab.data.corpora.squad import Question, Span, Squad, SquadData, read_squad
from seqlab.errors import UserError

CONTEXT = "Ada wrote notes in 1843. The notes of Ada fill 43 pages, and 1843 came twice."


def qa(id: str, *answers: tuple[str, int], question: str = "What?", **more: Any) -> dict[str, Any]:
    return {"id": id, "question": question, "answers": [{"text": t, "answer_start": s} for t, s in answers], **more}


def article(title: str, *qas: dict[str, Any], context: str = CONTEXT) -> dict[str, Any]:
    return {"title": title, "paragraphs": [{"context": context, "qas": list(qas)}]}


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(*articles: Any, name: str = "squad.json") -> Path:
        text = json.dumps({"version": "1.1", "data": list(articles)})
        path = tmp_path / name
        if name.endswith(".gz"):
            path.write_bytes(gzip.compress(text.encode()))
        else:
            path.write_text(text, encoding="utf-8")
        return path

    return to_file


def complaint(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_squad(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def many(number: int, each: int = 4) -> list[Any]:
    """Articles with texts of their own."""
    return [
        article(f"A{n}", *(qa(f"{n}.{i}", ("text", 2)) for i in range(each)), context=f"A text, number {n}.")
        for n in range(number)
    ]


def test_questions_are_read(write: Write) -> None:
    questions, faults = read_squad(write(article("Ada", qa("1", ("Ada", 0), ("1843", 19))), name="squad.json.gz"))
    assert questions == [Question("1", "Ada", "What?", CONTEXT, (Span("Ada", 0), Span("1843", 19)))]
    assert faults.ids == {}


def test_a_compressed_file_is_found_by_the_name_of_the_plain_one(write: Write) -> None:
    write(article("Ada", qa("1", ("Ada", 0))), name="squad.json.gz")
    path = write(article("Ada", qa("1", ("Ada", 0))), name="squad.json.gz").with_suffix("")
    assert len(read_squad(path)[0]) == 1


def test_a_wrong_start_is_put_right_at_the_nearest_whole_word_and_told(write: Write) -> None:
    path = write(article("Ada", qa("near", ("1843", 60)), qa("whole", ("43", 20)), qa("ok", ("Ada", 38))))
    questions, faults = read_squad(path)
    # "43" also stands inside "1843", nearer to the wrong start
    assert [question.answers[0].start for question in questions] == [CONTEXT.rindex("1843"), CONTEXT.index("43 p"), 38]
    assert [*faults.remarks(path)] == [
        "squad.json: 2 answers are not at their answer_start and were found elsewhere (ids): near, whole"
    ]


def test_an_answer_that_does_not_occur_is_told_and_not_trained_on(write: Write) -> None:
    path = write(article("Ada", qa("gone", ("Babbage", 0)), qa("half", ("Babbage", 0), ("Ada", 0))))
    questions, faults = read_squad(path)
    assert [question.target for question in questions] == [None, Span("Ada", 0)]
    assert questions[0].answers == (Span("Babbage", None),)  # a test set still scores the text
    assert faults.ids == {"answers do not occur in their text and are not trained on (ids)": ["gone", "half"]}


def test_duplicate_ids_blank_texts_and_missing_answers_are_told_and_left_out(write: Write) -> None:
    path = write(article("Ada", qa("1", ("Ada", 0)), qa("1", ("1843", 19)), qa("2", ("Ada", 0), question=" "), qa("3")))
    questions, faults = read_squad(path)
    assert [question.id for question in questions] == ["1"]
    assert sorted(ids for ids in faults.ids.values()) == [["1"], ["2"], ["3"]]


def test_remarks_count_all_and_list_the_first_ids(write: Write) -> None:
    path = write(article("Ada", *(qa(str(n)) for n in range(8))))
    _, faults = read_squad(path)
    assert next(faults.remarks(path)).endswith(": 0, 1, 2, 3, 4 and 3 more")


def test_questions_without_an_answer_are_those_of_version_2(write: Write) -> None:
    plausible = {"plausible_answers": [{"text": "Ada", "answer_start": 0}]}
    questions, faults = read_squad(write(article("Ada", qa("1", is_impossible=True, **plausible))))
    assert questions[0].answers == ()
    assert not faults.ids


@pytest.mark.parametrize(
    ("content", "captured"),
    [
        ('{"data": [', "not valid JSON"),
        ('{"version": "1.1"}', "has no data"),
        ("[1]", "expected an object with data, found [1]"),
        ('{"data": [{"paragraphs": [{"context": "a"}]}]}', "article 1 (article 1), paragraph 1: has no qas"),
        ('{"data": [{"title": "T", "paragraphs": [{"context": 3, "qas": []}]}]}', "paragraph 1: context is 3"),
        ('{"data": [{"title": "T", "paragraphs": [{"context": "a", "qas": [{"id": "7"}]}]}]}', "question 7: has no qu"),
        ('{"data": []}', "has no questions"),
    ],
)
def test_a_damaged_file_is_refused_with_its_place(tmp_path: Path, content: str, captured: str) -> None:
    path = tmp_path / "squad.json"
    path.write_text(content)
    assert captured in complaint(path)


def test_a_truncated_archive_is_refused(write: Write) -> None:
    path = write(*many(40), name="squad.json.gz")
    path.write_bytes(path.read_bytes()[:200])
    assert "truncated" in complaint(path)


def flat(id: str, *answers: tuple[str, int], **more: Any) -> dict[str, Any]:
    texts, starts = [text for text, _ in answers], [start for _, start in answers]
    record = {"id": id, "context": CONTEXT, "question": "What?", "answers": {"text": texts, "answer_start": starts}}
    return {**record, **more}


FLAT = [flat("1", ("1843", 19), title="Ada"), flat("2", ("43", 47), ("43", 47)), flat("3")]


@pytest.mark.parametrize("layout", ["data", "array", "lines"])
def test_a_record_for_each_question_is_read_too(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "flat.json"
    document = {"data": json.dumps({"version": "x", "data": FLAT}), "array": json.dumps(FLAT, indent=1)}
    path.write_text(document.get(layout, "\n".join(map(json.dumps, FLAT))), encoding="utf-8")
    questions, faults = read_squad(path)
    assert faults.ids == {}
    assert questions == [
        Question("1", "Ada", "What?", CONTEXT, (Span("1843", 19),)),
        Question("2", CONTEXT, "What?", CONTEXT, (Span("43", 47), Span("43", 47))),
        Question("3", CONTEXT, "What?", CONTEXT, ()),
    ]


@pytest.mark.parametrize(
    ("records", "captured"),
    [
        (
            [{"id": "1", "context": CONTEXT, "question": "?"}],
            "record 1, question 1: has no answers; the layout is that of SQuAD",
        ),
        (
            [flat("1", answers={"text": ["a"], "answer_start": []})],
            "record 1: answers.text has 1 entries",
        ),
        ([flat("1", answers="a")], 'record 1: answers is "a", which is no list'),
        ([flat("1", context="\ud800")], "record 1: context contains half of a surrogate pair"),
        ([flat("1", question=["?"])], 'question is ["?"], which is no text'),
    ],
)
def test_damaged_records_are_refused_with_their_place(tmp_path: Path, records: list[Any], captured: str) -> None:
    path = tmp_path / "flat.json"
    path.write_text(json.dumps(records), encoding="utf-8")
    assert captured in complaint(path)


def test_bad_lines_of_records_are_told_together(tmp_path: Path) -> None:
    path = tmp_path / "flat.jsonl"
    path.write_text("\n".join([json.dumps(FLAT[0]), "{", "[]", json.dumps(FLAT[1])]), encoding="utf-8")
    assert ": 2 bad lines: line 2: not valid JSON (" in complaint(path)


def test_documents_that_are_nested_too_deep_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000, encoding="utf-8")
    assert complaint(path) == f"{path}: not valid JSON (nested too deep)"


def test_articles_are_held_out_whole(write: Write) -> None:
    squad = Squad(SquadData(train=str(write(*many(20))), validation_size=5, test_size=4))
    sets = squad.splits()
    articles = [{question.article for question in part} for part in sets.values()]
    assert [len(part) for part in sets.values()] == [68, 8, 4]
    assert sum(map(len, articles)) == len(set.union(*articles)) == 20
    assert "validation: 8 questions of 2 articles held out (data.seed=1)" in squad.remarks()
    other = Squad(SquadData(train=str(write(*many(20))), validation_size=5, test_size=4, seed=2))
    assert other.validation() != squad.validation()


def test_the_fraction_is_a_seeded_share_whatever_the_order_of_the_file(write: Write) -> None:
    def ids(path: Path, **settings: Any) -> list[str]:
        return [q.id for q in Squad(SquadData(train=str(path), test_size=1, **settings)).training(0)]

    path = write(*many(50))
    fifth = ids(path, fraction=0.2)
    assert len(fifth) == round(0.2 * len(ids(path)))
    assert ids(path, fraction=0.2) == fifth
    assert ids(path, fraction=0.2, seed=2) != fifth
    assert set(ids(write(*reversed(many(50)), name="turned.json"), fraction=0.2)) == set(fifth)


def test_files_of_held_out_sets_are_taken_as_they_are_and_leaks_are_told(write: Write) -> None:
    train, dev = write(*many(10)), write(*many(2, each=1), name="dev.json")
    squad = Squad(SquadData(train=str(train), validation=str(dev), test=str(dev)))
    assert len(squad.validation()) == len(squad.test()) == 2
    assert len(squad.training(0)) == 40
    assert sum("about a text that is also trained on" in remark for remark in squad.remarks()) == 2


def test_missing_files_and_settings_without_effect_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.train names no file"):
        Squad(SquadData()).check_files()
    with pytest.raises(UserError, match=r"nowhere\.json: no such file"):
        Squad(SquadData(train="nowhere.json", folder=tmp_path)).check_files()
    with pytest.raises(ValueError, match="test_size is for articles"):
        SquadData(train="a", test="b", test_size=3)


def test_too_few_articles_are_refused(write: Write) -> None:
    with pytest.raises(UserError, match="too few to hold out"):
        Squad(SquadData(train=str(write(*many(2))))).training(0)


def test_a_users_file_with_a_question_that_cannot_be_scored_is_refused(write: Write) -> None:
    path = write(article("Ada", qa("1", ("Ada", 0)), qa("2")))
    with pytest.raises(UserError, match="is_impossible, first 2"):
        Squad(SquadData()).read(path)


def test_the_reference_files_are_sound(reference_data: Path) -> None:
    path = reference_data / "squad" / "dev-v1.1-half.json"
    questions, faults = read_squad(path)
    assert len(questions) == 5397
    assert faults.ids == {}
