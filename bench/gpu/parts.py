"""The parts of the acceptance run: what is measured in which call, each in a process of its own.

A fault on the device poisons only that process, and a part that hangs is killed when its time is up.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fracgen.benchmarking.record import Record, Results
from fracgen.support.files import whole_file

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "bench" / "results" / "gpu-acceptance.json"
CALLS = {"first": 300.0, "second": 240.0}
"""Seconds of each call. A part that could pass that is given what is left, or left for the next call."""
SHORTEST = 15.0
"""Seconds below which no part is begun."""
SAME = ("kernels", "device", "quick")
"""Settings that all results of a file share."""


@dataclass(frozen=True)
class Part:
    """One measurement.

    Args:
        name: also that of the function in `bench.gpu.measures`, unless `function` names another.
        call: the call in which it runs.
        seconds: at most.
        arguments: of the function.
        quick: the same for a run that only tries the script.
        under: a command that runs the part's process.
        function: see `name`.
    """

    name: str
    call: str
    seconds: float
    arguments: tuple[object, ...] = ()
    quick: tuple[object, ...] | None = None
    under: tuple[str, ...] = ()
    function: str = ""


def _sanitizer(tool: str) -> Part:
    under = ("compute-sanitizer", "--tool", tool, "--error-exitcode", "9")
    return Part(tool, "second", 60, under=under, function="small")


PARTS = (
    Part("compiled", "first", 120),
    Part("golden", "first", 60),
    Part("parity", "first", 120, (1000, 75.0), (16, 20.0)),
    Part("stages", "first", 45, (4224,), (132,)),
    Part("chaos_game", "first", 45, (2112,), (132,)),
    Part("other_ways", "first", 60),
    Part("compiled", "second", 120),
    Part("render", "second", 90),
    Part("epoch", "second", 45, (1_000_000, 4224), (10_000, 512)),
    Part("loader", "second", 60, ((64, 512, 4096),), ((64,),)),
    Part("train", "second", 90, (512, 10), (64, 3)),
    *map(_sanitizer, ("memcheck", "racecheck", "initcheck")),
)
"""In order: what decides most comes first. The limits are ceilings, and their sum may pass a call's."""

Command = Callable[[Part, Path], list[str]]


def run_parts(parts: Sequence[Part], command: Command, path: Path, seconds: float) -> Record:
    """Run parts one after another and write what is known after each.

    Args:
        parts: those that have succeeded already, by the file, are passed over; `compiled` is not, since another
            machine has another cache.
        command: what runs a part and writes its record to a path.
        path: of the file of all results, continued if it is there.
        seconds: for all of them.

    Raises:
        ValueError: the file is no record, or its results are of other kernels, of another card or of a quick run.
        OSError: it cannot be read or written.
    """
    record = Record.read(path) if path.is_file() else None
    end = time.monotonic() + seconds
    for part in parts:
        done = record.settings["parts"] if record else {}
        if part.name != "compiled" and done.get(part.name, {}).get("failed") == "":
            continue
        begin = time.monotonic()
        left = min(part.seconds, end - begin)
        own, why = _run(part, command, left) if left >= min(SHORTEST, part.seconds) else (None, "no time was left")
        if own is not None and record is not None and (other := [k for k in SAME if own.settings[k] != record.settings[k]]):
            raise ValueError(f"{path} has results of another {other[0]}: name another file with -o")
        took = round(time.monotonic() - begin, 1)
        print(f"{part.name}: {why or 'done'} ({took:.0f} s)", flush=True)
        if record is None and own is None:
            raise ValueError(f"{part.name} failed, and nothing is known of the card without it: {why}")
        record = record or own
        assert record is not None
        parts_of = {**done, part.name: {"seconds": took, "failed": why}}
        results = record.results | (own.results if own else {})
        record = replace(record, results=results, settings=record.settings | {"parts": parts_of})
        record.write(path)
        with whole_file(path.with_suffix(".md")) as file:
            file.write(table(record).encode())
    assert record is not None, "a call has parts"
    return record


def _run(part: Part, command: Command, seconds: float) -> tuple[Record | None, str]:
    """A part's record, or why there is none."""
    with tempfile.TemporaryDirectory(prefix="acceptance-") as folder:
        path, log = Path(folder) / "record.json", Path(folder) / "log"
        with log.open("w") as output:
            try:
                process = subprocess.Popen(
                    command(part, path), cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
                )
                code = process.wait(seconds)
            except FileNotFoundError as error:
                return None, f"{error.filename} is not installed"
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # its children too: they would go on using the GPU
                process.wait()
                return None, f"stopped after {seconds:.0f} s{_last_line(log)}"
        if code:
            return None, f"exit code {code}{_last_line(log)}"
        try:
            return Record.read(path), ""
        except (OSError, ValueError) as error:
            return None, f"no result: {error}"


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f": {lines[-1]}" if lines else ""


def faults(record: Record) -> Iterator[str]:
    """What stands against the renderer: results of bytes or hashes that differ, and parts that failed."""
    yield from (name for name, r in record.results.items() if r.unit == "differences" and r.max > 0)
    yield from (f"{name}: {part['failed']}" for name, part in record.settings["parts"].items() if part["failed"])


def table(record: Record) -> str:
    """The results as Markdown, with what is wrong above the table."""
    device = ", ".join(f"{name} {value}" for name, value in record.settings["device"].items())
    return "".join(f"**wrong**: {line}\n\n" for line in faults(record)) + f"{device}\n\n{record.markdown()}"


def main(arguments: Sequence[str], description: str) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(
        prog="bench/gpu_acceptance.py", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default="first", metavar="CALL", help="first, second, or parts with commas between")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help=f"file of the results (default {OUTPUT.name})")
    parser.add_argument("--seconds", type=float, help="of the whole call; default: 300 for the first, 240 for others")
    parser.add_argument("--quick", action="store_true", help="measure little of everything, to try the script")
    options = parser.parse_args(arguments)
    from fracgen.rendering.device import cuda_fault

    try:
        parts = chosen(options.parts)
        if not options.output.parent.is_dir():
            raise FileNotFoundError(f"no folder {options.output.parent} to write {options.output.name} in: make it first")
        if fault := cuda_fault():
            raise ValueError(f"no usable GPU: {fault}")
        seconds = options.seconds or CALLS.get(options.parts, CALLS["second"])
        size = "quick" if options.quick else "full"
        record = run_parts(
            parts, lambda part, path: [*part.under, sys.executable, "-m", "bench.gpu.parts", part.name, str(path), size],
            options.output, seconds,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table(record))
    return 1 if any(faults(record)) else 0


def chosen(text: str) -> list[Part]:
    """The parts of a call, or those of a list of names after what compiles everything. Raises ValueError."""
    if text in CALLS:
        return [part for part in PARTS if part.call == text]
    by_name = {part.name: part for part in PARTS}
    for name in text.split(","):
        if name not in by_name:
            raise ValueError(f"unknown part {name!r}: use first, second, or some of {','.join(by_name)}")
    return [by_name[name] for name in dict.fromkeys(["compiled", *text.split(",")])]


def measure(name: str, quick: bool) -> Record:
    """Run a part in this process."""
    from bench.gpu import measures

    part = next(part for part in PARTS if part.name == name)
    measured: Callable[..., Results] = getattr(measures, part.function or part.name)
    results = measured(*(part.quick if quick and part.quick is not None else part.arguments))
    return Record.of("gpu acceptance", {**measures.identity(), "quick": quick}, results)


if __name__ == "__main__":
    measure(sys.argv[1], sys.argv[3] == "quick").write(Path(sys.argv[2]))
