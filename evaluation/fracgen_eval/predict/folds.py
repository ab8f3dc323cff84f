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
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.methods import Method
from fracgen_eval.methods.base import PREDICT_BATCH, batches, normalised
from fracgen_eval.methods.padim import Padim
from fracgen_eval.methods.panda import Panda
from fracgen_eval.methods.patchcore import PatchCore
from fracgen_eval.methods.quiet import quiet, seeded

if TYPE_CHECKING:
    import torch
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    _Output: TypeAlias = torch.Tensor | dict[str, torch.Tensor]
    """Features, or those of each layer by name."""

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
    import torch

    remember, folds, method = _Features(), int(fold_of.max()) + 1, build()
    if folds == 1:
        method.fit(images)
        return method
    with remember.of(method):
        parts = _coresets(method, images, fold_of) if isinstance(method, PatchCore) else []
    for fold in reversed(range(folds)):
        if not isinstance(method, PatchCore):
            method = build()
        with remember.of(method):
            if isinstance(method, PatchCore):
                method.module.model.memory_bank = torch.cat([part for n, part in enumerate(parts) if n != fold])
            else:
                method.fit(images[fold_of != fold])
            judge(method, fold)
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
        self._known: dict[bytes, dict[str, torch.Tensor]] = {}
        self._bytes = 0

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

    def _recalled(self, compute: Callable[[torch.Tensor], _Output], images: torch.Tensor) -> _Output:
        import torch

        keys = [hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest() for image in images]
        if all(key in self._known for key in keys):
            found = {name: torch.stack([self._known[key][name] for key in keys]) for name in self._known[keys[0]]}
            return found.get("", found)
        output = compute(images)
        maps = output if isinstance(output, dict) else {"": output}
        self._bytes += sum(one.nbytes for one in maps.values())
        if self._bytes <= CACHE_BYTES:
            self._known |= {key: {name: one[n] for name, one in maps.items()} for n, key in enumerate(keys)}
        return output


def _frozen_network(method: Method) -> torch.nn.Module | None:
    if isinstance(method, (PatchCore, Padim)):
        return cast("torch.nn.Module", method.module.model.feature_extractor)
    if isinstance(method, Panda) and not method.adapted:
        return method.network
    return None
