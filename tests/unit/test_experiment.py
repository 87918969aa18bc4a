"""The whole config: targets, and what only all settings together can tell."""

import pytest

from seqlab.errors import UserError
from seqlab.experiment.config import Target, check, load


class TestTarget:
    @pytest.mark.parametrize(
        ("text", "target"),
        [
            ("accuracy>=0.99", Target("accuracy", True, 0.99)),
            (" loss <= 1e-2 ", Target("loss", False, 0.01)),
            ("loss<=-1", Target("loss", False, -1.0)),
        ],
    )
    def test_is_a_score_and_a_bound(self, text: str, target: Target) -> None:
        assert Target.parse(text) == target

    @pytest.mark.parametrize("text", ["accuracy", "accuracy>0.9", "accuracy==1", ">=0.9", "accuracy>=high", ""])
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(UserError, match="is not a target: write for example accuracy>="):
            Target.parse(text)

    def test_a_number_that_is_none_is_refused(self) -> None:
        with pytest.raises(UserError, match='"1e" in the target "loss<=1e" is not a number'):
            Target.parse("loss<=1e")

    def test_is_reached_from_its_side(self) -> None:
        assert Target.parse("accuracy>=0.5").reached({"accuracy": 0.5})
        assert not Target.parse("accuracy>=0.5").reached({"accuracy": 0.49})
        assert Target.parse("loss<=0.5").reached({"loss": 0.5})
        assert not Target.parse("loss<=0.5").reached({"loss": 0.51})

    def test_a_score_that_is_not_measured_is_told(self) -> None:
        with pytest.raises(UserError, match='"bleu" is not measured; measured: loss, accuracy'):
            Target.parse("bleu>=3").reached({"loss": 1.0, "accuracy": 0.0})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.max_steps=null"], "set the length of training"),
        (["train.until=soon"], 'train.until: "soon" is not a target'),
        (["train.until=bleu>=3"], "the scores are loss, accuracy"),
        (["train.keep_best=0"], "set train.keep_best=1 or train.final=last"),
        (["model.tying=all"], "set text.shared=true"),
        (["model.num_heads=3"], "num_heads 3 does not divide width"),
        (["batch.batch_size=8"], "give either max_tokens or batch_size"),
        (["batch.max_tokens=null"], "give either max_tokens or batch_size"),
        (["train.max_stps=3"], 'unknown setting train.max_stps; did you mean "max_steps"'),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load("math-place-value", overrides)
    assert str(caught.value).startswith("recipe math-place-value: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_time_alone_is_a_limit() -> None:
    experiment = load("math-place-value", ["train.max_steps=null", "train.max_minutes=2"])
    assert (experiment.train.max_steps, experiment.train.max_minutes) == (None, 2)


def test_rows_replace_tokens() -> None:
    experiment = load("math-place-value", ["batch.batch_size=8", "batch.max_tokens=null"])
    assert (experiment.batch.max_tokens, experiment.batch.batch_size) == (None, 8)


def test_all_embeddings_are_tied_over_a_shared_vocabulary() -> None:
    assert load("math-place-value", ["model.tying=all", "text.shared=true"]).model.tying == "all"


def test_data_without_a_kind_is_told_what_is_missing() -> None:
    with pytest.raises(UserError, match=r"^mine: data\.kind is required"):
        check({"data": {"module": "comparison__sort"}}, "mine")
