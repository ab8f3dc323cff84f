"""What the blocks of a plain transformer give: tokens on the grid of patches, and some that stand for no place."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from fracgen_eval.weights.network import UNFIT, create

if TYPE_CHECKING:
    from timm.models import VisionTransformer
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The tokens [B, prefix + H W, width] of pictures of H x W patches, alike after each block."""

    patch: int
    """Side of a patch, in pixels."""
    width: int
    depth: int
    """Number of blocks."""
    heads: int
    """Number of heads of a block's attention."""
    prefix: int
    """Number of tokens before those of the grid, such as a class token and registers."""
    class_token: bool
    """Whether the first one is a class token."""
    rotary: bool
    """Whether each block gets the positions, by which it turns queries and keys."""


@functools.lru_cache(maxsize=64)
def tokens_of(model: str) -> Tokens | None:
    """What one of timm's networks gives where it can take pictures of any number of patches; None where it gives none.

    >>> tokens_of("vit_tiny_patch16_224")
    Tokens(patch=16, width=192, depth=12, heads=3, prefix=1, class_token=True, rotary=False)
    >>> tokens_of("resnet18")
    """
    import torch

    try:
        with torch.device("meta"):
            made = cast("VisionTransformer", create(model, num_classes=0, dynamic_img_size=True).eval())
            patch = made.patch_embed.patch_size[0]
            two = torch.empty(1, 3, patch, 2 * patch)
            found = made.forward_intermediates(two, indices=1, output_fmt="NLC", intermediates_only=True)
    except (*UNFIT, LookupError):
        return None
    if cast("list[Tensor]", found)[0].shape != (1, 2, made.num_features):
        return None
    return Tokens(
        patch=patch, width=made.num_features, depth=len(made.blocks), heads=vars(made.blocks[0].attn)["num_heads"],
        prefix=made.num_prefix_tokens, class_token=getattr(made, "cls_token", None) is not None,
        rotary=getattr(made, "rope", None) is not None,
    )  # fmt: skip
