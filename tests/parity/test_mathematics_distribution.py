"""The generator draws from the distribution of the original: Kolmogorov-Smirnov distances to its samples."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from scipy.stats import ks_2samp

from seqlab.data.corpora.corpus import Example
from seqlab.data.corpora.question_files import read_questions
from seqlab.data.synthetic.questions import MODULES, PLACES, alphabet, draw

LIMIT = 0.05  # 2,000 against 20,000 samples of one distribution pass 0.046 once in a thousand
SPLITS = ("train-easy", "train-medium", "train-hard")
SAMPLES = 20_000

Feature = Callable[[Example], float]

NUMBER = re.compile(r"\d+(?:[./]\d+)?")
DIGIT = re.compile(r"\d")
VARIABLE_TERM = re.compile(r"\b[a-z](?= [-+=]| for)")
CONSTANT_TERM = re.compile(r"(?<![\d])\d+(?![\d*])")

ANY_MODULE: dict[str, Feature] = {
    "question length": lambda e: len(e.source),
    "answer length": lambda e: len(e.target),
    "numbers": lambda e: len(NUMBER.findall(e.source)),
    "digits": lambda e: len(DIGIT.findall(e.source)),
    "digits of the answer": lambda e: len(DIGIT.findall(e.target)),
    "longest number": lambda e: max(map(len, NUMBER.findall(e.source)), default=0),
}
SIGNED: dict[str, Feature] = {
    "minus signs": lambda e: e.source.count("-"),
    "minus signs of the answer": lambda e: e.target.count("-"),
}
FEATURES: dict[str, dict[str, Feature]] = {
    "algebra__linear_1d": {
        "position of =": lambda e: e.source.index("="),
        "terms": lambda e: 2 + len(re.findall(r" [-+] ", e.source)),
        "variable terms": lambda e: len(VARIABLE_TERM.findall(e.source)),
        "constant terms": lambda e: len(CONSTANT_TERM.findall(e.source)),
        "terms on the left": lambda e: len(re.findall(r" [-+] ", e.source.split("=")[0])),
        "an empty side": lambda e: bool(re.search(r"Solve 0 =|= 0 for", e.source)),
        "zero terms": lambda e: len(re.findall(r"(?<!\d)0\*|[-+] ?0 ", e.source)),
        "coefficients of 1": lambda e: len(re.findall(r"(?<!\*)\b[a-z]\b", e.source)),
        "variable": lambda e: ord(e.source[-2]),
        "solution": lambda e: int(e.target),
        **SIGNED,
    },
    "comparison__sort": {
        "numbers to sort": lambda e: e.target.count(","),
        "slashes": lambda e: e.source.count("/"),
        "dots": lambda e: e.source.count("."),
        "position of the smallest": lambda e: e.source.index(e.target.split(",")[0]),
        "template": lambda e: e.source.startswith("Put") + 2 * e.source.endswith("order."),
        "direction": lambda e: sum(ord(c) for c in e.source.split()[-2]) if e.source.endswith("order.") else 0,
        **SIGNED,
    },
    "numbers__place_value": {
        "place": lambda e: PLACES.index(e.source[12 : e.source.index(" digit")]),
        "number": lambda e: int(NUMBER.findall(e.source)[0]),
        "answer": lambda e: int(e.target),
    },
}


@pytest.fixture(scope="module")
def reference() -> Callable[[str, str], list[Example]]:
    """The published samples of the original: (module, split) -> examples."""
    data = Path(os.environ.get("SEQLAB_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
    if not (data / "math").is_dir():
        pytest.skip(f"reference samples not found in {data / 'math'}; set SEQLAB_DATA")
    return lambda module, split: read_questions(data / "math" / split / f"{module}.txt.xz")


def distances(ours: list[Example], theirs: list[Example], module: str) -> dict[str, float]:
    measured = {}
    for name, feature in (ANY_MODULE | FEATURES[module]).items():
        result = ks_2samp([feature(e) for e in ours], [feature(e) for e in theirs], method="asymp")
        measured[name] = result.statistic  # pyright: ignore[reportAttributeAccessIssue]  (scipy's types lack it)
    return measured


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("module", MODULES)
def test_every_feature_is_distributed_as_in_the_original(reference, module, split):
    measured = distances(draw(module, split, SAMPLES, seed=1), reference(module, split), module)
    assert {name: round(distance, 3) for name, distance in measured.items() if distance >= LIMIT} == {}


@pytest.mark.parametrize("module", MODULES)
def test_the_distances_tell_splits_apart(reference, module):
    measured = distances(draw(module, "train-easy", 2000, seed=1), reference(module, "train-medium"), module)
    assert measured["question length"] > LIMIT
    assert measured["digits"] > LIMIT
    assert measured["longest number"] > LIMIT


@pytest.mark.parametrize("module", MODULES)
def test_the_alphabet_is_that_of_the_original(reference, module):
    examples = [example for split in SPLITS for example in reference(module, split)]
    sources, targets = alphabet(module)
    assert sources == set().union(*(e.source for e in examples))
    assert targets == set().union(*(e.target for e in examples))


@pytest.mark.parametrize(
    ("module", "mean"), [("algebra__linear_1d", 40.8), ("comparison__sort", 42.0), ("numbers__place_value", 40.3)]
)
def test_interpolate_questions_are_as_long_as_those_of_the_original(module, mean):
    lengths = [len(e.source) for e in draw(module, "interpolate", SAMPLES, seed=1)]
    assert sum(lengths) / SAMPLES == pytest.approx(mean, abs=0.5)  # measured on 2,000 of the original
