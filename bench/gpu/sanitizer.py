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
SCRIPT = Path(__file__).resolve().parent.parent / "gpu_acceptance.py"


def sanitize(deadline: float) -> dict[str, dict[str, str]]:
    """Each tool's `verdict` (clean, errors, did not run, stopped, skipped) and its last line.

    Args:
        deadline: `time.perf_counter` at which to stop.
    """
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        return {"all": {"verdict": "skipped", "last_line": "compute-sanitizer is not installed here"}}
    return {name: _run(tool, name, min(90.0, deadline - time.perf_counter())) for name in TOOLS}


def _run(tool: str, name: str, seconds: float) -> dict[str, str]:
    if seconds < 20:
        return {"verdict": "skipped", "last_line": "no time was left"}
    command = [tool, "--tool", name, "--error-exitcode", str(FOUND_ERRORS), sys.executable, str(SCRIPT)]
    process = subprocess.Popen(
        [*command, "--sanitize-child"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
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
