"""Recipes, bank specifications and presets: JSON there and back, identity, and bad values."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from fracgen import PRESETS, BankSpec, Preset, Recipe, preset
from fracgen.recipes.recipe import RENDER_VERSION


@pytest.mark.parametrize("name", PRESETS)
def test_presets_go_to_json_and_back(name: str) -> None:
    again = Preset.from_json(json.loads(json.dumps(PRESETS[name].to_json())))
    assert again == PRESETS[name]
    assert again.recipe.digest == PRESETS[name].recipe.digest
    assert Recipe.from_json(PRESETS[name].recipe.to_json()) == PRESETS[name].recipe


@pytest.mark.parametrize("name", PRESETS)
def test_presets_say_what_they_follow(name: str) -> None:
    assert PRESETS[name].name == PRESETS[name].recipe.name == name
    assert len(PRESETS[name].follows.split()) > 30


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
def test_a_bad_value_is_named_with_its_limits(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Recipe("mine", **change)


def test_bad_json_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown field 'sise' in recipe: the fields are background, "):
        Recipe.from_json({"name": "mine", "sise": 3})
    with pytest.raises(ValueError, match=r"recipe\.name is missing"):
        Recipe.from_json({"size": 64})
    with pytest.raises(ValueError, match=r"preset\.follows is missing"):
        Preset.from_json({"name": "mine", "recipe": {"name": "mine"}})
    with pytest.raises(ValueError, match="unknown field 'seed' in bank specification"):
        BankSpec.from_json({"seed": 3})
