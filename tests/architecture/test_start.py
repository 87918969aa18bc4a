"""The command line answers at once.

How long a start takes depends on what else the machine does; what it imports does not. Most of the 0.2 or 0.3 s of a
core that `--help` takes is pydantic; torch alone would take seconds.
"""

import subprocess
import sys

import pytest

LIGHT = {
    "annotated_doc",
    "annotated_types",
    "pydantic",
    "pydantic_core",
    "rich",
    "seqlab",
    "shellingham",
    "tomli_w",
    "typer",
    "typing_extensions",
    "typing_inspection",
}
"""Packages that a start may import, beside the standard library."""

SCRIPT = """
import sys
before = set(sys.modules)
from seqlab import cli
try:
    cli.app({arguments}, prog_name="seqlab")
finally:
    packages = {{name.partition(".")[0] for name in set(sys.modules) - before}}
    packages -= sys.stdlib_module_names
    print(*(name for name in packages if not name.startswith("_")), sep="\\n", file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["recipes"]])
def test_help_and_lists_import_light_packages_only(arguments: list[str]) -> None:
    script = SCRIPT.format(arguments=arguments)
    captured = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert captured.returncode == 0, captured.stderr
    assert captured.stdout
    assert "seqlab" in captured.stderr.splitlines()
    assert set(captured.stderr.splitlines()) <= LIGHT
