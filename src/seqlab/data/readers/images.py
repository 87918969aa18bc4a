"""Labelled images: digits that ship with seqlab, idx files in a folder, data sets of the hub."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from seqlab.data.readers import hub
from seqlab.data.readers.idx import read_idx
from seqlab.data.readers.lines import COMPRESSED, find
from seqlab.errors import UserError

PARTS = {"train": "train", "test": "t10k"}
"""How the idx files of a part begin."""

ENDINGS = {"images": ("images-idx3-ubyte", "images.idx3-ubyte"), "labels": ("labels-idx1-ubyte", "labels.idx1-ubyte")}
"""How idx files end; unpacking them has turned a dash into a dot in many a copy."""

SHIPPED_DIGITS = Path(__file__).parent / "digits" / "digits-images-idx3-ubyte.gz"
"""Its labels lie beside it; README.md there has their source and licence."""


class LabelledImage(NamedTuple):
    """An image and the number of its class."""

    pixels: np.ndarray
    """(H, W), shades as unsigned bytes"""
    label: int


@dataclass(frozen=True, eq=False)
class Images(Sequence[LabelledImage]):
    """Labelled images of one size; a slice is `Images` again."""

    pixels: np.ndarray  # (N, H, W), uint8
    labels: np.ndarray  # (N,), int64

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, place: int) -> LabelledImage: ...

    @overload
    def __getitem__(self, place: slice) -> "Images": ...

    def __getitem__(self, place: int | slice) -> "LabelledImage | Images":
        if isinstance(place, slice):
            return Images(self.pixels[place], self.labels[place])
        return LabelledImage(self.pixels[place], int(self.labels[place]))

    def chosen(self, rows: np.ndarray) -> "Images":
        """The images of these numbers, in this order."""
        return Images(self.pixels[rows], self.labels[rows])

    @property
    def height(self) -> int:
        """Rows of an image."""
        return self.pixels.shape[1]

    @property
    def width(self) -> int:
        """Pixels of a row."""
        return self.pixels.shape[2]


class ImageFiles(NamedTuple):
    """All images that are to be had in one place."""

    training: Images
    test: Images | None
    """None where the place has none of its own"""
    classes: list[str]
    """name of every class, by its number"""


def digits() -> ImageFiles:
    """1,797 handwritten digits of 8 x 8 pixels with shades from 0 to 16, which lie beside this file.

    Source: Alpaydin and Kaynak (1998), "Optical recognition of handwritten digits", UCI machine learning repository.
    """
    return ImageFiles(read_images(SHIPPED_DIGITS), None, [str(number) for number in range(10)])


def folder_of_idx(folder: Path) -> ImageFiles:
    """The training and test files of a folder in the format of MNIST. UserError for a test image of another kind."""
    training, test = (read_images(_part(folder, name, "images")) for name in PARTS)
    classes = [str(number) for number in range(int(training.labels.max()) + 1)]
    check_alike(test, training.height, training.width, len(classes), str(folder / PARTS["test"]))
    return ImageFiles(training, test, classes)


def files_of_folder(folder: Path) -> list[Path]:
    """The four idx files of a folder. Raises UserError when it or one of them is missing."""
    return [_part(folder, part, kind) for part in PARTS for kind in ENDINGS]


def hub_images(name: str, subset: str | None) -> ImageFiles:
    """The splits `train` and `test` of a data set of the hub, in shades of grey.

    Raises UserError: no library `datasets`, no such data set, no columns with an image and a class, or images that are
    not all alike.
    """
    training, test = (hub.ask(name, partial(_load, name, subset, part)) for part in PARTS)
    if training is None:
        raise UserError(f"data.dataset={name} has no split train")
    image, label = _columns(training.features, name)
    classes = list(training.features[label].names)
    source = ImageFiles(
        training=_grey(training, image, label, f"{name} (train)"),
        test=_grey(test, image, label, f"{name} (test)") if test is not None else None,
        classes=classes,
    )
    for part, images in (("train", source.training), ("test", source.test)):
        if images is not None:
            check_alike(images, source.training.height, source.training.width, len(classes), f"{name} ({part})")
    return source


def read_images(path: Path) -> Images:
    """The images of an idx file whose labels file lies beside it, or the test images of a folder of idx files.

    Raises UserError: a file is missing or not as it should be, or there is not one label for each image.
    """
    images_file = _part(path, "test", "images") if path.is_dir() else path
    pixels = read_idx(images_file, dimensions=3)
    labels_file = _labels_beside(images_file)
    labels = read_idx(labels_file, dimensions=1)
    if len(labels) != len(pixels):
        raise UserError(f"{labels_file}: {len(labels):,} labels, but {images_file.name} has {len(pixels):,} images")
    return Images(pixels, labels.astype(np.int64))


def check_alike(images: Images, height: int, width: int, num_classes: int, where: str) -> None:
    """Raises UserError when images are of another size than those of training, or of a class that it does not have."""
    if (images.height, images.width) != (height, width):
        raise UserError(
            f"{where}: images of {images.height} x {images.width} pixels, but those of training have {height} x {width}"
        )
    strange = np.flatnonzero((images.labels < 0) | (images.labels >= num_classes))
    if len(strange):
        first = int(strange[0])
        raise UserError(
            f"{where}: label {images.labels[first]} of image {first + 1:,} is out of range: "
            f"training has the labels 0 to {num_classes - 1}"
        )


def _part(folder: Path, part: str, kind: str) -> Path:
    """The file of a folder that holds the images or the labels of a part."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name one with train-images-idx3-ubyte.gz and the other idx files")
    names = [f"{PARTS[part]}-{ending}" for ending in ENDINGS[kind]]
    for name in names:
        if path := find(folder / name):
            return path
    raise UserError(f"{folder / names[0]}: no such file (nor with {' or '.join(COMPRESSED)})")


