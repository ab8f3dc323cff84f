"""A machine with two GPUs that is not there: the CUDA host path on kernels compiled for the CPU.

`torch.cuda` and CuPy's launches are replaced, the project's own code is not: `CudaRenderer`, its
backend and `FractalLoader` run as they are. Tensors "on a device" are CPU tensors with that device
written on them. As on a device,

* launches only queue up on their stream and run when somebody waits for them, so a missing wait shows
  as memory that nobody wrote (0xCD);
* memory of one stream may be used on another only after `record_stream`;
* tensors of different devices do not mix, and NumPy cannot see any of them;
* a function's attributes belong to the device that CuPy has chosen, and so do its launches;
* there is so much memory and no more.
"""

from __future__ import annotations

import contextlib
import ctypes
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from fracgen.rendering.cuda import renderer as cuda_renderer
from fracgen.rendering.cuda.sources import kernels
from tests.kernels.host import HostBackend

T = TypeVar("T")
Place = str | int | torch.device | None
DEVICES = 2
SHARED_MEMORY = 227 * 1024
RUBBISH = 0xCD
LOWEST_ADDRESS = 1 << 40
"""What a 64-bit argument must exceed to be a pointer: positions in an epoch reach 2^32, memory lies far above."""

METADATA = {
    "__get__", "__len__", "size", "dim", "element_size", "is_contiguous", "stride", "numel", "is_floating_point",
    "is_complex", "data_ptr", "storage_offset", "untyped_storage",
}  # fmt: skip
VIEWS = {
    "as_tensor", "__getitem__", "permute", "view", "unsqueeze", "squeeze", "detach", "narrow", "split", "unbind",
    "transpose",
}  # fmt: skip
"""They look at no element, so they wait for nothing."""


class Stream:
    """Work in order. It runs when somebody waits for it, and never sooner."""

    def __init__(self, device: Place = None) -> None:
        self.device = torch.device("cuda", state().current if device is None else torch.device(device).index or 0)
        self.queue: list[Callable[[], None]] = []
        self.done = 0
        self.cuda_stream = id(self)

    def run(self, until: int | None = None) -> None:
        until = len(self.queue) if until is None else until
        while self.done < until:
            self.done += 1  # first: an event may lead back here
            self.queue[self.done - 1]()
            self.queue[self.done - 1] = _nothing  # lets go of the memory it held

    def wait_event(self, event: Event) -> None:
        if event.stream is not None:
            stream, position = event.stream, event.position  # as it was recorded when this wait was asked for
            self.queue.append(lambda: stream.run(position))

    def wait_stream(self, other: Stream) -> None:
        event = Event()
        event.record(other)
        self.wait_event(event)

    def synchronize(self) -> None:
        self.run()


class Event:
    """A place in a stream."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False) -> None:
        self.stream: Stream | None = None
        self.position = 0

    def record(self, stream: Stream | None = None) -> None:
        self.stream = stream or state().stream()
        self.position = len(self.stream.queue)

    def query(self) -> bool:
        return self.stream is None or self.stream.done >= self.position

    def synchronize(self) -> None:
        if self.stream is not None:
            state().waits += 1
            self.stream.run(self.position)

    def elapsed_time(self, other: Event) -> float:
        assert self.query(), "elapsed_time before the first event has happened"
        assert other.query(), "elapsed_time before the second event has happened"
        return 1.0


@dataclass
class Allocation:
    """Memory on a device, kept until the machine is switched off."""

    tensor: torch.Tensor
    """All of it, as bytes; not marked as a device's."""
    streams: set[Stream]
    """Those that may use it: the one that was current when it was made, and those recorded since."""


