"""What there is to train on and to look at: recipes, settings, data, reports."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from seqlab.cli.app import (
    Overrides,
    RecipeName,
    RunPath,
    app,
)
from seqlab.config import recipes
from seqlab.errors import UserError


@app.command("recipes", epilog="Example: seqlab recipes")
def list_recipes() -> None:
    """List the recipes: task, data, expected score, time."""
    from rich.table import Table

    from seqlab.display import Console

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("recipe", no_wrap=True)
    for title in ("task", "data", "expected", "time"):
        table.add_column(title, overflow="fold")
    for name in recipes.names():
        tree = recipes.tree(name)
        about, data = tree["about"], tree["data"]
        task = tree.get("task", {}).get("kind", "sequence-to-sequence")
        table.add_row(name, task, data.get("module", data["kind"]), about.get("expected"), about.get("time"))
    # Where no terminal sets a width, a recipe is one line, whatever reads it.
    Console(width=None if sys.stdout.isatty() else 200).print(table)


@app.command(epilog="Example: seqlab show math-sort model.width=128")
def show(name: RecipeName, settings: Overrides = None) -> None:
    """Print the resolved config of a recipe with a line on every setting; * marks what the recipe sets."""
    from seqlab.config.settings import settings as settings_of
    from seqlab.experiment.config import load, unread_tables

    section, experiment = "", load(name, settings or [])
    # Settings of no section stand first, as in a file.
    for setting in sorted(settings_of(experiment), key=lambda setting: "." in setting.key):
        head, key = setting.key.split(".", 1) if "." in setting.key else ("", setting.key)
        if head in unread_tables(experiment):
            continue
        if head != section:
            section = head
            print(f"\n[{section}]")
        value = "" if setting.value is None else json.dumps(setting.value, ensure_ascii=False, default=str)
        print(f"{' ' if setting.is_default else '*'} {f'{key} = {value}':<44} {setting.doc}")


@app.command(epilog="Example: seqlab data math-sort")
def data(
    name: RecipeName,
    settings: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Also write a page with the histograms drawn.")] = None,
) -> None:
    """Show the data of a recipe: examples, length histograms of both sides, unknown words; or images per class."""
    from seqlab.display import Console
    from seqlab.experiment.assembly import build_corpus
    from seqlab.experiment.config import load
    from seqlab.report.page import check_writable, write_data_page
    from seqlab.tools.inspection import inspect

    experiment, console = load(name, settings or []), Console()
    if out is not None:
        check_writable(out)
    found = inspect(build_corpus(experiment.data), words=experiment.text.unit != "character")
    if out is not None and found.lengths is None:
        raise UserError("--out draws the lengths of texts, and this data has no texts: leave it out")
    for table in found.tables:
        console.print(table)
    for remark in found.remarks:
        console.print(remark)
    if out is not None and found.lengths is not None:
        print(write_data_page(name, found.lengths, out))


@app.command(epilog="Example: seqlab report runs/math-sort-20260101-120000")
def report(run: RunPath) -> None:
    """Write the report page of a run again and print its path."""
    from seqlab.report.folder import load_run
    from seqlab.report.page import write_report

    record = load_run(run)
    if record.cut:
        print(f"seqlab: {run}: {record.cut}", file=sys.stderr)
    print(write_report(record.folder))
