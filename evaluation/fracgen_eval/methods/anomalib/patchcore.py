"""PatchCore with a bank that is kept once, and a nearest-neighbour search that does not depend on the batch."""

from __future__ import annotations

import functools
from typing import Any

from fracgen_eval.methods.anomalib.parts import Parts
from fracgen_eval.methods.coreset import select_coreset

QUERIES = 512
"""Patches compared with the bank at once."""


class PatchStore:
    """Embeddings in the place of PatchCore's list of them, in one tensor from the beginning.

    Anomalib stacks its list, which takes the memory of all patches twice.
    """

    def __init__(self, patches: int) -> None:
        self.patches = patches
        """Of an image."""
        self.number = 0
        """How many images will come."""
        self._rows: Any = None
        self._filled = 0

    def __len__(self) -> int:
        return self._filled

    def expect(self, number: int) -> None:
        """Forget what is there; so many images will come."""
        self.number, self._rows, self._filled = number, None, 0

    def append(self, embedding: Any) -> None:
        """Take the patches [B P, D] of a batch of B images."""
        if self._rows is None:
            self._rows = embedding.new_empty((self.number * self.patches, embedding.shape[1]))
        self._rows[self._filled : self._filled + len(embedding)] = embedding.detach()
        self._filled += len(embedding)

    def take(self) -> Any:
        """All patches, [N P, D]; the store is empty afterwards."""
        rows, self._rows, self._filled = self._rows, None, 0
        return rows


def build_patchcore(parts: Parts) -> Any:
    """PatchCore on the stages."""
    from anomalib.models import Patchcore

    module: Any = Patchcore(
        parts.network.name, parts.layers, pre_trained=False, coreset_sampling_ratio=parts.settings["coreset"],
        num_neighbors=parts.settings["neighbours"], **parts.lightning,
    )  # fmt: skip
    model = module.model
    model.nearest_neighbors = functools.partial(_nearest, model)
    _, height, width = parts.network.maps(parts.side)[parts.stages[0].layer]
    model.embedding_store = PatchStore(height * width)
    model.subsample_embedding = functools.partial(_subsample, model)
    return module


def _subsample(model: Any, sampling_ratio: float) -> None:
    """Make the bank of the patches' coreset."""
    rows = model.embedding_store.take()
    model.memory_bank = rows[select_coreset(rows, sampling_ratio)]


def _nearest(model: Any, embedding: Any, n_neighbors: int) -> tuple[Any, Any]:
    """Anomalib's search in a steadier order: distances [Q, k] of queries [Q, D] to the bank, and where.

    |x|^2 + |y|^2 - 2xy cancels, so Anomalib's distances change in the fifth digit with the batch. Here the
    product only finds the neighbours, in one buffer; the distances to these few are taken directly.
    """
    import torch

    centre = model.memory_bank.mean(0)
    bank = model.memory_bank - centre
    length, bank = (bank**2).sum(1), bank.T * -2
    apart = embedding.new_empty((QUERIES, bank.shape[1]))
    scores, places = [], []
    for part in embedding.split(QUERIES):
        found = torch.addmm(length, part - centre, bank, out=apart[: len(part)])
        near = found.argmin(1, keepdim=True) if n_neighbors == 1 else found.topk(n_neighbors, largest=False).indices
        distance = (part[:, None] - model.memory_bank[near]).norm(dim=2)
        distance, order = distance.sort(dim=1, stable=True)
        scores.append(distance)
        places.append(near.gather(1, order))
    distances, where = torch.cat(scores), torch.cat(places)
    return (distances[:, 0], where[:, 0]) if n_neighbors == 1 else (distances, where)
