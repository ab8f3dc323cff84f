"""Mandelbulb variations on the CPU: every byte against the slow reference, every class, and what they look like."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from fracgen.draws import Stream
from fracgen.formulas.formula import make_bank
from fracgen.formulas.mandelbulb import PUBLISHED_RULES, VariationSpec
from fracgen.formulas.mandelbulb.bank import VariationBank
from fracgen.recipes.presets import preset
from fracgen.recipes.recipe import Recipe
from fracgen.rendering.cpu.renderer import CpuRenderer
from tests.reference import exact, mandelbulb, published_variations

BANK = VariationBank.from_spec()
ONE, MANY = preset("mandelbulb").recipe, preset("multi-mandelbulb").recipe


def assert_same(recipe: Recipe, bank: VariationBank, index: list[int], **key: Any) -> None:
    """Rendered and reference bytes agree; the message names the first pixel that differs."""
    made = CpuRenderer(bank, recipe, threads=1).render(index, masks=True, **key).numpy()
    for row, i in enumerate(index):
        image, codes, mask = exact.render_one(recipe, bank, i, **key)
        assert made.codes[row].tolist() == codes.tolist()
        for what, got, expected in (("image", made.images[row], image), ("mask", made.masks[row], mask)):
            wrong = np.argwhere(got != expected.reshape(got.shape))
            assert not len(wrong), f"{what} of sample {i} differs in {len(wrong)} bytes, first at {wrong[0].tolist()}"


def test_a_picture() -> None:
    assert_same(ONE.at_size(16), BANK, [0, 400], seed=1)
    key = {"seed": 2**64 - 1, "epoch": 2**32 - 1, "stream": Stream.VALIDATION}
    assert_same(dataclasses.replace(ONE, samples=1).at_size(17), BANK, [2**32 - 1], **key)


def test_backgrounds_blur_crop_and_more_rays() -> None:
    recipe = dataclasses.replace(ONE, background="noise", blur_probability=1.0, samples=3)
    assert_same(dataclasses.replace(recipe, size=9, canvas=12), BANK, [7], seed=2)
    assert_same(dataclasses.replace(ONE, background="black").at_size(12), BANK, [8], seed=2)


def test_placed_objects_of_any_class_and_pairs() -> None:
    few = dataclasses.replace(MANY, objects=(2, 3), samples=1, source="bank", blur_probability=1.0)
    assert_same(few.at_size(26), BANK, [3], seed=3)
    assert_same(dataclasses.replace(few, background="noise", views=2).at_size(20), BANK, [3], seed=4)


def test_a_part_of_a_scene() -> None:
    few = dataclasses.replace(MANY, objects=(3, 4), samples=1, background="noise")
    assert_same(dataclasses.replace(few.at_size(18), scene=40), BANK, [3, 4], seed=6)


def test_every_power_and_both_angles_of_every_axis() -> None:
    """Powers 2 to 24 on rules that between them set and clear every bit, one of them without a bounding radius."""
    powers, rules = np.arange(2, 25, dtype=np.uint8), np.array([42, 507, 243, 168, 0], np.uint16)
    bank = VariationBank(powers, rules[np.arange(len(powers)) % len(rules)])
    assert_same(dataclasses.replace(ONE, samples=1).at_size(8), bank, list(range(len(powers))), seed=5)


@pytest.mark.study
def test_many_classes() -> None:
    assert_same(dataclasses.replace(ONE, samples=1).at_size(16), BANK, list(range(200)), seed=6)


def test_every_class_shows_something() -> None:
    """At 24 px, two views of each: no picture is empty or full, and none is of one colour."""
    renderer = CpuRenderer(BANK, dataclasses.replace(ONE, samples=1).at_size(24))
    made = renderer.render(range(2 * 1037), masks=True).numpy()
    shares = made.masks.mean(axis=(1, 2))
    assert shares.min() > 0.01, BANK.name(int(shares.argmin()) % 1037)
    assert shares.max() < 0.85, BANK.name(int(shares.argmax()) % 1037)
    deviation = made.images.astype(np.float32).std(axis=(2, 3)).max(axis=1)
    assert deviation.min() > 10, BANK.name(int(deviation.argmin()) % 1037)


def test_the_logarithm() -> None:
    values = np.float32(2.0) ** np.linspace(-60, 120, 1000, dtype=np.float32)
    error = mandelbulb.logarithm(values) - np.log(values.astype(np.float64))
    assert np.abs(error).max() < 8e-7 + 2**-24 * 83  # the series' own, and rounding of values up to 83


def test_the_inverse_root() -> None:
    values = np.float32(2.0) ** np.linspace(-100, 120, 100_000, dtype=np.float32)
    error = mandelbulb.inverse_root(values) * np.sqrt(values.astype(np.float64)) - 1
    assert np.abs(error).max() < 9e-7 + 3 * 2**-24  # the polynomial's own, and rounding
    with np.errstate(over="ignore"):
        assert np.isfinite(mandelbulb.inverse_root(np.array([0.0], np.float32)))


@pytest.mark.parametrize("power", range(2, 25))
def test_powers_of_complex_numbers(power: int) -> None:
    angle = np.linspace(0.0, 2 * np.pi, 1000)
    r = np.linspace(0.5, 1.2, 1000)
    exact = (r * np.exp(1j * angle)) ** power
    number = np.float32(2 * r * np.cos(angle)), np.float32(r * np.sin(angle))
    (double, imaginary), _, modulus = mandelbulb.powers(power, number, number, np.float32(r))
    assert np.abs(double / 2 - exact.real).max() < 2**-22 * power**2 * 1.2**power
    assert np.abs(imaginary - exact.imag).max() < 2**-22 * power**2 * 1.2**power
    assert np.abs(modulus / np.abs(exact) - 1).max() < 2**-23 * power


@pytest.mark.parametrize("name", ["power10-rule42", "power12-rule243", "power5-rule488", "power9-rule297"])
def test_pictures_are_those_of_the_published_march(name: str) -> None:
    """Silhouette, light and colour of one scene, marched as the published shader does: by sines and cosines, one
    distance a step and no further, 100 iterations, gradients by differences. Pixels differ where a ray
    grazes, and where the surface is not even over their width; means must not, nor the shading of squares of 2 x 2."""
    code = next(k for k in range(len(BANK)) if BANK.name(k) == name)
    recipe = dataclasses.replace(ONE, samples=1).at_size(48)
    made = CpuRenderer(BANK, recipe).render([code], seed=11, masks=True).numpy()
    image, mask = published_variations.render(recipe, BANK, code, seed=11)
    assert abs(made.masks[0].mean() - mask.mean()) < 0.01
    assert (made.masks[0] != mask).mean() < 0.03
    both = (made.masks[0] & mask).astype(bool)
    ours, theirs = (x[:, both].astype(np.float64) for x in (made.images[0], image))
    assert np.abs(ours.mean(axis=1) - theirs.mean(axis=1)).max() < 12
    assert np.abs(ours.std(axis=1) - theirs.std(axis=1)).max() < 12
    within = (made.masks[0] & mask).reshape(24, 2, 24, 2).all(axis=(1, 3))
    smooth = [x.reshape(3, 24, 2, 24, 2).mean(axis=(0, 2, 4))[within] for x in (made.images[0], image)]
    assert np.corrcoef(*smooth)[0, 1] > 0.6


def test_rules_are_bounded_as_the_published_ones_are() -> None:
    """All published rules have the sine and the cosine of one angle, so a radius holds them."""
    spec = VariationSpec((8,), PUBLISHED_RULES)
    bank = make_bank(spec)
    assert isinstance(bank, VariationBank)
    assert bank.codes().radii.max() < 1.2
