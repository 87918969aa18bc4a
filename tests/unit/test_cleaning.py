"""What is left out of training, and the counts of it."""

from seqlab.data.corpora.corpus import Example
from seqlab.data.corpora.splitting import Cleaner, Cleaning, Pair

PAIRS = [
    ("A man.", "Un homme."),
    ("", "Un homme."),
    ("A man.", ""),
    ("A man.", "Un homme."),
    ("A man.", "Un homme !"),
    ("Paris", "Paris"),
    ("Run!", "Prenez vos jambes à vos cous !"),
    ("Yes.", "x" * 47),
    ("a" * 30, "b" * 31),
]


def cleaned(config: Cleaning) -> tuple[list[int], str]:
    """Which of PAIRS are kept, and the report."""
    cleaner = Cleaner(config)
    pairs = [Pair(Example(*texts), str(number)) for number, texts in enumerate(PAIRS)]
    return [int(pair.unit) for pair in cleaner.distinct(cleaner.sound(pairs))], cleaner.report()


def test_every_fault_is_counted_once() -> None:
    kept, report = cleaned(Cleaning(max_characters=30))
    assert kept == [0, 4, 6]
    assert report == (
        "9 pairs read, 6 left out: "
        "2 longer than 30 characters, 2 with an empty side, 1 duplicates, 1 with identical sides"
    )


def test_lengths_are_compared_with_ten_characters_more() -> None:
    """Yes.: 47 + 10 is more than 4 times 4 + 10; Run!: 30 + 10 is not."""
    kept, report = cleaned(Cleaning())
    assert kept == [0, 4, 6, 8]
    assert "1 with a length ratio over 4" in report
    assert 7 in cleaned(Cleaning(max_ratio=57 / 14))[0]


def test_all_but_empty_sides_can_be_kept() -> None:
    config = Cleaning(max_characters=None, max_ratio=None, drop_identical=False, drop_duplicates=False)
    assert cleaned(config) == ([0, 3, 4, 5, 6, 7, 8], "9 pairs read, 2 left out: 2 with an empty side")


def test_a_report_of_clean_pairs() -> None:
    cleaner = Cleaner(Cleaning())
    assert len(list(cleaner.sound([Pair(Example("a", "b"), "a")]))) == 1
    assert cleaner.report() == "1 pairs read, none left out"
