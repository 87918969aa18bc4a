"""Labelled images, some of them held out of training."""

import random
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from seqlab.config.settings import Config
from seqlab.data.corpora.corpus import OPTIMISTIC, CountTable, Overview
from seqlab.data.corpora.splitting import set_seed
from seqlab.data.readers.hub import hub_splits
from seqlab.data.readers.images import (
    ImageFiles,
    Images,
    LabelledImage,
    digits,
    files_of_folder,
    folder_of_idx,
    hub_images,
    read_images,
)
from seqlab.data.readers.lines import data_path, folder_hint
from seqlab.errors import UserError

__all__ = ["ImageCorpus", "Images", "ImagesData", "LabelledImage", "permutation"]

DIGITS = "digits"


class ImagesData(Config):
    """Images that are read as sequences, each with its class."""

    kind: Literal["images"] = "images"
    """labelled images, read pixel by pixel or row by row"""
    source: str = DIGITS
    """digits: 1,797 of 8 x 8 pixels that need no files; else a folder of idx files, as MNIST and Fashion-MNIST have"""
    dataset: str | None = None
    """data set of the hub instead, such as ylecun/mnist, or a folder of one"""
    subset: str | None = None
    """which part of the data set"""
    folder: Path | None = None
    """where a relative source starts; when absent, the environment variable SEQLAB_DATA, else the current folder"""
    validation_size: int | None = Field(default=None, ge=1)
    """images taken from training for validation; when absent a fifth, which is 12,000 of MNIST"""
    test_size: int | None = Field(default=None, ge=1)
    """images taken from training for the test, where the source has none of its own; when absent a fifth"""
    seed: int = 1
    """picks the images that are held out"""
    by: Literal["pixels", "rows"] = "pixels"
    """what a step of the sequence is: a pixel, or a row of pixels"""
    order: Literal["sequential", "permuted"] = "sequential"
    """sequential: row by row; permuted: one fixed permutation of the pixels for all images"""
    permutation_seed: int = 1
    """seed of the permutation"""
    values: Literal["raw", "normalised"] = "normalised"
    """raw: pixel values as they are; normalised: mean 0, standard deviation 1 over the training images"""

    @model_validator(mode="after")
    def _settings_are_used(self) -> Self:
        if self.dataset is not None and self.source != DIGITS:
            raise ValueError(f"source is {self.source} and dataset is {self.dataset}: leave one of them out")
        if self.subset is not None and self.dataset is None:
            raise ValueError(f"subset is {self.subset}, but no dataset is named that it is a part of")
        if self.test_size is not None and self.dataset is None and self.source != DIGITS:
            raise ValueError(f"test_size has no effect: the folder {self.source} has test images of its own")
        return self


class _Sets(NamedTuple):
    training: Images
    validation: Images
    test: Images


