"""Mandelbulb variations on the CPU: every class, what they look like, and the reference's own arithmetic."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fracgen.formulas.formula import make_bank
from fracgen.formulas.mandelbulb import PUBLISHED_RULES, VariationSpec
from fracgen.formulas.mandelbulb.bank import VariationBank
from fracgen.rendering.cpu.renderer import CpuRenderer
from tests.reference import mandelbulb, published_variations
from tests.reference.cases import SOLID, VARIATIONS, Case, check_bytes


@pytest.mark.study
def test_many_classes() -> None:
    check_bytes(Case(dataclasses.replace(SOLID, samples=1).at_size(16), range(200), 6, bank=VARIATIONS))


def test_every_class_shows_something() -> None:
    """At 24 px, two views of each: no picture is empty or full, and none is of one colour."""
    renderer = CpuRenderer(VARIATIONS, dataclasses.replace(SOLID, samples=1).at_size(24))
    made = renderer.render(range(2 * 1037), masks=True).numpy()
    shares = made.masks.mean(axis=(1, 2))
    assert shares.min() > 0.01, VARIATIONS.name(int(shares.argmin()) % 1037)
    assert shares.max() < 0.85, VARIATIONS.name(int(shares.argmax()) % 1037)
    deviation = made.images.astype(np.float32).std(axis=(2, 3)).max(axis=1)
    assert deviation.min() > 10, VARIATIONS.name(int(deviation.argmin()) % 1037)


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
    number = (2 * r * np.cos(angle)).astype(np.float32), (r * np.sin(angle)).astype(np.float32)
    (double, imaginary), _, modulus = mandelbulb.powers(power, number, number, r.astype(np.float32))
    assert np.abs(double / 2 - exact.real).max() < 2**-22 * power**2 * 1.2**power
    assert np.abs(imaginary - exact.imag).max() < 2**-22 * power**2 * 1.2**power
    assert np.abs(modulus / np.abs(exact) - 1).max() < 2**-23 * power


@pytest.mark.parametrize("name", ["power10-rule42", "power12-rule243", "power5-rule488", "power9-rule297"])
def test_pictures_are_those_of_the_published_march(name: str) -> None:
    """Silhouette, light and colour of one scene, marched as the published shader does: by sines and cosines, one
    distance a step and no further, 100 iterations, gradients by differences. Pixels differ where a ray
    grazes, and where the surface is not even over their width; means must not, nor the shading of squares of 2 x 2."""
    code = next(k for k in range(len(VARIATIONS)) if VARIATIONS.name(k) == name)
    recipe = dataclasses.replace(SOLID, samples=1).at_size(48)
    made = CpuRenderer(VARIATIONS, recipe).render([code], seed=11, masks=True).numpy()
    image, mask = published_variations.render(recipe, VARIATIONS, code, seed=11)
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
