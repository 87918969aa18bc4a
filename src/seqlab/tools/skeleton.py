"""First versions of a user's own model, task or recipe: files that work and are tested, to be changed from there."""

import keyword
import re
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from seqlab.errors import UserError


class Kind(StrEnum):
    """What a skeleton is one of."""

    model = "model"
    task = "task"
    recipe = "recipe"


class Skeleton(NamedTuple):
    """What was written, and what to do with it."""

    files: list[Path]
    commands: list[str]
    """to be tried next, in this order"""


FILES = {
    Kind.model: {"model.py": "{}.py", "model.toml": "{}.toml", "model.test.py": "test_{}.py"},
    Kind.task: {"task.py": "{}.py", "task.toml": "{}.toml", "task.test.py": "test_{}.py"},
    Kind.recipe: {"recipe.toml": "{}.toml", "recipe.test.py": "test_{}.py"},
}
"""Templates of a kind, and what the file of each is called."""

COMMANDS = {
    Kind.model: (
        "python -m pytest test_{}.py",
        "seqlab check {}.toml",
        "seqlab train {}.toml",
        'seqlab predict RUN --trust-code "What is the tens digit of 3917?"',
    ),
    Kind.task: (
        "python -m pytest test_{}.py",
        "seqlab data {}.toml",
        "seqlab train {}.toml",
        "seqlab predict RUN --trust-code banana",
    ),
    Kind.recipe: (
        "python -m pytest test_{}.py",
        "seqlab show {}.toml",
        "seqlab train {}.toml",
        'seqlab predict RUN "What is the tens digit of 3917?"',
    ),
}


def write_skeleton(kind: Kind, name: str, folder: Path) -> Skeleton:
    """Writes the files of a new model, task or recipe.

    Args:
        kind: what is begun.
        name: that of the files, and in capitals of the classes: `my_gru` has the class `MyGru`.
        folder: where they go; it exists.

    Raises:
        UserError: the name cannot be that of a module, or means another one already; a file would be overwritten.
    """
    _check_name(name)
    paths = {template: folder / pattern.format(name) for template, pattern in FILES[kind].items()}
    if taken := next((path for path in paths.values() if path.exists()), None):
        raise UserError(f"{taken.name} already exists and is not overwritten: choose another name, or move it away")
    if f"{kind}.py" in paths and find_spec(name) is not None:
        raise UserError(f'"{name}" is the name of a module that is installed or in this folder: choose another name')
    for template, path in paths.items():
        try:
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(_filled(template, name))
        except OSError as error:
            raise UserError(
                f"{path.name}: cannot be written ({error.strerror}); call seqlab in another folder"
            ) from None
    return Skeleton(list(paths.values()), [command.format(name) for command in COMMANDS[kind]])


def _check_name(name: str) -> None:
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or {name, _class_name(name)} & {*keyword.kwlist}:
        raise UserError(
            f'"{name}" is not a valid module name: use lowercase letters, digits and _, start with a letter, '
            "and avoid Python keywords such as class"
        )


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _filled(template: str, name: str) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("seqlab", "tools/skeletons"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # code and settings, no page; the name is checked
    )
    return templates.get_template(f"{template}.jinja").render(name=name, class_name=_class_name(name))
