"""What a method is to the grid: frozen settings, and a class that fits on normal images, then judges others."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol, Self, TypeAlias, get_type_hints

import numpy as np
from numpy.typing import NDArray

from fracgen.support.decode import decode, shown
from fracgen_eval.errors import EvaluationError
from fracgen_eval.images import Geometry
from fracgen_eval.weights.backbones import Weights
from fracgen_eval.weights.network import Network, Stage

if TYPE_CHECKING:
    from torch import Tensor, nn

PREDICT_BATCH = 16
Table: TypeAlias = dict[str, object]
"""A method's settings as a cell's file has them, by name: those of all variants, also what this one does not read."""
Layers: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Limits:
    """Of a number: above 0, or from 0 on, up to `most`."""

    most: float = math.inf
    zero: bool = False


Count: TypeAlias = Annotated[int, Limits()]
CountOrNone: TypeAlias = Annotated[int, Limits(zero=True)]
Rate: TypeAlias = Annotated[float, Limits()]
Share: TypeAlias = Annotated[float, Limits(1)]
# What takes memory by its size alone, of which more comes from a slip, or from a file that means harm:
Side: TypeAlias = Annotated[int, Limits(2048)]
"""Of pictures, in pixels."""
Batch: TypeAlias = Annotated[int, Limits(4096)]
Depth: TypeAlias = Annotated[int, Limits(64)]
"""Blocks of a flow."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A method's settings; its fields are what the method reads, with their usual values.

    A method whose options exclude each other has a class of settings for each of its variants.

    Raises:
        EvaluationError: a number is out of range, or no layer is named.
    """

    method: ClassVar[str]
    maps: ClassVar[bool] = True
    """Whether the method gives anomaly maps, not scores of whole images alone."""
    when: ClassVar[str] = ""
    """What is set where this variant is meant, for messages."""
    fixed: ClassVar[Table] = {}
    """Settings of other variants that have this value in this one."""
    trial: ClassVar[Table] = {}
    """`--limit small`: too short to be a result, long enough to show that everything works."""
    retired: ClassVar[Table] = {}
    """Former settings with the values that cells' files go on to have, so that finished cells are found."""
    least_side: ClassVar[int] = 1
    """Of pictures, in pixels."""
    least_images: ClassVar[int] = 1

    def __post_init__(self) -> None:
        kinds = get_type_hints(type(self), include_extras=True)
        for name, value in vars(self).items():
            if value == ():
                raise EvaluationError(f"{self.method}.{name} is empty: name layers of the network")
            for limits in getattr(kinds[name], "__metadata__", ()):
                if value < 0 or (value == 0 and not limits.zero):
                    raise EvaluationError(f"{self.method}.{name} = {value} is out of range: use a number above 0")
                if value > limits.most:
                    raise EvaluationError(
                        f"{self.method}.{name} = {shown(value)} is out of range: use {limits.most:g} at most"
                    )

    @classmethod
    def reads(cls, table: Table) -> bool:
        """Whether a table means this variant."""
        return True

    @classmethod
    def defaults(cls) -> Table:
        """The usual values, as a cell's file has them."""
        stored = [f for f in dataclasses.fields(cls) if "stored" not in f.metadata]
        return {f.name: list(f.default) if isinstance(f.default, tuple) else f.default for f in stored}

    @classmethod
    def read(cls, table: Mapping[str, object]) -> Self:
        """The settings out of a table that may hold others too.

        Raises:
            EvaluationError: a value is of the wrong kind or out of range.
        """
        kinds, usual = get_type_hints(cls), cls.defaults()
        try:
            values = {name: decode(kinds[name], table[name], f"{cls.method}.{name}") for name in usual if name in table}
        except ValueError as error:
            raise EvaluationError(str(error)) from None
        return cls(**values)

    def idle(self, name: str) -> str:
        """With what a setting is read, where these settings do not read it; empty where they do."""
        return ""

    @property
    def geometry(self) -> Geometry:
        """How pictures are brought to the method's size."""
        raise NotImplementedError

    def stages(self, net: Network) -> tuple[Stage, ...]:
        """The stages whose features are taken; of methods that take the pooled feature none.

        Raises:
            EvaluationError: the method cannot work with that network.
        """
        self.check_sizes()
        net.check_side(self.geometry.side)
        return ()

    def check_sizes(self) -> None:
        """Raises EvaluationError for sizes that no network would make up for."""
        if (side := self.geometry.side) < self.least_side:
            raise EvaluationError(
                f"{self.method} needs pictures of {self.least_side} px or more, and these have {side}: set image_size"
            )

    def check(self, net: Network, images: int) -> None:
        """Refuse before work begins what could not be fitted on so many images.

        Raises:
            EvaluationError: there are too few images, or settings or network do not fit them or each other.
        """
        self.stages(net)
        if images < self.least_images:
            raise EvaluationError(
                f"{self.method} needs {self.least_images} training images or more, and there are {images}: add some"
            )


@dataclass(frozen=True)
class Prediction:
    """What a method says about N images; higher is more anomalous, units are the method's own."""

    scores: NDArray[np.float32]
    """[N]."""
    maps: NDArray[np.float32] | None = None
    """[N, side, side]; None from methods that judge whole images."""
    beside: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """Scores [N] of variants to be reported beside the method, by name."""


@dataclass(frozen=True)
class Watch:
    """Test images to look at after each epoch: the `paper` protocol's early stopping, which is leakage."""

    images: Tensor
    """uint8 [N, 3, side, side]."""
    score: Callable[[Prediction], float]
    """The number to be made large, such as pixel AUROC."""


class Method(Protocol):
    """An anomaly detection method with a backbone of known weights."""

    geometry: Geometry
    weights: Weights

    def fit(self, images: Tensor, watch: Watch | None = None) -> Table:
        """Fit on normal images, uint8 [N, 3, side, side]; returns facts to record, such as epochs run."""

    def predict(self, images: Tensor, batch: int = PREDICT_BATCH) -> Prediction:
        """Judge images, uint8 [N, 3, side, side]."""

    def frozen(self) -> dict[str, Tensor]:
        """The pre-trained tensors in use that fitting never changes, with the weights file's names."""

    def state(self) -> dict[str, Tensor]:
        """Every tensor that `restore` needs to judge alike, on the CPU."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up a fitted state."""


def batches(images: Tensor, size: int) -> Iterator[Tensor]:
    """Consecutive parts of at most `size` images."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def normalised(images: Tensor, weights: Weights, device: str) -> Tensor:
    """float32 [B, 3, H, W] on the device, as the backbone saw its training images."""
    import torch

    mean = torch.tensor(weights.normalisation.mean, device=device)[:, None, None]
    std = torch.tensor(weights.normalisation.std, device=device)[:, None, None]
    return (images.to(device).float() / 255 - mean) / std


def pooled(network: nn.Module, images: Tensor, weights: Weights, device: str, batch: int) -> Tensor:
    """float64 [N, D] on the device: what a classifier would see of images, uint8 [N, 3, side, side]."""
    import torch

    network.eval()
    with torch.no_grad():
        return torch.cat([network(normalised(part, weights, device)) for part in batches(images, batch)]).double()


def on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors on the CPU."""
    return {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
