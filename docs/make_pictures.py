"""Make the pictures of the documentation, and the presets' part of recipes.md: `python docs/make_pictures.py`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from fracgen_eval.datasets.surfaces.defects import DEFECTS
from fracgen_eval.datasets.surfaces.photographs import PHOTOGRAPHS
from fracgen_eval.datasets.surfaces.pictures import damaged_picture, normal_picture
from PIL import Image

from fracgen.formulas.formula import formula, make_bank
from fracgen.formulas.ifs import BankSpec
from fracgen.loading.loader import FractalLoader
from fracgen.recipes.presets import PRESETS
from fracgen.recipes.recipe import Preset
from fracgen.rendering.cpu.renderer import CpuRenderer
from fracgen.training.config import CONFIGS

HERE = Path(__file__).parent
BEGIN, END = "<!-- presets -->\n", "<!-- end of presets -->\n"


def sheet(preset: Preset, rows: int, columns: int, side: int) -> Image.Image:
    """The first pictures of a preset; a pair's two lie beside each other."""
    count = rows * columns // preset.recipe.views
    bank = make_bank(preset.bank.first(count))
    images = CpuRenderer(bank, preset.recipe).render(range(count)).numpy().images
    s = preset.recipe.size
    tiles = images.reshape(rows, columns, 3, s, s).transpose(0, 3, 1, 4, 2).reshape(rows * s, columns * s, 3)
    return Image.fromarray(np.ascontiguousarray(tiles)).resize((columns * side, rows * side), Image.Resampling.LANCZOS)


def at_size(preset: Preset, size: int) -> Preset:
    """The same for pictures of another side."""
    return dataclasses.replace(preset, recipe=preset.recipe.at_size(size))


def surfaces() -> Image.Image:
    """Of each of the ten surfaces a normal picture, one with a defect (each kind in turn), and the defect's mask."""
    columns = []
    for number, category in enumerate(PHOTOGRAPHS):
        normal = normal_picture(category, PHOTOGRAPHS[category].test, [0, number, 1, 0])
        kind = number % len(DEFECTS)
        damaged, mask = damaged_picture(category, list(DEFECTS)[kind], [0, number, 2 + kind, 0])
        white = np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2)
        columns.append(np.concatenate([normal, damaged, white]))
    return Image.fromarray(np.concatenate(columns, axis=1))


def twins() -> Image.Image:
    """Twelve pairs of shots, and what is damaged in the second."""
    config = CONFIGS["twins"]
    loader = FractalLoader(make_bank(BankSpec(100, 100)), config.recipe, 12, device="cpu", epoch_size=12,
                           normalize=False, twins=True)  # fmt: skip
    images, _, damage = loader[0]
    triples = torch.cat((images, damage[:, None, None].expand(-1, -1, 3, -1, -1)), 1)  # [12, 3, 3, S, S]
    side = config.recipe.size
    tiles = (triples * 255).round().byte().numpy().reshape(3, 4, 3, 3, side, side)
    return Image.fromarray(np.ascontiguousarray(tiles.transpose(0, 4, 1, 2, 5, 3)).reshape(3 * side, 12 * side, 3))


def codes(preset: Preset) -> str:
    """What a preset is made of."""
    recipe = preset.recipe
    side = f"{recipe.size} px" if recipe.scene is None else f"{recipe.size} px of a scene of {recipe.scene} px"
    unit, each = formula(recipe.formula).work(recipe)
    return f"{preset.bank}; {side}, {each // recipe.views:,} {unit} an object."


def text() -> str:
    """The presets' part of recipes.md."""
    parts = [
        f"## `{p.name}`\n\n![pictures of {p.name}](images/{p.name}.webp)\n\n{p.follows}\n\n"
        f"{codes(p)}\n"
        for p in PRESETS.values()
    ]
    return "\n".join(parts)


def main() -> None:
    folder = HERE / "images"
    folder.mkdir(exist_ok=True)
    sheet(PRESETS["paper"], 4, 8, 128).save(folder / "sheet.webp", quality=88, method=6)
    sheet(at_size(PRESETS["mandelbulb"], 160), 4, 8, 160).save(folder / "variations.webp", quality=72, method=6)
    surfaces().save(folder / "surfaces.webp", quality=88, method=6)
    twins().save(folder / "twins.webp", quality=80, method=6)
    for name, preset in PRESETS.items():
        sheet(preset, 1, 8, 128).save(folder / f"{name}.webp", quality=88, method=6)
    page = HERE / "recipes.md"
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[-1]
    page.write_text(before + BEGIN + "\n" + text() + "\n" + END + after)


if __name__ == "__main__":
    main()
