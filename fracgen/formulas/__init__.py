"""Formulas: families of shapes, a folder each. See "To add a formula" in CONTRIBUTING.md."""

FORMULAS: dict[str, str] = {"ifs": "fracgen.formulas.ifs", "mandelbulb": "fracgen.formulas.mandelbulb"}
"""The module of every formula, by its name; the module's `FORMULA` is a `fracgen.formulas.formula.Formula`."""
