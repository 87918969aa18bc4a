"""The tables of README and docs/results.md are those of the committed result files."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_the_pages_show_what_was_measured(page: str) -> None:
    spec = importlib.util.spec_from_file_location("table", ROOT / "benchmarks" / "table.py")
    assert spec is not None
    assert spec.loader is not None
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    text = (ROOT / page).read_text(encoding="utf-8")
    assert all(table.BEGIN.format(name=name) in text for name in table.PAGES[page])
    assert text == table.with_tables(page, text), "run: python benchmarks/table.py --write"
