"""Settings: from files and `key=value` to checked configs and back, and messages that say what to do."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from seqlab.config import recipes
from seqlab.config.settings import (
    Config,
    Setting,
    build,
    differences,
    merge,
    nested,
    parse_override,
    read_toml,
    settings,
    to_toml,
)
from seqlab.errors import UserError, nearest
from seqlab.experiment.config import Experiment, check, load


class Square(Config):
    kind: Literal["square"] = "square"
    """which shape"""
    side: float = Field(default=1.0, gt=0)
    """length of a side"""


class Circle(Config):
    kind: Literal["circle"] = "circle"
    """which shape"""
    radius: float = Field(default=1.0, gt=0)
    """half the width"""


class Pen(Config):
    colour: Literal["red", "blue"] = "red"
    """what it leaves behind"""
    dashes: tuple[int, ...] = ()
    """lengths of dashes"""


class Drawing(Config):
    title: str
    """what it is called"""
    shape: Annotated[Square | Circle, Field(discriminator="kind")] = Square()
    """what is drawn"""
    pen: Pen = Pen()
    """what with"""
    copies: int | None = None
    """how often"""


def complaint(tree: dict, cls: type[Config] = Drawing) -> str:
    with pytest.raises(UserError) as caught:
        build(cls, tree, "draft.toml")
    message = str(caught.value)
    assert "\n" not in message
    return message


class TestReading:
    def test_tables_become_dicts(self, tmp_path: Path) -> None:
        path = tmp_path / "draft.toml"
        path.write_text('title = "Ä"\n[pen]\ncolour = "blue"\n', encoding="utf-8")
        assert read_toml(path) == {"title": "Ä", "pen": {"colour": "blue"}}

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"nowhere\.toml: no such file"):
            read_toml(tmp_path / "nowhere.toml")

    def test_wrong_toml_is_reported_with_its_line(self, tmp_path: Path) -> None:
        path = tmp_path / "draft.toml"
        path.write_text('title = "a"\ncopies = = 2\n')
        with pytest.raises(UserError, match=r"draft\.toml: not valid TOML: .*line 2"):
            read_toml(path)

    def test_another_encoding_is_reported_with_its_place(self, tmp_path: Path) -> None:
        path = tmp_path / "draft.toml"
        path.write_bytes('title = "Ä"'.encode("latin-1"))
        with pytest.raises(UserError, match=r"draft\.toml: not UTF-8 text \(byte 9\)"):
            read_toml(path)


class TestOverrides:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("a=3", 3),
            ("a=1e-3", 0.001),
            ("a=true", True),
            ('a="3"', "3"),
            ("a=plain words", "plain words"),
            ("a=accuracy>=0.9", "accuracy>=0.9"),
            ("a=[1, 2]", [1, 2]),
            ("a=0.9,0.95", [0.9, 0.95]),
            ("a=red,blue", ["red", "blue"]),
            ("a = 3 ", 3),
            ("a=", ""),
            ("a=null", None),
            ("a=none", "none"),
        ],
    )
    def test_values_are_toml_or_plain_text(self, text: str, value: object) -> None:
        assert parse_override(text) == {"a": value}

    def test_dots_lead_into_tables(self) -> None:
        assert parse_override("train.clip.limit=0.5") == {"train": {"clip": {"limit": 0.5}}}
        assert nested("a.b.c", 1) == {"a": {"b": {"c": 1}}}

    @pytest.mark.parametrize("text", ["train.max_steps", "=3", " =3", ".a=3", "a..b=3", ""])
    def test_what_is_no_setting_is_refused(self, text: str) -> None:
        with pytest.raises(UserError, match="write key=value"):
            parse_override(text)


class TestMerging:
    def test_changes_go_table_by_table_and_leave_the_base_alone(self) -> None:
        base = {"a": {"x": 1, "y": 2}, "b": 3}
        assert merge(base, {"a": {"y": 5}, "c": 4}) == {"a": {"x": 1, "y": 5}, "b": 3, "c": 4}
        assert base == {"a": {"x": 1, "y": 2}, "b": 3}

    def test_another_kind_starts_afresh(self) -> None:
        base = {"shape": {"kind": "square", "side": 2}}
        assert merge(base, {"shape": {"kind": "circle"}}) == {"shape": {"kind": "circle"}}

    def test_the_same_kind_keeps_what_was_set(self) -> None:
        base = {"shape": {"kind": "square", "side": 2}}
        assert merge(base, {"shape": {"kind": "square"}}) == base
        assert merge(base, {"shape": {"side": 3}}) == {"shape": {"kind": "square", "side": 3}}


class TestComplaints:
    def test_an_unknown_key_gets_the_nearest_name(self) -> None:
        assert complaint({"title": "a", "pen": {"color": "red"}}) == (
            'draft.toml: unknown setting pen.color; did you mean "colour"?'
        )

    def test_where_no_name_is_near_all_are_listed(self) -> None:
        assert complaint({"title": "a", "pen": {"zzz": 1}}) == (
            "draft.toml: unknown setting pen.zzz (known here: colour, dashes)"
        )

    def test_an_unknown_key_of_a_union_is_compared_with_those_of_its_kind(self) -> None:
        assert complaint({"title": "a", "shape": {"kind": "circle", "radus": 2}}) == (
            'draft.toml: unknown setting shape.radus; did you mean "radius"?'
        )
        assert "(known here: kind, radius)" in complaint({"title": "a", "shape": {"kind": "circle", "edge_cm": 2}})

    def test_an_unknown_kind_lists_the_kinds(self) -> None:
        assert complaint({"title": "a", "shape": {"kind": "cicle"}}) == (
            'draft.toml: shape.kind is "cicle", not one of square, circle; did you mean "circle"?'
        )

    def test_an_unknown_choice_lists_the_choices(self) -> None:
        assert complaint({"title": "a", "pen": {"colour": "bleu"}}) == (
            'draft.toml: pen.colour is "bleu", not one of red, blue; did you mean "blue"?'
        )

    def test_a_missing_setting_is_named_in_full(self) -> None:
        class Gallery(Config):
            drawing: Drawing

        assert complaint({}) == "draft.toml: title is required"
        assert complaint({"drawing": {}}, Gallery) == "draft.toml: drawing.title is required"

    def test_a_wrong_value_is_shown(self) -> None:
        assert complaint({"title": "a", "copies": "two"}).startswith("draft.toml: copies: ")
        assert complaint({"title": "a", "copies": "two"}).endswith("(got 'two')")
        assert "shape.side: Input should be greater than 0 (got -1)" in complaint(
            {"title": "a", "shape": {"kind": "square", "side": -1}}
        )

    def test_one_value_for_a_list_is_told_how_to_write_it(self) -> None:
        assert complaint({"title": "a", "pen": {"dashes": 3}}) == (
            "draft.toml: pen.dashes is a list: write pen.dashes=[3]"
        )

    def test_a_wrong_element_of_a_list_is_counted(self) -> None:
        assert "pen.dashes.1: " in complaint({"title": "a", "pen": {"dashes": [1, "x"]}})

    def test_a_value_for_a_table_is_told_so(self) -> None:
        for name, value in (("pen", "red"), ("shape", "circle")):
            assert complaint({"title": "a", name: value}) == (
                f"draft.toml: {name} is a table of settings, not a value: write {name}.NAME=VALUE (got {value!r})"
            )

    def test_the_nearest_name_is_only_given_when_it_is_near(self) -> None:
        assert nearest("widht", ["width", "heads"]) == '; did you mean "width"?'
        assert nearest("qqq", ["width", "heads"]) == ""


class TestShowing:
    def test_every_setting_has_key_value_doc_and_origin(self) -> None:
        shown = list(settings(Drawing(title="a", shape=Circle(radius=2))))
        assert shown[0] == Setting("title", "a", "what it is called", False)
        assert Setting("shape.radius", 2.0, "half the width", False) in shown
        assert Setting("pen.colour", "red", "what it leaves behind", True) in shown
        assert [setting.key for setting in shown] == [
            "title",
            "shape.kind",
            "shape.radius",
            "pen.colour",
            "pen.dashes",
            "copies",
        ]

    def test_differences_name_what_became_what(self) -> None:
        left, right = Drawing(title="a"), Drawing(title="b", shape=Circle())
        assert differences(left, left) == []
        assert differences(left, right) == [
            "title: a became b",
            "shape.kind: square became circle",
            "shape.side: 1.0 became (absent)",
            "shape.radius: (absent) became 1.0",
        ]

    def test_configs_are_frozen(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            Pen().colour = "blue"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_survives_its_way_through_toml(name: str) -> None:
    experiment = load(name)
    assert check(tomllib.loads(to_toml(experiment)), "copy") == experiment


def test_what_is_none_survives_its_way_through_toml() -> None:
    experiment = load("math-sort", {"batch.max_tokens": None, "batch.batch_size": 32, "train.patience": None})
    again = check(tomllib.loads(to_toml(experiment)), "copy")
    assert isinstance(again, Experiment)
    assert (again.batch.max_tokens, again.batch.batch_size, again.train.patience) == (None, 32, None)
