"""PatchCore with a nearest-neighbour search whose distances do not depend on the batch."""

from __future__ import annotations

import functools
from typing import Any

from fracgen_eval.methods.anomalib.parts import Parts


def build_patchcore(parts: Parts) -> Any:
    """PatchCore on the stages."""
    from anomalib.models import Patchcore
    from anomalib.models.components.sampling import k_center_greedy

    # The bar of the coreset's selection cannot be switched off from outside.
    greedy: Any = k_center_greedy
    if not isinstance(greedy.tqdm, functools.partial):
        greedy.tqdm = functools.partial(greedy.tqdm, disable=True)
    module: Any = Patchcore(
        parts.network.name, parts.layers, pre_trained=False, coreset_sampling_ratio=parts.settings["coreset"],
        num_neighbors=parts.settings["neighbours"], **parts.lightning,
    )  # fmt: skip
    module.model.nearest_neighbors = functools.partial(_nearest, module.model)
    return module


def _nearest(model: Any, embedding: Any, n_neighbors: int) -> tuple[Any, Any]:
    """Anomalib's search in a steadier order: distances [Q, k] of queries [Q, D] to the bank, and where.

    |x|^2 + |y|^2 - 2xy cancels, so Anomalib's distances change in the fifth digit with the batch. Here the
    product only finds the neighbours; the distances to these few are taken directly.
    """
    import torch

    centre = model.memory_bank.mean(0)
    bank = model.memory_bank - centre
    length = (bank**2).sum(1)
    scores, places = [], []
    for part in embedding.split(1024):
        near = (length - 2 * (part - centre) @ bank.T).topk(n_neighbors, largest=False).indices
        distance = (part[:, None] - model.memory_bank[near]).norm(dim=2)
        distance, order = distance.sort(dim=1, stable=True)
        scores.append(distance)
        places.append(near.gather(1, order))
    found, where = torch.cat(scores), torch.cat(places)
    return (found[:, 0], where[:, 0]) if n_neighbors == 1 else (found, where)
