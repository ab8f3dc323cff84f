"""The microbenchmarks on the simulated multiprocessor: what a card should show, by hypothesis."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.gpu.microbenchmarks import CASES, HYPOTHESES, THREADS, Case, binary, per_instruction
from bench.model.backend import ARCHITECTURE, SimulatedBackend, program
from bench.model.machine import Multiprocessor

TURNS = 20


def predicted() -> dict[str, dict[str, float]]:
    """Cycles of a multiprocessor for a warp's instruction: case -> hypothesis -> cycles."""
    compiled = binary(ARCHITECTURE)
    return {case.name: {h: _cycles(compiled, case, h) for h in case.hypotheses} for case in CASES}


def _cycles(compiled: bytes, case: Case, hypothesis: str) -> float:
    backend = SimulatedBackend(lambda *_: Path(), Multiprocessor(**HYPOTHESES[hypothesis]), rounds=0)
    cycles, out = backend.empty(8), backend.empty(4)
    kernel = program(compiled, case.kernel)
    backend.launch(kernel, (1, 1), THREADS, case.shared, np.int32(case.pattern), np.int32(TURNS), cycles, out)
    return per_instruction(float(cycles[:8].view(np.uint64)[0]), case, TURNS)
