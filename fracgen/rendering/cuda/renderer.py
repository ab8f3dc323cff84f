"""The CUDA renderer: compiled kernels on torch's current stream, straight into torch tensors.

Torch owns all memory, so one allocator and one stream order rule, and no call here waits for the
device: kernels receive torch's own pointers, and outputs go to anything that speaks DLPack.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fracgen.draws import Stream, seed_key, stream_byte
from fracgen.formulas.files import Bank
from fracgen.formulas.formula import formula
from fracgen.order import half_bits, order_keys
from fracgen.recipes.recipe import Recipe, check_formula
from fracgen.rendering.base import Rendered, check_positions, checked_epoch, checked_index
from fracgen.rendering.cuda.layout import SHARED_MEMORY
from fracgen.rendering.cuda.nvrtc import compile_kernel
from fracgen.rendering.cuda.pipeline import Argument, Function, OutputFormat
from fracgen.rendering.normalize import dtype_name, table
from fracgen.rendering.parameters import Parameters
from fracgen.support.errors import DeviceError

if TYPE_CHECKING:
    import torch

    from fracgen.rendering.base import Index

SCRATCH_BYTES = 256 << 20
"""Most memory for what passes between kernels; see `KernelPipeline`."""


class CudaRenderer:
    """Renders on a GPU: the bytes of `CpuRenderer`.

    Works on any device index, under `torch.cuda.stream`, beside a training step, and, given device
    tensors, inside CUDA graph capture after one call outside of it.

    Args:
        bank: the codes.
        recipe: what to make of them.
        device: "cuda" (torch's current device) or "cuda:N".
        scratch_bytes: most memory for what passes between kernels.

    Raises:
        DeviceError: there is no such device, or a kernel does not compile for it.
    """

    def __init__(
        self, bank: Bank, recipe: Recipe, device: str = "cuda", scratch_bytes: int = SCRATCH_BYTES
    ) -> None:
        import torch

        check_formula(bank, recipe)
        self.bank, self.recipe, self.parameters = bank, recipe, Parameters.of(recipe)
        number = torch.device(device).index
        self.device = torch.device("cuda", torch.cuda.current_device() if number is None else number)
        if self.device.index >= torch.cuda.device_count():
            raise DeviceError(f"no device {device}: torch finds {torch.cuda.device_count()} (cuda:0 and up)")
        with torch.cuda.device(self.device):
            self._backend = CudaBackend(self.device)
            make = formula(bank.formula).pipeline
            try:
                self.pipeline = make(bank, self.parameters, self._backend, self._backend.shared_memory, scratch_bytes)
            except torch.cuda.OutOfMemoryError:
                raise self._out_of_memory(0, OutputFormat()) from None
            self.pipeline.prepare(OutputFormat())
            # Of output values; kept for good, as graphs hold their addresses.
            self._tables: dict[tuple[torch.dtype, bool], torch.Tensor] = {}
            self._home = torch.cuda.current_stream(self.device)
            self._home.synchronize()  # the bank is whole before any other stream can ask for it

    def render(
        self, index: Index, *, seed: int = 0, epoch: int = 0, stream: int = Stream.TRAIN, masks: bool = False,
        dtype: torch.dtype | str = "uint8", normalize: bool = True, channels_last: bool = False,
        out: torch.Tensor | None = None,
    ) -> Rendered:  # fmt: skip
        """See `Renderer.render`. Types and layouts are stored by the kernels, in the same pass.

        Args:
            index: as there, or a uint32, int32 or int64 tensor on the device, which is not checked.
            out: a tensor to render into, of the shape, type and memory format of the result.

        Raises:
            ValueError: an argument is out of range.
            DeviceError: the device has too little memory; the message says which batch would fit.
        """
        import torch

        kind: torch.dtype = getattr(torch, dtype_name(dtype))
        form = OutputFormat(torch.empty(0, dtype=kind).element_size(), channels_last)
        with torch.cuda.device(self.device):
            try:
                indices = self._indices(index)
                values = None if kind == torch.uint8 else self._values(kind, normalize)
                self._guard(torch.cuda.current_stream(self.device))
                batch, size, views = len(indices), self.parameters.size, self.parameters.views
                # Memory first, view after: a permuted view of channels-last memory has the usual shape.
                axes = (size, size, 3) if channels_last else (3, size, size)
                if out is None:
                    memory = torch.empty((batch, views, *axes), dtype=kind, device=self.device)
                else:
                    memory = self._given(out, (batch, views, *axes), kind, channels_last)
                shown = None
                if masks:
                    shown = torch.empty((batch, views, size, size), dtype=torch.uint8, device=self.device)
                codes = torch.empty((batch, self.parameters.max_objects), dtype=torch.int32, device=self.device)
                self.pipeline.run(
                    indices, batch, key=seed_key(seed), epoch=checked_epoch(epoch), stream=stream_byte(stream),
                    out=memory, masks=shown, codes=codes, values=values, form=form,
                )  # fmt: skip
            except torch.cuda.OutOfMemoryError:
                raise self._out_of_memory(len(index), form) from None
        return Rendered(memory.permute(0, 1, 4, 2, 3) if channels_last else memory, codes, shown)

    def order(
        self, first: int, count: int, size: int, *, seed: int = 0, epoch: int = 0, stream: int = Stream.TRAIN,
        stride: int = 1,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """See `Renderer.order`: int32 [count] with the bits of uint32 samples and int64 [count], on the device."""
        import torch

        check_positions(first, count, size, stride)
        with torch.cuda.device(self.device):
            indices = torch.empty(count, dtype=torch.int32, device=self.device)
            labels = torch.empty(count, dtype=torch.int64, device=self.device)
            if count:
                self._backend.launch(
                    self.pipeline.function("order", OutputFormat()), ((count + 255) // 256, 1), 256, 0,
                    np.uint64(first), np.uint32(stride), np.uint32(count), np.uint64(size),
                    np.uint32(half_bits(size)), *_round_keys(seed, epoch, int(stream)),
                    np.uint32(self.bank.classes), indices, labels,
                )  # fmt: skip
        return indices, labels

    def _values(self, dtype: torch.dtype, normalize: bool) -> torch.Tensor:
        import torch

        key = dtype, normalize
        if key not in self._tables:
            self._backend.refuse_capture("the first batch of a new type")
            # Made where the bank was, whichever stream is current: `_guard` knows that one owner.
            with torch.cuda.stream(self._home):
                self._tables[key] = table(self.recipe, dtype, normalize=normalize).to(self.device).contiguous()
            self._home.synchronize()
        return self._tables[key]

    def _guard(self, current: torch.cuda.Stream) -> None:
        """Keep the bank's memory until what `current` is about to run has ended."""
        if current != self._home:
            for tensor in (*self.pipeline.codes, *self._tables.values()):
                if not (tensor is None or isinstance(tensor, np.generic)):
                    tensor.record_stream(current)

    def _indices(self, index: Index) -> torch.Tensor:
        import torch

        if isinstance(index, torch.Tensor) and index.is_cuda:
            if index.dim() != 1 or index.is_floating_point() or index.is_complex():
                raise ValueError(f"index is {index.dtype} {list(index.shape)}: give a list of whole numbers")
            return index.to(device=self.device, dtype=torch.int32).contiguous()  # the low 32 bits are what counts
        return self._backend.upload(checked_index(index))

    def _given(
        self, out: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype, channels_last: bool
    ) -> torch.Tensor:
        memory = out if out.dim() == 5 else out[:, None]
        memory = memory.permute(0, 1, 3, 4, 2) if channels_last else memory
        if tuple(memory.shape) != shape or out.dtype != dtype or out.device != self.device:
            raise ValueError(
                f"out is {out.dtype} {list(out.shape)} on {out.device}: this batch needs {dtype} on {self.device} "
                f"in memory of shape {list(shape)}"
            )
        if not memory.is_contiguous() or memory.data_ptr() % 16:
            raise ValueError("out has gaps, another memory format or an odd address: pass a freshly made tensor")
        return memory

    def _out_of_memory(self, count: int, form: OutputFormat) -> DeviceError:
        import torch

        free, total = torch.cuda.mem_get_info(self.device)
        image = self.parameters.views * 3 * self.parameters.size**2 * form.element_bytes
        fixed = self.pipeline.chunk * sum(self.pipeline.scratch_sizes().values()) if hasattr(self, "pipeline") else 0
        fits = max(0, int((free - min(fixed, free // 2)) * 0.9) // image)
        return DeviceError(
            f"{self.device} is out of memory: {free >> 20} of {total >> 20} MiB are free, a batch of {count} needs "
            f"{count * image >> 20} MiB and up to {fixed >> 20} MiB to work in; use a batch of {fits} or fewer"
        )


@functools.lru_cache(8)
def _round_keys(seed: int, epoch: int, stream: int) -> tuple[np.uint32, ...]:
    """`order_keys` as launches take them: the same for every batch of an epoch, and slow to derive for each."""
    return tuple(order_keys(seed, epoch, stream))


class CudaBackend:
    """A `Backend` of torch memory, NVRTC binaries and CuPy launches."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self.device = device
        major, minor = torch.cuda.get_device_capability(device)
        self.arch = f"sm_{major}{minor}"
        known = SHARED_MEMORY.get(10 * major + minor, 64) * 1024
        properties = torch.cuda.get_device_properties(device)
        self.shared_memory = int(getattr(properties, "shared_memory_per_block_optin", known))

    def refuse_capture(self, what: str) -> None:
        """Raise where a CUDA graph is being captured, in which `what` cannot happen."""
        import torch

        if torch.cuda.is_current_stream_capturing():
            raise DeviceError(
                f"{what} cannot be part of a CUDA graph: render once before the capture, with index as a tensor "
                "on the device"
            )

    def upload(self, array: NDArray[np.generic]) -> torch.Tensor:
        import torch

        self.refuse_capture("an index from the host")
        # Torch has few operations on unsigned integers, but the bits are all a kernel sees.
        signed = {np.dtype(np.uint32): np.int32, np.dtype(np.uint64): np.int64}.get(array.dtype)
        host = torch.from_numpy(np.ascontiguousarray(array.view(signed) if signed else array).copy())
        return host.pin_memory().to(self.device, non_blocking=True)

    def scratch(self, name: str, nbytes: int) -> torch.Tensor:
        import torch

        # From the caching allocator at every call: it knows which stream and which graph it is for.
        return torch.empty(max(16, nbytes), dtype=torch.uint8, device=self.device)

    def load(self, kernel: str, header: str) -> Function:
        import cupy

        self.refuse_capture("the compilation of a kernel")
        with cupy.cuda.Device(self.device.index):
            function = cupy.RawModule(path=str(compile_kernel(kernel, header, self.arch))).get_function(kernel)
            assert function.num_regs > 0  # asking loads it now: a graph capture would be too late
        return function

    def launch(
        self, function: Function, grid: tuple[int, int], threads: int, shared: int, *arguments: Argument
    ) -> None:
        import cupy
        import torch

        current = torch.cuda.current_stream(self.device)
        with cupy.cuda.Device(self.device.index), cupy.cuda.Stream.from_external(current):
            if shared > function.max_dynamic_shared_size_bytes:  # an attribute of the function on CuPy's own device
                function.max_dynamic_shared_size_bytes = shared
            function(grid, (threads,), tuple(map(_argument, arguments)), shared_mem=shared)


def _argument(value: Argument) -> np.generic:
    """A pointer as eight bytes; scalars are typed already, which CuPy needs."""
    if value is None:
        return np.uint64(0)
    if isinstance(value, np.generic):
        return value
    return np.uint64(value.data_ptr())
