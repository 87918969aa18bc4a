"""The verbs of the command line; thin: parse, call, print. Heavy imports wait until a verb needs them."""

import json
import os
import re
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from seqlab import __version__
from seqlab.config import recipes
from seqlab.errors import UserError

app = typer.Typer(
    name="seqlab",
    help="Train sequence models fast on the hardware you have, and measure what every trick buys.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Device(StrEnum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


SETTING = re.compile(r"[a-z_]+(\.[a-z_]+)+=")
"""How a setting begins that stands where a text might."""

TYPER_INTERRUPTED = 130
"""What typer makes of Ctrl-C."""

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a recipe, or path of a TOML file.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings that differ.")]
SearchSettings = Annotated[
    list[str] | None, typer.Argument(metavar="[decode.KEY=VALUE]...", help="Settings of the search that differ.")
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute.")]


def main() -> NoReturn:
    """Runs a verb: exit code 0 when it did its work, 1 when it failed, 2 when the user can put it right."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        code = app(arguments or ["--help"], prog_name="seqlab", standalone_mode=False)
        if code == TYPER_INTERRUPTED:
            raise KeyboardInterrupt
        sys.stdout.flush()
    except UserError as error:
        _fail(str(error), 2, debug)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", 1, debug)
    except BrokenPipeError:
        # The reader of our output has gone; so do we, without a word when Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        wrong_usage = getattr(error, "format_message", None)  # typer's errors; their class moves between its versions
        if wrong_usage is not None:
            _fail(f"{wrong_usage()} (--help explains)", 2, debug)
        _fail(f"{type(error).__name__}: {error} (--debug shows where)", 1, debug)
    sys.exit(code or 0)


def _fail(message: str, code: int, debug: bool) -> NoReturn:
    if debug:
        raise
    if code == 1 or _leads():  # every process of a run finds the same mistake of the user: it is told once
        print(f"seqlab: {message}", file=sys.stderr)
    sys.exit(code)


def _leads() -> bool:
    """Whether this process talks to the user; the others that torchrun started are silent."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def _print_version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; works after any verb.")
    ] = False,
) -> None:
    """Options that need no verb; their work is done before this is called."""


@app.command("recipes", epilog="Example: seqlab recipes")
def list_recipes() -> None:
    """List the recipes: task, data, expected score, time."""
    from rich.console import Console
    from rich.table import Table

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
    from seqlab.experiment.config import load

    section = ""
    for setting in settings_of(load(name, settings or [])):
        head, _, key = setting.key.partition(".")
        if head != section:
            section = head
            print(f"\n[{section}]")
        value = "" if setting.value is None else json.dumps(setting.value, ensure_ascii=False, default=str)
        print(f"{' ' if setting.is_default else '*'} {f'{key} = {value}':<44} {setting.doc}")


@app.command(epilog="Example: seqlab train math-place-value train.max_steps=500 --seed 2 --until 'accuracy>=0.95'")
def train(
    name: Annotated[str | None, typer.Argument(metavar="[RECIPE]", help="Recipe; not needed with --resume.")] = None,
    settings: Overrides = None,
    device: DeviceOption = Device.auto,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/RECIPE-DATE-TIME by default.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the run in --out.")] = False,
    seed: Annotated[int | None, typer.Option(help="First weights, order of the data, dropout.")] = None,
    until: Annotated[str | None, typer.Option(help="Stop at a validation score: accuracy>=0.99.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Time budget; the schedule is fitted to it.")] = None,
) -> None:
    """Train a recipe; the last line of standard output is the path of the run folder."""
    from seqlab import api, display

    if name is not None and "=" in name:
        name, settings = None, [name, *(settings or [])]
    flags = {"train.seed": seed, "train.until": until, "train.max_minutes": max_minutes}
    given = [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]
    with display.for_this_terminal() if _leads() else display.Silent() as shown:
        try:
            run = api.train(
                name,
                [*(settings or []), *given],
                out=out,
                resume=resume,
                overwrite=overwrite,
                device=device.value,
                display=shown,
            )
        except api.Interrupted as stop:
            if _leads():
                print(f"seqlab: {stop}", file=sys.stderr)
            raise typer.Exit(1) from None
    if _leads():
        _print_outcome(run.folder)


