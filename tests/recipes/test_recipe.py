"""Recipes, bank specifications and presets: JSON there and back, identity, and bad values."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fracgen import PRESETS, BankSpec, Preset, Recipe, preset
from fracgen.cli.options import read_preset
from fracgen.recipes.recipe import RENDER_VERSION, Spec
from fracgen.rendering.parameters import Parameters
from fracgen.training.config import CONFIGS, Config, named_config
from fracgen.training.folder import RunFolder
from tests.fields import Fields
from tests.malformed import altered, altered_text, check_refusal, few


@pytest.mark.parametrize("name", PRESETS)
def test_presets_go_to_json_and_back(name: str) -> None:
    again = Preset.from_json(json.loads(json.dumps(PRESETS[name].to_json())))
    assert again == PRESETS[name]
    assert again.recipe.digest == PRESETS[name].recipe.digest
    assert Recipe.from_json(PRESETS[name].recipe.to_json()) == PRESETS[name].recipe


def test_the_papers_preset_is_the_papers() -> None:
    assert PRESETS["paper"].bank == BankSpec(codes=100_000, classes=1000, maps=(2, 8))
    recipe = PRESETS["paper"].recipe
    assert (recipe.size, recipe.points, recipe.jitter, recipe.background) == (256, 100_000, "scale", "noise")


def test_an_unknown_preset_gets_the_list() -> None:
    with pytest.raises(ValueError, match="unknown recipe 'papr': use one of paper, anderson2022, fractal4ad"):
        preset("papr")


def test_equal_digests_mean_equal_images_not_equal_names() -> None:
    recipe = Recipe("paper")
    assert dataclasses.replace(recipe, name="other").digest == recipe.digest
    changed = {"size": 128, "points": 1000, "blur_probability": 0.25, "stamp": False, "window_scale": (0.5, 1.5)}
    digests = {dataclasses.replace(recipe, **{name: value}).digest for name, value in changed.items()}  # type: ignore[arg-type]
    assert len(digests | {recipe.digest}) == len(changed) + 1


def test_the_render_version_is_part_of_the_identity() -> None:
    assert Recipe("paper").to_json()["render_version"] == RENDER_VERSION
    with pytest.raises(ValueError, match="asks for render_version"):
        Recipe("paper", render_version=RENDER_VERSION + 1)
    assert Recipe("paper", render_version=0).digest != Recipe("paper").digest


def test_size_keeps_the_canvas_in_proportion() -> None:
    half = PRESETS["fractal4ad"].recipe.at_size(112)
    assert (half.size, half.canvas) == (112, 256)
    half = PRESETS["multi-formula"].recipe.at_size(112)
    assert (half.size, half.canvas, half.scene) == (112, 128, 256)


def test_a_scene_as_large_as_the_image_is_none() -> None:
    whole = Recipe("whole", objects=(1, 2))
    assert dataclasses.replace(whole, scene=256).digest == whole.digest
    assert dataclasses.replace(whole, scene=257).digest != whole.digest


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": 0}, "size 0 is out of range: use a whole number from 8 to 1024 pixels"),
        ({"size": 100_000}, "size 100000 is out of range"),
        ({"size": 25.5}, "size 25.5 is out of range"),
        ({"size": True}, "size True is out of range"),
        ({"canvas": 128}, "canvas 128 is smaller than size 256"),
        ({"points": 0}, "points 0 is out of range"),
        ({"views": 3}, "views 3 is out of range"),
        ({"jitter": "shake"}, "jitter 'shake' is unknown: use one of none, scale, svd, sval, fractaldb"),
        ({"color": "rgb"}, "color 'rgb' is unknown"),
        ({"background": "green"}, "background 'green' is unknown"),
        ({"formula": "julia"}, "formula 'julia' is unknown"),
        ({"samples": 5}, "samples 5 is out of range: use a whole number from 1 to 4"),
        ({"source": "class"}, "source 'class' needs `objects`"),
        ({"scene": 512}, "scene 512 needs `objects`"),
        ({"scene": 255, "objects": (1, 2)}, "scene 255 is out of range: use a whole number from 256 to 4096 pixels"),
        ({"scene": 4097, "objects": (1, 2)}, "scene 4097 is out of range"),
        ({"blur_probability": 1.5}, "blur_probability 1.5 is out of range"),
        ({"blur_probability": float("nan")}, "blur_probability nan is out of range"),
        ({"window_scale": (2.0, 0.5)}, "is not an interval"),
        ({"objects": (0, 3)}, "objects 0 is out of range"),
        ({"objects": (4, 2)}, "objects 2 is out of range"),
        ({"std": (0.5, 0.0, 0.5)}, "std 0.0 is out of range"),
    ],
)
def test_a_bad_value_is_named_with_its_limits(change: Fields, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Recipe("mine", **change)


FILES = [v for preset in PRESETS.values() for v in (preset.to_json(), preset.recipe.to_json())]
CONFIGURATIONS = [named_config(name).to_json() for name in CONFIGS]


@given(st.sampled_from(FILES).flatmap(altered_text))
@few
def test_files(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(text)
    try:
        preset = read_preset(str(path))
    except ValueError as error:
        check_refusal(error)
    else:
        assert Preset.from_json(json.loads(json.dumps(preset.to_json()))) == preset
        Parameters.of(preset.recipe)


@given(st.sampled_from(CONFIGURATIONS).flatmap(altered))
@few
def test_configurations(table: object) -> None:
    try:
        config = Config.from_json(table)
    except ValueError as error:
        check_refusal(error)
    else:
        assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config


RUN = {
    "format": "fracgen-pretraining", "format_version": 1, "bank_sha256": "ab",
    "arithmetic": {"device": "cpu", "precision": "float32", "channels_last": True}, "config": CONFIGURATIONS[0],
}  # fmt: skip


@given(altered_text(RUN))
@few
def test_runs(tmp_path: Path, text: bytes) -> None:
    folder = RunFolder(tmp_path)
    folder.config.write_bytes(text)
    try:
        folder.read_config()
    except ValueError as error:
        check_refusal(error)
    else:
        how = folder.read_arithmetic()
        assert how is None or how.precision == "float32"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"size": 10**400}, "size 1000"),
        ({"mean": [0.5, 0.5]}, r"recipe\.mean is \[0\.5, 0\.5\] instead of a list of 3"),
        ({"sise": 3}, "unknown field 'sise' in recipe: the fields are background, "),
    ],
)
def test_a_value_of_a_recipe_is_named(table: Fields, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Recipe.from_json({"name": "mine", "size": 64, **table})


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"codes": 100_000_000, "classes": 1}, "codes 100000000 is out of range: use a whole number from 1 to 1000"),
        ({"powers": [8], "rules": [[42]]}, r"bank specification\.rules\[0\] is \[42\] instead of a whole number"),
        ({"powers": [8], "turns": 3}, "unknown field 'turns'"),
    ],
)
def test_a_bad_bank_specification(table: Fields, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Spec.from_json(table)
