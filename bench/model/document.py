"""The part of kernels/README.md that the model writes."""

from __future__ import annotations

import re

from bench.model.tree import ROOT

DOCUMENT = ROOT / "kernels" / "README.md"
BEGIN = "<!-- Written by `python -m bench.model --write`; do not edit. -->"
END = "<!-- End of what the model writes. -->"


def write(text: str) -> None:
    """Replace what the model wrote before."""
    whole = DOCUMENT.read_text()
    if BEGIN not in whole or END not in whole:
        raise ValueError(f"{DOCUMENT} has no place for the model's tables: put {BEGIN!r} and {END!r} into it")
    before, rest = whole.split(BEGIN, 1)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END, 1)[1]}")


def written_cycles() -> dict[str, float]:
    """Cycles of each stage, and of "all", as the document's first table has them."""
    written = DOCUMENT.read_text().split(BEGIN, 1)[1].split(END, 1)[0].split("Recipes:", 1)[0]
    rows = re.findall(r"^\| (\w+) \|.*\| ([\d,]+) \|$", written, re.M)
    return {name: float(number.replace(",", "")) for name, number in rows}