class ImageCorpus:
    """Labelled images, read when they are first asked for.

    Where the source has no test images, they are taken from training first, so that `validation_size` does not change
    them. What equals a held-out image pixel by pixel is not trained on.
    """

    config_class = ImagesData
    example = Images

    def __init__(self, config: ImagesData) -> None:
        self.config = config

    def check_files(self) -> None:
        """Raises UserError when a file is missing, or the data set of the hub cannot be had."""
        if self.config.dataset is not None:
            hub_splits(self.config.dataset, self.config.subset)
        elif self.config.source != DIGITS:
            with folder_hint(self.config.folder):
                self.files()

    def files(self) -> list[Path]:
        """The idx files; none of the shipped digits and of a data set of the hub."""
        if self.config.dataset is not None or self.config.source == DIGITS:
            return []
        return files_of_folder(self._folder)

    @property
    def classes(self) -> list[str]:
        """The name of every class, by its number."""
        return self._source.classes

    def training(self, epoch: int) -> Images:
        """The same images every epoch."""
        return self._sets.training

    def validation(self) -> Images:
        """Images to watch while training."""
        return self._sets.validation

    def test(self) -> Images:
        """Images of the final score."""
        return self._sets.test

    def splits(self) -> dict[str, Images]:
        """Training, validation and test images."""
        return self._sets._asdict()

    def overview(self) -> Overview:
        """The images of every class, and their size."""
        sets, size = self.splits(), self._sets.training
        counts = np.stack([np.bincount(part.labels, minlength=len(self.classes)) for part in sets.values()], axis=1)
        rows = dict(zip(self.classes, counts.tolist(), strict=True))
        caption = f"{counts.sum():,} images of {size.height} x {size.width} pixels"
        return Overview(CountTable([*sets], rows, "class", shares=True, caption=caption), remarks=self.remarks())

    def remarks(self) -> list[str]:
        """What was held out, which classes cannot be learned, and which test images are also trained on."""
        return [*self._remarks(), *self.leaks()]

    def leaks(self) -> list[str]:
        """Which held-out examples are also trained on."""
        return list(self._leaks())

    def read(self, path: Path) -> Images:
        """The images of an idx file whose labels file lies beside it, or the test images of a folder of idx files."""
        return read_images(path)

    @property
    def _folder(self) -> Path:
        return data_path(self.config.source, self.config.folder)

    @cached_property
    def _source(self) -> ImageFiles:
        config = self.config
        if config.dataset is not None:
            return hub_images(config.dataset, config.subset)
        return digits() if config.source == DIGITS else folder_of_idx(self._folder)

    @cached_property
    def _sets(self) -> _Sets:
        config, (training, test, _) = self.config, self._source
        if test is None:
            training, test = _hold_out(training, config.test_size, config.seed, "test")
        elif config.test_size is not None:
            raise UserError(f"data.test_size has no effect: {config.dataset or config.source} has its own test images")
        training, validation = _hold_out(training, config.validation_size, config.seed, "validation")
        if len(present := np.unique(training.labels)) < 2:
            names = " or ".join(f'"{self.classes[label]}"' for label in present)
            raise UserError(f"all {len(training):,} training images have the label {names}: there is nothing to learn")
        return _Sets(training, validation, test)

    def _remarks(self) -> Iterator[str]:
        training, validation, test = self._sets
        taken = f"{len(validation):,} for validation"
        if self._source.test is None:
            taken = f"{len(test):,} for test and {taken}"
        given = 0 if self._source.test is None else len(test)
        copies = given + len(self._source.training) - sum(map(len, self._sets))
        left_out = f"; {copies:,} copies of them left out" if copies else ""
        yield f"held out of training: {taken} (data.seed={self.config.seed}){left_out}"
        counts = np.bincount(training.labels, minlength=len(self.classes))
        for name in (name for name, count in zip(self.classes, counts, strict=True) if count == 0):
            yield f'class "{name}" has no training images: it cannot be learned'

    def _leaks(self) -> Iterator[str]:
        training, validation, test = self._sets
        trained = {image.tobytes() for image in training.pixels}
        for name, images in (("validation", validation), ("test", test)):
            if leaked := sum(image.tobytes() in trained for image in images.pixels):
                yield f"{name}: {leaked:,} of {len(images):,} images are also trained on: {OPTIMISTIC}"


def permutation(size: int, seed: int) -> np.ndarray:
    """The numbers 0 to `size` - 1 in an order that the two arguments decide.

    Drawn by Python's generator, whose `random` is promised to stay as it is; shuffles of numpy and torch are not.
    """
    draw = random.Random(seed).random
    return np.argsort([draw() for _ in range(size)], kind="stable")


def _hold_out(images: Images, size: int | None, seed: int, name: str) -> tuple[Images, Images]:
    """What stays, and the `size` images that are taken out, in their old order; their copies are in neither."""
    size = max(len(images) // 5, 1) if size is None else size
    if size >= len(images):
        raise UserError(f"data.{name}_size={size:,} leaves nothing to train on: there are {len(images):,} images")
    is_taken = np.zeros(len(images), dtype=bool)
    is_taken[permutation(len(images), set_seed(seed, name, 0))[:size]] = True
    taken = {image.tobytes() for image in images.pixels[is_taken]}
    is_copy = np.array([image.tobytes() in taken for image in images.pixels])
    return images.chosen(np.flatnonzero(~(is_taken | is_copy))), images.chosen(np.flatnonzero(is_taken))
