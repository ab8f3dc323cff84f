"""Banks of Mandelbulb variations: which there are, their file, and the spheres that hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fracgen.formulas.files import BankError
from fracgen.formulas.formula import load_bank, make_bank
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.formulas.mandelbulb import PUBLISHED_RULES, VariationSpec
from fracgen.formulas.mandelbulb.bank import VariationBank, radius
from fracgen.recipes.presets import preset
from fracgen.recipes.recipe import check_formula


def test_the_published_classes() -> None:
    bank = VariationBank.from_spec()
    assert bank.classes == len(bank) == 1037
    names = {bank.name(k) for k in range(1037)}
    assert names == {f"power{p}-rule{r}" for p in range(2, 19) for r in PUBLISHED_RULES}
    # The folders of the published samples.
    assert names >= {"power10-rule42", "power12-rule243", "power14-rule42", "power18-rule413", "power7-rule506"}


@pytest.mark.parametrize(("powers", "rules"), [((8,), (42,)), ((2, 3, 4, 5), (1, 2)), ((5, 9), (7, 8, 9, 10))])
def test_every_combination_once(powers: tuple[int, ...], rules: tuple[int, ...]) -> None:
    """Also where the numbers of powers and rules share a factor, so that diagonals close early."""
    spec = VariationSpec(powers, rules)
    found = [spec.variation(k) for k in range(spec.codes)]
    assert sorted(found) == [(p, r) for p in powers for r in rules]


@pytest.mark.parametrize(
    ("powers", "rules", "message"),
    [
        ((1,), (42,), "power 1 is unknown: use whole numbers from 2 to 24"),
        ((25,), (42,), "power 25 is unknown"),
        ((8,), (512,), "rule 512 is unknown: use whole numbers from 0 to 511"),
        ((8,), (4.0,), "rule 4.0 is unknown"),
        ((8, 8), (42,), "power 8 stands twice"),
        ((8,), (), "no rule is given"),
    ],
)
def test_unknown_powers_and_rules(powers: tuple[int, ...], rules: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VariationSpec(powers, rules)


def test_a_file_goes_out_and_back(tmp_path: Path) -> None:
    bank = VariationBank(np.array([8, 24], np.uint8), np.array([42, 511], np.uint16), {"origin": "here"})
    bank.save(tmp_path / "v.safetensors")
    again = load_bank(tmp_path / "v.safetensors")
    assert isinstance(again, VariationBank)
    assert again.sha256 == bank.sha256
    assert again.metadata == {"origin": "here"}
    assert again.spec == VariationSpec((8, 24), (42, 511))


def test_bad_arrays_are_refused() -> None:
    cases = (
        (np.array([1], np.uint8), np.array([0], np.uint16), "code 0 has power 1"),
        (np.array([8], np.uint8), np.array([600], np.uint16), "code 0 has power 8 and rule 600"),
        (np.array([8], np.int64), np.array([0], np.uint16), "powers is int64"),
        (np.array([], np.uint8), np.array([], np.uint16), "no code"),
    )
    for powers, rules, message in cases:
        with pytest.raises(BankError, match=message):
            VariationBank(powers, rules)  # type: ignore[arg-type]


def test_a_recipe_of_another_formula_is_refused() -> None:
    with pytest.raises(ValueError, match="bank holds codes of formula 'ifs', and recipe 'mandelbulb' draws"):
        check_formula(CodeBank.sample(2), preset("mandelbulb").recipe)
    with pytest.raises(ValueError, match="'mandelbulb', and recipe 'paper' draws 'ifs'"):
        check_formula(make_bank(VariationSpec((8,))), preset("paper").recipe)


def test_a_described_code() -> None:
    bank = make_bank(VariationSpec((8,), (0b101_010_111,)))
    assert isinstance(bank, VariationBank)
    lines = bank.code_lines(0)
    assert lines[0] == "code 0  class 0  power8-rule343"
    assert lines[1].startswith("  z -> r^8 (-sin 8 phi, cos 8 theta, -sin 8 theta) + c")


def test_orbits_from_outside_the_sphere_escape() -> None:
    """By sines and cosines, in double: of points just outside, under every published rule, none stays."""
    rng = np.random.default_rng(0)
    for power in (2, 3, 8, 18):
        for rule in PUBLISHED_RULES:
            c = rng.normal(size=(3, 200))
            c *= radius(power, rule) / np.linalg.norm(c, axis=0)
            z, inside = c.copy(), np.ones(200, bool)
            for _ in range(300):
                r = np.linalg.norm(z, axis=0)
                inside &= r <= 4
                angles = np.arctan2(z[1], z[0]), np.arccos(z[2] / r)
                axes = []
                for shift in (6, 3, 0):
                    angle = power * angles[rule >> shift + 1 & 1]
                    part = np.sin(angle) if rule >> shift + 2 & 1 else np.cos(angle)
                    axes.append(-part if rule >> shift & 1 else part)
                z = np.where(inside, np.where(inside, r, 1.0) ** power * np.array(axes) + c, 5.0)
            assert not inside.any(), (power, rule)
