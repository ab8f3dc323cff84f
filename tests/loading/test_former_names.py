"""Names and orders of arguments of the last release are accepted, with a warning."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

import fracgen
from fracgen import Augmentation, CodeBank, Recipe

Former = Callable[..., Any]
"""Takes what it took in the last release, of which types know nothing."""
BANK = CodeBank.sample(4, classes=2)
RECIPE = Recipe("small", size=16, canvas=16, points=500)
RENDER: Former = fracgen.render
LOADER: Former = fracgen.FractalLoader
DATASET: Former = fracgen.FractalDataset
RECIPES: Former = Recipe
ALTERED: Former = Augmentation


@pytest.mark.parametrize(
    ("now", "then"),
    [
        (lambda: RENDER(BANK, RECIPE, [0], device="cpu"), lambda: RENDER(BANK, [0], RECIPE, device="cpu")),
        (lambda: RENDER(BANK, index=[0], device="cpu"), lambda: RENDER(BANK, [0], device="cpu")),
        (lambda: LOADER(BANK, RECIPE, 4, device="cpu", seed=3)[0][0], lambda: LOADER(BANK, RECIPE, 4, "cpu", 3)[0][0]),
        (lambda: DATASET(BANK, RECIPE, seed=3)[0][0], lambda: DATASET(BANK, RECIPE, 3)[0][0]),
        (lambda: DATASET(BANK, RECIPE, normalize=False)[0][0], lambda: DATASET(BANK, RECIPE, normalise=False)[0][0]),
        (lambda: Recipe("a", color="gray"), lambda: RECIPES("a", colour="grey")),
        (lambda: dataclasses.replace(RECIPE, color="gray"), lambda: dataclasses.replace(RECIPES("a"), **GREY)),
        (lambda: Augmentation(gray=0.5, solarize=0.25), lambda: ALTERED(grey=0.5, solarise=0.25)),
        (lambda: RECIPE.color, lambda: RECIPES("a").colour),
    ],
)
def test_a_former_spelling_means_the_same(now: Callable[[], object], then: Callable[[], object]) -> None:
    with pytest.warns(DeprecationWarning, match="deprecated and will go in the next release: use"):
        made = then()
    expected = now()
    if isinstance(expected, torch.Tensor):
        assert isinstance(made, torch.Tensor)
        assert torch.equal(made, expected)
    elif isinstance(expected, Recipe):
        assert isinstance(made, Recipe)
        assert made.color == expected.color
    else:
        assert made == expected


GREY: dict[str, object] = {"colour": "gray"}


def test_files_keep_their_spelling_and_are_read_in_both() -> None:
    recipe, altered = dataclasses.replace(RECIPE, color="gray"), Augmentation(gray=0.5)
    assert recipe.to_json()["colour"] == "grey"
    assert altered.to_json()["grey"] == 0.5
    for table in ({"colour": "grey"}, {"color": "gray"}):
        assert Recipe.from_json({"name": "small", "size": 16, "canvas": 16, "points": 500, **table}) == recipe
    assert Augmentation.from_json({"gray": 0.5}) == altered


def test_the_index_is_needed() -> None:
    with pytest.raises(TypeError, match="needs the numbers of the samples"):
        fracgen.render(BANK, RECIPE)
