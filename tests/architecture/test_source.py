"""How the source looks: names and sizes of files, length of functions, no paths of somebody's machine."""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import seqlab

ROOT = Path(seqlab.__file__).parent
REPOSITORY = Path(__file__).parents[2]
FILES = sorted(ROOT.rglob("*.py"))

MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 60
MAX_FILES_OF_A_FOLDER = 12
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "base", "manager", "misc", "common"}


def functions() -> Iterator[tuple[str, int]]:
    """Place and number of lines of every function."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def test_files_are_short() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: count for name, count in lines.items() if count > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    assert {place: count for place, count in functions() if count > MAX_FUNCTION_LINES} == {}


def test_files_are_named_for_what_they_are() -> None:
    places = [path.relative_to(ROOT) for path in FILES]
    assert [str(place) for place in places if VAGUE_NAMES & {part.removesuffix(".py") for part in place.parts}] == []


def test_the_package_is_at_most_three_levels_deep() -> None:
    assert [str(path) for path in FILES if len(path.relative_to(ROOT).parts) > 3] == []


def test_folders_are_small() -> None:
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in FILES if path.name != "__init__.py")
    assert {folder: count for folder, count in counts.items() if count > MAX_FILES_OF_A_FOLDER} == {}


def test_no_file_names_a_folder_of_one_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: tracked files are unknown")
    # "/tmp" and the like are the same everywhere; these are not
    private = re.compile(rb"(?<![\w.~/-])/(?:home|work|root|Users|workspace)/[\w.-]+")
    found = [
        f"{name}: {match.group().decode()}"
        for name in listed.stdout.split("\0")
        if name and (REPOSITORY / name).is_file()
        for match in private.finditer((REPOSITORY / name).read_bytes())
    ]
    assert found == []


def test_only_display_prints_by_rich() -> None:
    """Its console shows the control characters of data; that of rich would pass them on."""
    own = [path for path in FILES if path.name != "display.py"]
    places = [str(path.relative_to(ROOT)) for path in own if "rich.console import Console" in path.read_text("utf-8")]
    assert places == []
