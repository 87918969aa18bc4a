"""Several runs side by side: ablations and comparisons."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from seqlab.cli.app import Device, DeviceOption, Overrides, RecipeName, app


@app.command(epilog="Example: seqlab ablate math-sort --switches one-cycle,buckets,mixed-precision --budget 10m")
def ablate(
    name: RecipeName,
    settings: Overrides = None,
    switches: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME,...", help="Techniques, comma-separated; docs/techniques/ablation.md lists them."
        ),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE,VALUE,...", help="Train with every value; several of these: every combination."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs per configuration, with the seeds 1 to N.")] = 3,
    budget: Annotated[str | None, typer.Option(metavar="TIME", help="Time budget per run: 90s, 10m, 1.5h.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Updates per run.")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TARGET", help="Stop at a validation score, e.g. accuracy>=0.99.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the ablation; runs/RECIPE-ablation by default.")] = None,
    device: DeviceOption = Device.auto,
) -> None:
    """Measure what each technique buys: train with none, each alone, all but each, all; the same command resumes."""
    from seqlab.ablation.measured import read_ablation
    from seqlab.ablation.page import summary_table
    from seqlab.ablation.plan import AblationFolder
    from seqlab.ablation.queue import Request, make_plan, run_queue
    from seqlab.display import Console

    changes = tuple(settings or ())
    plan = make_plan(Request(name, changes, switches, tuple(grid or ()), seeds, budget, steps, until, device.value))
    folder = AblationFolder(out or Path("runs") / f"{Path(name).stem}-ablation")
    outcome = run_queue(plan, folder, device.value, lambda line: print(line, file=sys.stderr, flush=True))
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 200)
    console.print(summary_table(read_ablation(folder)))
    if outcome.interrupted:
        print(
            f"seqlab: interrupted; resume with: {plan.command} --out {shlex.quote(str(folder.root))}", file=sys.stderr
        )
    print(folder.page)
    if outcome.failed or outcome.interrupted:
        raise typer.Exit(1)


@app.command(epilog="Example: seqlab compare runs/a runs/b --out comparison.html")
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run folders.")],
    out: Annotated[Path, typer.Option(help="Page with the table and the curves.")] = Path("comparison.html"),
) -> None:
    """Compare runs: print a table, and write a page with their curves overlaid."""
    from seqlab.display import Console
    from seqlab.report.compare import compare_table, write_comparison
    from seqlab.report.folder import load_run

    records = [load_run(run) for run in runs]
    page = write_comparison(records, out)
    Console().print(compare_table(records))
    print(page)
