"""From TOML and `key=value` to frozen, checked config objects, and back.

A config class stands beside the class that it configures and is the only home of its defaults. The one-line doc of a
field is the string under it.
"""

import json
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError

from seqlab.errors import UserError, nearest

Tree = dict[str, Any]

Overrides = Iterable[str] | dict[str, object]
"""Settings laid over others: `["train.max_steps=500"]` or `{"train.max_steps": 500}`."""


class Config(BaseModel):
    """Frozen settings; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def complaints(self, experiment: Any) -> Iterator[str]:
        """What does not go with other sections of the whole config, in one line each."""
        yield from ()


class KindConfig(Config):
    """The settings of a user's own task, data, model, optimizer or schedule: derive from it."""

    kind: str
    """import path of the class, package.module:Class"""


AnyConfig = TypeVar("AnyConfig", bound=Config)


def read_toml(path: Path) -> Tree:
    """The tables of a TOML file. Raises UserError with the file (and line) when it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None


def to_toml(config: Config) -> str:
    """The whole config as TOML; settings that are None are left out, as TOML has no word for them."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def parse_override(text: str) -> Tree:
    """`"optimizer.lr=1e-3"` -> `{"optimizer": {"lr": 0.001}}`; the value is TOML, `null`, or else a plain string."""
    key, equals, value = text.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise UserError(f'"{text}" is not a setting: write key=value, for example train.max_steps=500')
    return nested(key.strip(), _parse_value(value.strip()))


def changes(overrides: Overrides) -> list[Tree]:
    """A tree for each setting, in order."""
    if isinstance(overrides, dict):
        return [nested(key, value) for key, value in overrides.items()]
    return [parse_override(text) for text in overrides]


def nested(dotted: str, value: object) -> Tree:
    """`("a.b", 1)` -> `{"a": {"b": 1}}`."""
    for part in reversed(dotted.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def merge(base: Tree, changes: Tree) -> Tree:
    """`base` with `changes` laid over it, table by table.

    A table that names another `kind` replaces the old one: settings of one kind mean nothing to another.
    """
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and value.get("kind", old.get("kind")) == old.get("kind"):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def build(cls: type[AnyConfig], tree: Tree, origin: str, section: str = "") -> AnyConfig:
    """Checks `tree` and makes the config; raises UserError that names the first wrong key of `origin` in one line.

    `section` is the key under which the tree stands in the whole.
    """
    try:
        return cls.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{origin}: {_first_complaint(cls, tree, error, section)}") from None


class Setting(NamedTuple):
    """One line of `seqlab show`."""

    key: str
    value: object
    doc: str
    is_default: bool


def settings(config: Config, prefix: str = "") -> Iterator[Setting]:
    """Every setting of `config`, depth first, with its doc."""
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        key = f"{prefix}{name}"
        if isinstance(value, Config):
            yield from settings(value, f"{key}.")
        else:
            yield Setting(key, value, field.description or "", value == field.get_default(call_default_factory=True))


def differences(left: Config, right: Config) -> list[str]:
    """The keys whose values differ, for messages: `["optimizer.lr: 0.001 became 0.002"]`."""
    values = {setting.key: setting.value for setting in settings(left)}
    other = {setting.key: setting.value for setting in settings(right)}
    keys = [*values, *(key for key in other if key not in values)]
    absent = "(absent)"
    return [
        f"{key}: {values.get(key, absent)} became {other.get(key, absent)}"
        for key in keys
        if values.get(key, absent) != other.get(key, absent)
    ]


def _parse_value(text: str) -> object:
    if text == "null":  # TOML has no word for it, and what a recipe sets must be removable
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        if "," in text and not text.startswith("["):
            return [_parse_value(part.strip()) for part in text.split(",")]
        return text


def _first_complaint(cls: type[Config], tree: Tree, error: ValidationError, section: str) -> str:
    complaint = error.errors()[0]
    where = _written_path(complaint["loc"], tree)
    if complaint["type"] == "missing":
        where.append(str(complaint["loc"][-1]))
    key = ".".join([section, *where] if section else where)
    if complaint["type"] == "extra_forbidden":
        known = _known_keys(cls, tree, where[:-1])
        hint = nearest(where[-1], known) or f" (known here: {', '.join(known)})"
        return f"unknown setting {key}{hint}"
    if complaint["type"] == "missing":
        return f"{key} is required"
    if complaint["type"] == "union_tag_not_found":
        return f"{key}.kind is required: the other settings depend on it"
    if complaint["type"] in ("union_tag_invalid", "literal_error"):
        # pydantic words the choices as 'a', 'b' or 'c'
        choices = complaint.get("ctx", {}).get("expected_tags") or complaint.get("ctx", {}).get("expected", "")
        names = [name.strip("' ") for name in str(choices).replace(" or ", ",").split(",")]
        given = complaint["input"].get("kind") if isinstance(complaint["input"], dict) else complaint["input"]
        suffix = ".kind" if complaint["type"] == "union_tag_invalid" else ""
        return f'{key}{suffix} is "{given}", not one of {", ".join(names)}{nearest(str(given), names)}'
    given = complaint["input"]
    if complaint["type"] == "tuple_type":
        return f"{key} is a list: write {key}={json.dumps([given], default=str)}"
    if complaint["type"] in ("model_type", "model_attributes_type"):
        return f"{key} is a table of settings, not a value: write {key}.NAME=VALUE (got {given!r})"
    message = complaint["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if isinstance(given, dict) else f"{key}: {message} (got {given!r})"


def _written_path(loc: Sequence[int | str], tree: Tree) -> list[str]:
    """`loc` as users write it: pydantic puts the kind of a union, or a type that it tried, in between."""
    path: list[str] = []
    node: Any = tree
    for part in loc:
        match node, part:
            case dict(), _ if part in node:
                node = node[part]
            case list() | tuple(), int():
                node = node[part]
            case _:
                continue
        path.append(str(part))
    return path


def _known_keys(cls: type[Config], tree: Tree, path: list[str]) -> list[str]:
    """The setting names that are allowed at `path`; of a union, those of the kind that `tree` asks for."""
    fields: dict[str, Any] = dict(cls.model_fields)
    node: Any = tree
    for part in path:
        if isinstance(node, list | tuple):
            node = node[int(part)]
            continue
        node = node.get(part, {}) if isinstance(node, dict) else {}
        options = _config_classes(fields[part].annotation)
        chosen = [c for c in options if "kind" in c.model_fields and c.model_fields["kind"].default == node.get("kind")]
        fields = dict((chosen or options)[0].model_fields)
    return list(fields)


def _config_classes(annotation: Any) -> list[type[Config]]:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [annotation]
    return [cls for part in getattr(annotation, "__args__", ()) for cls in _config_classes(part)]
