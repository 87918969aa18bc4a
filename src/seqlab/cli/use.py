"""What a trained run is used for: predictions and scores."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from seqlab.cli.app import (
    SETTING,
    Device,
    DeviceOption,
    RunPath,
    SearchSettings,
    TrustOption,
    app,
)
from seqlab.errors import UserError


@app.command(epilog="Example: seqlab predict RUN --to fr --file book.en --out book.fr decode.beam_width=8")
def predict(
    run: RunPath,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT] [KEY=VALUE]...", help="Input, by default --file or standard input; decode.KEY=VALUE."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="LANGUAGE", help="Target language; an error where the run translates into another."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Input: a table, a SQuAD file, or text with one input per line.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Column of the table in --file; by default that of the training data."),
    ] = None,
    context: Annotated[Path | None, typer.Option(help="File with the text that the questions are about.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Output file; after an interruption the same command resumes.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the file in --out.")] = False,
    device: DeviceOption = Device.auto,
    trust_code: TrustOption = False,
) -> None:
    """Predict one output per input line, in order."""
    from seqlab.inference.console import Inputs, predict_lines
    from seqlab.inference.run import Run

    settings = [word for word in words or () if SETTING.match(word)]
    texts = [word for word in words or () if not SETTING.match(word)]
    if len(texts) > 1:
        raise UserError(f'one text at a time, in quotes: "{texts[0]}" and "{texts[1]}" are two')
    text = texts[0] if texts else None
    if text is not None and file is not None:
        raise UserError("give a text or --file, not both")
    if column and file is None:
        raise UserError("--column is a column of the table in --file: name it")
    if overwrite and out is None:
        raise UserError("--overwrite replaces the file in --out: name it")
    model = Run(run, device.value, settings, trust_code=trust_code)
    if to is not None:
        model.check_translates_into(to)
    predict_lines(model, Inputs(text, file, context, tuple(column or ())), out, overwrite)
    if listed := model.unknown.most_common(10):
        pieces = ", ".join(f'"{piece}" ({number} times)' for piece, number in listed)
        more = f" and {len(model.unknown) - len(listed):,} others" if len(model.unknown) > len(listed) else ""
        print(f"seqlab: the input contains out-of-vocabulary tokens: {pieces}{more}", file=sys.stderr)


@app.command(epilog="Example: seqlab evaluate RUN --data my-pairs.tsv --json decode.beam_width=8")
def evaluate(
    run: RunPath,
    settings: SearchSettings = None,
    data: Annotated[Path | None, typer.Option(help="File to score; the test set of the run by default.")] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN|FILE", help="Further references: a column of --data, or a file with one per line."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    device: DeviceOption = Device.auto,
    trust_code: TrustOption = False,
) -> None:
    """Score a run on its test set or on a file."""
    import numpy as np

    from seqlab.inference.run import Run
    from seqlab.metrics.classification import class_text
    from seqlab.report.wording import baselines

    result = Run(run, device.value, settings or [], trust_code=trust_code).evaluate(data, reference or ())
    if as_json:
        print(json.dumps(result.to_json(), ensure_ascii=False))
        return
    facts = result.to_json()
    print(f"{'examples':<20}{facts['examples']}")
    for name, score in result.scores.items():
        interval = "" if score.low is None else f"  (95 % interval {score.low:.4f} to {score.high:.4f})"
        print(f"{name:<20}{score.value:.4f}{interval}")
    for name, value in {**baselines(facts), **facts.get("signatures", {})}.items():
        print(f"{name:<19} {value}")
    if "confusion" in facts:
        print(f"\n{class_text(np.array(facts['confusion']), facts['classes'])}", end="")
    for warning in facts.get("warnings", []):
        print(f"seqlab: {warning}", file=sys.stderr)
    for note in result.notes():
        print(f"seqlab: {note}", file=sys.stderr)
