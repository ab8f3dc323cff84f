"""A formula is a folder and a line: the Julia sets beside this file are rendered, saved and described as any other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from fracgen import Preset, Recipe, load_bank, make_bank, make_renderer
from fracgen.cli.codes import _fields
from fracgen.formulas import FORMULAS
from fracgen.formulas.formula import Formula, formula
from fracgen.support.errors import DeviceError


@pytest.fixture
def julia(monkeypatch: pytest.MonkeyPatch) -> Formula:
    monkeypatch.setitem(FORMULAS, "julia", "tests.formulas.julia")
    return formula("julia")


def test_its_images_have_the_shared_background(julia: Formula) -> None:
    (preset,) = julia.presets
    recipe = dataclasses.replace(preset.recipe.at_size(32), blur_probability=0.0)
    made = make_renderer(make_bank(preset.bank), recipe, "auto").render(range(12), masks=True).numpy()
    plain = dataclasses.replace(recipe, formula="ifs", points=1)
    other = make_renderer(make_bank(formula("ifs").spec().few(10)), plain, "cpu").render(range(12)).numpy()
    # The corners lie outside of every Julia set: a step or two covers them by an eighth at most.
    corners = (np.abs(made.images[..., [0, 0, -1, -1], [0, -1, 0, -1]].astype(int)
                      - other.images[..., [0, 0, -1, -1], [0, -1, 0, -1]]))  # fmt: skip
    assert corners.max() <= 16
    assert 0.02 < made.masks.mean() < 0.5
    assert np.abs(made.images.astype(int) - other.images)[:, 0][made.masks > 0].mean() > 20


def test_objects_views_and_scenes_are_shared(julia: Formula) -> None:
    recipe = dataclasses.replace(
        julia.presets[0].recipe.at_size(24), objects=(2, 4), source="bank", views=2, scene=40, background="white"
    )  # fmt: skip
    made = make_renderer(make_bank(julia.spec()), recipe, "cpu").render(range(8)).numpy()
    assert made.images.shape == (8, 2, 3, 24, 24)
    assert len(np.unique(made.codes)) > 5


def test_files_presets_options_and_descriptions(julia: Formula, tmp_path: Path) -> None:
    bank = make_bank(julia.spec().changed(constants=7))
    bank.save(tmp_path / "julia")
    again = load_bank(tmp_path / "julia")
    assert (repr(again), again.sha256) == ("JuliaBank(codes=7, classes=7)", bank.sha256)
    assert again.describe()["codes"] == 7
    assert again.code_lines(3)[0].startswith("code 3  class 3  constants [")
    assert Preset.from_json(julia.presets[0].to_json()) == julia.presets[0]
    options = {each.name for each in dataclasses.fields(_fields())}  # type: ignore[arg-type]
    assert options == {"codes", "classes", "maps", "powers", "rules", "constants"}


def test_without_kernels_it_is_rendered_on_the_cpu_alone(julia: Formula) -> None:
    with pytest.raises(DeviceError, match="formula 'julia' has no CUDA kernels: render it with device cpu"):
        _ = julia.pipeline


def test_an_unknown_formula_is_refused() -> None:
    with pytest.raises(ValueError, match="formula 'julia' is unknown: use one of ifs, mandelbulb"):
        Recipe("julia", formula="julia")
