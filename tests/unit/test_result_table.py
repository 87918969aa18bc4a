"""The numbers in the README are those of the committed result files."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_readme_shows_what_was_measured() -> None:
    spec = importlib.util.spec_from_file_location("table", ROOT / "benchmarks" / "table.py")
    assert spec is not None
    assert spec.loader is not None
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(table.BEGIN.format(name=name) in readme for name in table.TABLES)
    assert readme == table.with_tables(readme), "run: python benchmarks/table.py --write"
