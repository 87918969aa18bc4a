"""Training, and what belongs before it: first files of one's own, the self-checks, the learning-rate range test."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from seqlab.cli.app import (
    Device,
    DeviceOption,
    Overrides,
    RecipeName,
    TrustOption,
    app,
    is_main_process,
)
from seqlab.tools.skeleton import Kind, write_skeleton


@app.command(epilog="Example: seqlab train math-place-value train.max_steps=500 --seed 2 --until 'accuracy>=0.95'")
def train(
    name: Annotated[str | None, typer.Argument(metavar="[RECIPE]", help="Recipe; not needed with --resume.")] = None,
    settings: Overrides = None,
    device: DeviceOption = Device.auto,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/RECIPE-DATE-TIME by default.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Resume the run in this folder.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the run in --out.")] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of the initial weights, the data order and dropout.")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TARGET", help="Stop at a validation score, e.g. accuracy>=0.99.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the data; the schedule is fitted to them.")] = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Time budget in minutes; the schedule is fitted to it.")
    ] = None,
    allow_changed_data: Annotated[
        bool, typer.Option("--allow-changed-data", help="Resume although data files changed since training began.")
    ] = False,
    trust_code: TrustOption = False,
) -> None:
    """Train a recipe; the last line of standard output is the path of the run folder."""
    import seqlab.api as api
    import seqlab.display as display

    if name is not None and "=" in name:
        name, settings = None, [name, *(settings or [])]
    flags = {
        "train.seed": seed,
        "train.until": until,
        "train.epochs": epochs,
        "train.max_minutes": max_minutes,
    }
    given = [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]
    with display.for_this_terminal() if is_main_process() else display.Silent() as shown:
        try:
            run = api.train(
                name,
                [*(settings or []), *given],
                out=out,
                resume=resume,
                overwrite=overwrite,
                device=device.value,
                display=shown,
                trust_code=trust_code,
                allow_changed_data=allow_changed_data,
            )
        except api.Interrupted as stop:
            if is_main_process():
                print(f"seqlab: {stop}", file=sys.stderr)
            raise typer.Exit(1) from None
    if is_main_process():
        _print_outcome(run.folder)


@app.command(epilog="Example: seqlab new model gru")
def new(
    kind: Annotated[Kind, typer.Argument(metavar="model|task|recipe", help="What to write.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the files, and of the classes in them.")],
) -> None:
    """Write a first version of a model, task or recipe, with a test, into this folder; it runs as it is."""
    written = write_skeleton(kind, name, Path())
    for path in written.files:
        print(path)
    for command in written.commands:
        print(f"next  {command}", file=sys.stderr)


@app.command(epilog="Example: seqlab check math-place-value")
def check(name: RecipeName, settings: Overrides = None, device: DeviceOption = Device.auto) -> None:
    """Prove on this machine: resume is exact, accumulation is exact, cache, beam and padding change nothing."""
    from seqlab.experiment.assembly import fitted
    from seqlab.experiment.config import load
    from seqlab.tools.checks import run_checks

    failed = 0
    for outcome in run_checks(fitted(load(name, settings or [])), device.value):
        failed += not outcome.passed
        print(f"{'ok    ' if outcome.passed else 'FAILED'}  {outcome.claim}: {outcome.measured}")
    if failed:
        raise typer.Exit(1)


@app.command("find-lr", epilog="Example: seqlab find-lr math-sort --steps 150 --out lr.html")
def find_lr(
    name: RecipeName,
    settings: Overrides = None,
    steps: Annotated[int, typer.Option(help="Number of updates.")] = 100,
    lowest: Annotated[float, typer.Option(help="First learning rate.")] = 1e-6,
    highest: Annotated[float, typer.Option(help="Last learning rate.")] = 1.0,
    out: Annotated[Path | None, typer.Option(help="Page with the plot; lr-RECIPE.html by default.")] = None,
    device: DeviceOption = Device.auto,
) -> None:
    """Learning-rate range test: train with an increasing learning rate, plot the loss, suggest a peak."""
    from seqlab.experiment.assembly import fitted
    from seqlab.experiment.config import load
    from seqlab.tools.lr_range import range_test, write_page

    experiment = fitted(load(name, settings or []))
    found = range_test(experiment, steps, lowest, highest, device.value)
    page = write_page(found.points, found.suggestion, out or Path(f"lr-{experiment.about.name}.html"))
    print(f"plot        {page}", file=sys.stderr)
    print(f"optimizer.lr={found.suggestion:.2g}")


def _print_outcome(folder: Path) -> None:
    """Samples, score and report on standard error; the path of the run folder on standard output."""
    from seqlab.display import Console
    from seqlab.report.folder import load_run
    from seqlab.report.page import epochs_table, results_table
    from seqlab.report.sections.samples import samples_table
    from seqlab.runs.folder import RunFolder

    record, console = load_run(folder), Console(stderr=True)
    console.print(samples_table(record, 8))
    if (table := epochs_table(record)) is not None:
        console.print(table)
    console.print(results_table(record))
    console.print(f"report  {RunFolder(folder).report}", soft_wrap=True)
    print(folder)
