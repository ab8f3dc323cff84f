"""A pool of pictures that is shown again and again: rendered once, kept on the device as bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fracgen.rendering.base import Rendered, Renderer

MAX_BYTES = 1 << 30
"""A pool of more bytes is not kept: its pictures are rendered anew whenever they are shown."""


class Pool:
    """Serves pictures 0 to `size` - 1 of epoch 0 of a renderer, whatever epoch is asked for.

    Args:
        renderer: makes them.
        size: how many.
        seed: of the pictures.
        masks: keep their masks as well.
    """

    def __init__(self, renderer: Renderer, size: int, seed: int, *, masks: bool) -> None:
        self.renderer, self.size, self.seed, self.masks = renderer, size, seed, masks
        recipe = renderer.recipe
        self.keeps = size * recipe.views * recipe.size**2 * (4 if masks else 3) <= MAX_BYTES
        self._made: Rendered | None = None

    def render(self, index: Any) -> Rendered:
        """The pictures of the samples `index`, counted modulo the pool's size. Tensors."""
        index = np.asarray(index) % self.size
        if not self.keeps:
            return self._render(index)
        if self._made is None:
            self._made = self._render(np.arange(self.size))
        rows = torch.from_numpy(index.astype(np.int64))
        images, codes, masks = self._made.images, self._made.codes, self._made.masks
        rows = rows.to(images.device)
        return Rendered(images[rows], codes[rows], None if masks is None else masks[rows])

    def _render(self, index: Any) -> Rendered:
        made = self.renderer.render(index, seed=self.seed, masks=self.masks)
        masks = None if made.masks is None else torch.as_tensor(made.masks)
        return Rendered(torch.as_tensor(made.images), torch.as_tensor(made.codes), masks)
