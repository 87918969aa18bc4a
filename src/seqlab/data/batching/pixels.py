"""Images as sequences: pixel by pixel or row by row, in order or with the pixels permuted.

Shapes: `B` rows of a batch, `L` steps, `C` values per step, `H` x `W` pixels. Source of permuted pixels: Le, Jaitly and
Hinton (2015), "A simple way to initialize recurrent networks of rectified linear units".
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seqlab.data.batching.stream import to_device
from seqlab.data.corpora.images import Images, ImagesData, permutation
from seqlab.data.readers.images import check_alike
from seqlab.errors import UserError

CHUNK = 4096
"""Images whose shades are counted at once: a count takes eight times the memory of the pixels."""


@dataclass(frozen=True)
class Facts:
    """What a trained run must know of its training images."""

    classes: list[str]
    """name of every class, by its number"""
    height: int
    width: int
    mean: float
    """of all pixels of all training images"""
    std: float

    @classmethod
    def of(cls, training: Images, classes: list[str]) -> "Facts":
        """Measures the training images. UserError where every pixel has the same shade."""
        counts = np.zeros(256, dtype=np.int64)
        for start in range(0, len(training), CHUNK):
            counts += np.bincount(training.pixels[start : start + CHUNK].ravel(), minlength=256)
        shades = np.arange(256)
        mean = float(counts @ shades / counts.sum())
        std = float(np.sqrt(counts @ (shades - mean) ** 2 / counts.sum()))
        if std == 0:
            raise UserError(f"all pixels of the training images have the value {mean:.0f}: there is nothing to learn")
        return cls(list(classes), training.height, training.width, mean, std)

    @classmethod
    def load(cls, path: Path) -> "Facts":
        """Reads what `save` has written. UserError when the file is missing or damaged."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise UserError(f"{path}: no such file: the run folder is not complete") from None
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}: damaged ({error})") from None

    def save(self, path: Path) -> None:
        """Writes a JSON file."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @property
    def num_classes(self) -> int:
        """How many classes there are, those without training images among them."""
        return len(self.classes)

    def check(self, images: Images, where: str) -> None:
        """Raises UserError, with the place `where`, when images differ in size from training or are of no known class.

        For images that the corpus has not read itself.
        """
        check_alike(images, self.height, self.width, self.num_classes, where)


@dataclass(frozen=True)
class ReadingOrder:
    """How images are read as sequences."""

    steps: int  # L
    width: int  # C
    order: Tensor | None  # (H * W,), which pixel comes at each place; None as they are
    mean: float
    std: float

    @classmethod
    def of(cls, config: ImagesData, facts: Facts) -> "ReadingOrder":
        """What the config asks for, for images of the size of training."""
        num_pixels = facts.height * facts.width
        width = facts.width if config.by == "rows" else 1
        permuted = config.order == "permuted"
        order = torch.from_numpy(permutation(num_pixels, config.permutation_seed)) if permuted else None
        mean, std = (facts.mean, facts.std) if config.values == "normalised" else (0.0, 1.0)
        return cls(num_pixels // width, width, order, mean, std)

    def sequences(self, pixels: Tensor) -> Tensor:
        """Sequences (B, L, C), float32, of the pixels (B, H * W) of images, unsigned bytes."""
        if self.order is not None:
            pixels = pixels.index_select(1, self.order)
        values = pixels.float().sub_(self.mean).div_(self.std)
        return values.view(len(pixels), self.steps, self.width)


@dataclass(frozen=True)
class ImageBatch:
    """Sequences of one length, with their classes."""

    inputs: Tensor  # (B, L, C), float32
    labels: Tensor  # (B,), int64
    rows: np.ndarray  # (B,), which images these are

    @property
    def tokens(self) -> int:
        """What the summed loss is divided by: one class for each image."""
        return len(self.labels)

    @property
    def slots(self) -> int:
        """Number of places for steps and for classes; all of them are real."""
        return len(self.labels) * (self.inputs.shape[1] + 1)

    def to(self, device: torch.device) -> "ImageBatch":
        """The same batch on `device`; the copy to a GPU does not wait."""
        return to_device(self, device)


@dataclass(frozen=True)
class EncodedImages:
    """Images that become sequences when a batch is cut; until then a pixel is a byte."""

    pixels: np.ndarray  # (N, H * W), uint8
    labels: np.ndarray  # (N,), int64
    reading: ReadingOrder

    @classmethod
    def encode(cls, images: Images, reading: ReadingOrder) -> "EncodedImages":
        """The same images, flat; nothing is copied."""
        return cls(images.pixels.reshape(len(images), images.height * images.width), images.labels, reading)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shapes(self) -> np.ndarray:
        """(N, 2): the length of every sequence, and 1 for its class."""
        return np.tile([self.reading.steps, 1], (len(self), 1))

    def batch(self, rows: np.ndarray, source_width: int, target_width: int) -> ImageBatch:
        """The chosen images; as all have one length, the widths of a padded batch mean nothing."""
        return ImageBatch(
            inputs=self.reading.sequences(torch.from_numpy(self.pixels[rows])),
            labels=torch.from_numpy(self.labels[rows]),
            rows=rows,
        )