class Machine:
    """What the driver would know.

    Args:
        free: bytes of memory; a larger tensor is refused.
    """

    def __init__(self, free: int) -> None:
        self.free, self.current, self.cupy_device, self.waits = free, 0, 0, 0
        self.launches: list[str] = []
        self.chosen: list[list[Stream]] = [[], []]
        self.memory: dict[int, Allocation] = {}
        self.launching: Stream | None = None
        _machine.append(self)
        for device in range(DEVICES):
            self.chosen[device].append(Stream(torch.device("cuda", device)))

    def stream(self, device: Place = None) -> Stream:
        """The current stream of a device."""
        return self.chosen[self.current if device is None else torch.device(device).index or 0][-1]

    def allocate(self, tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        """Mark a fresh CPU tensor as a device's."""
        if tensor.untyped_storage().nbytes() > self.free:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        whole = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
        self.memory[whole.data_ptr()] = Allocation(whole, {self.stream(device)})
        made: torch.Tensor = marked(tensor, device)
        return made

    def allocation(self, address: int) -> Allocation:
        """The one that an address lies in."""
        for start, allocation in self.memory.items():
            if start <= address < start + allocation.tensor.numel():
                return allocation
        raise AssertionError(f"a kernel was given {address:#x}, which is no device's memory")

    def use(self, address: int, stream: Stream) -> torch.Tensor:
        """The memory at an address, which a stream is about to use."""
        allocation = self.allocation(address)
        assert stream in allocation.streams, "memory of another stream is used here without record_stream"
        return allocation.tensor


_machine: list[Machine] = []


def state() -> Machine:
    """The machine that is switched on."""
    return _machine[-1]


def _nothing() -> None:
    pass


def device_of(tensor: object) -> torch.device | None:
    """The device that a tensor pretends to be on."""
    return getattr(tensor, "_pretended", None)


def marked(value: T, device: torch.device) -> T:
    """A result with the device written on it."""
    if isinstance(value, torch.Tensor):
        value._pretended = device  # type: ignore[attr-defined]
    elif isinstance(value, (tuple, list)):
        for part in value:
            marked(part, device)
    return value


class Tensors(TorchFunctionMode):
    """Torch's functions as a device would have them."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        owner = getattr(getattr(func, "__self__", None), "__name__", "")
        tensors = [a for a in _flat((args, kwargs)) if isinstance(a, torch.Tensor) and device_of(a) is not None]
        if name == "__get__" and owner in ("device", "is_cuda"):
            on = device_of(args[0])
            return (on is not None if owner == "is_cuda" else on) if on is not None else func(*args, **kwargs)
        if name in METADATA:
            on = device_of(args[0]) if name == "__get__" and tensors else None
            return func(*args, **kwargs) if on is None else marked(func(*args, **kwargs), on)
        if name == "pin_memory":
            return args[0]
        if name in ("to", "cpu", "cuda"):
            return self._move(func, args, kwargs)
        if (wanted := kwargs.get("device")) is not None and torch.device(wanted).type == "cuda":
            return self._factory(func, args, kwargs, torch.device(wanted))
        if not tensors:
            return func(*args, **kwargs)
        return self._operation(func, name, args, kwargs, tensors)

    def _factory(self, func: Any, args: Any, kwargs: Any, device: torch.device) -> torch.Tensor:
        size = args[0] if args and isinstance(args[0], (tuple, list, torch.Size)) else args
        if func is torch.empty and (count := int(np.prod([int(n) for n in size]))) > state().free:
            raise torch.cuda.OutOfMemoryError(f"CUDA out of memory: {count} elements")
        made = func(*args, **{**kwargs, "device": "cpu"})
        if func is torch.empty:
            torch.empty(0, dtype=torch.uint8).set_(made.untyped_storage()).fill_(RUBBISH)
        return state().allocate(made, _indexed(device))

    def _move(self, func: Any, args: Any, kwargs: Any) -> Any:
        source, rest = args[0], list(args[1:])
        places = [torch.device(a) for a in rest if isinstance(a, (str, torch.device))]
        rest = [a for a in rest if not isinstance(a, (str, torch.device))]
        place = torch.device(kwargs.pop("device")) if "device" in kwargs else places[0] if places else None
        if func.__name__ == "cpu":
            place = torch.device("cpu")
        before = device_of(source)
        if place is None:
            place = before or source.device
        if before is not None:
            if source.numel():
                state().use(source.data_ptr(), state().stream(before))
            state().stream(before).run()  # a copy to the host waits for the stream; so does a conversion, here
        kwargs.pop("non_blocking", None)
        converted = source.to(*rest, **kwargs) if rest or kwargs else source
        if place.type == "cpu":
            return converted.clone() if before is not None else converted
        if before is not None and converted is source and _indexed(place) == before:
            return source
        return state().allocate(converted.clone(), _indexed(place))

    def _operation(self, func: Any, name: str, args: Any, kwargs: Any, tensors: list[torch.Tensor]) -> Any:
        devices = {device for t in tensors if (device := device_of(t)) is not None}
        strangers = [
            a for a in _flat((args, kwargs)) if isinstance(a, torch.Tensor) and device_of(a) is None and a.dim()
        ]
        assert len(devices) == 1, f"{name}: expected all tensors to be on the same device, found {devices}"
        assert not strangers, f"{name}: expected all tensors to be on {devices}, found one on the CPU"
        (device,) = devices
        if name == "numpy" or (name == "__array__"):
            raise TypeError(f"can't convert {device} device type tensor to numpy")
        if name not in VIEWS:
            stream = state().stream(device)
            for tensor in tensors:
                if tensor.numel():
                    state().use(tensor.data_ptr(), stream)
            stream.run()
        result = func(*args, **kwargs)
        known = set(state().memory)
        for made in _flat(result):
            if isinstance(made, torch.Tensor) and made.numel() and made.untyped_storage().data_ptr() not in known:
                state().allocate(made, device)
        return marked(result, device)


def _flat(value: object) -> Iterator[object]:
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from _flat(part)
    elif isinstance(value, dict):
        yield from _flat(list(value.values()))
    else:
        yield value


def _indexed(device: torch.device) -> torch.device:
    return torch.device("cuda", state().current) if device.index is None else device


class Function:
    """A kernel as CuPy gives it."""

    num_regs = 32

    def __init__(self, path: str, name: str) -> None:
        self.library, self.name, self.device = ctypes.CDLL(path), name, state().cupy_device
        self.library.launch.restype = ctypes.c_char_p
        self._most_shared = 1024  # a device gives 48 KB unasked; so little that small pictures must ask too

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self._most_shared

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, nbytes: int) -> None:
        assert state().cupy_device == self.device, f"set on the function of device {state().cupy_device}"
        assert nbytes <= SHARED_MEMORY
        self._most_shared = nbytes

    def __call__(
        self, grid: tuple[int, int], block: tuple[int, ...], arguments: Sequence[np.generic], *, shared_mem: int = 0
    ) -> None:
        machine, library = state(), self.library
        assert machine.cupy_device == self.device, f"{self.name} of device {self.device} is launched on another"
        assert all(isinstance(a, np.generic) for a in arguments), "CuPy would guess the type of a scalar"
        assert len(arguments) == library.parameters(), f"{self.name} takes {library.parameters()} arguments"
        assert shared_mem <= self._most_shared, f"{self.name} asks for more shared memory than it was given"
        stream = machine.launching
        assert stream is not None
        assert stream.device.index == self.device
        kept = [machine.use(int(a), stream) for a in arguments if isinstance(a, np.uint64) and int(a) >= LOWEST_ADDRESS]
        boxes = [{4: ctypes.c_uint32, 8: ctypes.c_uint64}[a.itemsize](int(a)) for a in arguments]
        machine.launches.append(self.name)

        def run(kept: list[torch.Tensor] = kept) -> None:
            pointers = (ctypes.c_void_p * len(boxes))(*[ctypes.addressof(box) for box in boxes])
            fault = library.launch(*map(ctypes.c_uint, (*grid, block[0])), ctypes.c_int(0), pointers)
            assert fault is None, fault.decode()

        stream.queue.append(run)


@contextlib.contextmanager
def _on(stream: Stream) -> Iterator[None]:
    chosen = state().chosen[stream.device.index]
    chosen.append(stream)
    try:
        with _attribute("current", stream.device.index):
            yield
    finally:
        chosen.pop()


@contextlib.contextmanager
def _attribute(name: str, value: int) -> Iterator[None]:
    before = getattr(state(), name)
    setattr(state(), name, value)
    try:
        yield
    finally:
        setattr(state(), name, before)


@contextlib.contextmanager
def switched_on(folder: Path, patch: pytest.MonkeyPatch, free: int = 1 << 33) -> Iterator[Machine]:
    """Replace torch.cuda and CuPy by the pretended machine; yields what its driver knows."""
    import cupy

    machine, backend = Machine(free), HostBackend(folder)
    backend.shared = dict.fromkeys(kernels(), SHARED_MEMORY)
    properties = types.SimpleNamespace(shared_memory_per_block_optin=SHARED_MEMORY, multi_processor_count=132)

    def index(device: Place) -> int:
        return device if isinstance(device, int) else _indexed(torch.device(device or "cuda")).index

    for name, value in {
        "current_device": lambda: machine.current,
        "device_count": lambda: DEVICES,
        "is_available": lambda: True,
        "get_device_capability": lambda device=None: (9, 0),
        "get_device_properties": lambda device=None: properties,
        "mem_get_info": lambda device=None: (machine.free, 2 * machine.free),
        "is_current_stream_capturing": lambda: False,
        "device": lambda device: _attribute("current", index(device)),
        "current_stream": machine.stream,
        "stream": _on,
        "synchronize": lambda device=None: machine.stream(device).run(),
        "Stream": Stream,
        "Event": Event,
    }.items():
        patch.setattr(torch.cuda, name, value)

    def record_stream(tensor: torch.Tensor, stream: Stream) -> None:
        machine.allocation(tensor.data_ptr()).streams.add(stream)

    patch.setattr(torch.Tensor, "record_stream", record_stream)  # a method that looks at its argument's type first

    def compiled(kernel: str, header: str, arch: str) -> Path:
        return backend.build(kernel, header)

    patch.setattr(cuda_renderer, "compile_kernel", compiled)
    patch.setattr(cupy.cuda, "Device", lambda number: _attribute("cupy_device", number))
    patch.setattr(cupy.cuda.Stream, "from_external", staticmethod(lambda stream: _attribute("launching", stream)))
    patch.setattr(cupy, "RawModule", lambda path: types.SimpleNamespace(get_function=lambda name: Function(path, name)))
    patch.setattr("fracgen.rendering.device.cuda_fault", lambda: None)
    try:
        with Tensors():
            yield machine
    finally:
        _machine.remove(machine)
