"""A formula's stages are compiled in several processes at once, since Numba holds one lock for all threads.

A process compiles a stage by running it on no samples, and leaves the binary in Numba's cache. Where that fails, the
process that renders compiles the stage itself when it comes to it.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from fracgen.formulas.formula import formula, make_bank
from fracgen.rendering.cpu.jit import cold
from fracgen.rendering.cpu.stages import Stages, Work
from fracgen.rendering.parameters import Parameters
from fracgen.rendering.records import Samples


def compile_stages(stages: Stages, processes: int) -> None:
    """Compile those stages of a formula that are in no cache yet, in so many processes, this one among them."""
    names = [name for name in nothing(stages) if cold(name)]
    if len(names) < 2 or processes < 2 or not sys.executable or hasattr(sys, "frozen"):
        return
    command = [sys.executable, "-m", __name__, stages.bank.formula]
    others = [
        subprocess.Popen([*command, *some], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
        for k in range(1, processes)
        if (some := names[k::processes])
    ]  # fmt: skip
    try:
        run_on_nothing(stages, names[::processes])
        for other in others:
            other.wait()
    finally:
        for other in others:
            other.kill()


def run_on_nothing(stages: Stages, names: list[str]) -> None:
    """Run these stages on no samples."""
    work = nothing(stages)
    for name in names:
        work[name]()


def nothing(stages: Stages) -> Work:
    """What the stages do with no samples."""
    parameters, zero = stages.parameters, np.uint32(0)
    pixels = (0, parameters.views, parameters.size, parameters.size)
    samples = Samples(zero, zero, np.empty(0, np.uint32), zero, zero)
    images, masks = np.empty((*pixels[:2], 3, *pixels[2:]), np.uint8), np.empty(pixels, np.uint8)
    return stages.work(samples, stages.space(0), 0, 0, images, masks)


def main(words: list[str]) -> None:
    """Run stages on no samples: a formula's name, then theirs."""
    preset = formula(words[0]).presets[0]
    stages = formula(words[0]).stages(make_bank(preset.bank), Parameters.of(preset.recipe))
    run_on_nothing(stages, words[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
