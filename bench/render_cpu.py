"""The CPU renderer beside a port of the ancestor's algorithm, in one run.

    uv run python -m bench.render_cpu [--rounds 15] [--images 64] [--ancestor CHECKOUT] [--one-core]
                                      [-o bench/results/FILE.json]

What it measures, and the goals:

* images per second of one core for the `paper` recipe (256 px, 100,000 points), against the port's in the same rounds:
  at least 20 times as many;
* two threads against two independent single-thread processes: at least 95% of their images;
* 100,000 codes sampled in under one second;
* the port's shares of iterating, stamping and background. With `--ancestor`, a checkout of the ancestor's repository
  (github.com/catalys1/fractal-pretraining, needs OpenCV), the original's own generator is timed in the same rounds, and
  its functions beside the port's, on the same codes: the port must cost what it costs.

`--one-core` leaves out two threads and sampling, which say nothing where the process has one core only. Exit code 1
where a goal is missed. Methodology: bench/README.md.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import itertools
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.ancestor import Ancestor, extent, iterate
from fracgen.benchmarking.record import Record, Results, Summary, interleaved
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.recipes.presets import preset
from fracgen.rendering.cpu.renderer import CpuRenderer

RECIPE = preset("paper").recipe
CODES = 1000
STAGES = ("iterating", "stamping", "background", "rest")

System = NDArray[np.float64]
"""One code's maps, [N, 2, 3]."""
Generator = Callable[[System], object]
StageSeconds = Callable[[System], Mapping[str, float]]


def bank_and_systems() -> tuple[CodeBank, list[System]]:
    """1,000 codes of the paper's, and as float64 systems."""
    bank = CodeBank.sample(CODES, seed=0)
    return bank, [bank.maps[k, : bank.sizes[k]].astype(np.float64) for k in range(CODES)]


def port_stages(generator: Ancestor) -> StageSeconds:
    """CPU seconds of each stage of one of the port's images."""

    def run(system: System) -> dict[str, float]:
        spent = dict.fromkeys(STAGES, 0.0)

        def timed(stage: str, work: Callable[..., Any], *arguments: Any) -> Any:
            start = time.thread_time()
            made = work(*arguments)
            spent[stage] += time.thread_time() - start
            return made

        varied = timed("rest", generator.jitter, system)
        coordinates = timed("iterating", iterate, varied, RECIPE.points)
        window = timed("rest", lambda: generator.window(extent(coordinates)))
        density = timed("stamping", generator.density, coordinates, window)
        background = timed("background", generator.background)
        timed("rest", lambda: generator.finish(generator.flip(density), background))
        return spent

    return run


def original_generator(checkout: Path) -> Generator:
    """The ancestor's own generator, of the recipe's size and points."""
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    # By its path: the packages it lies in import its training code.
    path = checkout / "fractal_learning/training/datamodule/datasets/generator.py"
    spec = importlib.util.spec_from_file_location("ancestor_generator", path)
    assert spec is not None and spec.loader is not None, path  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Generator = module.IFSGenerator(size=RECIPE.size, niter=RECIPE.points)
    return made


