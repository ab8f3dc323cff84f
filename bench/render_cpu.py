"""The CPU renderer beside a port of the ancestor's algorithm, in one run.

    uv run python bench/render_cpu.py [--rounds 15] [--images 64] [--ancestor CHECKOUT] [--one-core]
                                      [-o bench/results/FILE.json]

What it measures, and the goals:

* images per second of one core for the `paper` recipe (256 px, 100,000 points), against the port's
  in the same rounds: at least 20 times as many;
* two threads against two independent single-thread processes: at least 95% of their images;
* 100,000 codes sampled in under one second;
* the port's shares of iterating, stamping and background. With `--ancestor`, a checkout of the
  ancestor's repository (github.com/catalys1/fractal-pretraining, needs OpenCV), the original's own generator
  is timed in the same rounds, and its functions beside the port's, on the same codes: the port must cost
  what it costs.

`--one-core` leaves out two threads and sampling, which say nothing where the process has one core only.

Exit code 1 where a goal is missed. Methodology: bench/README.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.ancestor import Ancestor, extent, iterate
from fracgen.benchmarking.timing import interleaved, make_record, markdown, result
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.recipes.presets import preset
from fracgen.rendering.cpu.renderer import CpuRenderer

RECIPE = preset("paper").recipe
CODES = 1000
STAGES = ("iterating", "stamping", "background", "rest")


def bank_and_systems() -> tuple[CodeBank, list[Any]]:
    """1,000 codes of the paper's, and as float64 [N, 2, 3] systems."""
    bank = CodeBank.sample(CODES, seed=0)
    return bank, [bank.maps[k, : bank.sizes[k]].astype(np.float64) for k in range(CODES)]


def port_stages(generator: Ancestor, system: Any) -> dict[str, float]:
    """CPU seconds of each stage of one of the port's images."""
    now, clock = [], time.thread_time
    now.append(clock())
    varied = generator.jitter(system)
    now.append(clock())
    coordinates = iterate(varied, RECIPE.points)
    now.append(clock())
    window = generator.window(extent(coordinates))
    now.append(clock())
    density = generator.density(coordinates, window)
    now.append(clock())
    background = generator.background()
    now.append(clock())
    generator.finish(generator.flip(density), background)
    now.append(clock())
    rest = now[1] - now[0] + now[3] - now[2] + now[6] - now[5]
    return dict(zip(STAGES, (now[2] - now[1], now[4] - now[3], now[5] - now[4], rest), strict=True))


def original_generator(checkout: Path) -> Any:
    """The ancestor's own generator, of the recipe's size and points."""
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    # By its path: the packages it lies in import its training code.
    path = checkout / "fractal_learning/training/datamodule/datasets/generator.py"
    spec = importlib.util.spec_from_file_location("ancestor_generator", path)
    assert spec is not None and spec.loader is not None, path  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.IFSGenerator(size=RECIPE.size, niter=RECIPE.points)


def original_stages(generator: Any) -> Callable[[Any], dict[str, float]]:
    """What `port_stages` gives, of the ancestor's own code, whose functions are wrapped in clocks from here on."""
    from fractal_learning.fractals import diamondsquare, ifs

    spent: dict[str, float] = {}

    def timed(name: str, module: Any, function: str) -> None:
        inner = getattr(module, function)

        def outer(*args: Any, **kwargs: Any) -> Any:
            start = time.thread_time()
            value = inner(*args, **kwargs)
            spent[name] = spent.get(name, 0.0) + time.thread_time() - start
            return value

        setattr(module, function, outer)

    timed("iterating", ifs, "iterate")
    timed("stamping", ifs, "render")
    timed("background", diamondsquare, "colorized_ds")

    def run(system: Any) -> dict[str, float]:
        spent.clear()
        start = time.thread_time()
        generator(system)
        total = time.thread_time() - start
        return {**spent, "rest": total - sum(spent.values())}

    return run


def shares(run: Callable[[Any], dict[str, float]], systems: list[Any], rounds: int) -> dict[str, list[float]]:
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


def _serve(pipe: Any, images: int) -> None:
    """A process of its own: renders on one thread whenever told to."""
    renderer = CpuRenderer(bank_and_systems()[0], RECIPE, threads=1)
    renderer.render(range(4))
    pipe.send("ready")
    while pipe.recv():
        renderer.render(range(images))
        pipe.send("done")


