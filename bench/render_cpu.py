"""The CPU renderer beside a port of the ancestor's algorithm, in one run.

    uv run python -m bench.render_cpu [--rounds 15] [--images 64] [--one-core] [-o bench/results/FILE.json]

What it measures, and the goals:

* images per second of one core for the `paper` recipe (256 px, 100,000 points), against the port's in the same rounds:
  at least 20 times as many;
* two threads against two independent single-thread processes: at least 95% of their images;
* 100,000 codes sampled in under one second.

`--one-core` leaves out two threads and sampling, which say nothing where the process has one core only. Exit code 1
where a goal is missed. Methodology: bench/README.md.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from bench.ancestor import Ancestor
from fracgen.benchmarking.record import Record, Results, Summary, interleaved
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.recipes.presets import preset
from fracgen.rendering.cpu.renderer import CpuRenderer

RECIPE = preset("paper").recipe
CODES = 1000


def _serve(pipe: Connection, images: int) -> None:
    """A process of its own: renders on one thread whenever a message says so."""
    renderer = CpuRenderer(CodeBank.sample(CODES), RECIPE, threads=1)
    renderer.render(range(4))
    pipe.send(True)
    while pipe.recv():
        renderer.render(range(images))
        pipe.send(True)


def several_threads(bank: CodeBank, rounds: int, images: int) -> Results:
    """Two threads against two independent single-thread processes, and how long sampling takes."""
    two, context, pipes = CpuRenderer(bank, RECIPE, threads=2), multiprocessing.get_context("spawn"), []
    for _ in range(2):
        here, there = context.Pipe()
        context.Process(target=_serve, args=(there, images * 4), daemon=True).start()
        pipes.append(here)

    def processes() -> None:
        for pipe in pipes:
            pipe.send(True)
        assert all(pipe.recv() for pipe in pipes)

    assert all(pipe.recv() for pipe in pipes)
    seconds = interleaved({"threads": lambda: two.render(range(images * 8)), "processes": processes}, rounds)
    for pipe in pipes:
        pipe.send(False)
    seconds |= interleaved({"sample": lambda: CodeBank.sample(100_000)}, max(3, rounds // 3), clock=time.thread_time)
    threads, alone = (np.array(seconds[name]) for name in ("threads", "processes"))
    return {
        "two threads": Summary.of("images/s", images * 8 / threads),
        "two processes": Summary.of("images/s", images * 8 / alone),
        "threads over processes": Summary.of("times", alone / threads),
        "sampling 100,000 codes": Summary.of("s", seconds["sample"]),
    }


def measure(rounds: int, images: int, one_core: bool = False) -> Record:
    """All results."""
    bank, port = CodeBank.sample(CODES), Ancestor(RECIPE)
    one, few, turn = CpuRenderer(bank, RECIPE, threads=1), max(1, images // 16), itertools.count()

    def by_port() -> None:
        for code in itertools.islice(turn, few):
            port(bank.maps[code % CODES, : bank.sizes[code % CODES]].astype(np.float64))

    for _ in range(-(-20 // few)):
        by_port()  # compiles everything
    seconds = interleaved({"ours": lambda: one.render(range(images)), "port": by_port}, rounds, clock=time.thread_time)
    ours, theirs = images / np.array(seconds["ours"]), few / np.array(seconds["port"])
    results = {
        "ours, one core": Summary.of("images/s", ours),
        "ours, one core, points": Summary.of("points/s", RECIPE.points * ours),
        "port of the ancestor, one core": Summary.of("images/s", theirs),
        "ours over port": Summary.of("times", ours / theirs),
    }
    if not one_core:
        results |= several_threads(bank, rounds, images)
    settings = {"recipe": RECIPE.to_json(), "codes": CODES, "rounds": rounds, "images": images}
    return Record.of("render_cpu", settings, results)


def misses(results: Results) -> list[str]:
    """The goals that were missed, a line each."""
    value = {name: r.median for name, r in results.items()}
    lines = []
    if value["ours over port"] < 20:
        lines.append(f"{value['ours over port']:.1f} times the port's images a core; the goal is 20")
    if value.get("threads over processes", 1) < 0.95:
        lines.append(f"two threads reach {value['threads over processes']:.1%} of two processes; the goal is 95%")
    if value.get("sampling 100,000 codes", 0) > 1:
        lines.append(f"100,000 codes took {value['sampling 100,000 codes']:.2f} s; the goal is 1 s")
    return lines


def main() -> int:
    """Measure, print, write; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--images", type=int, default=64, help="images of ours per measurement")
    parser.add_argument("--one-core", action="store_true", help="leave out two threads and sampling")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    record = measure(options.rounds, options.images, options.one_core)
    print(record.markdown())
    if options.output:
        record.write(options.output)
    lines = misses(record.results)
    for line in lines:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
