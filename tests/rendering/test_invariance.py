"""The same bytes for any batch size, thread count, order of access and vector width; other bytes for any
other seed, epoch, index or stream. Golden hashes hold them from one machine to the next."""

from __future__ import annotations

import dataclasses
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from fracgen.cli.options import read_preset
from fracgen.draws import Stream
from fracgen.formulas.files import Bank
from fracgen.formulas.formula import make_bank
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.formulas.mandelbulb import VariationSpec
from fracgen.recipes.presets import PRESETS, preset
from fracgen.recipes.recipe import RENDER_VERSION
from fracgen.rendering import golden
from fracgen.rendering.cpu import arithmetic
from fracgen.rendering.cpu.renderer import CpuRenderer
from tests.fields import Fields

BANKS = {
    "ifs": CodeBank.sample(60, seed=1, classes=12),
    "mandelbulb": make_bank(VariationSpec((2, 3, 5, 8, 11, 16), (32, 42, 107, 168, 205, 243, 297, 413, 488, 507))),
}  # fmt: skip
"""Of 60 codes each."""
RECIPES = {
    name: dataclasses.replace(p.recipe.at_size(40 if p.recipe.formula == "ifs" else 24), points=4000)
    for name, p in PRESETS.items()
}


@pytest.fixture(scope="module", params=RECIPES)
def renderer(request: pytest.FixtureRequest) -> CpuRenderer:
    recipe = RECIPES[request.param]
    bank = BANKS[recipe.formula] if recipe.formula in BANKS else make_bank(PRESETS[request.param].bank.few(60))
    return CpuRenderer(bank, recipe, threads=1)


def test_golden_hashes() -> None:
    """Every preset and the bank; regenerate with `python -m fracgen.rendering.golden --write`."""
    assert golden.load()["render_version"] == RENDER_VERSION
    assert golden.differences() == []


def test_a_recipe_that_was_a_preset_is_a_file() -> None:
    with pytest.raises(ValueError, match="'multi-formula-whole' is a file now: give the path of docs/multi-formula"):
        preset("multi-formula-whole")
    file = read_preset(str(Path(__file__).parents[2] / "docs" / "multi-formula-whole.json"))
    assert golden.compute(file) == "3fca963daed9fb7eb95ecb3d4f7b36e587dbb897b3a93761d18d4028cccb0cce"


def test_golden_hashes_tell_a_changed_picture() -> None:
    def other(bank: Bank, recipe: object) -> CpuRenderer:
        return CpuRenderer(bank, dataclasses.replace(preset("paper").recipe, window_shift=0.2001))

    assert golden.compute("paper", other) != golden.load()["images"]["paper"]


def test_batch_size_order_and_repeats(renderer: CpuRenderer) -> None:
    index = list(range(37))
    whole = renderer.render(index, seed=3, epoch=2).numpy()
    for size in (1, 5, 36):
        parts = [renderer.render(index[i : i + size], seed=3, epoch=2).numpy() for i in range(0, 37, size)]
        assert np.array_equal(np.concatenate([p.images for p in parts]), whole.images)
        assert np.array_equal(np.concatenate([p.codes for p in parts]), whole.codes)
    mixed = [30, 2, 2, 36, 0, 30]
    assert np.array_equal(renderer.render(mixed, seed=3, epoch=2).numpy().images, whole.images[mixed])
    assert np.array_equal(renderer.render(index, seed=3, epoch=2).numpy().images, whole.images)


def test_threads(renderer: CpuRenderer) -> None:
    one = renderer.render(range(50), seed=4, masks=True).numpy()
    for threads in (2, 3, 8):
        many = CpuRenderer(renderer.bank, renderer.recipe, threads).render(range(50), seed=4, masks=True).numpy()
        assert np.array_equal(many.images, one.images)
        assert np.array_equal(many.masks, one.masks)


def test_masks_do_not_change_the_picture(renderer: CpuRenderer) -> None:
    with_masks = renderer.render(range(20), seed=5, masks=True).numpy()
    assert np.array_equal(with_masks.images, renderer.render(range(20), seed=5).numpy().images)
    assert set(np.unique(with_masks.masks)) == {0, 1}


