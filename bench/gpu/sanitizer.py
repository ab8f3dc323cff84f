"""compute-sanitizer over small pictures of every recipe, where the tool is there and works."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

TOOLS = ("memcheck", "racecheck", "initcheck")
FOUND_ERRORS = 9
ROOT = Path(__file__).resolve().parents[2]


def sanitize(seconds: float) -> dict[str, dict[str, str]]:
    """Each tool's `verdict` (clean, errors, did not run, stopped, skipped) and its last line.

    Args:
        seconds: for all of them.
    """
    deadline = time.perf_counter() + seconds
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        return {"all": {"verdict": "skipped", "last_line": "compute-sanitizer is not installed here"}}
    return {name: _run(tool, name, min(90.0, deadline - time.perf_counter())) for name in TOOLS}


def _run(tool: str, name: str, seconds: float) -> dict[str, str]:
    if seconds < 20:
        return {"verdict": "skipped", "last_line": "no time was left"}
    command = [tool, "--tool", name, "--error-exitcode", str(FOUND_ERRORS), sys.executable]
    process = subprocess.Popen(
        [*command, "-m", "bench.gpu.sanitizer"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the tool's child too: it would go on using the GPU
        process.communicate()
        return {"verdict": "stopped", "last_line": f"after {seconds:.0f} s"}
    lines = [line for line in output.splitlines() if line.strip()]
    verdict = {0: "clean", FOUND_ERRORS: "errors"}.get(process.returncode, "did not run")
    return {"verdict": verdict, "last_line": lines[-1] if lines else ""}


def render_small() -> None:
    """What runs under the tools: small images of every recipe, in both layouts of memory."""
    import dataclasses

    from bench.gpu.parity import small_bank
    from fracgen.recipes.presets import PRESETS
    from fracgen.rendering.cuda.renderer import CudaRenderer

    for name, preset in PRESETS.items():
        recipe = dataclasses.replace(preset.recipe.at_size(64), points=5000)
        CudaRenderer(small_bank(name, codes=40), recipe).render(range(3), masks=True).images.cpu()
    large = dataclasses.replace(PRESETS["paper"].recipe.at_size(600), points=5000)
    CudaRenderer(small_bank("paper", codes=40), large).render(range(2)).images.cpu()


if __name__ == "__main__":
    render_small()