class Processes:
    """Two independent single-thread processes."""

    def __init__(self, images: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipes, self.processes = [], []
        for _ in range(2):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, images), daemon=True)
            process.start()
            self.pipes.append(here)
            self.processes.append(process)
        for pipe in self.pipes:
            assert pipe.recv() == "ready"

    def render(self) -> None:
        """Both render; returns when both are done."""
        for pipe in self.pipes:
            pipe.send(True)
        for pipe in self.pipes:
            assert pipe.recv() == "done"

    def close(self) -> None:
        """End both."""
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            pipe.send(False)
            process.join()


def measure(rounds: int, images: int, ancestor: Path | None, one_core: bool = False) -> dict[str, Any]:
    """All results, as a record."""
    bank, systems = bank_and_systems()
    one, few = CpuRenderer(bank, RECIPE, threads=1), max(1, images // 16)
    generators = {"port": Ancestor(RECIPE)} | ({} if ancestor is None else {"original": original_generator(ancestor)})

    def of(generator: Any) -> Callable[[], None]:
        turn = itertools.count()

        def run() -> None:
            for _ in range(few):
                generator(systems[next(turn) % CODES])

        for system in systems[:20]:
            generator(system)
        return run

    contenders = {"ours": lambda: one.render(range(images))} | {name: of(g) for name, g in generators.items()}
    alone = interleaved(contenders, rounds, clock=time.thread_time)
    ours = [images / s for s in alone["ours"]]
    results = {
        "ours, one core": result("images/s", ours),
        "ours, one core, points": result("points/s", [RECIPE.points * v for v in ours]),
    }
    for name, title in (("port", "port of the ancestor"), ("original", "original")):
        if name in alone:
            theirs = [few / s for s in alone[name]]
            results[f"{title}, one core"] = result("images/s", theirs)
            results[f"ours over {name}"] = result("times", [a / b for a, b in zip(ours, theirs, strict=True)])
    if "original" in alone:
        ratios = [a / b for a, b in zip(alone["original"], alone["port"], strict=True)]
        results["port over original"] = result("times", ratios)
    if not one_core:
        results |= several_threads(bank, rounds, images)
    kinds: dict[str, Callable[[Any], dict[str, float]]] = {"port": lambda s: port_stages(generators["port"], s)}
    if ancestor is not None:
        kinds["original"] = original_stages(generators["original"])
    for kind, run in kinds.items():
        for name, values in shares(run, systems, rounds).items():
            results[f"{kind}: share of {name}"] = result("of the CPU time", values)
    settings = {
        "recipe": RECIPE.to_json(), "codes": CODES, "rounds": rounds, "images": images, "original": ancestor is not None
    }  # fmt: skip
    return make_record("render_cpu", settings, results)


def several_threads(bank: CodeBank, rounds: int, images: int) -> dict[str, Any]:
    """Two threads against two processes, and how long sampling takes."""
    two = CpuRenderer(bank, RECIPE, threads=2)
    processes = Processes(images * 4)
    together = interleaved({"threads": lambda: two.render(range(images * 8)), "processes": processes.render}, rounds)
    processes.close()

    sampling = interleaved(
        {"sample": lambda: CodeBank.sample(100_000, seed=0)}, max(3, rounds // 3), clock=time.thread_time
    )["sample"]
    return {
        "two threads": result("images/s", [images * 8 / s for s in together["threads"]]),
        "two processes": result("images/s", [images * 8 / s for s in together["processes"]]),
        "threads over processes": result(
            "times", [p / t for t, p in zip(together["threads"], together["processes"], strict=True)]
        ),
        "sampling 100,000 codes": result("s", sampling),
    }


def misses(results: dict[str, Any]) -> list[str]:
    """The goals that were missed, a line each."""
    value = {name: r["median"] for name, r in results.items()}
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
    arguments = parser.parse_args()
    data = measure(arguments.rounds, arguments.images, arguments.ancestor, arguments.one_core)
    print(markdown(data))
    if arguments.output:
        arguments.output.write_text(json.dumps(data, indent=2) + "\n")
    lines = misses(data["results"])
    for line in lines:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
