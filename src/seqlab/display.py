"""What a person watches: a progress bar on a terminal, plain lines elsewhere, all on standard error.

Data, and whoever wrote them, never command the terminal: control characters are shown as pictures, `␛` for escape.
"""

import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from types import TracebackType
from typing import IO, Any

import rich.console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Text

_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters other than tab and line feed, and those that turn the direction of the text after them."""


def printable(text: str) -> str:
    """The text with a picture in place of each character that commands a terminal."""
    return _COMMANDS.sub(lambda found: _picture(ord(found[0])), text)


def _picture(code: int) -> str:
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else "�"


class Printable:
    """A text stream that a person reads: what is written to it is made printable."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Writes the printable text."""
        return self.stream.write(printable(text))

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes the printable texts."""
        self.stream.writelines(map(printable, lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def printable_streams() -> Iterator[None]:
    """Inside, standard error is printable, and standard output at a terminal too; a file or a pipe gets every byte."""
    out = Printable(sys.stdout) if sys.stdout.isatty() else sys.stdout
    with redirect_stdout(out), redirect_stderr(Printable(sys.stderr)):  # type: ignore[type-var]
        yield


class Console(rich.console.Console):
    """The console of `rich`, on which texts are texts: neither markup nor commands to the terminal."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Printable before it is measured."""
        return super().render_str(printable(text), **options)

    def render(
        self, renderable: rich.console.RenderableType, options: rich.console.ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Printable segments; those that move the cursor are rich's own."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)

    @property
    def file(self) -> IO[str]:
        """The stream itself: the colours of rich are no data."""
        found = rich.console.Console.file.fget(self)  # type: ignore[misc]
        while isinstance(found, Printable):
            found = found.stream
        return found

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file


class Silent:
    """Shows nothing; for use from Python."""

    def update(self, step: int, progress: float, values: dict[str, float]) -> None:
        """A window of updates is done."""

    def evaluation(self, step: int, split: str, scores: dict[str, float]) -> None:
        """Scores are in."""

    def sample(self, step: int, source: str, target: str, predicted: str) -> None:
        """What the model makes of an example now."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *exc: object) -> None:
        return None


class Lines:
    """One line every few seconds, for logs."""

    def __init__(self, every_s: float = 5.0) -> None:
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)
        self._every_s, self._last = every_s, 0.0
        self._first: tuple[float, float] | None = None  # when the first window ended, and how far the training was

    def update(self, step: int, progress: float, values: dict[str, float]) -> None:
        """A line with the time that is left, unless the last one is too fresh."""
        now = time.monotonic()
        self._first = self._first or (now, progress)
        if now - self._last >= self._every_s:
            self._last = now
            left = _time_left(now - self._first[0], progress - self._first[1], 1 - progress)
            self._console.print(f"{progress:4.0%}  {_update_text(step, values)}{left}")

    def evaluation(self, step: int, split: str, scores: dict[str, float]) -> None:
        """A line with all scores."""
        self._console.print(_evaluation_text(step, split, scores))

    def sample(self, step: int, source: str, target: str, predicted: str) -> None:
        """Three lines."""
        self._console.print(_sample_text(source, target, predicted))

    def note(self, text: str) -> None:
        """The text as it is."""
        self._console.print(text)

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *exc: object) -> None:
        return None


class Bar:
    """A live progress bar with the numbers of the last window; scores and notes scroll above it."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("[bold]training"),
            BarColumn(bar_width=28),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=self._console,
        )
        self._task = self._progress.add_task("training", total=1.0, numbers="")

    def update(self, step: int, progress: float, values: dict[str, float]) -> None:
        """Moves the bar."""
        self._progress.update(self._task, completed=progress, numbers=_update_text(step, values))

    def evaluation(self, step: int, split: str, scores: dict[str, float]) -> None:
        """A line above the bar."""
        self._progress.console.print(_evaluation_text(step, split, scores))

    def sample(self, step: int, source: str, target: str, predicted: str) -> None:
        """Three lines above the bar."""
        self._progress.console.print(_sample_text(source, target, predicted))

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._progress.console.print(text)

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def for_this_terminal() -> Bar | Lines:
    """A bar where one can be drawn, lines elsewhere."""
    return Bar() if Console(stderr=True).is_terminal else Lines()


class LineCount:
    """Lines of a text that are done: a bar on a terminal, elsewhere a line every few seconds; notes between them."""

    def __init__(self, total: int | None, hidden: bool = False, every_s: float = 5.0) -> None:
        """`total` is None where nobody knows; `hidden` leaves the notes only."""
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)
        self._bar = Progress(
            BarColumn(bar_width=28),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=hidden or not self._console.is_terminal,
            redirect_stdout=False,  # what is redirected there would end up on standard error
        )
        self._task = self._bar.add_task("", total=total, numbers="")
        self._total, self._hidden, self._every_s = total, hidden, every_s
        self._first, self._start = 0.0, time.monotonic()
        self._last = self._start

    def start(self, done: float) -> None:
        """So many lines were done before; they do not count for the speed."""
        self._first, self._start = done, time.monotonic()
        self._bar.update(self._task, completed=done)

    def update(self, done: float) -> None:
        """So many lines are done, those before the start among them."""
        now = time.monotonic()
        per_s = (done - self._first) / max(now - self._start, 1e-9)
        of = "" if self._total is None else f" of {self._total:,}"
        numbers = f"{int(done):,}{of} lines  {per_s:,.1f} lines/s"
        self._bar.update(self._task, completed=done, numbers=numbers)
        if self._bar.disable and not self._hidden and now - self._last >= self._every_s:
            self._last = now
            self._console.print(numbers)

    def note(self, text: str) -> None:
        """A line, above the bar."""
        self._console.print(text)

    def __enter__(self) -> "LineCount":
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()


def _time_left(seconds: float, share: float, rest: float) -> str:
    """`  3 min 20 s left`, from the time that a share of the training took; empty where that tells nothing."""
    if share <= 0 or rest <= 0:
        return ""
    minutes, left = divmod(round(seconds * rest / share), 60)
    hours, minutes = divmod(minutes, 60)
    return f"  {hours} h {minutes:02d} min left" if hours else f"  {minutes} min {left:02d} s left"


def _update_text(step: int, values: dict[str, float]) -> str:
    return (
        f"step {step}  loss {values['loss']:.4f}  lr {values['learning_rate']:.2e}  "
        f"{values['examples_per_s']:,.0f} examples/s"
    )


def _evaluation_text(step: int, split: str, scores: dict[str, float]) -> str:
    return f"step {step}  {split}: " + "  ".join(f"{name} {value:.4f}" for name, value in scores.items())


def _sample_text(source: str, target: str, predicted: str) -> Text:
    """The three texts under each other; never read as markup."""
    lines = (("SOURCE", source), ("TARGET", target), ("PREDICTED", predicted))
    return Text("\n").join(Text.assemble((f"    {name:<10}", "dim"), text) for name, text in lines)
