"""Recipes: what ships, how one extends another, and how settings are laid over them."""

from pathlib import Path

import pytest

from seqlab.config import recipes
from seqlab.engine.optimizers import SGD, AdamW, Muon
from seqlab.engine.schedules import Constant, OneCycle
from seqlab.errors import UserError
from seqlab.experiment.config import load

GROUND = """
[about]
summary = "base"
expected = "much"
[data]
kind = "mathematics"
module = "comparison__sort"
[optimizer]
lr = 0.02
[model]
width = 32
num_heads = 4
[train]
max_steps = 10
"""


@pytest.fixture
def write(tmp_path: Path):
    def write_recipe(name: str, text: str) -> str:
        path = tmp_path / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write_recipe


class TestShipped:
    @pytest.mark.parametrize("name", recipes.names())
    def test_says_what_it_is_where_from_and_what_to_expect(self, name: str) -> None:
        about = load(name).about
        assert about.name == name
        assert all([about.summary, about.source, about.expected, about.time])
        assert "\n" not in about.summary

    @pytest.mark.parametrize("name", recipes.names())
    def test_extends_a_shipped_recipe_or_none(self, name: str) -> None:
        parent = recipes.read_toml(recipes.find(name)).get("extends")
        assert parent is None or parent in recipes.names()

    def test_the_three_problems_are_there_in_our_setting_and_in_the_classic_one(self) -> None:
        for problem in ("place-value", "sort", "linear-1d"):
            ours, classic = load(f"math-{problem}"), load(f"math-{problem}-course")
            assert ours.data.module == classic.data.module
            assert (classic.model.width, classic.model.feedforward, classic.model.num_heads) == (256, 1024, 8)
            assert (classic.batch.batch_size, classic.batch.accumulate) == (64, 10)
            assert (classic.optimizer.kind, classic.optimizer.lr, classic.train.clip.limit) == ("adam", 1e-4, 0.1)


class TestFinding:
    def test_by_name_or_by_path(self, write) -> None:
        assert recipes.find("math-sort").name == "math-sort.toml"
        path = write("mine", GROUND)
        assert recipes.find(path) == Path(path)
        assert load(path).about.name == "mine"

    def test_an_unknown_name_gets_the_nearest(self) -> None:
        with pytest.raises(UserError, match='no recipe "math-srot"; did you mean "math-sort"'):
            recipes.find("math-srot")

    def test_where_none_is_near_the_list_is_pointed_at(self) -> None:
        with pytest.raises(UserError, match='no recipe "xyz"; `seqlab recipes` lists them'):
            recipes.find("xyz")

    def test_errors_name_the_file(self, write) -> None:
        path = write("mine", GROUND.replace("width", "widht"))
        with pytest.raises(UserError, match=rf'{path}: unknown setting model.widht; did you mean "width"'):
            load(path)


class TestExtending:
    def test_states_only_what_differs(self, write) -> None:
        base = write("base", GROUND)
        mine = load(write("mine", f'extends = "{base}"\n[about]\nsummary = "mine"\n[model]\nwidth = 64\n'))
        assert (mine.about.name, mine.about.summary, mine.about.expected) == ("mine", "mine", "much")
        assert (mine.model.width, mine.model.num_heads, mine.optimizer.lr) == (64, 4, 0.02)

    def test_of_one_that_extends_is_refused(self, write) -> None:
        middle = write("middle", f'extends = "{write("base", GROUND)}"\n')
        with pytest.raises(UserError, match=r"mine\.toml: extends .*middle\.toml, which extends another"):
            load(write("mine", f'extends = "{middle}"\n'))

    def test_something_unknown_is_refused(self, write) -> None:
        with pytest.raises(UserError, match='no recipe "math-srt"; did you mean "math-sort"'):
            load(write("mine", 'extends = "math-srt"\n'))
        with pytest.raises(UserError, match=r"mine\.toml: extends is 3, not the name"):
            load(write("mine", "extends = 3\n"))

    def test_an_about_that_is_no_table_is_refused(self, write) -> None:
        with pytest.raises(UserError, match="about is a table of settings"):
            load(write("mine", f'extends = "{write("base", GROUND)}"\nabout = 3\n'))


class TestKinds:
    """A recipe may leave the kind of a union out; it then means the default kind."""

    def test_without_a_kind_settings_are_those_of_the_default(self) -> None:
        optimizer = load("math-sort", ["optimizer.lr=0.5"]).optimizer
        assert isinstance(optimizer, AdamW)
        assert optimizer.lr == 0.5

    def test_another_kind_starts_from_its_own_defaults(self) -> None:
        experiment = load("math-sort", ["optimizer.kind=muon", "schedule.kind=constant"])
        assert experiment.optimizer == Muon()
        assert experiment.schedule == Constant()

    def test_the_same_kind_named_again_keeps_what_the_recipe_sets(self, write) -> None:
        path = write("mine", GROUND)
        assert load(path, ["optimizer.kind=adamw"]) == load(path)
        assert load(path, ["schedule.kind=one-cycle"]).schedule == OneCycle()

    def test_a_recipe_that_extends_may_name_the_kind(self, write) -> None:
        base = write("base", GROUND)
        mine = load(write("mine", f'extends = "{base}"\n[optimizer]\nkind = "adamw"\nbetas = [0.8, 0.9]\n'))
        assert mine.optimizer == AdamW(lr=0.02, betas=(0.8, 0.9))

    @pytest.mark.parametrize("reverse", [False, True])
    def test_the_order_of_overrides_does_not_matter(self, reverse: bool) -> None:
        overrides = ["optimizer.kind=sgd", "optimizer.lr=0.05"]
        assert load("math-sort", overrides[::-1] if reverse else overrides).optimizer == SGD(lr=0.05)

    def test_settings_of_another_kind_are_refused(self) -> None:
        with pytest.raises(UserError, match=r"unknown setting optimizer\.betas \(known here: kind, lr, momentum"):
            load("math-sort", ["optimizer.kind=sgd", "optimizer.betas=0.9,0.9"])


def test_overrides_are_texts_or_a_dict() -> None:
    assert load("math-sort", ["model.width=64", "train.seed=3"]) == load(
        "math-sort", {"model.width": 64, "train.seed": 3}
    )


def test_a_later_override_wins() -> None:
    assert load("math-sort", ["train.seed=3", "train.seed=4"]).train.seed == 4
