"""What was measured on: device, driver, versions, commit."""

from __future__ import annotations

import datetime
import subprocess
from typing import Any

import torch

from fracgen.support.provenance import commit, versions

PACKAGES = ("torch", "cupy-cuda13x", "cupy-cuda12x", "numpy", "numba", "timm", "torchvision", "lightning")


def describe() -> dict[str, Any]:
    """`date`, `commit`, `kernels` (a digest of their sources), `device` and `versions` of the results file."""
    import cupy

    from fracgen.rendering.cuda import nvrtc, sources

    properties = torch.cuda.get_device_properties(0)
    driver = cupy.cuda.runtime.driverGetVersion()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit() or "unknown",
        "kernels": sources.digest(),
        "device": {
            "name": properties.name,
            "driver": _run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "-i", "0"]),
            "cuda": f"{driver // 1000}.{driver % 1000 // 10}",
            "multiprocessors": properties.multi_processor_count,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "capability": f"{properties.major}.{properties.minor}",
        },
        "versions": {
            **versions(*PACKAGES),
            "torch_cuda": torch.version.cuda,
            "nvrtc": ".".join(map(str, nvrtc.version())),
        },
    }


def _run(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
