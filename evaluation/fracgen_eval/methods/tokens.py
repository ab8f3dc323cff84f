"""How Anomalib's models of plain transformers ask for their network, and which networks they cannot take.

They learn depth, width and heads from letters of a name (`dino`, `small`), or always ask for the same network. Here a
constructor is given a name that it knows, the builder answers with the network of the weights, and what the model's own
tables say of small networks is what that network is like.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass

from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods.base import Layers, Side
from fracgen_eval.weights.network import Network
from fracgen_eval.weights.tokens import Tokens, tokens_of

ROTARY = "eva"
"""By this GeneralAD knows networks whose blocks are given positions."""
SMALL = "vit_small_patch14_dinov2"
"""A name with all letters that a model looks for."""
EIGHT_BLOCKS = ("0.2", "0.29", "0.37", "0.45", "0.54", "0.62", "0.7", "0.79")
"""Dinomaly's and INP-Former's own: of 12 blocks 2 to 9, of 24 every second one from 4 to 18."""


@dataclass(frozen=True)
class TokenModel:
    """What a model takes of a transformer."""

    side: Side
    """Usual side of pictures, in pixels: that of the model's own pre-processing."""
    layers: Layers = ()
    """The usual ones, where the constructor has a list of blocks."""
    _: KW_ONLY
    first: int = 0
    """Number of the first block in that list."""
    named: str = SMALL
    """The network's name for the constructor."""
    asked: str = SMALL
    """The name that timm is asked for then."""
    class_token: bool = False
    """Whether the model reads a class token."""
    cuts: bool = False
    """Whether the model cuts pictures down to whole patches itself."""
    maps: Layers = ()
    """Layers whose maps it takes of networks without tokens."""


MODELS = {
    "anomaly_dino": TokenModel(252, cuts=True),
    "dinomaly": TokenModel(392, EIGHT_BLOCKS, class_token=True),
    "foundad": TokenModel(518, named="dinov2_vit_small_14", asked=f"{SMALL}.lvd142m"),
    "general_ad": TokenModel(518, ("1",), first=1),
    "inp_former": TokenModel(392, EIGHT_BLOCKS, class_token=True),
    "l2bt": TokenModel(224, ("blocks.7", "blocks.11"), asked="vit_base_patch14_reg4_dinov2"),
    "patchflow": TokenModel(256, cuts=True, maps=("layer2", "layer3", "layer4")),
    "rad": TokenModel(448, ("blocks.3", "blocks.6", "blocks.9", "blocks.11"), class_token=True),
    "super_add": TokenModel(448, ("blocks.3", "blocks.5", "blocks.8", "blocks.10")),
}


def check_tokens(method: str, net: Network, settings: Mapping[str, object]) -> None:
    """Refuse a network whose tokens a model would not or not rightly read.

    Raises:
        EvaluationError: with the reason, and a network or a setting that would do.
    """
    name, side, tokens = method.rpartition(":")[2], int(str(settings["image_size"])), tokens_of(net.name)
    if tokens is None:
        raise EvaluationError(
            f"{method} takes the tokens of a plain transformer, and {net.name} gives none on one grid of any size: use "
            "--model vit_tiny_patch16_224, deit_tiny_patch16_224, vit_small_patch14_dinov2 or another"
        )
    if MODELS[name].class_token and not tokens.class_token:
        raise EvaluationError(f"{method} reads a class token, and {net.name} has none: use another --model")
    if not MODELS[name].cuts:
        net.check_side(side)
    if name == "general_ad" and tokens.rotary and tokens.prefix != 1:
        raise EvaluationError(
            f"{method} leaves out one token before the grid of networks that turn theirs by position, and {net.name} "
            f"has {tokens.prefix}: use another --model"
        )
    if name == "super_add":
        tile, overlap = (int(str(settings[key])) for key in ("patch_size", "patch_overlap"))
        if tile % tokens.patch or overlap % tokens.patch or not 0 < 2 * overlap < tile <= side:
            good = min(tile, side) // tokens.patch * tokens.patch
            raise EvaluationError(
                f"{method} cuts pictures of {side} px into tiles of patch_size = {tile} that overlap by patch_overlap "
                f"= {overlap}, which must be multiples of the {tokens.patch} px of {net.name}'s patches and fit in: "
                f"use patch_size = {good} and patch_overlap = {tokens.patch}"
            )


@contextlib.contextmanager
def known_as_small(name: str, tokens: Tokens) -> Iterator[None]:
    """While it lasts, the tables of one of Anomalib's models say of small networks what the given one is like."""
    from unittest import mock

    with contextlib.ExitStack() as stack:
        for table in vars(importlib.import_module(f"anomalib.models.image.{name}.torch_model")).values():
            row = table.get("small") if isinstance(table, dict) else None
            if isinstance(row, int):
                stack.enter_context(mock.patch.dict(table, small=tokens.depth))
            elif isinstance(row, dict):
                own = row | {"embed_dim": tokens.width, "num_heads": tokens.heads}
                stack.enter_context(mock.patch.dict(table, small=own))
        yield
