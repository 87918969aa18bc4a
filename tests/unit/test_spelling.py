"""Golden spellings in three languages, written by hand; the parts of a number against num2words as a whole."""

from datetime import date
from random import Random
from typing import get_args

import pytest
from num2words import num2words

from seqlab.data.synthetic.spelling import (
    CURRENCIES,
    Date,
    Duration,
    Language,
    Money,
    Ordinal,
    Quantity,
    SpelledNumber,
    Speller,
    Time,
    spelled,
)

LANGUAGES: tuple[Language, ...] = get_args(Language)
SPELLERS = {language: Speller(language) for language in LANGUAGES}


def check(quantity: Quantity, english: str, french: str, german: str) -> None:
    assert [SPELLERS[language].spell(quantity) for language in ("en", "fr", "de")] == [english, french, german]


@pytest.mark.parametrize(
    ("value", "english", "french", "german"),
    [
        (0, "zero", "zéro", "null"),
        (1, "one", "un", "eins"),
        (16, "sixteen", "seize", "sechzehn"),
        (17, "seventeen", "dix-sept", "siebzehn"),
        (21, "twenty-one", "vingt et un", "einundzwanzig"),
        (30, "thirty", "trente", "dreißig"),
        (71, "seventy-one", "soixante et onze", "einundsiebzig"),
        (76, "seventy-six", "soixante-seize", "sechsundsiebzig"),
        (80, "eighty", "quatre-vingts", "achtzig"),
        (81, "eighty-one", "quatre-vingt-un", "einundachtzig"),
        (91, "ninety-one", "quatre-vingt-onze", "einundneunzig"),
        (100, "one hundred", "cent", "einhundert"),
        (101, "one hundred and one", "cent un", "einhunderteins"),
        (200, "two hundred", "deux cents", "zweihundert"),
        (201, "two hundred and one", "deux cent un", "zweihunderteins"),
        (380, "three hundred and eighty", "trois cent quatre-vingts", "dreihundertachtzig"),
        (391, "three hundred and ninety-one", "trois cent quatre-vingt-onze", "dreihunderteinundneunzig"),
        (1000, "one thousand", "mille", "eintausend"),
        (1001, "one thousand and one", "mille un", "eintausendeins"),
        (1100, "one thousand, one hundred", "mille cent", "eintausendeinhundert"),
        (2000, "two thousand", "deux mille", "zweitausend"),
        (4080, "four thousand and eighty", "quatre mille quatre-vingts", "viertausendachtzig"),
        (21_000, "twenty-one thousand", "vingt et un mille", "einundzwanzigtausend"),
        (80_000, "eighty thousand", "quatre-vingt mille", "achtzigtausend"),
        (101_000, "one hundred and one thousand", "cent un mille", "einhunderteintausend"),
        (200_000, "two hundred thousand", "deux cent mille", "zweihunderttausend"),
        (
            301_201,
            "three hundred and one thousand, two hundred and one",
            "trois cent un mille deux cent un",
            "dreihunderteintausendzweihunderteins",
        ),
        (
            999_999,
            "nine hundred and ninety-nine thousand, nine hundred and ninety-nine",
            "neuf cent quatre-vingt-dix-neuf mille neuf cent quatre-vingt-dix-neuf",
            "neunhundertneunundneunzigtausendneunhundertneunundneunzig",
        ),
    ],
)
def test_numbers(value, english, french, german):
    check(SpelledNumber(value), english, french, german)


