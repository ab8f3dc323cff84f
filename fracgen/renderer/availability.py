"""Why the GPU cannot be used here, if it cannot: one sentence with the remedy."""

from __future__ import annotations

import importlib.util
import warnings


def cuda_fault() -> str | None:
    """None where the CUDA renderer can run, else what was found and what would help."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed; install fracgen[cuda13] (or fracgen[cuda12] for a CUDA 12 driver)"
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA; install the default torch wheel"
    torch_cuda = int(torch.version.cuda.split(".")[0])
    return _driver_fault(torch_cuda) or _cupy_fault(torch_cuda)


def _driver_fault(torch_cuda: int) -> str | None:
    """What is wrong between torch and the driver."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of an old driver; the sentence below says it better
        available = torch.cuda.is_available()
    if available:
        return None
    try:
        import cupy

        driver = int(cupy.cuda.runtime.driverGetVersion())
    except Exception:  # whatever CuPy raises without a driver, there is none to name
        driver = 0
    if 0 < driver // 1000 < torch_cuda:
        major, minor = driver // 1000, driver % 1000 // 10
        return (
            f"the NVIDIA driver supports CUDA {major}.{minor} and torch needs CUDA {torch_cuda}; "
            f"update the driver, or install torch for CUDA {major} and fracgen[cuda{major}]"
        )
    return "torch finds no CUDA device; check that `nvidia-smi` lists a GPU and that its driver is recent enough"


def _cupy_fault(torch_cuda: int) -> str | None:
    """What is wrong between CuPy, NVRTC and torch."""
    try:
        import cupy
        from cupy.cuda import nvrtc

        runtime = int(cupy.cuda.runtime.runtimeGetVersion()) // 1000
    except ImportError as error:
        return f"CuPy does not import ({error}); install fracgen[cuda{torch_cuda}] afresh"
    if runtime != torch_cuda:
        return (
            f"the CuPy wheel is for CUDA {runtime} and torch for CUDA {torch_cuda}; uninstall cupy-cuda{runtime}x "
            f"and install fracgen[cuda{torch_cuda}]"
        )
    try:
        nvrtc.getVersion()
    except Exception as error:  # CuPy raises what its loader raised, of several types
        return f"NVRTC, the run-time compiler, is missing ({error}); install fracgen[cuda{torch_cuda}]"
    return None
