"""Why the GPU cannot be used here, if it cannot: one sentence with the remedy."""

from __future__ import annotations

import importlib.util


def cuda_fault() -> str | None:
    """None where the CUDA renderer can run, else what was found and what would help."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed; install fracgen[cuda13] (or fracgen[cuda12] for a CUDA 12 driver)"
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA; install the default torch wheel"
    if not torch.cuda.is_available():
        return "torch finds no CUDA device; check that `nvidia-smi` lists a GPU and that its driver is recent enough"
    import cupy

    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy {cupy.__version__} cannot reach the driver ({error}); install the CuPy wheel of torch's CUDA"
    return None if count else "CuPy finds no CUDA device; check that `nvidia-smi` lists a GPU"
