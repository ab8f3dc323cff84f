"""Make the pictures of the documentation, and the presets' part of recipes.md: `python docs/make_pictures.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fracgen.formulas.ifs.bank import CodeBank
from fracgen.recipes.presets import PRESETS
from fracgen.recipes.recipe import BankSpec, Preset
from fracgen.rendering.cpu.renderer import CpuRenderer

HERE = Path(__file__).parent
BEGIN, END = "<!-- presets -->\n", "<!-- end of presets -->\n"


def sheet(preset: Preset, rows: int, columns: int, side: int) -> Image.Image:
    """The first pictures of a preset; a pair's two lie beside each other."""
    count = rows * columns // preset.recipe.views
    spec = preset.bank
    classes = min(count, spec.classes)
    bank = CodeBank.from_spec(BankSpec(classes * (spec.codes // spec.classes), classes, spec.maps), 0)
    images = CpuRenderer(bank, preset.recipe).render(range(count)).images
    s = preset.recipe.size
    tiles = images.reshape(rows, columns, 3, s, s).transpose(0, 3, 1, 4, 2).reshape(rows * s, columns * s, 3)
    return Image.fromarray(np.ascontiguousarray(tiles)).resize((columns * side, rows * side), Image.Resampling.LANCZOS)


def text() -> str:
    """The presets' part of recipes.md."""
    parts = [
        f"## `{p.name}`\n\n![pictures of {p.name}](images/{p.name}.webp)\n\n{p.follows}\n\n"
        f"{p.bank.codes:,} codes of {p.bank.maps[0]} to {p.bank.maps[1]} maps in {p.bank.classes:,} classes; "
        f"{p.recipe.size} px, {p.recipe.points:,} points an attractor.\n"
        for p in PRESETS.values()
    ]
    return "\n".join(parts)


def main() -> None:
    folder = HERE / "images"
    folder.mkdir(exist_ok=True)
    sheet(PRESETS["paper"], 4, 8, 128).save(folder / "sheet.webp", quality=88, method=6)
    for name, preset in PRESETS.items():
        sheet(preset, 1, 8, 128).save(folder / f"{name}.webp", quality=88, method=6)
    page = HERE / "recipes.md"
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[-1]
    page.write_text(before + BEGIN + "\n" + text() + "\n" + END + after)


if __name__ == "__main__":
    main()
