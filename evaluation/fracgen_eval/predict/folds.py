"""Cross-fitting: every normal picture is judged by a model that was not fitted on it.

Pictures are dealt into folds, and a model is fitted without each of them. The model without the first fold is kept, as
it has seen as many pictures as those that judged the normal ones: its scores and theirs are distributed alike.
PatchCore and PaDiM compute features once. PatchCore's memory is made of parts, the coreset of each fold's patches, and
a model is the memory without a part.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.methods import Method
from fracgen_eval.methods.base import PREDICT_BATCH, batches, normalised
from fracgen_eval.methods.kept import kept_features
from fracgen_eval.methods.padim import Padim
from fracgen_eval.methods.patchcore import PatchCore
from fracgen_eval.methods.quiet import quiet, seeded

if TYPE_CHECKING:
    import torch
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

FOLDS, FOLDS_ELSEWHERE = 10, 5
"""Folds of PatchCore and PaDiM; and of the others, for which each fold is a whole fit."""
FOLDS_STREAM = 0xF01D5
"""Second word of the seed that deals pictures into folds."""


def usual_folds(method: str) -> int:
    """Number of folds where none is named."""
    return FOLDS if method in ("patchcore", "padim") else FOLDS_ELSEWHERE


def deal(pictures: int, folds: int, seed: int) -> NDArray[np.intp]:
    """The fold of each picture, [N]; at most as many folds as pictures.

    >>> sorted(deal(5, 2, seed=0).tolist())
    [0, 0, 0, 1, 1]
    """
    order = np.random.default_rng([seed, FOLDS_STREAM]).permutation(pictures)
    return order % min(folds, pictures)


def cross_fit(
    build: Callable[[], Method], images: torch.Tensor, fold_of: NDArray[np.intp], judge: Callable[[Method, int], None]
) -> Method:
    """Fit a method without each fold.

    Args:
        build: makes the method, not yet fitted.
        images: uint8 [T, 3, side, side], to fit on.
        fold_of: the fold of each, [T], from 0 on. One fold alone is not left out.
        judge: called with a model and the fold that it was not fitted on. The model must not be kept.

    Returns:
        The model to keep.
    """
    import torch

    method, folds = build(), int(fold_of.max()) + 1
    if folds == 1:
        method.fit(images)
        return method
    network = method.network if isinstance(method, (PatchCore, Padim)) else None
    with contextlib.nullcontext() if network is None else kept_features(network):
        parts = _coresets(method, images, fold_of) if isinstance(method, PatchCore) else []
        for fold in reversed(range(folds)):
            if isinstance(method, PatchCore):
                method.module.model.memory_bank = torch.cat([part for n, part in enumerate(parts) if n != fold])
            else:
                method = build()
                if isinstance(method, Padim) and network is not None:
                    vars(method.network)["forward"] = network.forward  # the same network, which knows the pictures
                method.fit(images[fold_of != fold])
            judge(method, fold)
    if isinstance(method, Padim):
        del vars(method.network)["forward"]
    return method


def _coresets(method: PatchCore, images: torch.Tensor, fold_of: NDArray[np.intp]) -> list[torch.Tensor]:
    """The coreset of each fold's patches, [rows, D] each: for k folds in a k-th of the time of one coreset of all."""
    import torch

    model, parts = cast("PatchcoreModel", method.module.model), list[torch.Tensor]()
    method.module.to(method.device).eval()
    with quiet(), seeded(method.seed), torch.no_grad():
        for fold in range(int(fold_of.max()) + 1):
            some = images[fold_of == fold]
            method.expect(len(some))
            model.training = True  # of this module alone, which then keeps its patches
            for batch in batches(some, PREDICT_BATCH):
                model(normalised(batch, method.weights, method.device))
            model.subsample_embedding(method.settings.coreset)
            parts.append(model.memory_bank)
    method.module.eval()
    return parts
