"""Carry out the kernels' binaries for some images: bytes compared with the CPU renderer's, cycles printed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.machine_code.backend import ARCHITECTURE, measure
from bench.machine_code.program import UnknownInstructionError
from bench.machine_code.simulator import SimulationError
from fracgen.benchmarking.images import small_bank
from fracgen.benchmarking.record import Record, Results
from fracgen.recipes.presets import PRESETS, preset
from fracgen.rendering.cuda.sources import digest
from fracgen.support.provenance import processors


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 1 where bytes differ, 2 where a binary cannot be carried out."""
    parser = argparse.ArgumentParser(prog="python -m bench.machine_code", description=__doc__)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="names of presets; default: all")
    parser.add_argument("--images", type=int, default=2, help="samples of each recipe (default 2)")
    parser.add_argument("--size", type=int, help="of the images in pixels; default: the recipe's")
    parser.add_argument("-o", "--output", type=Path, help="write the record as JSON here")
    options = parser.parse_args(arguments)

    def results_of(name: str) -> Results:
        recipe = preset(name).recipe
        recipe = recipe if options.size is None else recipe.at_size(options.size)
        return measure(name, small_bank(preset(name)), recipe, options.images)

    try:
        with ThreadPoolExecutor(processors()) as pool:
            parts = list(pool.map(results_of, options.recipes or PRESETS))
    except (ValueError, MemoryError, FileNotFoundError, SimulationError, UnknownInstructionError) as error:
        print(error, file=sys.stderr)
        return 2
    settings = {"kernels": digest(), "architecture": ARCHITECTURE, "images": options.images, "size": options.size}
    record = Record.of("machine code", settings, {name: r for part in parts for name, r in part.items()})
    print(record.markdown(), end="")
    if options.output:
        record.write(options.output)
    return int(any(r.unit == "differences" and r.max for r in record.results.values()))


if __name__ == "__main__":
    sys.exit(main())
