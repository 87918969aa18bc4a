"""The embedded corpus: sets that depend on nothing but the config and share nothing, and one right answer a source."""

import re
from itertools import permutations
from pathlib import Path

import pytest

from seqlab.config.settings import build
from seqlab.data.corpora.corpus import Example
from seqlab.data.corpora.numbers import Numbers, NumbersData
from seqlab.data.corpora.splitting import take
from seqlab.data.synthetic.spelling import Ordinal, SpelledNumber, Speller
from seqlab.errors import UserError
from seqlab.text.vocabularies import TextConfig, build_vocabularies


def corpus(**changes: object) -> Numbers:
    tree = {"epoch_size": 300, "validation_size": 40, "test_size": 60, **changes}
    return Numbers(build(NumbersData, tree, "test"))


def test_an_epoch_is_a_pure_function_of_the_config_and_its_number():
    first, second = corpus(), corpus()
    assert len(first.training(3)) == 300
    second.training(5)
    assert second.training(3) == first.training(3) != first.training(4)
    assert (second.validation(), second.test()) == (first.validation(), first.test())
    assert corpus(seed=2).training(3) != first.training(3)
    assert corpus(seed=2).test() != first.test()


def test_the_draws_of_a_seed_never_change():
    assert corpus().training(0)[:4:3] == [
        Example(
            "seven hundred and forty-one thousand, five hundred and forty-ninth",
            "sept cent quarante et un mille cinq cent quarante-neuvième",
        ),
        Example("one hundred and seventy", "cent soixante-dix"),
    ]


def test_no_source_stands_in_two_sets():
    # A small space, so that chance alone would repeat most of it.
    data = corpus(subjects=["numbers", "money"], largest=999, epoch_size=20_000, validation_size=1000, test_size=1000)
    training, validation, test = ([e.source for e in examples] for examples in data.splits().values())
    assert len(set(training)) < len(training) == 20_000
    assert len(set(validation)) == len(validation) == 1000
    assert len(set(test)) == len(test) == 1000
    assert set(training).isdisjoint(validation)
    assert set(training).isdisjoint(test)
    assert set(validation).isdisjoint(test)


def test_all_subjects_take_part_equally():
    marks = {
        "numbers": r"[a-z ,-]+(?<!th|st|nd|rd)",
        "ordinals": r"[a-z ,-]+(th|st|nd|rd)",
        "dates": r".*\b(January|February|March|April|May|June|July|August|September|October|November|December)\b.*",
        "times": r".*day at .* (AM|PM)",
        "durations": r".*\b(hours?|minutes?) ?.*",
        "money": r".*\b(dollars?|francs?|pounds?|euros?|yen|pesos?)",
    }
    for subject, mark in marks.items():
        assert all(re.fullmatch(mark, e.source) for e in corpus(subjects=[subject]).training(0)), subject
    sources = [e.source for e in corpus(epoch_size=6000).training(0)]
    for subject in ("dates", "times", "durations", "money"):
        # 1,000 expected; the standard deviation is 29
        assert 870 < sum(bool(re.fullmatch(marks[subject], source)) for source in sources) < 1130


@pytest.mark.parametrize(("source", "target"), [*permutations(("en", "fr", "de"), 2)])
def test_every_source_has_one_right_answer(source: str, target: str):
    data = corpus(source=source, target=target, epoch_size=5000)
    answers: dict[str, str] = {}
    for text, answer in zip(*data.texts(), strict=True):
        assert answers.setdefault(text, answer) == answer


@pytest.mark.parametrize(("target", "largest"), [("fr", 999_999), ("de", 999)])
def test_every_word_is_in_the_vocabularies(target: str, largest: int):
    vocabularies = build_vocabularies(TextConfig(unit="word"), *corpus(target=target, largest=largest).texts())
    drawn = corpus(target=target, largest=largest, epoch_size=20_000, seed=7).training(0)
    assert vocabularies.unknown(drawn) == {}


def test_the_largest_number_is_kept_to():
    data = corpus(subjects=["numbers"], largest=1100, epoch_size=2000)
    speller = Speller("en")
    assert set(data.texts()[0]) <= {speller.spell(SpelledNumber(value)) for value in range(1, 1101)}


def test_small_numbers_are_for_training():
    data = corpus(subjects=["numbers", "ordinals"], largest=999, epoch_size=2000, validation_size=300, test_size=300)
    speller = Speller("en")
    small = {speller.spell(kind(value)) for kind in (SpelledNumber, Ordinal) for value in range(1, 100)}
    assert small.isdisjoint(e.source for e in [*data.validation(), *data.test()])
    assert len(small & {e.source for e in data.training(0)}) > 150


def test_too_little_to_draw_from_is_said():
    small = corpus(subjects=["numbers"], largest=999, validation_size=600, test_size=400)
    with pytest.raises(UserError, match=r"found only \d+ of 400 distinct examples: lower validation_size"):
        small.test()
    with pytest.raises(UserError, match="nearly all possible examples are held out"):
        take(iter([Example("one", "un")] * 5000), 2, exclude={"one"})


def test_a_file_of_the_user_is_read(tmp_path: Path):
    path = tmp_path / "mine.tsv"
    path.write_text("two\tdeux\nthree\ttrois\n", encoding="utf-8")
    data = corpus()
    examples = data.read(path)
    assert examples == [Example("two", "deux"), Example("three", "trois")]
    assert data.scored_text("deux") == "deux"
    data.check_files()
    assert data.remarks() == []


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"target": "en"}, "source and target are both en: choose two languages"),
        ({"subjects": ["money", "money"]}, "subjects names money twice"),
        ({"largest": 1_000_000}, "largest"),
        ({"target": "es"}, 'target is "es", not one of en, fr, de'),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict, complaint: str):
    with pytest.raises(UserError, match=complaint):
        corpus(**changes)
