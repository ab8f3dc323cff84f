"""Cross-fitting: every normal picture is judged by a model that was not fitted on it.

Pictures are dealt into folds, and a model is fitted without each of them; frozen features are computed once. The model
without the first fold is kept, as it has seen as many pictures as those that judged the normal ones: its scores and
theirs are distributed alike. PatchCore's memory is made of parts, the coreset of each fold's patches, and a model is
the memory without a part.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.methods import Method
from fracgen_eval.methods.anomalib.quiet import quiet, seeded
from fracgen_eval.methods.base import PREDICT_BATCH, batches, normalised

if TYPE_CHECKING:
    import torch

    from fracgen_eval.methods.anomalib.method import AnomalibMethod

FOLDS, FOLDS_TRAINED = 10, 5
"""Folds of methods that go through the pictures once; and of those that train, each of which is a training."""
ONE_PASS = ("patchcore", "padim", "panda", "anomalib:dfm", "anomalib:dfkde", "anomalib:mh_patchcore")
FOLDS_STREAM = 0xF01D5
"""Second word of the seed that deals pictures into folds."""
CACHE_BYTES = 2 << 30
"""Of remembered features; those of more pictures are computed again."""


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
    remember, folds, method = _Features(), int(fold_of.max()) + 1, build()
    if folds == 1:
        method.fit(images)
        return method
    with remember.of(method):
        parts = _coresets(method, images, fold_of) if _is_patchcore(method) else None
    for fold in reversed(range(folds)):
        if parts is None:
            method = build()
        with remember.of(method):
            if parts is None:
                method.fit(images[fold_of != fold])
            else:
                _remember_without(method, parts, fold)
            judge(method, fold)
    return method


def _is_patchcore(method: Method) -> bool:
    from fracgen_eval.methods.anomalib.method import AnomalibMethod

    return isinstance(method, AnomalibMethod) and method.name == "patchcore"


def _coresets(method: Method, images: torch.Tensor, fold_of: NDArray[np.intp]) -> list[torch.Tensor]:
    """The coreset of each fold's patches, [rows, D] each: for k folds in a k-th of the time of one coreset of all."""
    import torch

    patchcore = cast("AnomalibMethod", method)
    model, parts = patchcore.module.model, []
    patchcore.module.to(patchcore.device)
    model.train()
    model.feature_extractor.eval()
    with quiet(), seeded(patchcore.seed), torch.no_grad():
        for fold in range(int(fold_of.max()) + 1):
            some = images[fold_of == fold]
            model.embedding_store.expect(len(some))
            for batch in batches(some, PREDICT_BATCH):
                model(normalised(batch, patchcore.weights, patchcore.device))
            model.subsample_embedding(patchcore.settings["coreset"])
            parts.append(model.memory_bank)
    patchcore.module.eval()
    return parts


def _remember_without(method: Method, parts: list[torch.Tensor], fold: int) -> None:
    import torch

    model = cast("AnomalibMethod", method).module.model
    model.memory_bank = torch.cat([part for n, part in enumerate(parts) if n != fold])


@contextlib.contextmanager
def remembering() -> Iterator[Callable[[Method], Method]]:
    """A function that lets methods, which it returns, share the features of their frozen network until the end."""
    features = _Features()
    with contextlib.ExitStack() as stack:

        def remember(method: Method) -> Method:
            stack.enter_context(features.of(method))
            return method

        yield remember


class _Features:
    """Outputs of a frozen network for pictures that it has seen, on a CPU."""

    def __init__(self) -> None:
        self._known: dict[bytes, list[torch.Tensor]] = {}
        self._bytes, self._listed = 0, False

    @contextlib.contextmanager
    def of(self, method: Method) -> Iterator[None]:
        """Let a method's frozen network, if it has one, answer from memory where it can."""
        network = _frozen_network(method)
        if network is None or next(network.parameters()).is_cuda:
            yield
            return
        compute = network.forward
        network.forward = lambda images: self._recalled(compute, images)
        try:
            yield
        finally:
            network.forward = compute

    def _recalled(self, compute: Callable[[torch.Tensor], object], images: torch.Tensor) -> object:
        import torch

        keys = [hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest() for image in images]
        if all(key in self._known for key in keys):
            columns = [torch.stack(column) for column in zip(*(self._known[key] for key in keys), strict=True)]
            return columns if self._listed else columns[0]
        found = compute(images)
        self._listed = isinstance(found, list)
        columns = cast("list[torch.Tensor]", found if self._listed else [found])
        self._bytes += sum(column.nbytes for column in columns)
        if self._bytes <= CACHE_BYTES:
            self._known |= {key: [column[n] for column in columns] for n, key in enumerate(keys)}
        return found


def _frozen_network(method: Method) -> torch.nn.Module | None:
    from fracgen_eval.methods.anomalib.method import AnomalibMethod
    from fracgen_eval.methods.anomalib.models import frozen_network
    from fracgen_eval.methods.panda import Panda

    if isinstance(method, AnomalibMethod):
        network: torch.nn.Module = frozen_network(method.name, method.module)
        return network
    if isinstance(method, Panda) and method.settings["variant"] == "dn2":
        return cast("torch.nn.Module", method.network)
    return None
