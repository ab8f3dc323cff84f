"""Precision and memory format: what is fastest for a network on the device that trains it.

A table rather than a stopwatch: a choice that followed timings would differ between the processes of a
run, and between its legs on a machine that others use as well. On an AMD EPYC with AVX512-BF16, one
core, 96 px, batch 32: ResNet-18 takes 2.2 times as many images/s in bfloat16 with the channel fastest
as in float32 planes, but EfficientNet-Lite0, whose work is in grouped convolutions, half as many in
bfloat16, and 1.7 times as many in float32 with the channel fastest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from fracgen.support.decode import Table
from fracgen.training.config import Machine


@dataclass(frozen=True)
class Arithmetic(Table):
    """How a forward pass is computed. It is part of a run: other arithmetic, other bits."""

    what = "arithmetic"
    device: str
    """cpu or cuda."""
    precision: Literal["float32", "bfloat16"]
    """bfloat16: under autocast."""
    channels_last: bool

    @property
    def dtype(self) -> torch.dtype:
        """Of images and of the forward pass."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def __str__(self) -> str:
        return f"{self.precision}, {'channels last' if self.channels_last else 'planes'}, on {self.device}"


def choose(machine: Machine, model: torch.nn.Module, device: str, before: Arithmetic | None = None) -> Arithmetic:
    """The arithmetic of a run.

    Args:
        machine: what was asked for counts most.
        model: the network.
        device: cpu or cuda.
        before: the arithmetic of the run that is resumed, which is kept on the same kind of device.
    """
    if before is None or before.device != device:
        half = device == "cuda" or (fast_bfloat16() and not grouped_convolutions(model))
        before = Arithmetic(device, "bfloat16" if half else "float32", device == "cuda" or convolutions(model))
    precision = before.precision if machine.precision == "auto" else machine.precision
    last = before.channels_last if machine.channels_last is None else machine.channels_last
    return Arithmetic(device, precision, last)


def fast_bfloat16() -> bool:
    """Whether this processor has bfloat16 multiplication (AVX512-BF16 or AMX)."""
    abilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # older releases of torch have none
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))


def convolutions(model: torch.nn.Module) -> bool:
    """Whether a network has any beside one that cuts its image into patches."""
    return sum(isinstance(part, torch.nn.Conv2d) for part in model.modules()) > 1


def grouped_convolutions(model: torch.nn.Module) -> bool:
    """Whether any convolution of a network is grouped or depthwise."""
    return any(isinstance(part, torch.nn.Conv2d) and part.groups > 1 for part in model.modules())
