"""Image files that Pillow does not write, byte by byte; and plain ways to turn pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.fields import Fields

Array = NDArray[np.generic]
ORIENTED: dict[int, Callable[[Array], Array]] = {
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: np.rot90(np.fliplr(a)),
    6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(np.fliplr(a), -1), 8: np.rot90,
}  # fmt: skip
"""By EXIF's orientation, what makes the stored rows and columns an upright picture."""


def flat(path: Path, value: int = 128, size: tuple[int, int] = (8, 8)) -> None:
    """A picture of one grey in a folder that may have to be made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def save(path: Path, array: Array, orientation: int | None = None, **how: object) -> Path:
    """A picture of an array, as Pillow writes it; with EXIF's orientation."""
    options: Fields = dict(how)
    if orientation is not None:
        options["exif"] = Image.Exif()
        options["exif"][274] = orientation
    Image.fromarray(array).save(path, **options)
    return path


def tiff(path: Path, samples: Array, bits: int, *, photometric: int = 1, sample_format: int = 1) -> None:
    """A TIFF of grey numbers of `bits` bits; of 12 bits, two lie in three bytes."""
    height, width = samples.shape
    data = samples.tobytes()
    if bits == 12:
        lines = ("".join(f"{value:012b}" for value in row) for row in samples.tolist())
        text = "".join(line.ljust(-(-width * 12 // 8) * 8, "0") for line in lines)
        data = bytes(int(text[n : n + 8], 2) for n in range(0, len(text), 8))
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height, 279: len(data),
            339: sample_format}  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)


def premultiplied(path: Path) -> None:
    """Mark the alpha of a TIFF that Pillow wrote as one with which its colours are multiplied (tag 338)."""
    free, associated = (struct.pack("<HHIH", 338, 3, 1, value) for value in (2, 1))
    data = path.read_bytes()
    assert data.count(free) == 1
    path.write_bytes(data.replace(free, associated))


def png16(path: Path, pixels: NDArray[np.uint16]) -> None:
    """A PNG of 16-bit colours [H, W, 3]."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in [*chunks, (b"IEND", b"")]
        )
    )
