"""The CUDA renderer: on a real card where there is one, and its messages where there is none."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

import fracgen
from fracgen.recipes.presets import PRESETS
from fracgen.rendering import device as availability
from fracgen.rendering.cuda.pipeline import OutputFormat
from fracgen.rendering.cuda.renderer import CudaRenderer
from fracgen.rendering.parameters import Parameters
from fracgen.support.errors import DeviceError

FAULT = availability.cuda_fault()


def fault_here() -> str:
    """What keeps the GPU from being used, which something must."""
    fault = availability.cuda_fault()
    assert fault is not None
    return fault


@pytest.mark.gpu
@pytest.mark.skipif(FAULT is not None, reason=f"needs a GPU: {FAULT}")
def test_bytes_on_the_card() -> None:
    from bench.gpu import measures

    results = measures.parity(64, 120.0) | measures.other_ways()
    assert not {name for name, result in results.items() if result.unit == "differences" and result.max}


@pytest.mark.skipif(FAULT is None, reason="this machine has a GPU")
def test_asking_for_a_gpu_where_there_is_none() -> None:
    bank = fracgen.CodeBank.sample(10, classes=10)
    with pytest.raises(DeviceError, match=r"no usable GPU: .*; "):
        fracgen.render(bank, index=[0], device="cuda")


@pytest.mark.parametrize(
    ("fault", "sight", "said"),
    [
        ("CuPy is missing; install it", False, "fracgen: rendering on the CPU: CuPy is missing; install it\n"),
        (availability._NO_DRIVER, True, f"fracgen: rendering on the CPU: {availability._NO_DRIVER}\n"),
        (availability._NO_DRIVER, False, ""),
    ],
)
def test_auto_falls_back_with_one_line_where_something_can_be_mended(
    fault: str, sight: bool, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(availability, "cuda_fault", lambda: fault)
    monkeypatch.setattr(availability, "gpu_in_sight", lambda: sight)
    fracgen.make_renderer(fracgen.CodeBank.sample(10, classes=10), "paper", "auto")
    assert capsys.readouterr().err == said


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose driver lists a GPU and supports CUDA 13.0."""
    monkeypatch.setattr(availability, "driver_fault", lambda: None)
    monkeypatch.setattr(availability, "driver_cuda", lambda: "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("fracgen.rendering.device.ctypes.CDLL", missing)
    assert "no NVIDIA driver was found (libcuda.so.1)" in fault_here()


def no_cupy(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(importlib.util, "find_spec", lambda name: None)


def plain_torch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch.version, "cuda", None)


def old_driver(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch.cuda, "is_available", lambda: False)
    patch.setattr(availability, "driver_cuda", lambda: "12.4")


def other_cupy(patch: pytest.MonkeyPatch) -> None:
    import cupy

    patch.setattr(cupy.cuda, "runtime", type("Runtime", (), {"runtimeGetVersion": lambda: 12090}))


def no_nvrtc(patch: pytest.MonkeyPatch) -> None:
    from cupy.cuda import nvrtc

    def fail() -> None:
        raise RuntimeError("libnvrtc.so.13 not found")

    patch.setattr(nvrtc, "getVersion", fail)


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (no_cupy, "CuPy is not installed; install fracgen[cuda13]"),
        (plain_torch, "is a build without CUDA"),
        (old_driver, "driver supports CUDA 12.4 .*needs CUDA 13.0; update the driver"),
        (other_cupy, "is built for CUDA 12, torch for CUDA 13.0; install fracgen[cuda13]"),
        (no_nvrtc, "CuPy does not work (RuntimeError: libnvrtc.so.13 not found)"),
    ],
)
def test_what_keeps_a_gpu_from_being_used_is_named(
    change: Callable[[pytest.MonkeyPatch], None], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch)
    assert all(part in fault_here() for part in says.split(" .*"))


@pytest.mark.usefixtures("driver")
def test_nothing_wrong() -> None:
    assert availability.cuda_fault() is None


def test_out_of_memory_says_which_batch_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    renderer = CudaRenderer.__new__(CudaRenderer)
    renderer.parameters, renderer.device = Parameters.of(PRESETS["paper"].recipe), torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (400 << 20, 16 << 30))
    message = str(renderer._out_of_memory(100_000, OutputFormat(4)))
    fits = int(message.rsplit("batch of ", 1)[1].split()[0])
    assert "400 of 16384 MiB are free" in message
    assert 0 < fits * 3 * 256 * 256 * 4 <= 400 << 20


def test_importing_the_cuda_renderer_needs_no_cupy() -> None:
    """Only launching does: a machine without CuPy can still say what is missing."""
    code = "import sys; sys.modules['cupy'] = None; import fracgen.rendering.cuda.renderer"
    subprocess.run([sys.executable, "-c", code], check=True)