def test_nothing_else_gives_the_same_pictures(renderer: CpuRenderer) -> None:
    """Seeds, epochs, streams and indices that a sum or a swap of arguments would confuse all differ."""
    keys: list[Fields] = [
        {"seed": 0, "epoch": 0}, {"seed": 0, "epoch": 1}, {"seed": 1, "epoch": 0}, {"seed": 1, "epoch": 1},
        {"seed": 2**32, "epoch": 0}, {"seed": 0, "epoch": 2**31}, {"seed": 0, "epoch": 0, "stream": Stream.VALIDATION},
    ]  # fmt: skip
    seen: dict[bytes, tuple[object, int]] = {}
    for key in keys:
        # Samples 0 and 60 are of the same code.
        for i, image in zip((0, 1, 60), renderer.render([0, 1, 60], **key).numpy().images, strict=True):
            clash = seen.setdefault(image.tobytes(), (key, i))
            assert clash == (key, i), f"sample {i} of {key} is the same picture as {clash}"


def _run(code: str, folder: Path | None = None, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env={**os.environ, **environment}
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_vector_width(request: pytest.FixtureRequest) -> None:
    """Eight lanes and sixteen: a lane never sees another. The other width than this CPU's runs in a process of
    its own, whose binaries are kept for the next session."""
    other, kept = str(24 - arithmetic.LANES), request.config.cache.mkdir("lanes")
    code = (
        "from fracgen.rendering import golden; from fracgen.rendering.cpu import arithmetic\n"
        "print(arithmetic.LANES, golden.compute('anderson2022'), golden.compute('multi-mandelbulb'))\n"
    )
    found = _run(code, NUMBA_CACHE_DIR=str(kept), FRACGEN_LANES=other).split()
    assert found == [other, *(golden.load()["images"][name] for name in ("anderson2022", "multi-mandelbulb"))]


def test_editing_an_inlined_file_is_noticed(tmp_path: Path) -> None:
    """Numba looks at a stage's own file only; `rendering.cpu.jit` makes it look at all that is inlined."""
    package = Path(golden.__file__).parents[1]
    shutil.copytree(package, tmp_path / "fracgen", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}
    code = (
        "import fracgen, numpy as np; from fracgen.formulas.ifs import compose as c\n"
        "from fracgen.formulas.ifs import stages as cpu\n"
        "from fracgen.rendering.parameters import Parameters\n"
        "assert 'PLACE' in fracgen.__file__\n"
        "p = Parameters.of(fracgen.preset('fractaldb').recipe.at_size(8))\n"
        "s = cpu.IfsStages(fracgen.CodeBank.sample(2), p).space(1)\n"
        "s.shapes.density[:] = 5; out = np.empty((1, 1, 3, 8, 8), np.uint8)\n"
        "s.scenes[:] = 0\n"
        "c.compose_stage(p, s, 0, 1, out, np.empty((0, 1, 8, 8), np.uint8))\n"
        "print(out[0, 0, 0, 0, 0], sum(c.compose_stage.stats.cache_hits.values()))\n"
    ).replace("PLACE", tmp_path.name)
    before = _run(code, tmp_path, **environment)
    again = _run(code, tmp_path, **environment)
    assert before == "127 0"
    assert again == "127 1", "the cache is used while nothing changes"
    # `records.py` is another file than the stage's, and what it holds is compiled into the stage.
    records = tmp_path / "fracgen" / "rendering" / "records.py"
    text = records.read_text()
    swapped = text.replace("HUE: int = 0", "HUE: int = 1").replace("SATURATION: int = 1", "SATURATION: int = 0")
    assert swapped != text
    records.write_text(swapped)
    assert _run(code, tmp_path, **environment) == "127 0", "the old binary is not used after the edit"


def test_binaries_of_an_older_version_whose_types_are_gone_are_not_loaded(tmp_path: Path) -> None:
    """Numba's index holds the types of arguments as pickles: one that no longer exists must not end in a traceback."""
    code = (
        "from fracgen.rendering.cpu import noise; index = noise.noise_stage._cache._cache_file\n"
        "import sys; print(index._index_path, len(index._load_index()))"
    )
    path, _ = _run(code, NUMBA_CACHE_DIR=str(tmp_path)).split()
    gone = b"cfracgen.rendering.parameters\nGoneLongAgo\n."
    Path(path).write_bytes(pickle.dumps(numba.__version__) + gone)
    assert _run(code, NUMBA_CACHE_DIR=str(tmp_path)).split() == [path, "0"]
