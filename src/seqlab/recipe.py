"""Recipes: short TOML files that ship with the package, found by name; any other TOML file by its path.

A recipe states what differs from the defaults, names its source and promises a number. It may extend one other. Never
imports torch, so that listing recipes is instant.
"""

from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from seqlab.config import Tree, merge, nested, parse_override, read_toml
from seqlab.errors import UserError, nearest


def names() -> list[str]:
    """The recipes that ship with the package."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def find(name: str) -> Path:
    """The file of a recipe; `name` is one of `names()` or the path of a TOML file."""
    if name.endswith(".toml"):
        return Path(name)
    if name not in names():
        raise UserError(f'no recipe "{name}"{nearest(name, names()) or "; `seqlab recipes` lists them"}')
    return _folder() / f"{name}.toml"


def tree(name: str) -> Tree:
    """The settings of a recipe laid over those of the one that it extends."""
    path = find(name)
    settings = read_toml(path)
    settings.setdefault("about", {}).setdefault("name", path.stem)
    parent = settings.pop("extends", None)
    if parent is None:
        return settings
    ground = read_toml(find(parent))
    if "extends" in ground:
        raise UserError(f"{path}: extends {parent}, which extends another; a recipe extends one plain recipe")
    return merge(ground, settings)


def resolve(name: str, overrides: Iterable[str] | dict[str, object] = ()) -> Tree:
    """A recipe with `key=value` texts, or a dict of dotted keys, laid over it."""
    settings = tree(name)
    if isinstance(overrides, dict):
        changes = [nested(key, value) for key, value in overrides.items()]
    else:
        changes = [parse_override(text) for text in overrides]
    for change in changes:
        settings = merge(settings, change)
    return settings


def _folder() -> Path:
    return Path(str(resources.files("seqlab") / "recipes"))
