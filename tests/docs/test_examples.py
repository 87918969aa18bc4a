"""The examples in Python run: those of the pages, of the package, and those with `>>>` in any module."""

import doctest
import importlib
import textwrap
from pathlib import Path

import pytest
from page_blocks import REPOSITORY, blocks
from shrink import narrowing, write_corpora

import seqlab
from seqlab.experiment.config import load
from seqlab.report.figures import Canvas

PAGES = ("README.md", "docs/tour.md", "docs/data.md")

SOURCE = REPOSITORY / "src"


def examples() -> dict[str, str]:
    """Python of every page and of the package's docstring, by where it stands."""
    found = {
        f"{page}, block {number}": block.text
        for page in PAGES
        for number, block in enumerate(blocks((REPOSITORY / page).read_text(encoding="utf-8")), start=1)
        if block.language == "python"
    }
    assert seqlab.__doc__
    indented = [line for line in seqlab.__doc__.splitlines() if line.startswith("    ") or not line]
    return {**found, "seqlab.__doc__": textwrap.dedent("\n".join(indented))}


@pytest.mark.parametrize("where", examples())
@pytest.mark.usefixtures("command")
def test_the_example_runs(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    corpora, train = write_corpora(tmp_path), seqlab.train

    def train_small(recipe: str, settings: dict[str, object]) -> seqlab.Run:
        small = narrowing(load(recipe, settings), corpora, None)
        return train(recipe, [*(f"{key}={value}" for key, value in settings.items()), *small])

    monkeypatch.setattr(seqlab, "train", train_small)
    monkeypatch.setattr(Canvas, "svg", lambda canvas, label: "")  # drawing takes longer than all else
    Path("my.tsv").write_text("en\tfr\n" + corpora.pairs.read_text(encoding="utf-8"), encoding="utf-8")
    Path("other.jsonl").write_text('{"en": "one", "fr": "un"}\n', encoding="utf-8")

    names: dict[str, object] = {}
    exec(compile(examples()[where], where, "exec"), names)
    if "seqlab" in names:
        run = names["run"]
        assert isinstance(run, seqlab.Run)
        assert (run.folder / "results.json").is_file()


def test_examples_with_prompts_print_what_they_say() -> None:
    for path in SOURCE.rglob("*.py"):
        if ">>> " in path.read_text(encoding="utf-8"):
            name = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
            outcome = doctest.testmod(importlib.import_module(name))
            assert outcome.failed == 0, name
            assert outcome.attempted > 0, name