def original_stages(generator: Generator) -> StageSeconds:
    """What `port_stages` gives, of the ancestor's own code, whose functions are wrapped in clocks from here on."""
    spent: dict[str, float] = {}
    places = {"iterating": "ifs.iterate", "stamping": "ifs.render", "background": "diamondsquare.colorized_ds"}

    def clocked(stage: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        def outer(*arguments: Any, **options: Any) -> Any:
            start = time.thread_time()
            value = inner(*arguments, **options)
            spent[stage] = spent.get(stage, 0.0) + time.thread_time() - start
            return value

        return outer

    for stage, place in places.items():
        name, _, function = place.partition(".")
        module = importlib.import_module(f"fractal_learning.fractals.{name}")
        setattr(module, function, clocked(stage, getattr(module, function)))

    def run(system: System) -> dict[str, float]:
        spent.clear()
        start = time.thread_time()
        generator(system)
        total = time.thread_time() - start
        return {**spent, "rest": total - sum(spent.values())}

    return run


def shares(run: StageSeconds, systems: list[System], rounds: int) -> dict[str, list[float]]:
    """Each stage's share of the CPU time of 20 images, [rounds]; the images before compile everything."""
    for system in systems[:40]:
        run(system)
    found: dict[str, list[float]] = {name: [] for name in STAGES}
    for turn in range(rounds):
        parts = [run(system) for system in systems[20 * turn % CODES :][:20]]
        total = sum(sum(p.values()) for p in parts)
        for name in STAGES:
            found[name].append(sum(p[name] for p in parts) / total)
    return found


def _serve(pipe: Connection, images: int) -> None:
    """A process of its own: renders on one thread whenever told to."""
    renderer = CpuRenderer(bank_and_systems()[0], RECIPE, threads=1)
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

    def told(more: bool) -> None:
        for pipe in pipes:
            pipe.send(more)
        assert not more or all(pipe.recv() for pipe in pipes)

    assert all(pipe.recv() for pipe in pipes)
    together = interleaved({"threads": lambda: two.render(range(images * 8)), "processes": lambda: told(True)}, rounds)
    told(False)
    sample = {"sample": lambda: CodeBank.sample(100_000, seed=0)}
    sampling = interleaved(sample, max(3, rounds // 3), clock=time.thread_time)["sample"]
    threads, processes = (np.array(together[name]) for name in ("threads", "processes"))
    return {
        "two threads": Summary.of("images/s", images * 8 / threads),
        "two processes": Summary.of("images/s", images * 8 / processes),
        "threads over processes": Summary.of("times", processes / threads),
        "sampling 100,000 codes": Summary.of("s", sampling),
    }


def measure(rounds: int, images: int, ancestor: Path | None, one_core: bool = False) -> Record:
    """All results."""
    bank, systems = bank_and_systems()
    one, few, port = CpuRenderer(bank, RECIPE, threads=1), max(1, images // 16), Ancestor(RECIPE)
    generators: dict[str, Generator] = {"port": port}
    stages = {"port": port_stages(port)}
    if ancestor is not None:
        generators["original"] = original_generator(ancestor)

    def of(generator: Generator) -> Callable[[], None]:
        turn = itertools.count()

        def run() -> None:
            for _ in range(few):
                generator(systems[next(turn) % CODES])

        for system in systems[:20]:
            generator(system)
        return run

    contenders: dict[str, Callable[[], object]] = {"ours": lambda: one.render(range(images))}
    contenders |= {name: of(generator) for name, generator in generators.items()}
    alone = {name: np.array(s) for name, s in interleaved(contenders, rounds, clock=time.thread_time).items()}
    ours = images / alone["ours"]
    results = {
        "ours, one core": Summary.of("images/s", ours),
        "ours, one core, points": Summary.of("points/s", RECIPE.points * ours),
    }
    for name in generators:
        title = "port of the ancestor" if name == "port" else name
        results[f"{title}, one core"] = Summary.of("images/s", few / alone[name])
        results[f"ours over {name}"] = Summary.of("times", ours * alone[name] / few)
    if ancestor is not None:
        results["port over original"] = Summary.of("times", alone["original"] / alone["port"])
        stages["original"] = original_stages(generators["original"])
    if not one_core:
        results |= several_threads(bank, rounds, images)
    for kind, run in stages.items():
        for name, values in shares(run, systems, rounds).items():
            results[f"{kind}: share of {name}"] = Summary.of("of the CPU time", values)
    settings = {
        "recipe": RECIPE.to_json(), "codes": CODES, "rounds": rounds, "images": images, "original": ancestor is not None
    }  # fmt: skip
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
    for stage in STAGES[:3]:
        mine, other = (value.get(f"{kind}: share of {stage}") for kind in ("port", "original"))
        if mine and other and abs(mine / other - 1) > 0.15:
            lines.append(f"the port spends {mine:.1%} on {stage}, the original {other:.1%}; they may differ by 15%")
    return lines


def main() -> int:
    """Measure, print, write; the exit code."""
    parser = argparse.ArgumentParser(description="The CPU renderer beside a port of the ancestor's algorithm.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--images", type=int, default=64, help="images of ours per measurement")
    parser.add_argument("--ancestor", type=Path, help="checkout of the ancestor's repository, to time the original too")
    parser.add_argument("--one-core", action="store_true", help="leave out two threads and sampling")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    record = measure(options.rounds, options.images, options.ancestor, options.one_core)
    print(record.markdown())
    if options.output:
        record.write(options.output)
    lines = misses(record.results)
    for line in lines:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