@app.command(epilog="Example: seqlab evaluate RUN --data my-pairs.tsv --json decode.beam_width=8")
def evaluate(
    run: RunPath,
    settings: SearchSettings = None,
    data: Annotated[Path | None, typer.Option(help="File to score; the test set of the run by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    device: DeviceOption = Device.auto,
) -> None:
    """Score a run on its test set or on a file."""
    import numpy as np

    from seqlab.inference.run import Run
    from seqlab.metrics.classification import class_text

    result = Run(run, device.value, settings or []).evaluate(data)
    if as_json:
        print(json.dumps(result.to_json(), ensure_ascii=False))
        return
    facts = result.to_json()
    print(f"{'examples':<20}{facts['examples']}")
    for name, score in result.scores.items():
        interval = "" if score.low is None else f"  (95 % interval {score.low:.4f} to {score.high:.4f})"
        print(f"{name:<20}{score.value:.4f}{interval}")
    for name, value in {**facts.get("baselines", {}), **facts.get("signatures", {})}.items():
        print(f"{name:<20}{value}")
    if "confusion" in facts:
        print(f"\n{class_text(np.array(facts['confusion']), facts['classes'])}", end="")
    for warning in facts.get("warnings", []):
        print(f"seqlab: {warning}", file=sys.stderr)
    for note in result.notes():
        print(f"seqlab: {note}", file=sys.stderr)


@app.command(epilog="Example: seqlab predict RUN --to fr --file book.en --out book.fr decode.beam_width=8")
def predict(
    run: RunPath,
    text: Annotated[str | None, typer.Argument(help="The input; standard input when absent.")] = None,
    settings: SearchSettings = None,
    to: Annotated[str | None, typer.Option(help="Language that the run is to translate into.")] = None,
    file: Annotated[Path | None, typer.Option(help="File with one input a line.")] = None,
    context: Annotated[Path | None, typer.Option(help="File with the text that the questions are about.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="File of the outputs; the same command goes on after a stop.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the file in --out.")] = False,
    device: DeviceOption = Device.auto,
) -> None:
    """Answer one input a line with one output a line, in order."""
    from seqlab.inference.console import Inputs, predict_lines
    from seqlab.inference.run import Run

    if text is not None and SETTING.match(text):
        text, settings = None, [text, *(settings or [])]
    if text is not None and file is not None:
        raise UserError("give a text or --file, not both")
    if overwrite and out is None:
        raise UserError("--overwrite replaces the file in --out: name it")
    model = Run(run, device.value, settings or [])
    if to is not None:
        model.check_translates_into(to)
    predict_lines(model, Inputs(text, file, context), out, overwrite)
    if listed := model.unknown.most_common(10):
        pieces = ", ".join(f'"{piece}" ({number} times)' for piece, number in listed)
        more = f" and {len(model.unknown) - len(listed):,} others" if len(model.unknown) > len(listed) else ""
        print(f"seqlab: the input has pieces that the model does not know: {pieces}{more}", file=sys.stderr)


@app.command("find-lr", epilog="Example: seqlab find-lr math-sort --steps 150 --out lr.html")
def find_lr(
    name: RecipeName,
    settings: Overrides = None,
    steps: Annotated[int, typer.Option(help="Updates of the test.")] = 100,
    lowest: Annotated[float, typer.Option(help="First learning rate.")] = 1e-6,
    highest: Annotated[float, typer.Option(help="Last learning rate.")] = 1.0,
    out: Annotated[Path | None, typer.Option(help="Page with the plot; lr-RECIPE.html by default.")] = None,
    device: DeviceOption = Device.auto,
) -> None:
    """Learning-rate range test: train with an ever larger learning rate, plot the loss, suggest a peak."""
    from seqlab.experiment.auto_size import fitted
    from seqlab.experiment.config import load
    from seqlab.tools.lr_range import range_test, write_page

    experiment = fitted(load(name, settings or []))
    found = range_test(experiment, steps, lowest, highest, device.value)
    page = write_page(found.points, found.suggestion, out or Path(f"lr-{experiment.about.name}.html"))
    print(f"plot        {page}", file=sys.stderr)
    print(f"optimizer.lr={found.suggestion:.2g}")


@app.command(epilog="Example: seqlab report runs/math-sort-20260101-120000")
def report(run: RunPath) -> None:
    """Write the report page of a run again; prints its path."""
    from seqlab.report.page import write_report
    from seqlab.runs.folder import RunFolder

    print(write_report(RunFolder(run)))


@app.command(epilog="Example: seqlab compare runs/a runs/b --out comparison.html")
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run folders.")],
    out: Annotated[Path, typer.Option(help="Page with table and curves.")] = Path("comparison.html"),
) -> None:
    """Compare runs: a table here, the curves laid over each other on a page."""
    from rich.console import Console

    from seqlab.report.compare import write_comparison
    from seqlab.report.folder import load_run
    from seqlab.report.tables import compare_table

    records = [load_run(run) for run in runs]
    page = write_comparison(records, out)
    Console().print(compare_table(records))
    print(page)


@app.command(epilog="Example: seqlab ablate math-sort --switches one-cycle,buckets,mixed-precision --budget 10m")
def ablate(
    name: RecipeName,
    settings: Overrides = None,
    switches: Annotated[
        str | None, typer.Option(help="Techniques, apart by commas; docs/techniques/ablation.md lists them.")
    ] = None,
    grid: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE,VALUE,...: every value; several of these: every combination.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of every configuration.")] = 3,
    budget: Annotated[str | None, typer.Option(help="Time of every training: 90s, 10m, 1.5h.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Updates of every training.")] = None,
    until: Annotated[str | None, typer.Option(help="Stop at a validation score: accuracy>=0.99.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the ablation; runs/RECIPE-ablation by default.")] = None,
    device: DeviceOption = Device.auto,
) -> None:
    """Measure what techniques are worth: none, each alone, all but each, all; the same command goes on."""
    from rich.console import Console

    from seqlab.ablation.measured import read_ablation
    from seqlab.ablation.page import summary_table
    from seqlab.ablation.plan import AblationFolder
    from seqlab.ablation.queue import Request, make_plan, work_off

    changes = tuple(settings or ())
    plan = make_plan(Request(name, changes, switches, tuple(grid or ()), seeds, budget, steps, until, device.value))
    folder = AblationFolder(out or Path("runs") / f"{Path(name).stem}-ablation")
    outcome = work_off(plan, folder, device.value, lambda line: print(line, file=sys.stderr, flush=True))
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 200)
    console.print(summary_table(read_ablation(folder)))
    if outcome.interrupted:
        print(f"seqlab: interrupted; go on with: {plan.command} --out {shlex.quote(str(folder.root))}", file=sys.stderr)
    print(folder.page)
    if outcome.failed or outcome.interrupted:
        raise typer.Exit(1)


@app.command(epilog="Example: seqlab data math-sort")
def data(
    name: RecipeName,
    settings: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Also write a page with the histograms drawn.")] = None,
) -> None:
    """Table of a recipe's data: examples, lengths of both sides with histograms, unknown words; or images by class."""
    from rich.console import Console

    from seqlab.experiment.config import load
    from seqlab.report.sections.lengths import write_page
    from seqlab.tools.inspection import inspect

    found, console = inspect(load(name, settings or [])), Console()
    for table in found.tables:
        console.print(table)
    for remark in found.remarks:
        console.print(remark, markup=False)
    if out is not None:
        if found.lengths is None:
            raise UserError("--out draws the lengths of texts; this data has none")
        print(write_page(name, found.lengths, out))


@app.command(epilog="Example: seqlab check math-place-value")
def check(name: RecipeName, settings: Overrides = None, device: DeviceOption = Device.auto) -> None:
    """Prove on this machine: resume is exact, accumulation is exact, cache, beam and padding change nothing."""
    from seqlab.experiment.auto_size import fitted
    from seqlab.experiment.config import load
    from seqlab.tools.checks import run_checks

    failed = 0
    for outcome in run_checks(fitted(load(name, settings or [])), device.value):
        failed += not outcome.passed
        print(f"{'ok    ' if outcome.passed else 'FAILED'}  {outcome.claim}: {outcome.measured}")
    if failed:
        raise typer.Exit(1)


def _print_outcome(folder: Path) -> None:
    """Samples, score and report on standard error; the path of the run folder on standard output."""
    from rich.console import Console

    from seqlab.report.folder import load_run
    from seqlab.report.tables import results_table, samples_table
    from seqlab.runs.folder import RunFolder

    record, console = load_run(folder), Console(stderr=True)
    console.print(samples_table(record, 8))
    console.print(results_table(record))
    console.print(f"report  {RunFolder(folder).report}", soft_wrap=True)
    print(folder)
