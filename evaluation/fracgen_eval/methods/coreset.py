"""PatchCore's coreset: greedy k-center (Sener and Savarese, ICLR 2018; Roth et al., CVPR 2022) without most distances.

Each step takes the patch that is farthest from all patches taken so far. Distances to those only shrink, so a distance
to the first few of them is an upper bound of the final one. Only patches whose bound reaches the current maximum are
kept exact; the others are compared, many centers at once, when the maximum has come down to their bound. That
comparison first takes place in few dimensions, where no distance is longer than the true one. The distances
that remain are computed as Anomalib computes them, so the patches are the same to the last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fracgen_eval.methods.neighbours import PAIRS, FewDimensions, distances
from fracgen_eval.methods.quiet import quiet

if TYPE_CHECKING:
    from torch import Tensor

ACTIVE, ACTIVE_SHARE = 256, 64
"""Patches that are kept exact at a time: so many, or one in so many of all, whichever is more."""
BLOCK = 1024
"""Patches compared with all new centers at once: 4 MB for 1,000 centers."""


def select_coreset(embeddings: Tensor, ratio: float) -> Tensor:
    """The patches that Anomalib's `KCenterGreedy` selects, from the same random draws.

    Args:
        embeddings: float [N, D], one row a patch, on any device.
        ratio: share of the patches to select, in (0, 1].

    Returns:
        int64 [M], places of the M = floor(N ratio) patches, in the order in which they were selected; the first is
        random, as is the projection of the embeddings in which distances are measured.

    Raises:
        ValueError: the share is out of range or holds no patch, or an embedding is not finite.

    >>> import torch
    >>> rows = torch.tensor([[0.0], [0.1], [5.0], [9.0]])
    >>> sorted(select_coreset(rows, 0.75).tolist()) in ([0, 2, 3], [1, 2, 3])
    True
    """
    import torch

    with quiet():
        from anomalib.models.components.dimensionality_reduction import SparseRandomProjection

    size = int(len(embeddings) * ratio)
    if not 0 < ratio <= 1 or size < 1:
        raise ValueError(f"a coreset of {ratio:g} of {len(embeddings)} patches: use a share up to 1 that holds a patch")
    if not bool(torch.isfinite(embeddings).all()):
        raise ValueError("embeddings hold NaN or infinity: check the weights")
    features = SparseRandomProjection(eps=0.9).fit(embeddings).transform(embeddings)
    first = torch.randint(high=len(embeddings), size=(1,), device=embeddings.device)
    return _farthest_first(features, first, size)


def _farthest_first(features: Tensor, first: Tensor, size: int) -> Tensor:
    """Places int64 [size] of rows of features [N, D]: the one at `first` [1], then always the farthest one."""
    import torch

    chosen = first.repeat(size)
    bounds = distances(features, features[first])
    compared = torch.ones_like(bounds, dtype=torch.long)  # with so many of the chosen, from the first on
    active_number = max(ACTIVE, len(features) // ACTIVE_SHARE)
    refresh = _Refresh(features)
    number = 1
    while number < size:
        threshold = bounds.topk(min(active_number, len(bounds))).values[-1]
        active = torch.nonzero(bounds >= threshold).flatten()  # rising, so that the first of equals is taken
        refresh(active[compared[active] < number], chosen[:number], compared, bounds)
        rows, exact = features[active], bounds[active]
        while number < size:
            farthest = exact.max(0)
            if farthest.values < threshold:  # a row that is not active may be farther
                break
            chosen[number] = active[farthest.indices]
            exact[farthest.indices] = 0.0
            exact = torch.minimum(exact, distances(rows, features[chosen[number]]))
            number += 1
        bounds[active], compared[active] = exact, number
    return chosen


class _Refresh:
    """Brings bounds up to date."""

    def __init__(self, features: Tensor) -> None:
        self.features, self.few = features, FewDimensions(features)
        self.left, self.half = self.few.left(features)

    def __call__(self, stale: Tensor, chosen: Tensor, compared: Tensor, bounds: Tensor) -> None:
        """Lower the bounds [N] of the rows `stale` [S] to their distances from all that are chosen [K]."""
        import torch

        for part in stale.split(BLOCK) if len(stale) else ():
            centers = chosen[int(compared[part].min()) :]
            products = self.left[part] @ self.few.right[centers].T
            likely = centers[products.argmax(1)]
            bounds[part] = torch.minimum(bounds[part], distances(self.features[part], self.features[likely]))
            least = self.few.least(self.half[part], bounds[part])
            row, column = torch.nonzero(products >= least[:, None], as_tuple=True)
            for start in range(0, len(row), PAIRS):
                ours, theirs = part[row[start : start + PAIRS]], centers[column[start : start + PAIRS]]
                bounds.scatter_reduce_(0, ours, distances(self.features[ours], self.features[theirs]), "amin")
