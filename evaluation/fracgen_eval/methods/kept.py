"""Features of a frozen network, kept from epoch to epoch, since the same pictures come again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

KEPT_BYTES = 1 << 30
"""Features kept at most, in bytes: some 580 pictures of 256 px through the first three stages of a ResNet-18."""


@contextlib.contextmanager
def kept_features(network: nn.Module, limit: int = KEPT_BYTES) -> Iterator[None]:
    """While it lasts, the network runs once for each picture of a CPU, as long as the features fit in.

    A picture is known by its bytes. Those seen for the first time run in one batch, so that a first epoch has the
    numbers that it has without this; later ones have them up to the rounding of batches of another size.

    Args:
        network: of timm, frozen and in evaluation, which gives a list of maps [B, ...] for pictures [B, 3, H, W].
        limit: largest number of bytes of all kept features.
    """
    import torch

    run: Callable[[Tensor], list[Tensor]] = network.forward
    kept: dict[int, list[Tensor]] = {}
    used = 0

    def forward(images: Tensor) -> list[Tensor]:
        nonlocal used
        if images.device.type != "cpu" or network.training or images.requires_grad:
            return run(images)
        keys = [hash(image.numpy().tobytes()) for image in images]
        new = {key: place for place, key in enumerate(keys) if key not in kept}
        if not new:
            return [torch.stack(maps) for maps in zip(*(kept[key] for key in keys), strict=True)]
        found = run(images if len(new) == len(images) else images[list(new.values())])
        rows = dict(zip(new, map(list, zip(*found, strict=True)), strict=True))
        for key, maps in rows.items():
            size = sum(part.numel() * part.element_size() for part in maps)
            if used + size <= limit:
                kept[key], used = [part.clone() for part in maps], used + size
        if len(new) == len(images):
            return found
        every = rows | kept
        return [torch.stack(maps) for maps in zip(*(every[key] for key in keys), strict=True)]

    vars(network)["forward"] = forward
    try:
        yield
    finally:
        del vars(network)["forward"]
