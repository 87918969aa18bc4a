"""Numbers, dates, times, durations and sums of money, spelled out in English, French and German.

Numbers come from num2words; the names of days, months, units and currencies, their plurals and the "and" of a list from
the CLDR in babel. Written here is what stands between them: word order, articles, gender. Numbers end below a million:
from there on French needs "de" before a noun, and German a plural and an article inside the number.
"""

from datetime import date
from functools import cache
from typing import Literal, NamedTuple, get_args

Language = Literal["en", "fr", "de"]
Unit = Literal["day", "hour", "minute", "second"]
Currency = Literal["CAD", "CHF", "EGP", "EUR", "GBP", "JPY", "MXN", "USD"]
DateForm = Literal["weekday", "day", "month"]

UNITS: tuple[Unit, ...] = get_args(Unit)
# None is feminine in German: "hunderteine Kronen" and "hunderteins Kronen" are both in use.
CURRENCIES: tuple[Currency, ...] = get_args(Currency)
DATE_FORMS: tuple[DateForm, ...] = get_args(DateForm)

FEMININE: dict[Language, set[str]] = {
    "en": set(),
    "fr": {"hour", "minute", "second", "EGP", "GBP"},
    "de": {"hour", "minute", "second"},
}
# The order of the CLDR's full and long dates, with the articles of running text.
DATES: dict[Language, dict[DateForm, str]] = {
    "en": {"weekday": "{weekday}, {month} {day}, {year}", "day": "{month} {day}, {year}", "month": "{month} {year}"},
    "fr": {"weekday": "le {weekday} {day} {month} {year}", "day": "le {day} {month} {year}", "month": "{month} {year}"},
    "de": {
        "weekday": "{weekday}, der {day} {month} {year}",
        "day": "der {day} {month} {year}",
        "month": "{month} {year}",
    },
}
# What num2words 0.5.14 gets wrong below a million: "quatre-vingtsième", "trois centsième"; "einhunderteinstausend".
MISSPELLED: dict[Language, tuple[str, str]] = {"fr": ("tsième", "tième"), "de": ("einstausend", "eintausend")}


class SpelledNumber(NamedTuple):
    """0 to 999,999: "three hundred and ninety-one"."""

    value: int


class Ordinal(NamedTuple):
    """1 to 999,999: "three hundred and ninety-first"."""

    value: int


class Date(NamedTuple):
    """Years 1100 to 2099, whose hundreds all three languages read in one way: "March third, nineteen eighty-seven"."""

    day: date
    form: DateForm


class Time(NamedTuple):
    """Weekday (0 = Monday), hour (0 to 23) and minute: "Monday at seven oh-five PM"."""

    weekday: int
    hour: int
    minute: int


class Duration(NamedTuple):
    """Units, largest first, each 1 to 99 times: "two hours and one minute"."""

    parts: tuple[tuple[int, Unit], ...]


class Money(NamedTuple):
    """1 to 999,999 of a currency: "one Swiss franc"."""

    amount: int
    currency: Currency


Quantity = SpelledNumber | Ordinal | Date | Time | Duration | Money


class Speller:
    """Spells quantities in one language: one quantity, one spelling."""

    def __init__(self, language: Language):
        from babel.dates import get_day_names, get_month_names
        from babel.lists import format_list
        from babel.numbers import get_currency_name
        from babel.units import format_unit

        self.language: Language = language
        self._weekdays = get_day_names(locale=language)
        self._months = get_month_names(locale=language)
        self._lists = ["{}", *(format_list(["{}"] * parts, locale=language) for parts in (2, 3))]
        self._nouns = {code: [get_currency_name(code, n, locale=language) for n in (1, 2)] for code in CURRENCIES} | {
            # "1 heure" without its figure: babel has no function for the bare name
            unit: [format_unit(n, f"duration-{unit}", locale=language)[1:].strip() for n in (1, 2)]
            for unit in UNITS
        }

    def spell(self, quantity: Quantity) -> str:
        """The quantity in words."""
        match quantity:
            case SpelledNumber(value):
                return spelled(self.language, "cardinal", value)
            case Ordinal(value):
                return spelled(self.language, "ordinal", value)
            case Date(day, form):
                return self._date(day, form)
            case Time(weekday, hour, minute):
                return f"{self._weekdays[weekday]} {self._clock(hour, minute)}"
            case Duration(parts):
                return self._lists[len(parts) - 1].format(*(self._counted(number, unit) for number, unit in parts))
            case Money(amount, currency):
                return self._counted(amount, currency)

    def _counted(self, number: int, noun: str) -> str:
        """ "vingt et une heures", "ein Euro": the number agrees with its noun, and the noun with its number."""
        singular, plural = self._nouns[noun]
        # Only French counts none of something here, "zéro heure", and in the singular.
        return f"{self._agreeing(number, noun in FEMININE[self.language])} {singular if number < 2 else plural}"

    def _agreeing(self, number: int, feminine: bool) -> str:
        words = spelled(self.language, "cardinal", number)
        match self.language:
            case "fr" if feminine and words.endswith("un"):
                return words + "e"
            case "de" if words.endswith("eins"):
                return words.removesuffix("s") + ("e" if feminine else "")
        return words

    def _date(self, day: date, form: DateForm) -> str:
        return DATES[self.language][form].format(
            weekday=self._weekdays[day.weekday()],
            day=self._day_of_month(day.day),
            month=self._months[day.month],
            year=_num2words(self.language, "year", day.year),
        )

    def _day_of_month(self, day: int) -> str:
        """Counted by ordinals; in French only the first is: "le premier mars", "le deux mars"."""
        return spelled(self.language, "cardinal" if self.language == "fr" and day > 1 else "ordinal", day)

    def _clock(self, hour: int, minute: int) -> str:
        """After the CLDR's short times: twice twelve hours in English, twenty-four in French and German."""
        match self.language:
            case "en":
                half = "AM" if hour < 12 else "PM"
                minutes = f" {'oh-' if minute < 10 else ''}{spelled('en', 'cardinal', minute)}" if minute else ""
                return f"at {spelled('en', 'cardinal', hour % 12 or 12)}{minutes} {half}"
            case "fr":
                minutes = f" {self._agreeing(minute, feminine=True)}" if minute else ""
                return f"à {self._counted(hour, 'hour')}{minutes}"
            case "de":
                minutes = f" {spelled('de', 'cardinal', minute)}" if minute else ""
                return f"um {self._agreeing(hour, feminine=False)} Uhr{minutes}"


def spelled(language: Language, form: Literal["cardinal", "ordinal"], number: int) -> str:
    """A number below a million in words: its thousands, and what num2words puts behind one thousand for the rest.

    num2words takes 60 to 170 microseconds a number; put together from kept parts it is under one.
    """
    thousands, rest = divmod(number, 1000)
    if thousands == 0 or rest == 0:
        return _num2words(language, form, number)
    return _num2words(language, "cardinal", number - rest) + _behind_thousands(language, form, rest)


@cache
def _behind_thousands(language: Language, form: str, rest: int) -> str:
    """ " and one", ", one hundred"; " cent un"; "einhunderteins"."""
    return _num2words(language, form, 1000 + rest).removeprefix(_num2words(language, "cardinal", 1000))


@cache
def _num2words(language: Language, form: str, number: int) -> str:
    from num2words import num2words

    words = num2words(number, lang=language, to=form)
    return words.replace(*MISSPELLED[language]) if language in MISSPELLED else words
