"""Statistics of a corpus: counts against numpy and by hand, in the terminal and on a page."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter
from rich.console import Console

from seqlab.report.page import write_data_page
from seqlab.report.sections import lengths
from seqlab.runs.statistics import Statistics, describe

pytestmark = pytest.mark.usefixtures("drawn_figures")

SPLITS = {
    "train": [("What is 1?", "1"), ("a" * 25, "22"), ("ä", "333")],
    "test [x]": [("b" * 40, "4444")],
    "empty": [],
}

PAIRS = {
    "training": [("the dog runs", "le chien court"), ("the cat", "le chat")],
    "validation": [("the dog", "le chien")],
    "test": [("the bird, the bird!", "l'oiseau court"), ("a dog", "un chien")],
}


@pytest.fixture(scope="module")
def counted() -> Statistics:
    return describe(SPLITS, words=False)


@pytest.fixture(scope="module")
def in_words() -> Statistics:
    return describe(PAIRS, words=True, remarks=["2 of <5> pairs left out"])


def rendered(statistics: Statistics) -> str:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    for table in lengths.terminal_tables(statistics):
        console.print(table)
    console.file.close()
    return console.export_text()


def test_lengths_equal_numpy(counted: Statistics) -> None:
    train, test, empty = counted.splits.values()
    sources, targets = (np.array([len(example[side]) for example in SPLITS["train"]]) for side in range(2))
    assert (train.examples, train.counted) == (3, 3)
    assert train.distinct_characters == len(set("What is 1?" + "a" + "22" + "ä" + "333"))
    assert train.source.characters.mean == pytest.approx(sources.mean())
    assert train.target.characters.mean == pytest.approx(targets.mean())
    assert (train.source.characters.longest, train.target.characters.longest) == (25, 3)
    assert (test.source.characters.longest, test.target.characters.mean) == (40, 4)
    assert (empty.examples, empty.distinct_characters, empty.target.characters.longest) == (0, 0, 0)
    assert train.source.words is None


def test_words_and_the_unknown_ones_by_hand(in_words: Statistics) -> None:
    training, validation, test = in_words.splits.values()
    assert training.source.words is not None
    assert (training.source.words.mean, training.source.words.longest) == (2.5, 3)
    assert training.source.unknown_words is None
    assert validation.source.unknown_words == 0
    # the, bird, the, bird, a, dog: three are new; l, oiseau, court, un, chien: three are new
    assert test.source.unknown_words == pytest.approx(3 / 6)
    assert test.target.unknown_words == pytest.approx(3 / 5)


def test_every_example_stands_in_every_histogram() -> None:
    rng = np.random.default_rng(1)
    pairs = [("a" * rng.integers(1, 90), "b" * rng.integers(1, 60)) for _ in range(500)]
    giants = [("a" * 5000, "b"), ("a", "b" * 5000)]
    statistics = describe({"training": pairs + giants, "test": pairs[:50]}, words=False)
    for split in statistics.splits.values():
        histograms = (split.source.histogram, split.target.histogram, split.ratios)
        assert [sum(histogram) for histogram in histograms] == [split.examples] * 3
    edges = statistics.edges[0]
    assert edges[-1] < 200  # a giant takes no room
    assert set(np.diff(edges)) == {edges[1]}
    inner = [(len(source) >= edges[3]) & (len(source) < edges[4]) for source, _ in pairs]
    assert statistics.splits["training"].source.histogram[3] == sum(inner)


def test_ratios_are_of_characters() -> None:
    pairs = [("aaaa", "bb")] * 10 + [("aa", "bbbb")] * 30 + [("", "b")]
    found = describe({"training": pairs}, words=False)
    assert (found.ratio_edges[0], found.ratio_edges[-1]) == (pytest.approx(0.5), pytest.approx(2))
    ratios = found.splits["training"].ratios
    assert (ratios[0], ratios[-1], sum(ratios)) == (10, 30, 40)


def test_large_sets_are_sampled_evenly_and_it_is_said(tmp_path: Path) -> None:
    pairs = [("a" * (1 + number // 1000), "b") for number in range(5000)]
    statistics = describe({"training": pairs}, words=False, sample=100)
    training = statistics.splits["training"]
    assert (training.examples, training.counted) == (5000, 100)
    assert training.source.characters.mean == pytest.approx(3)
    page = write_data_page("large", statistics, tmp_path / "data.html").read_text(encoding="utf-8")
    assert "Sets of more pairs are estimated from 100 of them." in page


def test_json_and_back(in_words: Statistics) -> None:
    text = json.dumps(in_words.to_json(), allow_nan=False)
    assert TypeAdapter(Statistics).validate_json(text) == in_words


def test_terminal_has_the_sizes(counted: Statistics, in_words: Statistics) -> None:
    shown = rendered(counted)
    assert re.search(r"train +3 +42 +12 +12\.0 +25 +2\.0 +3\n", shown)
    assert "test [x]" in shown
    shown = rendered(in_words)
    assert re.search(r"test +2 +46 +", shown)
    assert re.search(r"test +6 +5 +3\.0 +4 +2\.5 +3 +50\.0 % +60\.0 %", shown)
    assert re.search(r"training +5 +5 +2\.5 +3 +2\.5 +3 +– +–", shown)


def test_blocks_show_whatever_is_not_empty() -> None:
    assert lengths.blocks([4, 1, 0, 1]) == "█▂ ▂"
    assert lengths.blocks([2, 2, 2, 2]) == "████"
    assert lengths.blocks([1, *[0] * 8, 999]) == "▁        █"
    assert lengths.blocks([0, 0]) == "  "


def test_page_has_tables_figures_and_remarks(in_words: Statistics, tmp_path: Path) -> None:
    page = write_data_page("a <b> recipe", in_words, tmp_path / "data.html").read_text(encoding="utf-8")
    assert "a &lt;b&gt; recipe" in page
    assert "2 of &lt;5&gt; pairs left out" in page
    assert page.count("<table>") == 2
    assert page.count("<svg") == 3
    assert "60.0 %" in page


def test_figures_have_a_curve_a_set(counted: Statistics) -> None:
    plots = lengths.plots(counted)
    assert [plot.title for plot in plots] == ["Source length", "Target length", "Length ratio"]
    for plot in plots:
        assert 'id="' + plot.title.lower().replace(" ", "-") + '-train"' in plot.svg
        assert ">train</text>" in plot.svg
