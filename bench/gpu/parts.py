"""The parts of the acceptance run: what is measured, in which call, and how each is kept from the others.

A part is a process of its own: a fault on the device poisons only that process, and a part that hangs is
killed when its time is up. What it returned is written before the next one begins.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CALLS = ("first", "second")
CALL_SECONDS = 480
"""A call ends within eight minutes: a part that could pass that is given what is left, or skipped."""
SHORTEST = 15
"""Seconds under which no part is begun."""


@dataclass(frozen=True)
class Part:
    """One measurement.

    Args:
        name: its field in the results.
        call: in which of the two calls it runs.
        function: "module:function", which returns plain data.
        seconds: at most.
        arguments: of the function.
        quick: the same for a run that only tries the script.
    """

    name: str
    call: str
    function: str
    seconds: int
    arguments: tuple[Any, ...] = ()
    quick: tuple[Any, ...] | None = None


PARTS = (
    Part("environment", "first", "bench.gpu.environment:describe", 45),
    Part("golden", "first", "bench.gpu.parity:golden_hashes", 60),
    Part("stages", "first", "bench.gpu.rates:stage_cycles", 60, (4224,), (132,)),
    Part("microbenchmarks", "first", "bench.gpu.microbenchmarks:measure", 60, (2000,), (50,)),
    Part("chaos_game", "first", "bench.gpu.rates:chaos_game", 45, (2112,), (132,)),
    Part("parity", "first", "bench.gpu.parity:check", 150, (1000, 100.0), (16, 20.0)),
    Part("other_ways", "first", "bench.gpu.parity:other_ways", 60),
    Part("environment", "second", "bench.gpu.environment:describe", 45),
    Part("render", "second", "bench.gpu.rates:measure", 120, (4224,), (132,)),
    Part("epoch", "second", "bench.gpu.rates:epoch", 45, (1_000_000, 4224), (10_000, 512)),
    Part("loader", "second", "bench.gpu.rates:loader", 60, ((64, 512, 4096),), ((64,),)),
    Part("ceilings", "second", "bench.gpu.ceilings:measure", 45),
    Part("train_step", "second", "bench.gpu.training:measure", 130, (512, 100.0), (64, 10.0)),
    Part("sanitizer", "second", "bench.gpu.sanitizer:sanitize", 150, (140.0,), (30.0,)),
)
"""In order: what decides most comes first. The limits are ceilings, and their sum may pass a call's."""


def run_part(part: Part, quick: bool) -> Any:
    """Do it, in this process."""
    module, _, function = part.function.partition(":")
    arguments = part.quick if quick and part.quick is not None else part.arguments
    return getattr(importlib.import_module(module), function)(*arguments)


def run_parts(
    parts: Sequence[Part], command: Callable[[Part, Path], list[str]], keep: Callable[[dict[str, Any]], None],
    seconds: float = CALL_SECONDS,
) -> dict[str, Any]:  # fmt: skip
    """Run parts one after another, each in a process.

    Args:
        parts: what to run.
        command: that runs a part and writes what it returned to a path, as JSON.
        keep: is given all results after each part.
        seconds: for all of them.

    Returns:
        Results by the parts' names, and under "failed" why others have none.
    """
    results: dict[str, Any] = {"failed": {}}
    end = time.monotonic() + seconds
    for part in parts:
        begin = time.monotonic()
        left = min(part.seconds, end - begin)
        if left < min(SHORTEST, part.seconds):
            results["failed"][part.name] = "skipped: no time was left"
        else:
            why = _run(part, command, left, results)
            if why:
                results["failed"][part.name] = why
        print(f"{part.name}: {results['failed'].get(part.name, 'done')} ({time.monotonic() - begin:.0f} s)", flush=True)
        keep(results)
    return results


def _run(part: Part, command: Callable[[Part, Path], list[str]], seconds: float, results: dict[str, Any]) -> str:
    """Why a part has no result; empty if it has one."""
    with tempfile.TemporaryDirectory(prefix="acceptance-") as folder:
        path, log = Path(folder) / "result.json", Path(folder) / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                command(part, path), cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )  # fmt: skip
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # its children too: they would go on using the GPU
                process.wait()
                return f"stopped after {seconds:.0f} s{_last_line(log)}"
        if code:
            return f"exit code {code}{_last_line(log)}"
        try:
            results[part.name] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            return f"no result: {error}"
        return ""


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f": {lines[-1]}" if lines else ""


def main(arguments: list[str]) -> int:
    """Run one part here: NAME, PATH and whether quick."""
    name, path, quick = arguments
    part = next(p for p in PARTS if p.name == name)
    Path(path).write_text(json.dumps(run_part(part, quick == "quick")))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
