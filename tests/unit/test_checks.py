"""`seqlab check`: its claims hold, and each of them fails where its promise is broken."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from seqlab.decode.contract import Hypothesis
from seqlab.engine import machine
from seqlab.engine.distributed import ALONE
from seqlab.engine.loop import LossSum
from seqlab.experiment.assembly import Assembly
from seqlab.experiment.config import Experiment
from seqlab.tasks.sequence_to_sequence.task import SequenceToSequence
from seqlab.tools import checks
from seqlab.tools.checks import CheckResult, run_checks, shrunk
from seqlab.training.state import seeded_assembly

Check = Callable[[Experiment, Assembly, Any], CheckResult]


@pytest.fixture
def experiment(tiny) -> Experiment:
    return shrunk(tiny({"model.dropout": 0.1, "model.sharing": "albert", "model.decoder_layers": 2}))


@pytest.fixture
def assembly(experiment: Experiment) -> Iterator[Assembly]:
    yield seeded_assembly(experiment, ALONE)
    machine.seed_everything(0)


def test_all_claims_hold(tiny) -> None:
    """In a setting with dropout, accumulation, an average and shared layers; the recipe is left as it is."""
    experiment = tiny({"model.dropout": 0.1, "model.sharing": "albert", "model.decoder_layers": 2})
    outcomes = list(run_checks(experiment, "cpu"))
    assert [(outcome.claim, outcome.passed) for outcome in outcomes] == [
        ("1 x N accumulation equals N x 1", True),
        ("padding changes nothing", True),
        ("cache equals no cache", True),
        ("beam 1 equals greedy", True),
        ("resume is exact", True),
    ], outcomes


def test_the_recipe_is_shrunk_but_stays_itself(tiny) -> None:
    recipe = tiny({"train.max_steps": 100_000, "train.precision": "bf16", "train.until": "accuracy>=0.9"})
    small = shrunk(recipe)
    assert small.model == recipe.model
    assert (small.train.max_steps, small.train.precision, small.train.until) == (12, "fp32", None)
    assert (small.batch.accumulate, small.train.average) == (2, recipe.train.average)
    assert shrunk(recipe, max_steps=3).train.max_steps == 3


class TestBroken:
    """What each check is there to catch."""

    def test_accumulation(self, experiment: Experiment, assembly: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
        def mean_of_means(task: SequenceToSequence, model: Any, batch: Any) -> LossSum:
            logits = model(*batch.inputs)
            return LossSum(torch.nn.functional.cross_entropy(logits, batch.labels), batch.tokens)

        monkeypatch.setattr(SequenceToSequence, "loss", mean_of_means)
        outcome = checks.accumulation_is_exact(experiment, assembly, ALONE)
        assert not outcome.passed, outcome.measured

    def test_padding(self, experiment: Experiment, assembly: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
        encode = type(assembly.model).encode

        def careless(model: Any, source: Tensor, source_mask: Tensor) -> Any:
            return encode(model, source, torch.ones_like(source_mask))

        monkeypatch.setattr(type(assembly.model), "encode", careless)
        assert not checks.padding_changes_nothing(experiment, assembly, ALONE).passed

    def test_cache(self, experiment: Experiment, assembly: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
        step = type(assembly.model).step

        def forgetful(model: Any, tokens: Tensor, state: Any) -> Any:
            logits, _ = step(model, tokens, state)
            return logits, state

        monkeypatch.setattr(type(assembly.model), "step", forgetful)
        assert not checks.cache_changes_nothing(experiment, assembly, ALONE).passed

    def test_beam(self, experiment: Experiment, assembly: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
        def another_answer(model: Any, source: Tensor, mask: Tensor, config: Any, **ids: int) -> list:
            said = [7] if config.method == "beam" else [8]
            return [[Hypothesis(said, 0.0, True)] for _ in range(len(source))]

        monkeypatch.setattr(checks, "search", another_answer)
        outcome = checks.beam_of_one_is_greedy(experiment, assembly, ALONE)
        assert not outcome.passed
        assert outcome.measured.startswith("0 of ")

    def test_resume(self, experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the random numbers of the checkpoint, dropout drops other units."""
        monkeypatch.setattr("seqlab.training.state.restore_random_state", lambda state: None)
        outcome = checks.resume_is_exact(experiment, "cpu")
        assert not outcome.passed
        assert not outcome.measured.startswith("0 ")