@pytest.mark.parametrize(
    ("value", "english", "french", "german"),
    [
        (1, "first", "premier", "erste"),
        (2, "second", "deuxième", "zweite"),
        (3, "third", "troisième", "dritte"),
        (5, "fifth", "cinquième", "fünfte"),
        (7, "seventh", "septième", "siebte"),
        (9, "ninth", "neuvième", "neunte"),
        (20, "twentieth", "vingtième", "zwanzigste"),
        (21, "twenty-first", "vingt et unième", "einundzwanzigste"),
        (80, "eightieth", "quatre-vingtième", "achtzigste"),
        (81, "eighty-first", "quatre-vingt-unième", "einundachtzigste"),
        (99, "ninety-ninth", "quatre-vingt-dix-neuvième", "neunundneunzigste"),
        (200, "two hundredth", "deux centième", "zweihundertste"),
        (380, "three hundred and eightieth", "trois cent quatre-vingtième", "dreihundertachtzigste"),
        (1100, "one thousand, one hundredth", "mille centième", "eintausendeinhundertste"),
        (2080, "two thousand and eightieth", "deux mille quatre-vingtième", "zweitausendachtzigste"),
        (21_001, "twenty-one thousand and first", "vingt et un mille unième", "einundzwanzigtausenderste"),
        (101_000, "one hundred and one thousandth", "cent un millième", "einhunderteintausendste"),
        (200_000, "two hundred thousandth", "deux cent millième", "zweihunderttausendste"),
    ],
)
def test_ordinals(value, english, french, german):
    check(Ordinal(value), english, french, german)


@pytest.mark.parametrize(
    ("quantity", "english", "french", "german"),
    [
        (
            Date(date(1987, 3, 3), "weekday"),
            "Tuesday, March third, nineteen eighty-seven",
            "le mardi trois mars mille neuf cent quatre-vingt-sept",
            "Dienstag, der dritte März neunzehnhundertsiebenundachtzig",
        ),
        (
            Date(date(1789, 7, 14), "day"),
            "July fourteenth, seventeen eighty-nine",
            "le quatorze juillet mille sept cent quatre-vingt-neuf",
            "der vierzehnte Juli siebzehnhundertneunundachtzig",
        ),
        (
            Date(date(2000, 5, 1), "day"),
            "May first, two thousand",
            "le premier mai deux mille",
            "der erste Mai zweitausend",
        ),
        (
            Date(date(1900, 8, 31), "month"),
            "August nineteen hundred",
            "août mille neuf cents",
            "August neunzehnhundert",
        ),
        (
            Date(date(1905, 2, 2), "month"),
            "February nineteen oh-five",
            "février mille neuf cent cinq",
            "Februar neunzehnhundertfünf",
        ),
        (
            Date(date(2009, 12, 2), "month"),
            "December two thousand and nine",
            "décembre deux mille neuf",
            "Dezember zweitausendneun",
        ),
        (
            Date(date(2080, 1, 2), "month"),
            "January twenty eighty",
            "janvier deux mille quatre-vingts",
            "Januar zweitausendachtzig",
        ),
    ],
)
def test_dates(quantity, english, french, german):
    check(quantity, english, french, german)


@pytest.mark.parametrize(
    ("weekday", "clock", "english", "french", "german"),
    [
        (
            0,
            (19, 45),
            "Monday at seven forty-five PM",
            "lundi à dix-neuf heures quarante-cinq",
            "Montag um neunzehn Uhr fünfundvierzig",
        ),
        (1, (0, 0), "Tuesday at twelve AM", "mardi à zéro heure", "Dienstag um null Uhr"),
        (2, (1, 1), "Wednesday at one oh-one AM", "mercredi à une heure une", "Mittwoch um ein Uhr eins"),
        (3, (12, 5), "Thursday at twelve oh-five PM", "jeudi à douze heures cinq", "Donnerstag um zwölf Uhr fünf"),
        (
            4,
            (21, 21),
            "Friday at nine twenty-one PM",
            "vendredi à vingt et une heures vingt et une",
            "Freitag um einundzwanzig Uhr einundzwanzig",
        ),
        (5, (11, 10), "Saturday at eleven ten AM", "samedi à onze heures dix", "Samstag um elf Uhr zehn"),
        (6, (13, 0), "Sunday at one PM", "dimanche à treize heures", "Sonntag um dreizehn Uhr"),
    ],
)
def test_times(weekday, clock, english, french, german):
    check(Time(weekday, *clock), english, french, german)


