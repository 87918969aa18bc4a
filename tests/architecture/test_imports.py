"""Who may import whom: downwards only, no cycles, and packages that run without torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import seqlab

ROOT = Path(seqlab.__file__).parent

ORDER = (
    {"__main__"},
    {"cli"},
    {"api", "tools", "ablation"},
    {"training", "inference"},
    {"experiment"},
    {"tasks"},
    {"engine", "report"},
    {"models", "data"},
    {"text", "metrics", "layers", "decode"},
    {"config", "runs"},
    {"errors", "display"},
)
"""A package or file imports from lower rows and from itself; not from its own row, not from above."""

FORBIDDEN = {
    "engine": {"models", "text", "metrics", "layers", "decode"},  # any model, any task
    "models": {"text", "metrics"},  # tensors and integers only
    "data": {"text", "metrics", "layers"},  # how text becomes ids is handed in
    "report": {"data", "models", "layers", "decode", "text"},  # run folders only
}
"""Lower rows that a package must do without all the same."""

WITHOUT_TORCH = (
    "text",
    "metrics",
    "report",
    "runs",
    "ablation.plan",
    "config",
    "errors",
    "display",
    "cli",
    "data.readers",
    "data.corpora",
    "data.synthetic",
)
"""What listing, reading and reporting need starts at once: it never imports torch, not even through another module."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
"""Path of every module by its name below seqlab; "" is seqlab itself."""


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules of seqlab that a file imports, anywhere in it, by their names below seqlab."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            head, _, rest = name.partition(".")
            if head == "seqlab":
                yield rest if rest in MODULES else rest.rpartition(".")[0]


IMPORTS = {
    name: sorted(set(imported(ast.parse(path.read_text(encoding="utf-8")))) - {""})
    for name, path in MODULES.items()
    if name  # the package itself names its public functions, and loads them on first use
}
ROWS = {package: row for row, packages in enumerate(ORDER) for package in packages}
EDGES = [(name, other) for name, others in IMPORTS.items() for other in others]


def package(module: str) -> str:
    return module.partition(".")[0]


def test_every_package_has_a_row() -> None:
    assert {package(name) for name in IMPORTS} == set(ROWS)


def test_imports_go_downwards() -> None:
    upwards = [
        f"{name} imports {other}"
        for name, other in EDGES
        if package(name) != package(other) and ROWS[package(name)] >= ROWS[package(other)]
    ]
    assert upwards == []


def test_packages_do_without_what_is_none_of_their_business() -> None:
    found = [f"{name} imports {other}" for name, other in EDGES if package(other) in FORBIDDEN.get(package(name), ())]
    assert found == []


def test_no_cycles() -> None:
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(error.args[1]))


def test_some_packages_never_import_torch() -> None:
    modules = [f"seqlab.{name}" for name in MODULES if name and any(_within(name, place) for place in WITHOUT_TORCH)]
    assert len(modules) > len(WITHOUT_TORCH)
    script = f"""
import importlib, sys
for name in {modules}:
    importlib.import_module(name)
    if "torch" in sys.modules:
        sys.exit(f"importing {{name}} imports torch")
"""
    captured = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert captured.returncode == 0, captured.stderr


def _within(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}.")
