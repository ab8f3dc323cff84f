"""Would the host runner notice? Every barrier is taken out in turn, and threads run in two orders."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from host import HostBackend, HostRenderer, dots

from fracgen.formulas.ifs.bank import CodeBank
from fracgen.recipes.presets import PRESETS
from fracgen.rendering.cpu.renderer import CpuRenderer
from fracgen.rendering.cuda.sources import sources

BARRIER = re.compile(r"__syncthreads\(\);")
BARRIERS = [
    (name, number)
    for name, text in sources().items()
    if name.endswith(".cu")
    for number in range(len(BARRIER.findall(text)))
]


def same_bytes(folder: str, file_name: str, number: int, order: int) -> bool:
    """Whether pictures stay what they are without one barrier."""
    text = sources()[file_name]
    at = list(BARRIER.finditer(text))[number]
    edited = {Path(file_name).stem: text[: at.start()] + text[at.end() :]}
    # Ordinary codes, and one whose points pile up until drawing has to stop.
    recipe = dataclasses.replace(
        PRESETS["paper"].recipe.at_size(32), points=100_000, blur_probability=1.0, jitter="none"
    )  # fmt: skip
    for bank in (CodeBank.sample(20, seed=3, classes=20), dots()):
        expected = CpuRenderer(bank, recipe).render(range(9)).images
        host = HostRenderer(bank, recipe, HostBackend(Path(folder), order, edited=edited))
        if not np.array_equal(host.render(range(9)).images, expected):
            return False
    return True


@pytest.mark.study
@pytest.mark.parametrize(("file_name", "number"), BARRIERS)
def test_a_missing_barrier_is_noticed(file_name, number, build_folder):
    """By other bytes, by the runner's report of a divergence, or by a crash: hence the subprocess."""
    here = Path(__file__).parent
    code = (
        f"import sys; sys.path.insert(0, {str(here)!r}); from test_faults import same_bytes;"
        f"sys.exit(0 if all(same_bytes({str(build_folder)!r}, {file_name!r}, {number}, o) for o in (0, 1)) else 3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.returncode != 0, f"{file_name}: nothing changes without barrier {number}"
