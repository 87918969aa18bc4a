"""The working of linear equations: running sums against an independent reading of the question."""

import re

import pytest

from seqlab.data.corpora.mathematics import Mathematics, MathematicsData
from seqlab.data.synthetic.questions import alphabet, draw
from seqlab.data.synthetic.working import CHARACTERS, with_working, without_working
from seqlab.errors import UserError

MODULE = "algebra__linear_1d"


@pytest.mark.parametrize(
    ("question", "answer", "shown"),
    [
        ("Solve -3*v + 2 = 4*v - 12 for v.", "2", "-3,-7=-2,-41;2"),
        ("Solve v = 10 for v.", "10", "1=01;10"),
        ("Solve -23*s = -12*s for s.", "0", "-32,-11=0;0"),
        ("Solve 0 = -q for q.", "0", "1=0;0"),
        ("Solve -0*a + 7 = 7*a for a.", "1", "0,-7=-7;1"),
    ],
)
def test_running_sums_last_digit_first(question: str, answer: str, shown: str) -> None:
    assert with_working(question, answer) == shown


def test_the_last_sums_are_the_collected_equation() -> None:
    for question, answer in draw(MODULE, "train-hard", 500, seed=3):
        sums, _, rest = with_working(question, answer).partition("=")
        factor, total = (number_of(part.split(",")[-1]) for part in (sums, rest.partition(";")[0]))
        assert factor * int(answer) == total
        assert (factor, -total) == coefficients(question)


def number_of(last_first: str) -> int:
    sign = -1 if last_first.startswith("-") else 1
    return sign * int(last_first.lstrip("-")[::-1])


def coefficients(question: str) -> tuple[int, int]:
    """Left minus right as a*v + b, by evaluating both sides at v = 0 and v = 1."""
    left, right, variable = re.fullmatch(r"Solve (.+) = (.+) for (\w)\.", question).groups()  # type: ignore[union-attr]
    at = [eval(left.replace(variable, f"({value})")) - eval(right.replace(variable, f"({value})")) for value in (0, 1)]
    return at[1] - at[0], at[0]


def test_only_the_answer_is_scored() -> None:
    corpus = Mathematics(MathematicsData(module=MODULE, working=True, epoch_size=30, test_size=20, validation_size=20))
    plain = Mathematics(MathematicsData(module=MODULE, epoch_size=30, test_size=20, validation_size=20))
    assert [corpus.scored_text(example.target) for example in corpus.test()] == [e.target for e in plain.test()]
    assert [example.source for example in corpus.training(4)] == [e.source for e in plain.training(4)]
    assert without_working("anything at all") == "anything at all"


def test_its_characters_are_in_the_vocabulary() -> None:
    corpus = Mathematics(MathematicsData(module=MODULE, working=True, test="extrapolate"))
    assert corpus.alphabet() == (alphabet(MODULE)[0], alphabet(MODULE)[1] | CHARACTERS)
    assert set().union(*(e.target for e in [*corpus.training(0), *corpus.test()])) <= corpus.alphabet()[1]


def test_other_questions_have_no_working() -> None:
    with pytest.raises(UserError, match="Sort 3, 1 in ascending order"):
        with_working("Sort 3, 1 in ascending order.", "1, 3")
    with pytest.raises(ValueError, match="working is shown for algebra__linear_1d only"):
        MathematicsData(module="comparison__sort", working=True)
