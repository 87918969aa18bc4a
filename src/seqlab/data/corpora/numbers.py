"""Numbers, dates, times and sums of money, spelled out in two languages.

A corpus without files: real language rules, as many pairs as one likes, and one right translation each. They differ in
word order ("March third" and "le trois mars", "Swiss francs" and "francs suisses", "einundneunzig"), in gender ("one
day, one hour" and "un jour, une heure") and in how they read a clock ("seven PM" and "dix-neuf heures").

Years stand in dates only: alone, "mille neuf cents" could be a number too, which English says differently.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from functools import cached_property
from itertools import chain
from pathlib import Path
from random import Random
from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from seqlab.config.settings import Config
from seqlab.data.corpora.corpus import Example, Overview
from seqlab.data.corpora.question_files import read_pairs
from seqlab.data.corpora.splitting import set_seed, take, take_distinct
from seqlab.data.readers.columns import Columns
from seqlab.data.synthetic.questions import below, coin
from seqlab.data.synthetic.spelling import (
    CURRENCIES,
    DATE_FORMS,
    Date,
    Duration,
    Language,
    Money,
    Ordinal,
    Quantity,
    SpelledNumber,
    Speller,
    Time,
    Unit,
)

Subject = Literal["numbers", "ordinals", "dates", "times", "durations", "money"]

FIRST_YEAR, LAST_YEAR = 1600, 2099  # within the Gregorian calendar, and all that `Date` can spell of it
DAYS = (date(LAST_YEAR, 12, 31) - date(FIRST_YEAR, 1, 1)).days + 1
MOST: dict[Unit, int] = {"day": 99, "hour": 23, "minute": 59, "second": 59}
DURATIONS: tuple[tuple[Unit, ...], ...] = (
    ("day", "hour"),
    ("hour", "minute"),
    ("minute", "second"),
    ("day", "hour", "minute"),
    ("hour", "minute", "second"),
)


class NumbersData(Config):
    """Numbers, dates, times, durations and sums of money, spelled out in two languages; needs no file."""

    kind: Literal["numbers"] = "numbers"
    """quantities spelled out in two languages"""
    source: Language = "en"
    """language to translate from"""
    target: Language = "fr"
    """language to translate into; German writes a number as one word, so it needs smaller units than words"""
    subjects: tuple[Subject, ...] = Field(default=get_args(Subject), min_length=1)
    """what is spelled out, in equal parts"""
    largest: int = Field(default=999_999, ge=999, le=999_999)
    """largest number, ordinal and sum of money; small ones are drawn more often"""
    epoch_size: int = Field(default=20_000, ge=1)
    """fresh examples per epoch"""
    validation_size: int = Field(default=1000, ge=1)
    """number of validation examples"""
    test_size: int = Field(default=2000, ge=1)
    """number of test examples"""
    seed: int = 1
    """picks the examples"""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.source == self.target:
            raise ValueError(f"source and target are both {self.source}: choose two languages")
        for subject in self.subjects:
            if self.subjects.count(subject) > 1:
                raise ValueError(f"subjects names {subject} twice")
        return self


class Numbers:
    """Training, validation and test examples: no source stands in two of them, and none twice in validation or test.

    Numbers and ordinals below a hundred are for training alone: they are the words that all others are made of.
    """

    config_class = NumbersData
    example = Example

    def __init__(self, config: NumbersData):
        self.config = config

    def check_files(self) -> None:
        """There are none."""

    def files(self) -> list[Path]:
        """None: examples are drawn."""
        return []

    def texts(self) -> tuple[Iterable[str], Iterable[str]]:
        """Every word that can be drawn, twice, as vocabularies may leave out what occurs once; and an epoch.

        In German a number from 1,000 on is one word; of these, only those of the epoch and the full thousands.
        """
        every = chain.from_iterable(_every_word(subject, self.config.largest) for subject in self.config.subjects)
        examples = [*map(self._example, every)] * 2 + self.training(0)
        return [example.source for example in examples], [example.target for example in examples]

    def training(self, epoch: int) -> list[Example]:
        """`epoch_size` fresh examples, a pure function of (config, epoch)."""
        return take(self._drawn("training", epoch), self.config.epoch_size, exclude=self._held_out_sources)

    def validation(self) -> Sequence[Example]:
        """Examples to watch while training."""
        return self._held_out[0]

    def test(self) -> Sequence[Example]:
        """Examples of the final score."""
        return self._held_out[1]

    def splits(self) -> dict[str, Sequence[Example]]:
        """Every set by name; training as in epoch 0."""
        return {"training": self.training(0), "validation": self.validation(), "test": self.test()}

    def overview(self) -> Overview:
        """The lengths of both sides."""
        return Overview(texts=self.splits(), remarks=self.remarks())

    def remarks(self) -> list[str]:
        """Nothing to say: drawn examples are clean and shared by no two sets."""
        return []

    def leaks(self) -> list[str]:
        """None: no two sets share an example."""
        return []

    def scored_text(self, text: str) -> str:
        """The part of a target that is scored: all of it."""
        return text

    def input_columns(self) -> list[Columns]:
        """The source; in a table without a header, the first of two columns."""
        return [Columns(self.languages[:1], names=self.languages[:1]), Columns(self.languages, True, self.languages)]

    @property
    def languages(self) -> tuple[str, str]:
        """From which language into which."""
        return self.config.source, self.config.target

    def read(self, path: Path) -> list[Example]:
        """The examples of a user's file: tab-separated, or source and target on lines that alternate."""
        return read_pairs(path)

    @cached_property
    def _held_out(self) -> tuple[list[Example], list[Example]]:
        known = {self._example(kind(value)).source for kind in (SpelledNumber, Ordinal) for value in range(1, 100)}
        validation = take_distinct(self._drawn("validation", 0), self.config.validation_size, exclude=known)
        known.update(example.source for example in validation)
        return validation, take_distinct(self._drawn("test", 0), self.config.test_size, exclude=known)

    @cached_property
    def _held_out_sources(self) -> set[str]:
        return {example.source for example in chain(*self._held_out)}

    @cached_property
    def _spellers(self) -> tuple[Speller, Speller]:
        return Speller(self.config.source), Speller(self.config.target)

    def _example(self, quantity: Quantity) -> Example:
        source, target = self._spellers
        return Example(source.spell(quantity), target.spell(quantity))

    def _drawn(self, name: str, epoch: int) -> Iterator[Example]:
        """Examples without end."""
        rng = Random(set_seed(self.config.seed, name, epoch))
        subjects = self.config.subjects
        while True:
            yield self._example(_draw(rng, subjects[below(rng, len(subjects))], self.config.largest))


