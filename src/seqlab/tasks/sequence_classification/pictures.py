"""Images of a classification run: its surest mistakes, and a digit in the order in which it is read."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqlab.data.corpora.images import Images

NUM_MISTAKES, NUM_ORDERS = 12, 10
"""Mistakes, and classes of which one image is shown."""


def pictures(
    images: Images, predicted: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], order: np.ndarray
) -> dict[str, Any]:
    """What the report draws; kept as `pictures.json` in the run folder.

    Args:
        images: N of them, those that were judged.
        predicted: (N,), the class numbers that were predicted.
        probabilities: (N,), which probability the model gave them.
        classes: name of every class, by its number.
        order: (H * W,), the permutation: which pixel comes at each place.

    Returns:
        `height` and `width`; `mistakes`, the surest first, each with its `row` in `images` (from 0), `pixels`,
        `label`, `predicted`, `probability`; `orders`, the first image of each class with its `label`, its pixels as
        they are (`sequential`) and in their new places (`permuted`). Pixels are (H, W) shades from 0 to 255, which is
        the brightest shade of all images.
    """
    brightest = max(int(images.pixels.max(initial=0)), 1)

    def shades(pixels: np.ndarray) -> list[list[int]]:
        return (pixels.astype(int) * 255 // brightest).tolist()

    mistakes = np.flatnonzero(predicted != images.labels)
    surest = mistakes[np.argsort(-probabilities[mistakes], kind="stable")][:NUM_MISTAKES]
    _, firsts = np.unique(images.labels, return_index=True)
    return {
        "height": images.height,
        "width": images.width,
        "mistakes": [
            {
                "row": int(row),
                "pixels": shades(images[int(row)].pixels),
                "label": classes[images[int(row)].label],
                "predicted": classes[int(predicted[row])],
                "probability": round(float(probabilities[row]), 6),
            }
            for row in surest
        ],
        "orders": [
            {"label": classes[label], "sequential": shades(pixels), "permuted": shades(_permuted(pixels, order))}
            for pixels, label in (images[int(row)] for row in firsts[:NUM_ORDERS])
        ],
    }


def _permuted(pixels: np.ndarray, order: np.ndarray) -> np.ndarray:
    return pixels.ravel()[order].reshape(pixels.shape)
