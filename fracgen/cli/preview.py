"""A few of the images, small, as half-block characters in 24-bit colour."""

from __future__ import annotations

import shutil

import numpy as np
from numpy.typing import NDArray

SIDE = 24  # pixels, so 24 columns by 12 lines an image
LINES = 2  # of images


class Preview:
    """Keeps the first images that it is shown, as many as two lines of the terminal hold."""

    def __init__(self, columns: int | None = None) -> None:
        columns = columns or shutil.get_terminal_size().columns
        self.across = max(1, min(8, columns // SIDE))
        self._tiles: list[NDArray[np.uint8]] = []

    def add(self, images: NDArray[np.uint8]) -> None:
        """Look at a batch: uint8 [B, views, 3, size, size]."""
        for image in images.reshape(-1, *images.shape[2:])[: LINES * self.across - len(self._tiles)]:
            self._tiles.append(shrink(image, SIDE))

    def text(self) -> str:
        """The preview, ending in a new line; empty where no image was seen."""
        rows = [self._tiles[k : k + self.across] for k in range(0, len(self._tiles), self.across)]
        return "".join(half_blocks(np.concatenate(row, axis=1)) for row in rows)


def shrink(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """An image [3, size, size] as [side, side, 3]: means over boxes, or repeated pixels where it is smaller."""
    size = image.shape[-1]
    edges = np.arange(side + 1) * size // side
    if size < side:
        return image[:, edges[:-1]][:, :, edges[:-1]].transpose(1, 2, 0)
    sums = np.add.reduceat(np.add.reduceat(image.astype(np.int64), edges[:-1], axis=1), edges[:-1], axis=2)
    area = np.diff(edges)[:, None] * np.diff(edges)
    means: NDArray[np.uint8] = (sums // area).astype(np.uint8)
    return means.transpose(1, 2, 0)


def half_blocks(picture: NDArray[np.uint8]) -> str:
    """A picture [height, width, 3] as text: every character shows two pixels, one above the other."""
    lines = []
    for upper, lower in zip(picture[::2], picture[1::2], strict=True):
        cells = (
            f"\x1b[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m▀"
            for a, b in zip(upper.tolist(), lower.tolist(), strict=True)
        )
        lines.append("".join(cells) + "\x1b[0m\n")
    return "".join(lines)