def _draw(rng: Random, subject: Subject, largest: int) -> Quantity:
    match subject:
        case "numbers":
            return SpelledNumber(_number(rng, largest))
        case "ordinals":
            return Ordinal(_number(rng, largest))
        case "dates":
            day = date(FIRST_YEAR, 1, 1) + timedelta(days=below(rng, DAYS))
            return Date(day, DATE_FORMS[below(rng, len(DATE_FORMS))])
        case "times":
            return Time(below(rng, 7), below(rng, 24), _minute(rng))
        case "durations":
            units = DURATIONS[below(rng, len(DURATIONS))]
            return Duration(tuple((1 + below(rng, MOST[unit]), unit) for unit in units))
        case "money":
            return Money(_number(rng, largest), CURRENCIES[below(rng, len(CURRENCIES))])


def _number(rng: Random, largest: int) -> int:
    """1 to `largest`, every number of digits about equally likely: the short ones are what is said most."""
    return int((largest + 1) ** rng.random())


def _minute(rng: Random) -> int:
    """Half of the time a multiple of five, as clocks are read."""
    return 5 * below(rng, 12) if coin(rng) else below(rng, 60)


def _every_word(subject: Subject, largest: int) -> Iterator[Quantity]:
    """Quantities that between them hold every word of a subject."""
    numbers = [*range(1, 1000), *range(1000, largest + 1, 1000)]
    match subject:
        case "numbers":
            yield from map(SpelledNumber, numbers)
        case "ordinals":
            yield from map(Ordinal, numbers)
        case "dates":
            days = [date(2000, 1, 1) + timedelta(days=number) for number in range(366)]
            days += [date(year, 1, 1) for year in range(FIRST_YEAR, LAST_YEAR + 1)]
            yield from (Date(day, form) for day in days for form in DATE_FORMS)
        case "times":
            yield from (Time(minute % 7, *divmod(minute, 60)) for minute in range(24 * 60))
        case "durations":
            yield from (Duration(((number, unit),)) for unit in MOST for number in range(1, MOST[unit] + 1))
        case "money":
            yield from (Money(number, currency) for number in numbers for currency in CURRENCIES)
