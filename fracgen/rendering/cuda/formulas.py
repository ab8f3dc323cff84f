"""Which kernels draw which formula."""

from __future__ import annotations

from fracgen.formulas.banks import Bank
from fracgen.rendering.cuda.layout import Layout
from fracgen.rendering.cuda.mandelbulb import MandelbulbPipeline
from fracgen.rendering.cuda.pipeline import Backend, KernelPipeline
from fracgen.rendering.parameters import Parameters


def make_pipeline(
    bank: Bank, parameters: Parameters, layout: Layout, backend: Backend, scratch_bytes: int
) -> KernelPipeline:
    """The pipeline that draws a bank's formula; see `KernelPipeline`."""
    kind = MandelbulbPipeline if bank.formula == "mandelbulb" else KernelPipeline
    return kind(bank, parameters, layout, backend, scratch_bytes)
