"""PaDiM, its Gaussians block by block: less than half of the memory that Anomalib's own take, and no `linalg.inv`.

Anomalib keeps the embeddings of all training images twice over and all covariances three times (more than 18 GB
with wide_resnet50_2 at 256 pixels), and batched `linalg.inv` was seen to hang on CPUs with several threads.
Here embeddings are kept by blocks of places, each of which is let go once it is a Gaussian, so that they and
the inverse covariances are never there together in full. The covariances are positive definite, so their
Cholesky factors give the inverses. The numbers are those of all places at once, to the last bit.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods.base import CountOrNone
from fracgen_eval.methods.engine import AnomalibMethod, Common, LayeredSettings
from fracgen_eval.weights.network import Network, Stage

if TYPE_CHECKING:
    from anomalib.models.components import AnomalibModule
    from anomalib.models.image.padim.torch_model import PadimModel
    from torch import Tensor

USUAL = {"resnet50": 550, "wide_resnet50_2": 550}
USUAL_ELSEWHERE = 100
"""Features that are kept by default, as its paper's of a ResNet-18; all, where there are fewer."""
BLOCK_BYTES = 64 << 20
PLACES = 64
"""Blocks are of a multiple of so many places: sums over images then run in the order they have over all places."""
DIAGONAL = 0.01 + 1e-5
"""What Anomalib adds to the diagonal, in two steps."""


@dataclass(frozen=True, kw_only=True)
class PadimSettings(LayeredSettings):
    """PaDiM's."""

    features: CountOrNone = 0
    """How many of the stages' channels are kept, drawn by the seed; 0: as usual for the network."""

    method = "padim"
    least_side = 17
    """Anomalib blurs maps with a margin of 16 px."""

    def stages(self, net: Network) -> tuple[Stage, ...]:
        stages = super().stages(net)
        if self.features > (width := sum(stage.channels for stage in stages)):
            raise EvaluationError(f"padim.features = {self.features}: the layers of {net.name} have {width} in all")
        return stages

    def kept(self, net: Network) -> int:
        """How many of the stages' channels are kept."""
        width = sum(stage.channels for stage in net.chosen(self.layers))
        return self.features or min(width, USUAL.get(net.name, USUAL_ELSEWHERE))


class Padim(AnomalibMethod[PadimSettings]):
    """A Gaussian for each place."""

    def built(self, **common: Unpack[Common]) -> AnomalibModule:
        """Anomalib's, with blocks of places in it."""
        from anomalib.models import Padim as Theirs

        net = self.weights.network
        module = Theirs(self.backbone, net.by_name(self.stages), n_features=self.settings.kept(net), **common)
        self.blocks = PlaceBlocks()
        vars(module.model).update(memory_bank=self.blocks, fit=functools.partial(_fit, module.model, self.blocks))
        return module

    def expect(self, images: int) -> None:
        self.blocks.expect(images)


class PlaceBlocks:
    """Embeddings of images in the place of PaDiM's list of them, by blocks of places."""

    def __init__(self) -> None:
        self.number = 0
        """How many images will come."""
        self._filled = 0
        self._blocks: list[Tensor] = []
        """Of some places each, [N, C, places]: an allocation of its own, so that it can be returned."""

    def __len__(self) -> int:
        return self._filled

    def expect(self, number: int) -> None:
        """Forget what is there; so many images will come."""
        self.number, self._filled, self._blocks = number, 0, []

    def append(self, embedding: Tensor) -> None:
        """Take the embedding [B, C, H, W] of a batch."""
        vectors = embedding.detach().flatten(2)
        channels, places = vectors.shape[1:]
        step = max(1, BLOCK_BYTES // (4 * channels * channels * PLACES)) * PLACES
        if not self._blocks:
            widths = [min(step, places - start) for start in range(0, places, step)]
            self._blocks = [vectors.new_empty((self.number, channels, width)) for width in widths]
        for block, part in zip(self._blocks, vectors.split(step, dim=2), strict=True):
            block[self._filled : self._filled + len(part)] = part
        self._filled += len(vectors)

    def gaussians(self) -> tuple[Tensor, Tensor]:
        """Means [C, P] and inverse covariances [P, C, C] of all places; each block is let go once it is Gaussians."""
        import torch

        total, channels, start = sum(block.shape[2] for block in self._blocks), self._blocks[0].shape[1], 0
        means, inverse = [], self._blocks[0].new_empty((total, channels, channels))
        identity = torch.eye(channels, device=inverse.device) * DIAGONAL
        while self._blocks:
            vectors = self._blocks.pop(0)
            means.append(vectors.mean(0))
            block = (vectors - means[-1]).permute(2, 1, 0)
            covariance = block @ block.mT / max(len(vectors) - 1, 1) + identity
            inverse[start : start + len(block)] = torch.cholesky_inverse(torch.linalg.cholesky(covariance))
            start += len(block)
        return torch.cat(means, 1), inverse


def _fit(model: PadimModel, blocks: PlaceBlocks) -> None:
    model.gaussian.mean, model.gaussian.inv_covariance = blocks.gaussians()
