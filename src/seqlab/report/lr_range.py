"""Which learning rate is worth trying? The plot of a learning-rate range test, with the suggestion marked."""

from collections.abc import Sequence
from pathlib import Path

from seqlab.errors import UserError
from seqlab.report import markup
from seqlab.report.drawing import MUTED, SERIES, Plot, canvas

Point = tuple[float, float, float]
"""Learning rate, loss of that update, smoothed loss."""


def write_page(points: Sequence[Point], suggestion: float | None, path: Path) -> Path:
    """Writes the plot to `path`, as a drawing when it ends in .svg and as a page otherwise.

    Raises UserError when no update was measured or the place cannot be written.
    """
    if not points:
        raise UserError("the learning-rate range test measured no update: there is nothing to draw")
    plot = range_plot(points, suggestion)
    if path.suffix == ".svg":
        return markup.save_text(path, f"{plot.svg}\n")
    heading = "Learning-rate range test"
    advice = (
        f"Suggested peak: optimizer.lr={suggestion:.2g}"
        if suggestion
        else "No learning rate stands out: test a wider range."
    )
    header = f"<header>\n<h1>{heading}</h1>\n{markup.paragraph(advice, 'lede')}\n</header>"
    return markup.save_page(path, heading, f"{header}\n{markup.section('The test', markup.figures([plot], 'alone'))}")


def range_plot(points: Sequence[Point], suggestion: float | None) -> Plot:
    """Loss against learning rate."""
    rates, losses, smoothed = (list(column) for column in zip(*points, strict=True))
    with canvas("lr-range", width=6.4, height=3.6) as drawing:
        axes = drawing.axes
        axes.plot(rates, losses, color=SERIES[0], alpha=0.3, linewidth=0.6, gid="every-update")
        axes.plot(rates, smoothed, color=SERIES[0], gid="smoothed")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")
        # the loss explodes at the end; what matters lies below where it began
        lowest, first = min(smoothed), smoothed[0]
        axes.set_ylim(lowest - 0.1 * abs(first - lowest) - 1e-9, max(first + 0.6 * abs(first - lowest), lowest + 1e-6))
        if suggestion:
            axes.axvline(suggestion, color=SERIES[1], linewidth=1, linestyle="--", gid="suggestion")
            axes.annotate(
                f" {suggestion:.2g}",
                (suggestion, 1),
                xycoords=("data", "axes fraction"),
                color=MUTED,
                va="bottom",
                ha="center",
            )
        caption = (
            "Where the dashed line stands, the smoothed loss has made four fifths of its fall; far to the right it "
            "explodes, and a peak learning rate has to stay clear of that."
        )
        return Plot("Loss while the learning rate grows", caption, drawing.svg("Loss against learning rate"))