def _labels_beside(images_file: Path) -> Path:
    stem = next((images_file.stem for suffix in COMPRESSED if images_file.suffix == suffix), images_file.name)
    name = stem.replace("images", "labels").replace("idx3", "idx1")
    found = find(images_file.with_name(name)) if name != stem else None
    if found is None:
        expected = name if name != stem else "X-labels-idx1-ubyte beside X-images-idx3-ubyte"
        raise UserError(f"{images_file}: its labels are missing: there is no file {expected} beside it")
    return found


# The hub


def _load(name: str, subset: str | None, part: str, datasets: Any) -> Any | None:
    """The rows of a part; None where there is no such part."""
    has_it = part in datasets.get_dataset_split_names(name, subset)
    return datasets.load_dataset(name, subset, split=part) if has_it else None


def _columns(features: Any, name: str) -> tuple[str, str]:
    """The first columns with an image and with a class."""
    kinds = {type(feature).__name__: column for column, feature in reversed(features.items())}
    missing = [kind for kind in ("Image", "ClassLabel") if kind not in kinds]
    if missing:
        raise UserError(f"data.dataset={name} has no column of type {missing[0]}, only {', '.join(features)}")
    return kinds["Image"], kinds["ClassLabel"]


def _grey(rows: Any, image: str, label: str, where: str) -> Images:
    pictures = list(_pictures(rows, image, where))
    if not pictures:
        raise UserError(f"{where}: holds no images")
    return Images(np.stack(pictures), np.asarray(rows[label], dtype=np.int64))


def _pictures(rows: Any, image: str, where: str) -> Iterator[np.ndarray]:
    size: tuple[int, ...] | None = None
    for number, row in enumerate(rows, start=1):
        picture = np.asarray(row[image].convert("L"), dtype=np.uint8)
        if size is not None and picture.shape != size:
            sizes = [" x ".join(map(str, shape)) for shape in (picture.shape, size)]
            raise UserError(
                f"{where}, row {number}: an image of {sizes[0]} pixels, but the images before it have {sizes[1]}"
            )
        size = picture.shape
        yield picture
