"""Accept the CUDA renderer on a real card: bytes first, then cycles beside predictions, then speed.

    python -m bench.gpu.parts --parts first  [-o FILE]
    python -m bench.gpu.parts --parts second [-o FILE]

The first call takes at most five minutes, the second at most four. Every part is a process of its own, so that a fault
on the device poisons only that, and one that hangs is killed when its time is up. Its results are in FILE (and, as a
table, beside it) before the next one begins. A call whose FILE is there continues it: parts that have succeeded are not
repeated. Exit code 1 where a byte differs or a part has no result. In a checkout it needs no installed fracgen, but the
packages that `fracgen bench` needs, with CuPy.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fracgen.benchmarking.record import Record, Results
from fracgen.support.files import check_writable, whole_file

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "bench" / "results" / "gpu-acceptance.json"
CALLS = {"first": 300.0, "second": 240.0}
"""Seconds of each call. A part that could pass that is given what is left, or left for the next call."""
SHORTEST = 15.0
"""Seconds below which no part is begun."""
KILLED = (-9, 137)


@dataclass(frozen=True)
class Part:
    """One measurement.

    Args:
        name: also that of the function in `bench.gpu.measures`, unless `function` names another.
        seconds: at most.
        arguments: of the function.
        under: a command that runs the part's process.
        function: see `name`.
    """

    name: str
    seconds: float
    arguments: tuple[object, ...] = ()
    under: tuple[str, ...] = ()
    function: str = ""


COMPILED = Part("compiled", 120)
FIRST = (
    COMPILED,
    Part("golden", 60),
    Part("parity", 120, (1000, 75.0)),
    Part("stages", 45, (4224,)),
    Part("chaos_game", 45, (2112,)),
    Part("other_ways", 45),
)
SECOND = (
    COMPILED,
    Part("render", 90),
    Part("loader", 75, ((64, 512, 4096), 1_000_000)),
    Part("train", 90, (512, 10)),
    *(
        Part(tool, 60, under=("compute-sanitizer", "--tool", tool, "--error-exitcode", "9"), function="small")
        for tool in ("memcheck", "racecheck", "initcheck")
    ),
)
PARTS = {part.name: part for part in (*FIRST, *SECOND)}
"""In order: what decides most comes first. The limits are ceilings, and their sum may pass a call's."""


def chosen(text: str) -> list[Part]:
    """The parts of a call, or those of a list of names after what compiles everything. Raises ValueError."""
    if text in CALLS:
        return list(FIRST if text == "first" else SECOND)
    if unknown := [name for name in text.split(",") if name not in PARTS]:
        raise ValueError(f"unknown part {unknown[0]!r}: use first, second, or some of {','.join(PARTS)}")
    return [PARTS[name] for name in dict.fromkeys([COMPILED.name, *text.split(",")])]


Command = Callable[[Part, Path], list[str]]


def run_parts(parts: Sequence[Part], command: Command, path: Path, seconds: float) -> Record:
    """Run parts one after another and write what is known after each.

    Args:
        parts: those that have succeeded already, by the file, are passed over, but for `compiled`: another machine has
            another cache.
        command: what runs a part and writes its record to a path.
        path: of the file of all results, continued if it is there.
        seconds: for all of them.

    Raises:
        ValueError: the file is no record, or has results of other kernels or of another card.
        OSError: it cannot be read or written.
    """
    record = Record.read(path) if path.is_file() else None
    end = time.monotonic() + seconds
    for part in parts:
        state = dict(record.settings["parts"]) if record else {}
        if part != COMPILED and state.get(part.name) == "done":
            continue
        begin = time.monotonic()
        left = min(part.seconds, end - begin)
        enough = left >= min(SHORTEST, part.seconds)
        own, state[part.name] = _run(part, command, left) if enough else (None, "no time left")
        print(f"{part.name}: {state[part.name]} ({time.monotonic() - begin:.0f} s)", flush=True)
        if own is not None and record is not None:
            if other := [k for k in own.settings if own.settings[k] != record.settings.get(k)]:
                raise ValueError(f"{path} is of other {other[0]}: name another file with -o")
            record = replace(record, results=record.results | own.results)
        record = record or own
        if record is None:
            raise ValueError(f"nothing can be measured without this part: {state[part.name]}")
        record = replace(record, settings=record.settings | {"parts": state})
        record.write(path)
        with whole_file(path.with_suffix(".md")) as file:
            file.write(table(record).encode())
    assert record is not None, "a call has parts"
    return record


def _run(part: Part, command: Command, seconds: float) -> tuple[Record | None, str]:
    """A part's record and "done", or None and why."""
    with tempfile.TemporaryDirectory(prefix="acceptance-") as folder:
        path = Path(folder) / "record.json"
        # It kills the whole group: a child of a killed part would go on using the GPU.
        limited = ["timeout", "--signal=KILL", f"{seconds:.0f}", *command(part, path)]
        ended = subprocess.run(limited, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = [line.strip() for line in ended.stdout.splitlines() if line.strip()][-1:]
        if ended.returncode:
            why = f"killed after {seconds:.0f} s" if ended.returncode in KILLED else f"exit code {ended.returncode}"
            return None, ": ".join([why, *said])
        try:
            return Record.read(path), "done"
        except (OSError, ValueError) as error:
            return None, f"no result: {error}"


def faults(record: Record) -> Iterator[str]:
    """What stands against the renderer: bytes or hashes that differ, and parts without a result."""
    yield from (name for name, result in record.results.items() if result.unit == "differences" and result.max > 0)
    yield from (f"{name}: {state}" for name, state in record.settings["parts"].items() if state != "done")


def table(record: Record) -> str:
    """The results as Markdown, with what is wrong above them."""
    device = ", ".join(f"{name} {value}" for name, value in record.settings["device"].items())
    return "".join(f"**wrong**: {line}\n\n" for line in faults(record)) + f"{device}\n\n{record.markdown()}"


def main(arguments: Sequence[str]) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(
        prog="bench.gpu.parts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default="first", metavar="CALL", help="first, second, or parts with commas between")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help="file of the results")
    parser.add_argument("--seconds", type=float, help="of the whole call; default: 300 for the first, 240 for others")
    parser.add_argument("--measure", metavar="PART", help="run one part in this process, and write its record to FILE")
    options = parser.parse_args(arguments)
    if options.measure:
        measure(PARTS[options.measure]).write(options.output)
        return 0
    from fracgen.rendering.device import cuda_fault

    def command(part: Part, path: Path) -> list[str]:
        return [*part.under, sys.executable, "-m", "bench.gpu.parts", "--measure", part.name, "-o", str(path)]

    try:
        parts = chosen(options.parts)
        check_writable(options.output)
        if fault := cuda_fault():
            raise ValueError(f"no usable GPU: {fault}")
        seconds = options.seconds or CALLS.get(options.parts, CALLS["second"])
        record = run_parts(parts, command, options.output, seconds)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table(record))
    return 1 if any(faults(record)) else 0


def measure(part: Part) -> Record:
    """Run a part in this process."""
    from bench.gpu import measures

    measured: Callable[..., Results] = getattr(measures, part.function or part.name)
    return Record.of("gpu acceptance", measures.identity(), measured(*part.arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
