"""Published pictures of Mandelbulb variations beside ours: silhouettes, colours, light.

    python -m bench.mandelbulb_samples FOLDER [--images 40]

FOLDER holds `power10-rule42/*.png` and so on, as `samples/MandelbulbVAR-1k` of the published generator's repository
(RistoranteRist/MandelbulbVariationsGenerator, Apache 2.0) does. Views and colours are random in both, so means over
few pictures differ by chance: every difference stands in units of its standard error.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fracgen.formulas.mandelbulb.bank import VariationBank
from fracgen.recipes.presets import preset
from fracgen.recipes.variations import VariationSpec
from fracgen.rendering.cpu.renderer import CpuRenderer

SIZE = 256
WHITE = 250


def measures(images: Any) -> dict[str, Any]:
    """Of pictures uint8 [N, S, S, 3] on white: the solid's share of each, its mean brightness, its contrast, and
    how much neighbouring pixels of it differ."""
    grey = images.astype(np.float64).mean(axis=3)
    rows: dict[str, list[float]] = {"area": [], "brightness": [], "contrast": [], "roughness": []}
    for image, light in zip(images, grey, strict=True):
        solid = (image < WHITE).any(axis=2)
        inner = solid[:, 1:] & solid[:, :-1]
        rows["area"].append(solid.mean())
        rows["brightness"].append(light[solid].mean())
        rows["contrast"].append(light[solid].std())
        rows["roughness"].append(np.abs(np.diff(light, axis=1))[inner].mean())
    return {name: np.array(values) for name, values in rows.items()}


def published(folder: Path) -> Any:
    """A class's pictures at our size."""
    files = sorted(folder.glob("*.png"))
    resized = [Image.open(file).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BOX) for file in files]
    return np.stack([np.asarray(image) for image in resized])


def ours(power: int, rule: int, count: int) -> Any:
    """As many of ours, at twice the size and shrunk as theirs are."""
    bank = VariationBank.from_spec(VariationSpec((power,), (rule,)))
    recipe = dataclasses.replace(preset("mandelbulb").recipe.at_size(2 * SIZE), background="white")
    images = CpuRenderer(bank, recipe).render(range(count)).images.transpose(0, 2, 3, 1)
    return images.reshape(count, SIZE, 2, SIZE, 2, 3).mean(axis=(2, 4)).round().astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=40, help="of ours, a class")
    arguments = parser.parse_args()
    for folder in sorted(arguments.folder.iterdir()):
        match = re.fullmatch(r"power(\d+)-rule(\d+)", folder.name)
        if not match:
            continue
        theirs = measures(published(folder))
        found = measures(ours(int(match[1]), int(match[2]), arguments.images))
        parts = []
        for name, values in theirs.items():
            error = np.sqrt(values.var(ddof=1) / len(values) + found[name].var(ddof=1) / len(found[name]))
            difference = found[name].mean() - values.mean()
            parts.append(f"{name} {values.mean():.3f} / {found[name].mean():.3f} ({difference / error:+.1f})")
        print(f"{folder.name}: {', '.join(parts)}", flush=True)


if __name__ == "__main__":
    main()
