"""The command line as a whole: the application that verbs register with, shared options, exit codes."""

import os
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from seqlab import __version__
from seqlab.display import printable_streams
from seqlab.errors import UserError
from seqlab.runs.folder import FULL, unwritable

app = typer.Typer(
    name="seqlab",
    help="Train sequence models fast on the hardware you have, and measure what each technique buys.",
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
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Config overrides, e.g. optimizer.lr=3e-4.")
]
SearchSettings = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Overrides of decode and metrics, e.g. decode.beam_width=8."),
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]
TrustOption = Annotated[bool, typer.Option("--trust-code", help="Import the user-defined classes that the run names.")]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute.")]


def main() -> NoReturn:
    """Runs a verb: exit code 0 when it did its work, 1 when it failed, 2 when the user can put it right."""
    with printable_streams():
        _main()


def _main() -> NoReturn:
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
        # The reader of our output has gone; so do we.
        _drop_output()
        sys.exit(1)
    except OSError as error:
        if error.errno not in FULL:
            _fail(f"{type(error).__name__}: {error} (--debug shows where)", 1, debug)
        _drop_output()
        _fail(str(unwritable(error, Path("standard output"), "give the command again")), 2, debug)
    except Exception as error:
        wrong_usage = getattr(error, "format_message", None)  # typer's errors; their class moves between its versions
        if wrong_usage is not None:
            _fail(f"{wrong_usage()} (--help explains)", 2, debug)
        _fail(f"{type(error).__name__}: {error} (--debug shows where)", 1, debug)
    sys.exit(code or 0)


def _drop_output() -> None:
    """What is still to be written goes nowhere, without a word when Python flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int, debug: bool) -> NoReturn:
    if debug:
        raise
    if code == 1 or is_main_process():  # every process of a run finds the same mistake of the user: it is reported once
        print(f"seqlab: {message}".replace("\n", "␊"), file=sys.stderr)  # file names may have line breaks
    sys.exit(code)


def is_main_process() -> bool:
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
