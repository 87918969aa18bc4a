"""How do the shades of an image get into a page? As a small PNG inside the page, which the browser enlarges."""

import struct
import zlib
from base64 import b64encode
from collections.abc import Sequence
from html import escape

import numpy as np

GREY_BYTES = (8, 0, 0, 0, 0)
"""Eight bits a pixel, grey, and the only compression, filter and order that PNG has for it."""


def image(pixels: Sequence[Sequence[int]], label: str) -> str:
    """An `<img>` of (H, W) shades from 0, black, to 255, white; `label` is what a screen reader says."""
    height, width = np.shape(pixels)
    uri = f"data:image/png;base64,{b64encode(png(pixels)).decode()}"
    return f'<img class="pixels" width="{width}" height="{height}" alt="{escape(label)}" src="{uri}">'


def png(pixels: Sequence[Sequence[int]]) -> bytes:
    """The same as a PNG file. Source: W3C, "Portable Network Graphics (PNG) Specification"."""
    shades = np.asarray(pixels, dtype=np.uint8)
    height, width = shades.shape
    lines = b"".join(b"\0" + line.tobytes() for line in shades)  # each begins with its filter: none
    header = struct.pack(">II5B", width, height, *GREY_BYTES)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
