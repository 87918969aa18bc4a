"""Which sentences were put into which class? A few of them, and how much the correlation moves from batch to batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from seqlab.report import figures, markup, wording
from seqlab.report.drawing import GRID, INK, SERIES, Plot, canvas
from seqlab.report.folder import Curve, RunRecord

MAX_BARS = 120
"""More batches than this are a line."""


@dataclass(frozen=True)
class Classified:
    """A text, or two with a tab between them, its class, and the one that the model gave it."""

    source: str
    label: str
    predicted: str
    correct: bool
    probability: float
    """of the predicted class"""


def section(record: RunRecord) -> str:
    """A few texts and the correlations of batches; nothing of images. UserError when `sentences.json` is damaged."""
    shown = record.exhibit("sentences", list[Classified]) or []
    batches = (record.results or {}).get("batch_matthews", [])
    parts = []
    if shown:
        cards = "\n".join(map(_card, shown))
        parts.append(f"<div>\n{markup.paragraph('Test examples, drawn at random.', 'note')}\n{cards}\n</div>")
    if len(batches) > 1:
        whole = next((score.value for score in record.scores if score.name == "matthews"), None)
        parts.append(markup.figures([batch_correlations(batches, whole)], ""))
    return markup.section("What it answers", markup.block("classes beside", *parts)) if parts else ""


def batch_correlations(values: Sequence[float], whole: float | None) -> Plot:
    """The Matthews correlation of every batch of test examples, and as a line that of all of them."""
    numbers = [float(number) for number in range(1, len(values) + 1)]
    with canvas("batch-matthews") as drawing:
        axes = drawing.axes
        if len(values) <= MAX_BARS:
            axes.bar(numbers, list(values), color=SERIES[0], alpha=0.6, gid="batches")
        else:
            axes.plot(*figures.thin(Curve(numbers, list(values))), color=SERIES[0], linewidth=0.8, gid="batches")
        axes.axhline(0, color=GRID, linewidth=1)
        if whole is not None:
            axes.axhline(whole, color=INK, linewidth=1, linestyle=(0, (4, 3)), gid="all")
        axes.set_ylim(min(0, *values) - 0.02, 1.02)
        axes.set_xlim(0.4, len(values) + 0.6)
        axes.set_xlabel("batch of the test set")
        line = "" if whole is None else f" The dashed line is that of all examples, {wording.number(whole)}."
        caption = (
            f"Of 32 examples each, in the order of the file; 1 is perfect.{line} So few examples say little, and "
            "the mean of the bars is not the line. Always naming the most frequent class reaches 0."
        )
        return Plot("Matthews correlation batch by batch", caption, drawing.svg("Correlation against batch"))


def _card(shown: Classified) -> str:
    rows = {
        "class": shown.label,
        "predicted": f"{shown.predicted} ({wording.per_cent(shown.probability)})",
    }
    texts = "<br>".join(map(escape, shown.source.split("\t")))
    lines = "".join(f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in rows.items())
    return f'<div class="sample {"right" if shown.correct else "wrong"}"><h3>{texts}</h3><dl>{lines}</dl></div>'
