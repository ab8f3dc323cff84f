"""Golden hashes: digests of a small batch per preset, the same on every machine.

    python -m fracgen.rendering.golden            # compare with golden.json; exit code 1 where they differ
    python -m fracgen.rendering.golden --write    # regenerate it, after a change of bytes that was meant

Within a `render_version` the images never change: other hashes are another version. `fracgen doctor`, the tests and the
GPU's acceptance script share these functions.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import numpy as np

from fracgen.formulas.files import Bank
from fracgen.formulas.formula import make_bank
from fracgen.recipes.presets import PRESETS, preset
from fracgen.recipes.recipe import RENDER_VERSION, Preset, Recipe, Spec
from fracgen.rendering.base import Renderer
from fracgen.support.decode import read_json
from fracgen.support.files import whole_file

IMAGES = 8
"""Samples 0..7 of seed 0, epoch 0, from the preset's own bank, sampled with seed 0."""
SIZES = {97: 2, 384: 1}
"""Other sides, in pixels, at which so many of these samples are rendered, too."""
_FILE = Path(__file__).with_name("golden.json")

MakeRenderer = Callable[[Bank, Recipe], Renderer]


class Stored(TypedDict):
    """The stored hashes, hex digests; those of images by `paper`, or `paper, 97 px` of another size."""

    render_version: int
    bank: str
    images: dict[str, str]


def load() -> Stored:
    """The stored hashes."""
    stored: Stored = read_json(_FILE)
    return stored


def compute(chosen: str | Preset, make: MakeRenderer | None = None, size: int | None = None) -> str:
    """SHA-256 of a preset's golden batch.

    Args:
        chosen: the preset, or its name.
        make: gives the renderer of a bank and a recipe; default: the CPU renderer.
        size: one of `SIZES`; default: the preset's own.

    Raises:
        ValueError: there is no such preset.
    """
    chosen = preset(chosen) if isinstance(chosen, str) else chosen
    if make is None:
        from fracgen.rendering.cpu.renderer import CpuRenderer

        make = CpuRenderer
    recipe, count = (chosen.recipe, IMAGES) if size is None else (chosen.recipe.at_size(size), SIZES[size])
    images = make(_bank(chosen.bank), recipe).render(range(count)).numpy().images
    return hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()


@functools.lru_cache(maxsize=1)  # the sizes of a preset follow each other
def _bank(spec: Spec) -> Bank:
    return make_bank(spec, seed=0)


def compute_bank() -> str:
    """SHA-256 of 1,000 codes of two to eight maps, each a class of its own."""
    return make_bank(preset("fractaldb").bank).sha256


def differences(make: MakeRenderer | None = None, *, sizes: bool = True) -> list[str]:
    """One line for each hash that is not the stored one; empty where all agree. `sizes`: also those of other sizes."""
    stored = load()
    if stored["render_version"] != RENDER_VERSION:
        return [f"golden.json is of render_version {stored['render_version']}, this fracgen renders {RENDER_VERSION}"]
    lines = []
    digest = compute_bank()
    if digest != stored["bank"]:
        lines.append(f"bank: {digest}, expected {stored['bank']}")
    lines += [f"{label}: there is no such preset" for label in stored["images"].keys() - batches().keys()]
    for label, (name, size) in batches().items():
        if size is not None and not sizes:
            continue
        digest, expected = compute(name, make, size), stored["images"].get(label)
        if digest != expected:
            lines.append(f"{label}: {digest}, expected {expected}")
    return lines


def batches() -> dict[str, tuple[str, int | None]]:
    """Preset and size of every golden batch, those of a preset one after the other, by their names in the file."""
    return {name if size is None else f"{name}, {size} px": (name, size) for name in PRESETS for size in (None, *SIZES)}


def write() -> None:
    """Regenerate golden.json from the CPU renderer."""
    images = {label: compute(name, size=size) for label, (name, size) in batches().items()}
    data = {"render_version": RENDER_VERSION, "bank": compute_bank(), "images": images}
    with whole_file(_FILE) as file:
        file.write((json.dumps(data, indent=2) + "\n").encode())


def main(arguments: list[str]) -> int:
    """Compare, or write with `--write`; the exit code."""
    if arguments not in ([], ["--write"]):
        print("usage: python -m fracgen.rendering.golden [--write]", file=sys.stderr)
        return 2
    if arguments:
        write()
        print(f"wrote {_FILE}", file=sys.stderr)
        return 0
    lines = differences()
    for line in lines:
        print(line)
    print(f"{len(lines)} of {len(batches()) + 1} hashes differ", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
