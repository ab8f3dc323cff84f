"""fracgen beside other programs that do the same work, in one run, by processor time of one thread.

    uv run python -m bench.peers [--rounds 5] [--root SURFACES] [--ancestor CHECKOUT] [-o peers.json]

| peer | what is compared | where it is from |
|---|---|---|
| flam3 | points of the chaos game, of codes that `fracgen codes export` wrote, 256 px | Debian's flam3-utils |
| mandelbulber2 | pictures of the Mandelbulb of power 8, 256 px, without a display | Debian's mandelbulber2 |
| Anderson and Farrell's generator | pictures of `paper`, by our port or itself | `--ancestor`, their repository |
| Anomalib | PatchCore's coreset, and a cell of PatchCore | `--root`, see `bench.cells` |

Peers that are not here are named. A program's start is part of its time.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.ancestor import Ancestor, Floats
from bench.render_cpu import CODES, RECIPE
from fracgen.benchmarking.record import Record, Summary, interleaved
from fracgen.formulas.formula import make_bank
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.formulas.ifs.exchange import export_codes
from fracgen.formulas.mandelbulb import VariationSpec
from fracgen.recipes.presets import preset
from fracgen.rendering.cpu.renderer import CpuRenderer

PROGRAMS = {"flam3": "flam3-render", "mandelbulber2": "mandelbulber2"}
IMAGES = 256
FLAMES, SAMPLES = 4, 400 * 256**2
"""How many flames flam3 draws, and of how many points each."""
BULB = "# Mandelbulber settings file\n[main_parameters]\nimage_width 256;\nimage_height 256;\n[fractal_1]\npower 8;\n"


class Pair(NamedTuple):
    """The same work, done here and by a peer, and how much of it a call does."""

    unit: str
    ours: Callable[[], object]
    here: float
    theirs: Callable[[], object]
    there: float


def processor_seconds() -> float:
    """Of this process and of those that it has waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def program(folder: Path, *command: str, text: str | None = None, **environment: str) -> Callable[[], object]:
    """A call of a program with one thread, in a folder."""
    env = {**os.environ, "nthreads": "1", "OMP_NUM_THREADS": "1", "QT_QPA_PLATFORM": "offscreen", **environment}
    pinned = ["taskset", "-c", str(min(os.sched_getaffinity(0))), *command]
    return lambda: subprocess.run(pinned, cwd=folder, input=text, text=True, env=env, check=True, capture_output=True)


def flam3(folder: Path) -> Pair:
    """Points a second, of the whole recipe here."""
    bank = CodeBank.sample(CODES)
    export_codes(bank, folder / "codes.flame", "flame", range(FLAMES))
    text = re.sub('size="512 512"|quality="100"', "", (folder / "codes.flame").read_text())
    text = text.replace("<flame ", f'<flame size="256 256" quality="{SAMPLES // 256**2}" estimator_radius="0" ')
    renderer = CpuRenderer(bank, RECIPE, threads=1)
    return Pair(
        "points/s", lambda: renderer.render(range(IMAGES)), IMAGES * RECIPE.points,
        program(folder, "flam3-render", text=text, prefix=f"{folder}/"), FLAMES * SAMPLES,
    )  # fmt: skip


def mandelbulber2(folder: Path) -> Pair:
    """Pictures a second; its shading is another."""
    (folder / "bulb.fract").write_text(BULB)
    bank = make_bank(VariationSpec((8,), (42,)))
    renderer = CpuRenderer(bank, preset("mandelbulb").recipe, threads=1)
    theirs = program(folder, "mandelbulber2", "-n", "-f", "png", "-o", "bulb.png", "bulb.fract", HOME=str(folder))
    return Pair("images/s", lambda: renderer.render(range(8)), 8, theirs, 1)


def ancestor(checkout: Path | None) -> Pair:
    """Pictures of `paper` a second."""
    bank, turn = CodeBank.sample(CODES), itertools.count()
    generator = Ancestor(RECIPE) if checkout is None else original_generator(checkout)

    def theirs() -> None:
        for code in itertools.islice(turn, 16):
            generator(bank.maps[code % CODES, : bank.sizes[code % CODES]].astype(np.float64))

    renderer = CpuRenderer(bank, RECIPE, threads=1)
    return Pair("images/s", lambda: renderer.render(range(IMAGES)), IMAGES, theirs, 16)


def original_generator(checkout: Path) -> Callable[[Floats], object]:
    """Anderson and Farrell's own generator, of the recipe's size and points; it needs OpenCV."""
    sys.path.insert(0, str(checkout))
    # By its path: the packages it lies in import its training code.
    path = checkout / "fractal_learning/training/datamodule/datasets/generator.py"
    spec = importlib.util.spec_from_file_location("ancestor_generator", path)
    assert spec is not None and spec.loader is not None, path  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Callable[[Floats], object] = module.IFSGenerator(size=RECIPE.size, niter=RECIPE.points)
    return made


def anomalib(root: Path, rounds: int) -> dict[str, Summary]:
    """Processor seconds of PatchCore, whole and its coreset alone, as `bench.cells` measures and prints them."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "cells.json"
        command = [sys.executable, "-m", "bench.cells", "--root", str(root), "--methods", "coreset,patchcore"]
        subprocess.run([*command, "--rounds", str(rounds), "-o", str(out)], check=True)
        return {f"Anomalib: {name}": one for name, one in Record.read(out).results.items()}


def compared(peer: str, pair: Pair, rounds: int) -> dict[str, Summary]:
    """Rates on both sides, and how many times the peer's ours is, which is also printed."""
    spent = interleaved({"ours": pair.ours, "theirs": pair.theirs}, rounds, clock=processor_seconds)
    ours, theirs = [pair.here / s for s in spent["ours"]], [pair.there / s for s in spent["theirs"]]
    ratio = Summary.of("times", [a / b for a, b in zip(ours, theirs, strict=True)])
    found = {"ours": Summary.of(pair.unit, ours), "theirs": Summary.of(pair.unit, theirs), "ratio": ratio}
    rates = f"{found['theirs'].median:,.4g} {pair.unit}, fracgen {found['ours'].median:,.4g}"
    print(f"{peer}: {rates}: {ratio.median:.1f} times ({ratio.min:.1f} to {ratio.max:.1f})", flush=True)
    return {f"{peer}: {what}": one for what, one in found.items()}


def main() -> None:
    """Print a line a peer, and write all numbers where `-o` says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--root", type=Path, help="`surfaces`, for Anomalib: fracgen eval data surfaces -o SURFACES")
    parser.add_argument("--ancestor", type=Path, help="checkout of Anderson and Farrell's repository")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    results: dict[str, Summary] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for peer, make in {"flam3": flam3, "mandelbulber2": mandelbulber2}.items():
            if shutil.which(PROGRAMS[peer]) is None:
                print(f"{peer}: {PROGRAMS[peer]} is not here, it comes with Debian")
            else:
                results |= compared(peer, make(Path(scratch)), options.rounds)
    who = "" if options.ancestor else ", our port"
    results |= compared(f"Anderson and Farrell{who}", ancestor(options.ancestor), options.rounds)
    if options.root is None:
        print("Anomalib: no pictures, name them with --root")
    else:
        results |= anomalib(options.root, options.rounds)
    if options.output:
        Record.of("peers", {"rounds": options.rounds, "images": IMAGES}, results).write(options.output)


if __name__ == "__main__":
    main()
