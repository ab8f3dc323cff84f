"""PatchCore with a bank that is kept once, and a nearest-neighbour search that does not depend on the batch."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Unpack

from fracgen_eval.errors import EvaluationError
from fracgen_eval.images import Geometry
from fracgen_eval.methods.base import Count, Layers, Share
from fracgen_eval.methods.coreset import select_coreset
from fracgen_eval.methods.engine import AnomalibMethod, Common, LayeredSettings
from fracgen_eval.methods.neighbours import FewDimensions, nearest
from fracgen_eval.weights.network import Network

if TYPE_CHECKING:
    from anomalib.models.components import AnomalibModule
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel
    from torch import Tensor

PAPER_CROP = 224
"""Of 256 pixels: the centre crop at the time of the paper."""


@dataclass(frozen=True, kw_only=True)
class PatchCoreSettings(LayeredSettings):
    """PatchCore's."""

    layers: Layers = ("layer2", "layer3")
    coreset: Share = 0.1
    neighbours: Count = 9

    method = "patchcore"
    least_side = 17
    """Anomalib blurs maps with a margin of 16 px."""

    @property
    def geometry(self) -> Geometry:
        whole = super().geometry
        return replace(whole, crop=round(whole.resize * PAPER_CROP / 256)) if self.protocol == "paper" else whole

    def check(self, net: Network, images: int) -> None:
        super().check(net, images)
        _, height, width = net.maps(self.geometry.side)[self.stages(net)[0].layer]
        if int((patches := images * height * width) * self.coreset) < 1:
            raise EvaluationError(
                f"patchcore.coreset = {self.coreset:g} of the {patches} patches of {images} training images is no "
                f"patch: use {1 / patches:.2g} or more, or a larger image_size"
            )


class PatchCore(AnomalibMethod[PatchCoreSettings]):
    """The patches of all training images, of which a coreset is kept."""

    def built(self, **common: Unpack[Common]) -> AnomalibModule:
        """Anomalib's, with another store, coreset and search in it."""
        from anomalib.models import Patchcore

        own, net = self.settings, self.weights.network
        module = Patchcore(
            self.backbone, net.by_name(self.stages), coreset_sampling_ratio=own.coreset, num_neighbors=own.neighbours,
            **common,
        )  # fmt: skip
        model = module.model
        _, height, width = net.maps(self.geometry.side)[self.stages[0].layer]
        self.store = PatchStore(height * width)
        vars(model).update(
            embedding_store=self.store, subsample_embedding=functools.partial(_subsample, model, self.store),
            nearest_neighbors=_Search(model),
        )  # fmt: skip
        return module

    def expect(self, images: int) -> None:
        self.store.expect(images)


class PatchStore:
    """Embeddings in the place of PatchCore's list of them, in one tensor from the beginning.

    Anomalib stacks its list, which takes the memory of all patches twice.
    """

    def __init__(self, patches: int) -> None:
        self.patches = patches
        """Of an image."""
        self.number = 0
        """How many images will come."""
        self._rows: Tensor | None = None
        self._filled = 0

    def __len__(self) -> int:
        return self._filled

    def expect(self, number: int) -> None:
        """Forget what is there; so many images will come."""
        self.number, self._rows, self._filled = number, None, 0

    def append(self, embedding: Tensor) -> None:
        """Take the patches [B P, D] of a batch of B images."""
        if self._rows is None:
            self._rows = embedding.new_empty((self.number * self.patches, embedding.shape[1]))
        self._rows[self._filled : self._filled + len(embedding)] = embedding.detach()
        self._filled += len(embedding)

    def take(self) -> Tensor:
        """All patches, [N P, D]; the store is empty afterwards."""
        rows, self._rows, self._filled = self._rows, None, 0
        assert rows is not None
        return rows


def _subsample(model: PatchcoreModel, store: PatchStore, sampling_ratio: float) -> None:
    """Make the bank of the patches' coreset."""
    rows = store.take()
    model.memory_bank = rows[select_coreset(rows, sampling_ratio)]


class _Search:
    """Anomalib's search in a steadier order: distances [Q, k] of queries [Q, D], and where; both [Q] if k is 1."""

    def __init__(self, model: PatchcoreModel) -> None:
        self.model = model
        self.few: FewDimensions | None = None

    def __call__(self, embedding: Tensor, n_neighbors: int) -> tuple[Tensor, Tensor]:
        bank = self.model.memory_bank
        if embedding.device.type == "cpu" and (self.few is None or self.few.bank is not bank):
            self.few = FewDimensions(bank)
        found, places = nearest(bank, self.few, embedding, n_neighbors)
        return (found[:, 0], places[:, 0]) if n_neighbors == 1 else (found, places)
