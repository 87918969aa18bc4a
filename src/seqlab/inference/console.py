"""Input and output of `seqlab predict`: arguments, files, standard input and the prompt."""

import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from seqlab.data.readers.lines import format_suffix
from seqlab.data.readers.tables import FORMATS
from seqlab.display import LineCount
from seqlab.errors import UserError
from seqlab.inference.batch_file import count_lines, read_context, with_context, write_output_file, write_outputs
from seqlab.inference.inputs import read_inputs
from seqlab.inference.run import Run


class Inputs(NamedTuple):
    """What is to be answered: a text, the lines of a file, or else those of standard input."""

    text: str | None
    file: Path | None
    context: Path | None
    """file with the text that all questions are about"""
    columns: tuple[str, ...] = ()
    """of the file, where it is a table; those of the training data when there are none"""

    def lines(self, run: Run, note: Callable[[str], None]) -> Iterable[str]:
        """Of the text, the file, or standard input; `note` learns how a table was read."""
        if self.text is not None:
            return [self.text]
        return _standard_input() if self.file is None else self._lines_of_file(run, self.file, note)

    def _lines_of_file(self, run: Run, file: Path, note: Callable[[str], None]) -> Iterator[str]:
        lines, reading = read_inputs(run.task, file, self.columns, with_context=self.context is not None)
        yield from lines
        for remark in reading.notes:
            note(f"seqlab: {remark}")


def predict_lines(run: Run, inputs: Inputs, out: Path | None, overwrite: bool) -> None:
    """Answers the lines in order, on standard output or in a file; at a terminal, whatever is typed at a prompt."""
    about = "" if inputs.context is None else read_context(inputs.context)
    if inputs.context is not None:
        run.check_reads_texts()

    def asked(lines: Iterable[str]) -> Iterable[str]:
        return with_context(lines, about) if about else lines

    hidden = inputs.text is not None or (out is None and sys.stdout.isatty())
    is_text = inputs.file is not None and format_suffix(inputs.file) not in FORMATS and not inputs.columns
    total = count_lines(inputs.file) if inputs.file and is_text and not hidden else None
    piped = inputs.text is None and inputs.file is None
    with _resumable(out is not None, " < INPUT" if piped else ""), LineCount(total, hidden) as shown:
        if out is not None:
            write_output_file(run, asked(inputs.lines(run, shown.note)), out, overwrite, shown)
        elif piped and sys.stdin.isatty():
            for line in _prompted():
                write_outputs(run, asked([line]), sys.stdout, shown)
        else:
            write_outputs(run, asked(inputs.lines(run, shown.note)), sys.stdout, shown)


@contextmanager
def _resumable(resumable: bool, more: str) -> Iterator[None]:
    """Ctrl-C says how to resume: with the same command, and what the shell added to it."""
    try:
        yield
    except KeyboardInterrupt:
        if not resumable:
            raise
        print(f"seqlab: interrupted; resume with: {shlex.join(['seqlab', *sys.argv[1:]])}{more}", file=sys.stderr)
        sys.exit(1)


def _standard_input() -> Iterator[str]:
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise UserError(f"standard input, line {number}: not UTF-8 text") from None


def _prompted() -> Iterator[str]:
    """Lines typed at a prompt until Ctrl-D; an empty one is ignored. The arrow keys bring back those before."""
    with suppress(ImportError):  # Windows has none
        import readline  # noqa: F401 - input() has a history once it is imported
    print("seqlab: type one input per line; the up arrow brings back the last one, Ctrl-D ends", file=sys.stderr)
    while True:
        try:
            line = input("> ")
        except EOFError:
            print(file=sys.stderr)  # the shell's prompt starts on a line of its own
            return
        if line:
            yield line
