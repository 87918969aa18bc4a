"""Cross-attention as pictures, tokens on both axes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from seqlab.report.figures import GRID, INK, SERIES, Plot, canvas, columns_of
from seqlab.report.folder import RunRecord
from seqlab.runs.schema import AttentionMap

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DARK = (8, 48, 107)
"""The colour of weight 1. Weights are its opacity: 0 is the page itself, and lightness falls evenly from there."""

WIDTH = 4.6
CELL, LEGIBLE = 0.24, 0.16
"""Inches: the width of a figure, the largest side of a field, and the least height of a row."""

WINDOW = SERIES[1]
"""The colour of local windows."""

LONGEST_LABEL = 16

SPACE = "▁"
"""How a token shows the space before a word."""


class Map(NamedTuple):
    """What was looked at while one output was written, drawn: the means, and where there are several, the heads."""

    text: str
    plots: list[Plot]
    heads: list[str]


def section(record: RunRecord) -> dict[str, Any] | None:
    """Every map of the run; None where it has none."""
    if not record.attention:
        return None
    maps = [_drawn(found, f"attention-{number}") for number, found in enumerate(record.attention, start=1)]
    return {"maps": maps, "has_windows": any(found.centres for found in record.attention)}


def plots(found: AttentionMap, name: str) -> list[Plot]:
    """The mean over the heads of the last layer, and over all layers where there are more."""
    last = np.asarray(found.heads).mean(axis=0)
    drawn = [_map(found, last, f"{name}-last", "Last layer", "The mean of its heads.")]
    if found.layers > 1:
        every = np.asarray(found.all_layers)
        drawn.append(_map(found, every, f"{name}-all", "All layers", f"The mean over all {found.layers} layers."))
    return drawn


def _drawn(found: AttentionMap, name: str) -> Map:
    several = found.heads if len(found.heads) > 1 else []
    heads = [_head(np.asarray(weights), f"{name}-head-{head}") for head, weights in enumerate(several, start=1)]
    return Map(found.text, plots(found, name), heads)


def _map(found: AttentionMap, weights: np.ndarray, name: str, title: str, caption: str) -> Plot:
    columns, rows = _labels(found.source), _labels(found.predicted)
    cell = min(CELL, (WIDTH - 0.5) / len(columns), max(LEGIBLE, 5 / len(rows)))
    font = min(9.0, max(6.0, 0.85 * 72 * cell))
    left, top = (0.1 + 0.6 * font / 72 * max(map(columns_of, labels)) for labels in (rows, columns))
    cell = min(cell, (WIDTH - left) / len(columns))
    height = max(cell, LEGIBLE) * len(rows)
    with canvas(name, WIDTH, top + height + 0.02) as drawing:
        axes = drawing.axes
        below = 0.01 / (top + height + 0.02)
        axes.set_position((left / WIDTH, below, cell * len(columns) / WIDTH, height / (top + height + 0.02)))
        _draw(axes, weights / max(weights.max(), 1e-9))
        if found.centres is not None and found.window_radius is not None:
            _outline(axes, np.asarray(found.centres), found.window_radius, len(columns))
        axes.set_xticks(range(len(columns)), columns, fontsize=font, rotation=90 if max(map(len, columns)) > 1 else 0)
        axes.set_yticks(range(len(rows)), rows, fontsize=font)
        axes.tick_params(length=0, labelcolor=INK, top=False, labeltop=True, bottom=False, labelbottom=False)
        caption = f"{caption} The strongest field is {weights.max():.2f}."
        return Plot(title, caption, drawing.svg(f"Attention: {title}"))


def _head(weights: np.ndarray, name: str) -> str:
    rows, columns = weights.shape
    with canvas(name, 1.2, max(1.2 * rows / columns, 0.2)) as drawing:
        drawing.axes.set_position((0.005, 0.005, 0.99, 0.99))
        _draw(drawing.axes, weights)
        drawing.axes.tick_params(length=0, labelleft=False, labelbottom=False)
        return drawing.svg(name.replace("-", " "))


def _draw(axes: "Axes", weights: np.ndarray) -> None:
    """Weights from 0 to 1 as fields over a faint grid."""
    rows, columns = weights.shape
    picture = np.empty((rows, columns, 4), dtype=np.uint8)
    picture[..., :3], picture[..., 3] = DARK, np.rint(255 * weights)
    axes.imshow(picture, interpolation="none", aspect="auto", zorder=2)
    axes.grid(visible=False)
    axes.vlines(np.arange(1, columns) - 0.5, -0.5, rows - 0.5, color=GRID, linewidth=0.4, zorder=1)
    axes.hlines(np.arange(1, rows) - 0.5, -0.5, columns - 0.5, color=GRID, linewidth=0.4, zorder=1)
    for spine in axes.spines.values():
        spine.set_visible(True)


def _outline(axes: "Axes", centres: np.ndarray, radius: int, columns: int) -> None:
    """A line around the fields within `radius` of each row's centre, and a dot at every centre.

    Places count from 1 and fields from 0. Lines stand on the borders of fields: left of the first one that can be seen,
    right of the last.
    """
    first = np.clip(np.ceil(centres - radius) - 1, 0, columns) - 0.5
    end = np.clip(np.floor(centres + radius), 0, columns) - 0.5
    end[end <= first] = np.nan  # the window lies beyond the source
    rows = np.arange(len(centres))
    borders = np.arange(len(centres) + 1) - 0.5
    axes.stairs(
        end, borders, baseline=first, orientation="horizontal", color=WINDOW, linewidth=0.9, zorder=3, clip_on=False
    )
    inside = (centres > 0.5) & (centres < columns + 0.5)
    axes.scatter(centres[inside] - 1, rows[inside], s=9, color=WINDOW, linewidths=0, zorder=4)


def _labels(tokens: Sequence[str]) -> list[str]:
    """Tokens as an axis shows them: `▁H`, `igh`, `▁class` as `H`, `·igh`, `class`, and long ones cut."""
    if any(token.startswith(SPACE) and token != SPACE for token in tokens):
        tokens = [token[1:] or SPACE if token.startswith(SPACE) else _inner(token) for token in tokens]
    tokens = ["␣" if token == SPACE else token for token in tokens]
    return [token if len(token) <= LONGEST_LABEL else f"{token[: LONGEST_LABEL - 1]}…" for token in tokens]


def _inner(token: str) -> str:
    """A piece that continues a word is distinguished from one that begins it; punctuation needs no mark."""
    return f"·{token}" if token[:1].isalnum() else token
