"""The CPU renderer: a formula's stages on Numba, threads over images."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from fracgen.draws import Stream, seed_key, stream_byte
from fracgen.formulas.files import Bank
from fracgen.formulas.formula import formula
from fracgen.order import labels_of, order_keys, permute
from fracgen.recipes.recipe import Recipe, check_formula
from fracgen.rendering.base import Rendered, check_positions, checked_epoch, checked_index
from fracgen.rendering.cpu.compiling import compile_stages
from fracgen.rendering.normalize import convert, dtype_name, table
from fracgen.rendering.parameters import Parameters
from fracgen.rendering.records import ObjectField, Samples
from fracgen.support.provenance import processors

if TYPE_CHECKING:
    import torch

    from fracgen.rendering.base import Index

CHUNK_PIXELS = 1 << 20
"""Pixels a thread takes through the stages together: enough to hide Python, little enough for cache."""

RunStage = Callable[[str, Callable[[], None]], None]


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
        self._compiled = False
        self._tables: dict[tuple[str, bool], torch.Tensor] = {}
        self.stages = formula(bank.formula).stages(bank, self.parameters)
        drawn = self.parameters.max_objects * (recipe.canvas * recipe.samples) ** 2
        pixels = self.parameters.views * max(recipe.size**2, drawn)
        self.chunk = max(1, min(16, CHUNK_PIXELS // pixels))

    @property
    def device(self) -> torch.device:
        """The CPU."""
        import torch

        return torch.device("cpu")

    def render(
        self, index: Index, *, seed: int = 0, epoch: int = 0, stream: int = Stream.TRAIN, masks: bool = False,
        dtype: torch.dtype | str = "uint8", normalize: bool = True, channels_last: bool = False,
        run_stage: RunStage | None = None,
    ) -> Rendered:  # fmt: skip
        """See `Renderer.render`. `run_stage` is called with the name and the work of each stage of each chunk, on one
        thread, so that a benchmark can time them."""
        name = dtype_name(dtype)
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

        if not self._compiled:
            compile_stages(self.stages, self.threads)
            self._compiled = True

        def work() -> None:
            space = self.stages.space(self.chunk)
            for first, last in queue:
                for name, stage in self.stages.work(samples, space, first, last, images, shown).items():
                    stage() if run_stage is None else run_stage(name, stage)
                codes[first:last] = space.objects[: last - first, 0, :, ObjectField.CODE]

        if workers <= 1:
            work()
        else:
            with ThreadPoolExecutor(workers) as pool:
                for done in [pool.submit(work) for _ in range(workers)]:
                    done.result()
        made = Rendered(images, codes, shown if masks else None)
        if name == "uint8" and not channels_last:
            return made
        return Rendered(self._converted(made, name, normalize, channels_last), codes, shown if masks else None)

    def _converted(self, made: Rendered, dtype: str, normalize: bool, channels_last: bool) -> torch.Tensor:
        """Images [B, views, ...] of another type or layout."""
        if dtype != "uint8" and (dtype, normalize) not in self._tables:
            self._tables[dtype, normalize] = table(self.recipe, dtype, normalize=normalize)
        images = convert(made.images, self._tables.get((dtype, normalize)), channels_last=channels_last)
        return images if images.dim() == 5 else images[:, None]

    def order(
        self, first: int, count: int, size: int, *, seed: int = 0, epoch: int = 0, stream: int = Stream.TRAIN,
        stride: int = 1,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """See `Renderer.order`: uint32 and int64 [count]."""
        import torch

        check_positions(first, count, size, stride)
        positions = np.arange(first, first + count * stride, stride, dtype=np.uint64)
        indices = permute(positions, size, order_keys(seed, epoch, stream))
        return torch.from_numpy(indices), torch.from_numpy(labels_of(indices, self.bank.classes))
