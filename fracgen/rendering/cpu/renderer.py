"""The CPU renderer: the four stages on Numba, threads over images."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fracgen.draws import Stream, seed_key
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.order import labels_of, order_keys, permute
from fracgen.recipes.recipe import MAX_MAPS, Recipe
from fracgen.rendering.base import Rendered, check_positions, checked_epoch, checked_index
from fracgen.rendering.cpu.compose import compose_stage
from fracgen.rendering.cpu.ifs.attractor import attractor_stage
from fracgen.rendering.cpu.ifs.scout import scout_stage
from fracgen.rendering.cpu.noise import noise_stage
from fracgen.rendering.cpu.simd import LANES
from fracgen.rendering.parameters import ORBITS, Parameters
from fracgen.rendering.records import OBJECT_FIELDS, SCENE_FIELDS, TABLE_ROWS, Codes, ObjectField, Samples, Space

CHUNK_PIXELS = 1 << 20
"""Pixels a thread takes through the stages together: enough to hide Python, little enough for cache."""

RunStage = Callable[[str, Callable[[], None]], None]


class CpuRenderer:
    """Renders on the CPU.

    Args:
        bank: the codes.
        recipe: what to make of them.
        threads: default: one for every CPU this process may use.
    """

    def __init__(self, bank: CodeBank, recipe: Recipe, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads {threads} is out of range: use 1 or more")
        self.bank, self.recipe = bank, recipe
        self.threads = threads or len(os.sched_getaffinity(0))
        self.parameters = Parameters.of(recipe)
        self.codes = codes_of(bank)
        pixels = self.parameters.views * max(recipe.size**2, self.parameters.max_objects * recipe.canvas**2)
        self.chunk = max(1, min(16, CHUNK_PIXELS // pixels))

    STAGES = ("scout", "attractor", "noise", "compose")

    def render(
        self, index: Any, *, seed: int = 0, epoch: int = 0, stream: int = Stream.TRAIN, masks: bool = False,
        run_stage: RunStage | None = None,
    ) -> Rendered:  # fmt: skip
        """See `Renderer.render`; arrays are NumPy's. `run_stage` is called with the name and the work of
        each stage of each chunk, on one thread, so that a benchmark can time them."""
        indices = checked_index(index)
        key0, key1 = map(np.uint32, seed_key(seed))
        samples = Samples(key0, key1, indices, np.uint32(checked_epoch(epoch)), np.uint32(stream))
        batch, size, views = len(indices), self.parameters.size, self.parameters.views
        images = np.empty((batch, views, 3, size, size), np.uint8)
        shown = np.empty((batch if masks else 0, views, size, size), np.uint8)
        codes = np.empty((batch, self.parameters.max_objects), np.int32)

        chunks = [(first, min(first + self.chunk, batch)) for first in range(0, batch, self.chunk)]
        workers = min(self.threads, len(chunks)) if run_stage is None else 1
        queue = iter(chunks)  # shared: whoever is free takes the next chunk

        def work() -> None:
            space = make_space(self.parameters, self.chunk)
            for first, last in queue:
                for name, stage in self._stages(samples, space, first, last, images, shown):
                    stage() if run_stage is None else run_stage(name, stage)
                codes[first:last] = space.objects[: last - first, 0, :, ObjectField.CODE]

        if workers <= 1:
            work()
        else:
            with ThreadPoolExecutor(workers) as pool:
                for done in [pool.submit(work) for _ in range(workers)]:
                    done.result()
        squeeze = views == 1
        return Rendered(
            images[:, 0] if squeeze else images, codes, (shown[:, 0] if squeeze else shown) if masks else None
        )

    def order(
        self, first: int, count: int, size: int, *, seed: int = 0, epoch: int = 0, stream: int = Stream.TRAIN,
        stride: int = 1,
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:  # fmt: skip
        """See `Renderer.order`; arrays are NumPy's."""
        check_positions(first, count, size, stride)
        positions = np.arange(first, first + count * stride, stride, dtype=np.uint64)
        indices = permute(positions, size, order_keys(seed, epoch, stream))
        return indices, labels_of(indices, self.bank.classes)

    def _stages(
        self, samples: Samples, space: Space, first: int, last: int, images: NDArray[np.uint8], shown: NDArray[np.uint8]
    ) -> list[tuple[str, Callable[[], None]]]:
        """What makes samples first .. last - 1, in order."""
        parameters = self.parameters
        work: dict[str, Callable[[], None]] = {
            "scout": lambda: scout_stage(parameters, self.codes, samples, space, first, last),
            "attractor": lambda: attractor_stage(parameters, samples, space, first, last),
            "noise": lambda: noise_stage(parameters, samples, space, first, last),
            "compose": lambda: compose_stage(parameters, space, first, last, images, shown),
        }
        return [(name, work[name]) for name in self.STAGES if name != "noise" or parameters.noise]


def codes_of(bank: CodeBank) -> Codes:
    """A bank as the stages read it."""
    return Codes(
        maps=bank.maps.reshape(len(bank), MAX_MAPS, 6),
        sizes=bank.sizes,
        stored=(~bank.contracts).astype(np.uint8),
        probabilities=bank.probabilities,
        classes=bank.classes,
        per_class=bank.per_class,
    )


def make_space(parameters: Parameters, n: int) -> Space:
    """What one thread needs to take `n` samples through the stages."""
    objects = (n, parameters.views, parameters.max_objects)
    side = (1 << parameters.levels) + 1
    return Space(
        scenes=np.zeros((n, parameters.views, SCENE_FIELDS), np.int32),
        objects=np.zeros((*objects, OBJECT_FIELDS), np.int32),
        tables=np.zeros((*objects, TABLE_ROWS, LANES), np.float32),
        starts=np.empty((*objects, 2, ORBITS), np.float32),
        windows=np.empty((*objects, 4), np.float32),
        density=np.empty((*objects, parameters.canvas**2), np.uint8),
        noise=np.zeros((n, parameters.views, side, side), np.int16),
    )
