"""AnomalyDINO and RAD: the tokens of pictures beside those of all training pictures; nothing is trained.

Both are Anomalib's own, through the adapter for its other models. Their settings stand here, as those of the report's
methods do, and do not change with a release of Anomalib.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from fracgen_eval.methods.base import Count, CountOrNone, Layers, Limits, Share, Side
from fracgen_eval.methods.others import OtherSettings
from fracgen_eval.methods.tokens import MODELS


@dataclass(frozen=True, kw_only=True)
class AnomalyDinoSettings(OtherSettings):
    """AnomalyDINO's; the image score is the mean of the worst hundredth of the patches."""

    image_size: Side = MODELS["anomaly_dino"].side
    num_neighbours: Count = 1
    masking: bool = False
    """Whether patches of the background are left out, by the first principal component of the tokens."""
    coreset_subsampling: bool = False
    sampling_ratio: Share = 0.1

    method = "anomaly_dino"
    arguments: ClassVar[Layers] = ("num_neighbours", "masking", "coreset_subsampling", "sampling_ratio")
    least_side = 17
    """Anomalib blurs maps with a margin of 16 px."""


@dataclass(frozen=True, kw_only=True)
class RadSettings(OtherSettings):
    """RAD's; the image score is the mean of the worst hundredth of the map."""

    image_size: Side = MODELS["rad"].side
    layers: Layers = MODELS["rad"].layers
    k_image: Count = 150
    """Number of training pictures that a picture's patches are compared with: those of the nearest class tokens."""
    use_positional_bank: bool = True
    pos_radius: CountOrNone = 1
    """Distance up to which patches are compared, in patches."""
    max_ratio: Annotated[float, Limits(1, zero=True)] = 0.01
    """Share of the map that makes the image score; 0: its maximum."""

    method = "rad"
    arguments: ClassVar[Layers] = ("layers", "k_image", "use_positional_bank", "pos_radius", "max_ratio")
