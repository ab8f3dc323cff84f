"""The CPU renderer: a formula's stages on Numba, threads over images."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fracgen.draws import Stream, seed_key, stream_byte
from fracgen.formulas.banks import Bank, check_formula
from fracgen.order import labels_of, order_keys, permute
from fracgen.recipes.recipe import Recipe
from fracgen.rendering.base import Rendered, check_positions, checked_epoch, checked_index
from fracgen.rendering.cpu.stages import Stages
from fracgen.rendering.parameters import Parameters
from fracgen.rendering.records import ObjectField, Samples
from fracgen.support.provenance import processors

CHUNK_PIXELS = 1 << 20
"""Pixels a thread takes through the stages together: enough to hide Python, little enough for cache."""

RunStage = Callable[[str, Callable[[], None]], None]


def stages_of(bank: Any, parameters: Parameters) -> Stages:
    """The stages that draw a bank's formula."""
    if bank.formula == "mandelbulb":
        from fracgen.rendering.cpu.mandelbulb.stages import MandelbulbStages

        return MandelbulbStages(bank, parameters)
    from fracgen.rendering.cpu.ifs.stages import IfsStages

    return IfsStages(bank, parameters)


class CpuRenderer:
    """Renders on the CPU.

    Args:
        bank: the codes.
        recipe: what to make of them.
        threads: default: one for every CPU this process may use.

    Raises:
        ValueError: the recipe draws another formula than the bank's.
    """

    def __init__(self, bank: Bank, recipe: Recipe, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads {threads} is out of range: use 1 or more")
        check_formula(bank, recipe)
        self.bank, self.recipe = bank, recipe
        self.threads = threads or processors()
        self.parameters = Parameters.of(recipe)
        self.formula = stages_of(bank, self.parameters)
        drawn = self.parameters.max_objects * (recipe.canvas * recipe.samples) ** 2
        pixels = self.parameters.views * max(recipe.size**2, drawn)
        self.chunk = max(1, min(16, CHUNK_PIXELS // pixels))

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, in the order in which they run."""
        return tuple(name for name in self.formula.names if self.parameters.noise or name not in ("noise", "backdrop"))

    def render(
        self, index: Any, *, seed: int = 0, epoch: int = 0, stream: int = Stream.TRAIN, masks: bool = False,
        run_stage: RunStage | None = None,
    ) -> Rendered:  # fmt: skip
        """See `Renderer.render`; arrays are NumPy's. `run_stage` is called with the name and the work of
        each stage of each chunk, on one thread, so that a benchmark can time them."""
        indices = checked_index(index)
        key0, key1 = map(np.uint32, seed_key(seed))
        samples = Samples(key0, key1, indices, np.uint32(checked_epoch(epoch)), np.uint32(stream_byte(stream)))
        batch, size, views = len(indices), self.parameters.size, self.parameters.views
        images = np.empty((batch, views, 3, size, size), np.uint8)
        shown = np.empty((batch if masks else 0, views, size, size), np.uint8)
        codes = np.empty((batch, self.parameters.max_objects), np.int32)

        chunks = [(first, min(first + self.chunk, batch)) for first in range(0, batch, self.chunk)]
        workers = min(self.threads, len(chunks)) if run_stage is None else 1
        queue = iter(chunks)  # shared: whoever is free takes the next chunk

        def work() -> None:
            space = self.formula.space(self.chunk)
            for first, last in queue:
                work_of = self.formula.work(samples, space, first, last, images, shown)
                for name in self.stages:
                    work_of[name]() if run_stage is None else run_stage(name, work_of[name])
                codes[first:last] = space.objects[: last - first, 0, :, ObjectField.CODE]

        if workers <= 1:
            work()
        else:
            with ThreadPoolExecutor(workers) as pool:
                for done in [pool.submit(work) for _ in range(workers)]:
                    done.result()
        return Rendered.of(images, codes, shown if masks else None)

    def order(
        self, first: int, count: int, size: int, *, seed: int = 0, epoch: int = 0, stream: int = Stream.TRAIN,
        stride: int = 1,
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:  # fmt: skip
        """See `Renderer.order`; arrays are NumPy's."""
        check_positions(first, count, size, stride)
        positions = np.arange(first, first + count * stride, stride, dtype=np.uint64)
        indices = permute(positions, size, order_keys(seed, epoch, stream))
        return indices, labels_of(indices, self.bank.classes)
