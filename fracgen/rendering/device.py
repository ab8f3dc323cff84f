"""Whether the GPU can be used here, and if not, why: what was found and what would help.

The driver is asked first, through its own library: that takes milliseconds, where importing torch
takes seconds, and it is the usual answer on a machine without a GPU.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

from fracgen.support.errors import DeviceError
from fracgen.support.terminal import say


class Facts(TypedDict):
    """What is here of CUDA."""

    driver_cuda: str | None
    gpus: list[dict[str, str | float]]
    torch_cuda: str | None
    cupy: str | None
    nvrtc: str | None


_INSTALL = "install fracgen[cuda13] (or fracgen[cuda12] for a CUDA 12 driver)"


_NO_DRIVER = (
    "no NVIDIA driver was found (libcuda.so.1); on a machine with an NVIDIA GPU install its driver, "
    f"then {_INSTALL}"
)


def use_gpu(device: str, doing: str, find_fault: Callable[[], str | None] | None = None) -> bool:
    """Whether a choice of device means the GPU.

    Where "auto" does not, one line on stderr says why, unless nothing here hints at a GPU: then there is
    nothing to mend. Of torchrun's processes none says it.

    Args:
        device: `auto`, `cpu` or `cuda`.
        doing: what the device is for, such as `training`.
        find_fault: `cuda_fault` where None, or `torch_fault` for work that renders nothing.

    Raises:
        ValueError: the device has another name.
        DeviceError: `cuda` was asked for and cannot be used.

    >>> use_gpu("cpu", "training")
    False
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device {device!r} is unknown: use auto, cpu or cuda")
    if device == "cpu":
        return False
    fault = (find_fault or cuda_fault)()
    if fault and device == "cuda":
        raise DeviceError(f"no usable GPU: {fault}")
    if fault and "LOCAL_RANK" not in os.environ and (fault != _NO_DRIVER or gpu_in_sight()):
        say(f"{doing} on the CPU: {fault}")
    return fault is None


def gpu_in_sight() -> bool:
    """Whether the system shows an NVIDIA GPU, usable or not: its device files, or WSL's."""
    return any(Path(name).exists() for name in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg"))


def cuda_fault() -> str | None:
    """None where the CUDA renderer can run, else what was found and what would help."""
    if fault := driver_fault():
        return fault
    if importlib.util.find_spec("cupy") is None:
        return f"a GPU is here but CuPy is not installed; {_INSTALL}"
    if fault := _torch_fault():
        return fault
    import torch

    return cupy_fault(torch.version.cuda)


def torch_fault() -> str | None:
    """None where PyTorch can use the GPU, else what was found and what would help; CuPy is not asked for."""
    return driver_fault() or _torch_fault()


def _torch_fault() -> str | None:
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA; install the default torch wheel"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of an old driver; the sentence below says it better
        usable = torch.cuda.is_available()
    if not usable:
        return (
            f"the NVIDIA driver supports CUDA {driver_cuda()} and torch {torch.__version__} needs CUDA "
            f"{torch.version.cuda}; update the driver, or install a torch of an earlier CUDA"
        )
    return None


def driver_fault() -> str | None:
    """What is wrong with the NVIDIA driver, or that there is none; None where it lists a GPU."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return _NO_DRIVER
    code = driver.cuInit(0)
    if code == 100:
        return "the NVIDIA driver lists no GPU; check `nvidia-smi`, and that CUDA_VISIBLE_DEVICES does not hide it"
    if code:
        return f"the NVIDIA driver does not start (CUDA error {code}); check `nvidia-smi`, update or reload the driver"
    count = ctypes.c_int(0)
    driver.cuDeviceGetCount(ctypes.byref(count))
    return None if count.value else "the NVIDIA driver lists no GPU; check `nvidia-smi`"


def driver_cuda() -> str:
    """The CUDA version that the driver supports, such as "13.0"."""
    number = ctypes.c_int(0)
    ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number))
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def cupy_fault(torch_cuda: str | None) -> str | None:
    """What is wrong with CuPy beside a torch of that CUDA version ("13.0"); None where they match and NVRTC loads."""
    try:
        import cupy

        runtime = cupy.cuda.runtime.runtimeGetVersion()
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:  # a broken wheel raises anything, at import or at first use
        return f"CuPy does not work ({type(error).__name__}: {' '.join(str(error).split())[:200]}); {_INSTALL}"
    major = runtime // 1000
    if torch_cuda is not None and int(torch_cuda.split(".")[0]) != major:
        return f"CuPy {cupy.__version__} is built for CUDA {major}, torch for CUDA {torch_cuda}; {_INSTALL}"
    return None


def cuda_facts() -> Facts:
    """Look for CUDA: the driver's version, GPUs, torch's CUDA, CuPy, NVRTC. Imports torch."""
    facts: Facts = {"driver_cuda": None, "gpus": [], "torch_cuda": None, "cupy": None, "nvrtc": None}
    if driver_fault() is None:
        facts["driver_cuda"] = driver_cuda()
    if importlib.util.find_spec("torch") is not None:
        import torch

        facts["torch_cuda"] = torch.version.cuda
        if torch.cuda.is_available():
            for k in range(torch.cuda.device_count()):
                gpu = torch.cuda.get_device_properties(k)
                facts["gpus"].append({
                    "name": gpu.name, "capability": f"{gpu.major}.{gpu.minor}",
                    "memory_gib": round(gpu.total_memory / 2**30, 1),
                })  # fmt: skip
    if importlib.util.find_spec("cupy") is not None and cupy_fault(None) is None:
        import cupy

        facts["cupy"] = cupy.__version__
        facts["nvrtc"] = ".".join(str(part) for part in cupy.cuda.nvrtc.getVersion())
    return facts
