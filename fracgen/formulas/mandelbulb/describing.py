"""Mandelbulb variations and their banks in JSON types and lines of text, for those who look at them."""

from __future__ import annotations

from typing import Any

from fracgen.formulas.mandelbulb.bank import VariationBank


def describe_code(bank: VariationBank, code: int) -> dict[str, Any]:
    """One variation: its power and rule, and what the rule makes of X, Y and Z."""
    power, rule = int(bank.powers[code]), int(bank.rules[code])
    return {
        "code": code, "class": code // bank.per_class, "name": bank.name(code), "power": power, "rule": rule,
        "axes": {axis: _axis(rule >> shift, power) for axis, shift in zip("XYZ", (6, 3, 0), strict=True)},
        "radius": float(bank.radii[code]),
    }  # fmt: skip


def code_lines(code: dict[str, Any]) -> list[str]:
    """A described variation for a terminal."""
    axes = ", ".join(code["axes"].values())
    return [
        f"code {code['code']}  class {code['class']}  {code['name']}",
        f"  z -> r^{code['power']} ({axes}) + c, within radius {code['radius']:.4f}",
    ]


def describe_bank(bank: VariationBank) -> dict[str, Any]:
    """What a bank holds: codes, powers, rules, hash."""
    spec = bank.spec
    return {
        "codes": len(bank), "classes": bank.classes, "powers": list(spec.powers), "rules": list(spec.rules),
        "origin": dict(bank.metadata), "sha256": bank.sha256,
    }  # fmt: skip


def _axis(bits: int, power: int) -> str:
    sign = "-" if bits & 1 else ""
    return f"{sign}{'sin' if bits & 4 else 'cos'} {power} {'theta' if bits & 2 else 'phi'}"
