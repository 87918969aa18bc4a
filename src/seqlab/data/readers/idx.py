"""Arrays from idx files, the format of MNIST and of the data sets that took it over.

Two zero bytes, the type (8: unsigned bytes), the number of dimensions, each dimension as a big-endian 32-bit number,
then the values. Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
"""

from io import BufferedIOBase
from math import prod
from pathlib import Path

import numpy as np

from seqlab.data.readers.lines import opened
from seqlab.data.readers.reading import DEFAULT
from seqlab.errors import UserError

UNSIGNED_BYTES = 8
"""The only type of values that images and labels have."""

CHUNK = 1 << 20
"""Bytes that are read at once: a header may promise anything, memory is taken for what is really there."""

GZIP = b"\x1f\x8b"


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The values of an idx file of bytes, plain or compressed (`.gz`, `.xz`, `.zst`).

    Args:
        path: the file.
        dimensions: how many there must be: 3 for images (N, H, W), 1 for labels (N).

    Raises UserError: the file is missing, empty or damaged, of another kind, shorter or longer than its header says.
    """
    with opened(path) as file:
        _check_kind(path, file.read(4), dimensions)
        sizes = file.read(4 * dimensions)
        if len(sizes) < 4 * dimensions:
            raise UserError(f"{path}: the idx file ends within its header; copy or download it again")
        shape = [int(size) for size in np.frombuffer(sizes, dtype=">u4")]
        if prod(shape) > DEFAULT.max_file_bytes:
            raise UserError(f"{path}: its header says {_times(shape)}, more than {DEFAULT.max_file_bytes:,} bytes")
        if not prod(shape):
            raise UserError(f"{path}: holds nothing: its header says {_times(shape)}")
        values = _read(path, file, shape)
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


def _check_kind(path: Path, magic: bytes, dimensions: int) -> None:
    wanted = bytes([0, 0, UNSIGNED_BYTES, dimensions])
    if magic == wanted:
        return
    if not magic:
        raise UserError(f"{path}: the file is empty")
    if magic.startswith(GZIP):
        raise UserError(f"{path}: is a gzip archive: add .gz to its name")
    what = "images" if dimensions == 3 else "labels"
    raise UserError(
        f"{path}: not an idx file of {what}: it begins with the bytes {magic.hex(' ')}, not {wanted.hex(' ')}"
    )


def _read(path: Path, file: BufferedIOBase, shape: list[int]) -> bytearray:
    expected, values = prod(shape), bytearray()
    while chunk := file.read(min(CHUNK, expected + 1 - len(values))):
        values += chunk
    if len(values) < expected:
        raise UserError(
            f"{path}: truncated: {_times(shape)} values need {expected:,} bytes after the header, "
            f"found {len(values):,}; copy or download it again"
        )
    if len(values) > expected:
        raise UserError(f"{path}: longer than the {_times(shape)} values that its header says; download it again")
    return values


def _times(shape: list[int]) -> str:
    return " x ".join(map(str, shape))