@pytest.mark.parametrize(
    ("parts", "english", "french", "german"),
    [
        (((1, "hour"),), "one hour", "une heure", "eine Stunde"),
        (((1, "day"), (1, "hour")), "one day and one hour", "un jour et une heure", "ein Tag und eine Stunde"),
        (
            ((61, "day"), (2, "hour")),
            "sixty-one days and two hours",
            "soixante et un jours et deux heures",
            "einundsechzig Tage und zwei Stunden",
        ),
        (
            ((1, "minute"), (51, "second")),
            "one minute and fifty-one seconds",
            "une minute et cinquante et une secondes",
            "eine Minute und einundfünfzig Sekunden",
        ),
        (
            ((80, "day"), (21, "hour"), (1, "minute")),
            "eighty days, twenty-one hours, and one minute",
            "quatre-vingts jours, vingt et une heures et une minute",
            "achtzig Tage, einundzwanzig Stunden und eine Minute",
        ),
    ],
)
def test_durations(parts, english, french, german):
    check(Duration(parts), english, french, german)


@pytest.mark.parametrize(
    ("amount", "currency", "english", "french", "german"),
    [
        (1, "EUR", "one euro", "un euro", "ein Euro"),
        (3, "EUR", "three euros", "trois euros", "drei Euro"),
        (101, "EUR", "one hundred and one euros", "cent un euros", "einhundertein Euro"),
        (1, "CHF", "one Swiss franc", "un franc suisse", "ein Schweizer Franken"),
        (200, "CHF", "two hundred Swiss francs", "deux cents francs suisses", "zweihundert Schweizer Franken"),
        (1, "GBP", "one British pound", "une livre sterling", "ein Britisches Pfund"),
        (81, "GBP", "eighty-one British pounds", "quatre-vingt-une livres sterling", "einundachtzig Britische Pfund"),
        (
            2001,
            "EGP",
            "two thousand and one Egyptian pounds",
            "deux mille une livres égyptiennes",
            "zweitausendein Ägyptische Pfund",
        ),
        (11, "EGP", "eleven Egyptian pounds", "onze livres égyptiennes", "elf Ägyptische Pfund"),
        (
            80_000,
            "USD",
            "eighty thousand US dollars",
            "quatre-vingt mille dollars des États-Unis",
            "achtzigtausend US-Dollar",
        ),
        (1, "CAD", "one Canadian dollar", "un dollar canadien", "ein Kanadischer Dollar"),
        (80, "MXN", "eighty Mexican pesos", "quatre-vingts pesos mexicains", "achtzig Mexikanische Pesos"),
        (2, "JPY", "two Japanese yen", "deux yens japonais", "zwei Japanische Yen"),
    ],
)
def test_money(amount, currency, english, french, german):
    check(Money(amount, currency), english, french, german)


def corrected(words: str) -> str:
    """What num2words means, word by word: its two kinds of misspelling below a million are mended."""
    for wrong, right in (("vingtsième", "vingtième"), ("centsième", "centième"), ("einstausend", "eintausend")):
        words = words.replace(wrong, right)
    return words


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("form", ["cardinal", "ordinal"])
def test_numbers_put_together_are_those_of_num2words(language, form):
    rng = Random(1)
    numbers = {*range(1, 20), *range(980, 1120), *(1000 * rng.randrange(1, 1000) for _ in range(50))}
    numbers |= {1000 * rng.randrange(1, 1000) + rest for rest in range(100, 1000, 100)}
    numbers |= {int(10 ** (6 * rng.random())) for _ in range(500)}
    for number in sorted(numbers):
        assert spelled(language, form, number) == corrected(num2words(number, lang=language, to=form))


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_clean(language):
    """No figures, no non-breaking or doubled spaces, as the CLDR has them in some of its patterns."""
    spell = SPELLERS[language].spell
    texts = [spell(Money(number, currency)) for number in (1, 2) for currency in CURRENCIES]
    texts += [spell(Time(day, hour, 7)) for day in range(7) for hour in range(24)]
    texts += [spell(Duration(((1, "day"), (2, "hour"), (3, "minute")))), spell(Duration(((4, "second"),)))]
    texts += [spell(Date(date(1999, month, 4), "weekday")) for month in range(1, 13)]
    for text in texts:
        assert text == " ".join(text.split())
        assert "\xa0" not in text
        assert not any(character.isdigit() for character in text)
