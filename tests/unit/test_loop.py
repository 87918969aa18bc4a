"""The loop: exact accumulation, the schedule's averages, and one optimizer step an item."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqlab.data.batching.pairs import EncodedPairs
from seqlab.data.batching.stream import Group, Position
from seqlab.data.corpora.corpus import Example
from seqlab.engine.averaging import WeightAverage
from seqlab.engine.distributed import ALONE, World
from seqlab.engine.loop import Budget, Engine, LossSum, Update, updates
from seqlab.engine.optimizers import SGD, AdamW, build_optimizer
from seqlab.engine.precision import Clip, Precision
from seqlab.engine.schedules import Constant, Cosine, InverseSqrt, OneCycle
from seqlab.layers.functional import cross_entropy_sum
from seqlab.models.transformer import Transformer, TransformerConfig

VOCABULARY = 12
TARGET_LENGTHS = (1, 40, 2, 3, 25, 1, 7, 1)
UNCLIPPED = Clip(by="nothing")


def pairs() -> EncodedPairs:
    """Eight pairs whose targets differ widely in length: averages of batches would be far off."""
    rng = np.random.default_rng(4)

    def ids(texts: Sequence[str]) -> list[list[int]]:
        return [[3 + ord(character) % (VOCABULARY - 3) for character in text] for text in texts]

    def word(length: int) -> str:
        return "".join(map(chr, rng.integers(97, 123, size=length)))

    examples = [Example(word(int(rng.integers(1, 9))), word(length)) for length in TARGET_LENGTHS]
    return EncodedPairs.encode(examples, ids, ids, pad_id=0, bos_id=1, eos_id=2)


def group_of(*batches: list[int], share: slice = slice(None)) -> Group:
    """An update of these rows; this process has a share of its batches."""
    encoded = pairs()
    every = np.concatenate([encoded.shapes[rows] for rows in batches])
    padded = [encoded.batch(np.array(rows), *encoded.shapes[rows].max(axis=0)) for rows in batches]
    return Group(padded[share], int(every[:, 1].sum()), int(every.sum()), 0, every, Position())


class Repeated:
    """A stream of the same group for ever."""

    def __init__(self, group: Group) -> None:
        self.group, self.taken = group, 0

    def next_group(self) -> Group:
        self.taken += 1
        return self.group


def loss(model: nn.Module, batch: Any) -> LossSum:
    logits = model(*batch.inputs)
    return LossSum(cross_entropy_sum(logits, batch.labels), batch.tokens)


def small_model() -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig(
        width=8, feedforward=12, num_heads=2, encoder_layers=1, decoder_layers=1, dropout=0.0, max_length=64
    )
    return Transformer(config, VOCABULARY, VOCABULARY).double()


def engine_of(group: Group, **changes: Any) -> Engine:
    model = changes.pop("model", None) or small_model()
    optimizer = build_optimizer(model, changes.pop("optimizer", SGD(lr=1.0, momentum=0.0)))
    engine = Engine(
        model=model,
        loss=loss,
        stream=Repeated(group),  # pyright: ignore[reportArgumentType]
        optimizer=optimizer,
        schedule=Constant(),
        precision=Precision("fp32", torch.device("cpu")),
        clip=UNCLIPPED,
        average=None,
        world=ALONE,
    )
    return replace(engine, **changes)


def steps(number: int) -> Budget:
    return Budget(number, None, ALONE)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in model.parameters()])


def gradient_of_one_update(group: Group, **changes: Any) -> tuple[Tensor, Update]:
    """With plain SGD and a rate of 1, what an update takes off the weights is the gradient."""
    engine = engine_of(group, **changes)
    before = weights(engine.model)
    (update,) = updates(engine, steps(1))
    return before - weights(engine.model), update


def counted(call: Callable[[], Any], log: list[str], name: str) -> Callable[..., Any]:
    def noted(*arguments: Any, **named: Any) -> Any:
        log.append(name)
        return call(*arguments, **named)

    return noted


class TestAccumulation:
    WHOLE = (list(range(8)),)

    @pytest.mark.parametrize(
        "batches",
        [
            [[0, 1, 2, 3], [4, 5, 6, 7]],
            [[1], [0, 2, 3, 4, 5, 6, 7]],
            [[row] for row in range(8)],
        ],
        ids=["halves", "long-against-rest", "one-by-one"],
    )
    def test_has_the_gradient_of_one_batch(self, batches: list[list[int]]) -> None:
        whole, together = gradient_of_one_update(group_of(*self.WHOLE))
        split, apart = gradient_of_one_update(group_of(*batches))
        torch.testing.assert_close(split, whole, rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(apart.loss, together.loss)
        torch.testing.assert_close(apart.grad_norm, together.grad_norm)

    def test_the_mean_of_means_would_be_far_off(self) -> None:
        """So the test above can fail: this is the mistake that it is there to catch."""
        whole, _ = gradient_of_one_update(group_of(*self.WHOLE))
        means = [gradient_of_one_update(group_of([row]))[0] for row in range(8)]
        wrong = torch.stack(means).mean(0)
        assert (wrong - whole).norm() > 0.2 * whole.norm()

    def test_the_gradient_is_that_of_the_mean_over_all_tokens(self) -> None:
        group, model = group_of(*self.WHOLE), small_model()
        (loss(model, group.batches[0]).sum / group.tokens).backward()
        expected = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        found, update = gradient_of_one_update(group_of([0, 1, 2], [3, 4], [5, 6, 7]))
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)
        assert update.grad_norm.item() == pytest.approx(expected.norm().item())
        assert group.tokens == sum(TARGET_LENGTHS) + len(TARGET_LENGTHS)

    def test_two_processes_average_to_the_whole(self) -> None:
        """Each has its share of the batches; averaging their gradients, as DDP does, gives that of all tokens."""
        whole, together = gradient_of_one_update(group_of(*self.WHOLE))
        batches = ([0, 1], [2, 3, 4], [5], [6, 7])

        class Unwired(World):
            def sync_only_if(self, model: nn.Module, last: bool) -> Any:
                return nullcontext()

        parts = [
            gradient_of_one_update(
                group_of(*batches, share=slice(rank, None, 2)), world=Unwired(rank, 2, torch.device("cpu"))
            )
            for rank in range(2)
        ]
        torch.testing.assert_close((parts[0][0] + parts[1][0]) / 2, whole, rtol=1e-10, atol=1e-13)
        torch.testing.assert_close((parts[0][1].loss + parts[1][1].loss) / 2, together.loss)

    def test_gradients_are_exchanged_for_the_last_batch_only(self) -> None:
        asked: list[bool] = []

        class Watched(World):
            def sync_only_if(self, model: nn.Module, last: bool) -> Any:
                asked.append(last)
                return nullcontext()

        engine = engine_of(group_of([0], [1], [2]), world=Watched(0, 1, torch.device("cpu")))
        list(updates(engine, steps(2)))
        assert asked == [False, False, True] * 2


class TestRates:
    @pytest.mark.parametrize("schedule", [OneCycle(), Cosine(warmup=3), Constant(warmup=0.5)], ids=lambda s: s.kind)
    def test_every_update_has_that_of_the_schedule(self, schedule: Any) -> None:
        engine = engine_of(group_of([0]), schedule=schedule, optimizer=AdamW(lr=0.02))
        found = [update.learning_rate for update in updates(engine, steps(9))]
        assert found == [0.02 * schedule.rates(step, 9).factor for step in range(9)]
        assert len(set(found)) > 3

    def test_a_run_that_goes_on_stands_where_it_was(self) -> None:
        engine = engine_of(group_of([0]), schedule=OneCycle(), optimizer=AdamW(lr=0.02))
        going_on = list(updates(engine, steps(9), start=6))
        assert [update.step for update in going_on] == [7, 8, 9]
        assert [u.learning_rate for u in going_on] == [0.02 * OneCycle().rates(step, 9).factor for step in (6, 7, 8)]

    def test_momentum_is_cycled_with_it(self) -> None:
        schedule = OneCycle(momentum=(0.95, 0.85))
        engine = engine_of(group_of([0]), schedule=schedule, optimizer=SGD(lr=0.1))
        found = [engine.optimizer.param_groups[0]["momentum"] for _ in updates(engine, steps(6))]
        assert found == [schedule.rates(step, 6).momentum for step in range(6)]

    def test_a_run_by_the_clock_follows_its_progress(self) -> None:
        class ByTheClock:
            """Each update takes a quarter of the time there is."""

            total_steps = 1000

            def progress(self, step: int) -> float:
                return step / 4

        engine = engine_of(group_of([0]), schedule=Cosine(warmup=0, final_factor=0), optimizer=SGD(lr=1.0))
        found = [update.learning_rate for update in updates(engine, ByTheClock())]
        assert found == pytest.approx([engine.schedule.rates(step, 1000).factor for step in (0, 250, 500, 750)])

    def test_a_schedule_without_an_end_counts_updates_however_fast_the_clock_runs(self) -> None:
        class AlmostOver:
            """Time runs out long before the updates do."""

            total_steps = 1000

            def progress(self, step: int) -> float:
                return step / 8

        engine = engine_of(group_of([0]), schedule=InverseSqrt(warmup=2), optimizer=SGD(lr=1.0))
        found = [update.learning_rate for update in updates(engine, AlmostOver())]
        assert found == [engine.schedule.rates(step, 1000).factor for step in range(8)]


class TestOneStepAnItem:
    def test_nothing_happens_before_it_is_asked_for(self) -> None:
        engine, log = engine_of(group_of([0], [1])), []
        engine.optimizer.step = counted(engine.optimizer.step, log, "step")
        stream: Any = engine.stream
        going = updates(engine, steps(10))
        assert (log, stream.taken) == ([], 0)
        for number in range(1, 6):
            update = next(going)
            assert update.step == len(log) == stream.taken == number
        del going
        assert len(log) == stream.taken == 5

    def test_the_order_is_backward_clip_step_clear(self) -> None:
        engine, log = engine_of(group_of([0], [1])), []
        for owner, name in (
            (engine.precision, "backward"),
            (engine.precision, "unscale_and_clip"),
            (engine.precision, "step"),
            (engine.optimizer, "zero_grad"),
        ):
            setattr(owner, name, counted(getattr(owner, name), log, name))
        list(updates(engine, steps(2)))
        assert log == ["backward", "backward", "unscale_and_clip", "step", "zero_grad"] * 2

    def test_no_gradient_is_left_over(self) -> None:
        engine = engine_of(group_of([0]))
        list(updates(engine, steps(1)))
        assert all(parameter.grad is None for parameter in engine.model.parameters())

    def test_a_budget_that_is_spent_trains_nothing(self) -> None:
        engine = engine_of(group_of([0]))
        before = weights(engine.model)
        assert list(updates(engine, steps(3), start=3)) == []
        assert torch.equal(weights(engine.model), before)

    def test_the_model_trains_in_training_mode(self) -> None:
        engine = engine_of(group_of([0]))
        engine.model.eval()
        next(updates(engine, steps(1)))
        assert engine.model.training


class TestClipping:
    def test_limits_the_update_and_reports_the_norm_before(self) -> None:
        free, unclipped = gradient_of_one_update(group_of([0, 1]))
        found, update = gradient_of_one_update(group_of([0, 1]), clip=Clip(limit=0.01))
        assert update.grad_norm.item() == pytest.approx(free.norm().item())
        assert update.grad_norm.item() == pytest.approx(unclipped.grad_norm.item())
        assert found.norm().item() == pytest.approx(0.01, rel=1e-3)

    def test_counts_the_whole_update_and_not_its_batches(self) -> None:
        one, _ = gradient_of_one_update(group_of([0, 1, 2, 3]), clip=Clip(limit=0.01))
        many, _ = gradient_of_one_update(group_of([0], [1], [2], [3]), clip=Clip(limit=0.01))
        torch.testing.assert_close(one, many, rtol=1e-9, atol=1e-14)


class TestAverage:
    def test_takes_in_the_weights_of_every_update(self) -> None:
        model = small_model()
        engine = engine_of(group_of([0, 1]), model=model, average=WeightAverage(model, 0.5))
        expected = weights(model)
        for update in updates(engine, steps(5)):
            decay = min(0.5, (1 + update.step) / (10 + update.step))
            expected = decay * expected + (1 - decay) * weights(model)
        assert engine.average is not None
        found = torch.cat([average.flatten() for average in engine.average.state_dict().values()])
        torch.testing.assert_close(found, expected)
        assert not torch.allclose(found, weights(model))


def test_frozen_parameters_stay_as_they_are() -> None:
    model = small_model()
    model.source_embedding.weight.requires_grad_(False)
    before = model.source_embedding.weight.clone()
    engine = engine_of(group_of([0]), model=model)
    (update,) = updates(engine, steps(1))
    assert torch.equal(model.source_embedding.weight, before)
    assert torch.isfinite(update.grad_norm)


def test_the_loss_falls() -> None:
    engine = engine_of(group_of([0, 1, 2], [3, 4]), optimizer=AdamW(lr=0.02))
    found = [update.loss.item() for update in updates(engine, steps(30))]
    assert found[-1] < 0.7 * found[0]


class BadFrom:
    """A loss that is infinite from its `turn`th call on."""

    def __init__(self, turn: int) -> None:
        self.turn, self.calls = turn, 0

    def __call__(self, model: nn.Module, batch: Any) -> LossSum:
        self.calls += 1
        total, tokens = loss(model, batch)
        return LossSum(total + float("inf") if self.calls >= self.turn else total, tokens)


class TestNotFinite:
    @pytest.mark.parametrize("turn", [5, 6], ids=["first batch of the update", "its last"])
    @pytest.mark.parametrize("clip", [Clip(), UNCLIPPED], ids=lambda clip: clip.by)
    def test_the_update_is_not_made_and_is_the_last(self, turn: int, clip: Clip) -> None:
        model = small_model()
        average = WeightAverage(model, 0.5)
        engine = engine_of(
            group_of([0, 1], [2, 3]), model=model, loss=BadFrom(turn), clip=clip, average=average, optimizer=AdamW()
        )
        found, seen = [], []
        for update in updates(engine, steps(10)):
            found.append(update)
            seen.append((weights(model), torch.cat([part.flatten().clone() for part in average.state_dict().values()])))
        assert [(update.step, update.applied) for update in found] == [(1, True), (2, True), (3, False)]
        assert not found[-1].loss.isfinite()
        assert not found[-1].grad_norm.isfinite()
        assert all(torch.equal(after, before) for after, before in zip(seen[2], seen[1], strict=True))
        assert not torch.equal(seen[1][0], seen[0][0])
        assert all(parameter.grad is None for parameter in model.parameters())


def test_an_update_reads_nothing_from_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor on "meta" has no values, and goes the ways of a GPU: to ask it for one is an error."""
    model, decided_by = small_model().to("meta"), []

    class Fused(torch.optim.AdamW):
        """Ours is fused, but knows no "meta"; this one obeys the flag that a fused one does."""

        _step_supports_amp_scaling, found_inf = True, None

        def step(self, closure: Any = None) -> None:
            decided_by.append(self.found_inf)
            with monkeypatch.context() as patch:
                patch.setattr(self, "found_inf", None)
                super().step()

    optimizer = Fused(model.parameters(), lr=1.0)
    optimizer.param_groups[0]["peak_lr"] = 1.0
    engine = replace(
        engine_of(group_of([0, 1, 2, 3], [4, 5, 6, 7])),
        model=model,
        optimizer=optimizer,
        precision=Precision("fp32", torch.device("cuda")),
        clip=Clip(by="norm"),
        average=WeightAverage(model, 0.9),
        world=World(0, 1, torch.device("meta")),
    )
    update = list(updates(engine, steps(2)))[-1]
    assert (update.step, update.loss.device.type, update.grad_norm.device.type) == (2, "meta", "meta")
    assert [flag.device.type for flag in decided_by] == ["meta", "meta"]
    with pytest.raises(RuntimeError, match="meta"):  # so it would be noticed
        update.loss.item()
