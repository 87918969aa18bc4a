"""Every setting is explained, and does something."""

import ast
import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

import seqlab
from seqlab.config.settings import Config
from seqlab.data.corpora.mathematics import MathematicsData
from seqlab.engine.optimizers import Muon
from seqlab.engine.precision import Clip
from seqlab.engine.schedules import Exponential
from seqlab.experiment.config import Experiment
from seqlab.models.transformer import TransformerConfig

ROOT = Path(seqlab.__file__).parent


def config_classes() -> list[type[Config]]:
    """Every config class of the package."""
    for module in pkgutil.walk_packages([str(ROOT)], "seqlab."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

    def below(cls: type[Config]) -> Iterator[type[Config]]:
        for child in cls.__subclasses__():
            yield child
            yield from below(child)

    return [cls for cls in below(Config) if cls.__module__.startswith("seqlab.")]


def names_in_use() -> dict[str, set[str]]:
    """For every name that is read as an attribute or stands in a string: the classes, or "", in which it does."""
    found: dict[str, set[str]] = defaultdict(set)

    def visit(node: ast.AST, owner: str) -> None:
        if isinstance(node, ast.Attribute):
            found[node.attr].add(owner)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found[node.value].add(owner)
        inside = node.name if isinstance(node, ast.ClassDef) else owner
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    for path in ROOT.rglob("*.py"):
        visit(ast.parse(path.read_text(encoding="utf-8")), "")
    return found


CLASSES = config_classes()


def test_all_classes_are_found() -> None:
    """Sections, nested ones, and the kinds of a union that no recipe names."""
    assert {Experiment, MathematicsData, TransformerConfig, Clip, Muon, Exponential} <= set(CLASSES)


def test_every_setting_has_one_line_that_explains_it() -> None:
    unclear = [
        f"{cls.__name__}.{name}"
        for cls in CLASSES
        for name, field in cls.model_fields.items()
        if not field.description or "\n" in field.description.strip()
    ]
    assert unclear == []


def is_tag(annotation: object) -> bool:
    """One possible value: it says in the file of a run what the run is, so that others may come beside it."""
    return get_origin(annotation) is Literal and len(get_args(annotation)) == 1


def test_every_setting_does_something() -> None:
    used = names_in_use()
    dead = [
        f"{cls.__name__}.{name}"
        for cls in CLASSES
        for name, field in cls.model_fields.items()
        if not used[name] - {cls.__name__} and not is_tag(field.annotation)
    ]
    assert dead == []


def test_settings_of_a_kind_are_told_apart_by_their_type() -> None:
    """A union is chosen by `kind`, so every class of one says which kind it is, by default."""
    kinds = [cls.model_fields["kind"] for cls in CLASSES if "kind" in cls.model_fields]
    assert all(isinstance(field.default, str) for field in kinds)
