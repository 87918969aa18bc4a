"""Any valid config survives its way through TOML, and any override arrives as it was meant."""

import json
import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st

from seqlab.config.settings import differences, merge, nested, parse_override, to_toml
from seqlab.engine.optimizers import SGD, Adafactor, Adam, AdamW, Muon
from seqlab.engine.schedules import Constant, Cosine, InverseSqrt, Linear, OneCycle, WarmupStableDecay
from seqlab.experiment.config import Experiment, check

rates = st.floats(1e-7, 10)
betas = st.floats(0, 0.9999)
shares = st.floats(0, 0.5)
optional_counts = st.none() | st.integers(1, 10**6)

optimizers = st.one_of(
    st.builds(AdamW, lr=rates, betas=st.tuples(betas, betas), eps=st.floats(1e-12, 1e-3), weight_decay=shares),
    st.builds(Adam, lr=rates, betas=st.tuples(betas, betas)),
    st.builds(SGD, lr=rates, momentum=betas, nesterov=st.booleans()),
    st.builds(Adafactor, lr=rates, clip_update=st.floats(1, 5)),
    st.builds(Muon, lr=rates, rest_lr=st.none() | rates),
)
schedules = st.one_of(
    st.builds(OneCycle, warmup=shares, momentum=st.none() | st.tuples(betas, betas)),
    st.builds(Linear, warmup=shares | st.integers(1, 5000)),
    st.builds(Cosine, final_factor=shares),
    st.builds(InverseSqrt, warmup=st.integers(1, 5000)),
    st.builds(WarmupStableDecay, warmup=shares, decay=shares),
    st.builds(Constant),
)
batches = st.one_of(
    st.fixed_dictionaries({"max_tokens": st.integers(1, 10**6), "pad_to_multiple_of": st.integers(1, 64)}),
    st.fixed_dictionaries({"batch_size": st.integers(1, 10**4), "order": st.sampled_from(["buckets", "random"])}),
)
trainings = st.fixed_dictionaries(
    {
        "max_steps": st.integers(1, 10**9),
        "max_minutes": st.none() | st.floats(0.01, 1e4),
        "patience": optional_counts,
        "average": st.none() | st.floats(0.01, 0.999),
        "until": st.none() | st.sampled_from(["accuracy>=0.99", "loss<=1e-3"]),
        "trackers": st.sampled_from(["auto", [], ["tensorboard"], ["wandb", "mlflow"]]),
        "clip": st.fixed_dictionaries({"by": st.sampled_from(["norm", "value"]), "limit": rates}),
    }
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=40)


@st.composite
def experiments(draw: st.DrawFn) -> Experiment:
    tree = {
        "about": {"name": draw(names), "summary": draw(texts)},
        "data": {"kind": "mathematics", "module": draw(st.sampled_from(["comparison__sort", "numbers__place_value"]))},
        "batch": draw(batches),
        "optimizer": draw(optimizers).model_dump(),
        "schedule": draw(schedules).model_dump(),
        "train": draw(trainings),
    }
    return check(tree, "drawn")


@settings(max_examples=60)
@given(experiments())
def test_an_experiment_comes_back_from_toml(experiment: Experiment) -> None:
    again = check(tomllib.loads(to_toml(experiment)), "copy")
    assert again == experiment
    assert differences(experiment, again) == []


@settings(max_examples=60)
@given(experiments(), experiments())
def test_experiments_differ_where_differences_are_told(left: Experiment, right: Experiment) -> None:
    assert (differences(left, right) == []) == (left == right)


values = st.one_of(
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.lists(st.integers(), max_size=4),
)
names = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=10)
keys = st.lists(names, min_size=1, max_size=4).map(".".join)


@given(keys, values)
def test_an_override_arrives_as_it_was_meant(key: str, value: object) -> None:
    assert parse_override(f"{key}={json.dumps(value)}") == nested(key, value)
    assert parse_override(f" {key} = {json.dumps(value)} ") == nested(key, value)


# What TOML reads as something else must be put in quotes, as in a TOML file.
@given(keys, st.text(st.characters(categories=["L"]), min_size=1, max_size=20))
def test_words_need_no_quotes(key: str, word: str) -> None:
    read_otherwise = word in ("true", "false", "null", "inf", "nan")
    assert read_otherwise or parse_override(f"{key}={word}") == nested(key, word)


trees = st.recursive(
    st.integers(0, 3) | st.none(), lambda below: st.dictionaries(st.sampled_from("abcd"), below, max_size=3)
)
tables = st.dictionaries(st.sampled_from("abcd"), trees, max_size=3)


@given(tables, tables)
def test_merging_keeps_the_base_and_takes_all_changes(base: dict, changes: dict) -> None:
    before = json.dumps(base)
    merged = merge(base, changes)
    assert json.dumps(base) == before
    assert merge(merged, changes) == merged
    assert merge({}, base) == merge(base, {}) == base
    assert merged.keys() == base.keys() | changes.keys()
