"""Recipes: short TOML files that ship with the package, found by name; any other TOML file by its path.

A recipe states what differs from the defaults, names its source and promises a number. It may extend one other. Never
imports torch, so that listing recipes is instant.
"""

from collections.abc import Callable
from functools import reduce
from importlib import resources
from pathlib import Path

from seqlab.config.settings import Overrides, Tree, changes, merge, read_toml
from seqlab.errors import UserError, nearest

Upgrade = Callable[[Tree], Tree]


def _as_it_is(tree: Tree) -> Tree:
    return tree


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


def tree(name: str, base: Tree | None = None, upgrade: Upgrade = _as_it_is) -> Tree:
    """The settings of a recipe laid over those of the one that it extends, and these over `base`; see `resolve`."""
    path = find(name)
    settings = upgrade(read_toml(path))
    about = settings.setdefault("about", {})
    if isinstance(about, dict):
        about.setdefault("name", path.stem)
    parent = settings.pop("extends", None)
    if parent is None:
        return merge(base or {}, settings)
    if not isinstance(parent, str):
        raise UserError(f"{path}: extends is {parent!r}, not the name of a recipe in quotes")
    if parent.endswith(".toml"):
        parent = str(path.parent / parent)  # beside the recipe, wherever it is read from
    extended = upgrade(read_toml(find(parent)))
    if "extends" in extended:
        raise UserError(f"{path}: extends {parent}, which extends another recipe; only one level is allowed")
    return merge(merge(base or {}, extended), settings)


def resolve(name: str, overrides: Overrides = (), base: Tree | None = None, upgrade: Upgrade = _as_it_is) -> Tree:
    """A recipe with `key=value` texts, or a dict of dotted keys, laid over it.

    `base` lies below the recipe. It names the kinds that are meant where a recipe leaves them out: only so does
    naming the same kind again keep what the recipe sets, and naming another one drop it. `upgrade` renames the former
    settings of a recipe or an override, each before it is laid over another.
    """
    # Kinds first: a setting may stand before the kind that it belongs to.
    return reduce(merge, sorted(map(upgrade, changes(overrides)), key=_names_no_kind), tree(name, base, upgrade))


def _names_no_kind(change: Tree) -> bool:
    """Whether a change of one setting is anything but the choice of a kind."""
    key, value = next(iter(change.items()))
    return _names_no_kind(value) if isinstance(value, dict) and value else key != "kind"


def _folder() -> Path:
    return Path(str(resources.files("seqlab") / "recipes"))
