"""Would the host runner notice? Every barrier is taken out in turn, and threads run in two orders."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fracgen.formulas.ifs.bank import CodeBank
from fracgen.recipes.presets import PRESETS
from fracgen.rendering.cpu.renderer import CpuRenderer
from fracgen.rendering.cuda.sources import sources
from tests.kernels.host import HostBackend, HostRenderer, dots

BARRIER = re.compile(r"__syncthreads\(\);")
BARRIERS = [
    (name, number)
    for name, text in sources().items()
    if name.endswith(".cu")
    for number in range(len(BARRIER.findall(text)))
]


def same_bytes(folder: str, file_name: str, number: int | None, order: int) -> bool:
    """Whether pictures stay what they are without one barrier."""
    text = sources()[file_name]
    edited = {}
    if number is not None:
        at = list(BARRIER.finditer(text))[number]
        edited[Path(file_name).stem] = text[: at.start()] + text[at.end() :]
    # Ordinary codes, and one whose points pile up until drawing has to stop.
    recipe = dataclasses.replace(
        PRESETS["paper"].recipe.at_size(32), points=100_000, blur_probability=1.0, jitter="none"
    )  # fmt: skip
    for bank in (CodeBank.sample(20, seed=3, classes=20), dots()):
        expected = CpuRenderer(bank, recipe).render(range(9)).numpy().images
        host = HostRenderer(bank, recipe, HostBackend(Path(folder), order, edited=edited))
        if not np.array_equal(host.render(range(9)).numpy().images, expected):
            return False
    return True


def exit_code(folder: Path, file_name: str, number: int | None) -> int:
    """Of a process, as a missing barrier may crash it: 0 where the bytes are the same in both orders of threads."""
    code = (
        "import sys; from tests.kernels.test_faults import same_bytes;"
        f"sys.exit(0 if all(same_bytes({str(folder)!r}, {file_name!r}, {number}, o) for o in (0, 1)) else 3)"
    )
    root = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=root).returncode


@pytest.mark.study
@pytest.mark.parametrize(("file_name", "number"), BARRIERS)
def test_a_missing_barrier_is_noticed(file_name: str, number: int, build_folder: Path) -> None:
    """By other bytes, by the runner's report of a divergence, or by a crash."""
    assert exit_code(build_folder, file_name, number) != 0, f"{file_name}: nothing changes without barrier {number}"


@pytest.mark.study
def test_nothing_is_noticed_where_nothing_is_missing(build_folder: Path) -> None:
    assert exit_code(build_folder, "scene/noise.cu", None) == 0
