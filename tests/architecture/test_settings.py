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
from seqlab.experiment import registry
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


def is_check(function: ast.FunctionDef) -> bool:
    """Whether a method only says which values are allowed."""
    return function.name == "complaints" or "validator" in "".join(map(ast.dump, function.decorator_list))


def names_in_use() -> dict[str, set[str]]:
    """For every name that is read as an attribute or stands in a string: the classes whose checks read it, or ""."""
    found: dict[str, set[str]] = defaultdict(set)

    def visit(node: ast.AST, owner: str) -> None:
        if isinstance(node, ast.Attribute):
            found[node.attr].add(owner)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found[node.value].add(owner)
        inside = node.name if isinstance(node, ast.ClassDef) else owner
        if isinstance(node, ast.FunctionDef) and not is_check(node):
            inside = ""  # a method that does something with the setting
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


def test_every_kind_is_registered_under_its_own_name() -> None:
    """The registry names classes by their import paths: each exists, and its settings say the same kind by default."""
    named = {
        (section, kind): registry.config_class(section, kind).model_fields["kind"].default
        for section, kinds in registry.BUILT_IN.items()
        for kind in kinds
    }
    assert named == {(section, kind): kind for section, kind in named}


def test_every_task_has_data_and_a_model() -> None:
    tasks = {kind: registry.find("task", kind) for kind in registry.BUILT_IN["task"]}
    assert [kind for kind, task in tasks.items() if not registry.suiting("data", task)] == []
    assert [kind for kind, task in tasks.items() if not registry.suiting("model", task)] == []
    roles, examples = {task.role for task in tasks.values()}, {task.example for task in tasks.values()}
    assert {registry.find("model", kind).role for kind in registry.BUILT_IN["model"]} == roles
    assert {registry.find("data", kind).example for kind in registry.BUILT_IN["data"]} == examples
