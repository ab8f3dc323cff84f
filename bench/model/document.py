"""What the model writes for others: its part of kernels/README.md, and predictions for the acceptance run."""

from __future__ import annotations

import hashlib
import json
import re

from bench.gpu.figures import PREDICTED
from bench.model.machine import CARDS
from bench.model.microbenchmarks import predicted
from bench.model.predict import Prediction
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


def write_predictions(by_type: dict[str, dict[str, Prediction]]) -> None:
    """Put down what the acceptance run shows beside its measurements.

    Args:
        by_type: "uint8" or "bfloat16" -> recipe -> prediction.
    """
    recipes = {
        f"{name} {dtype}": {
            "cycles": {stage["kernel"]: round(stage["cycles"]) for stage in p.stages},
            "images_per_s": {card.name: round(p.images_per_s(card)) for card in CARDS},
        }
        for dtype, predictions in by_type.items() for name, p in predictions.items()
    }  # fmt: skip
    cases = {case: {h: round(c, 3) for h, c in said.items()} for case, said in predicted().items()}
    data = {"kernels": kernels_digest(), "recipes": recipes, "microbenchmarks": cases}
    PREDICTED.write_text(json.dumps(data, indent=1) + "\n")


def kernels_digest() -> str:
    """As `fracgen.rendering.cuda.sources.digest` has it."""
    folder = ROOT / "kernels"
    texts = (f"{f.relative_to(folder).as_posix()}\0{f.read_text()}" for f in sorted(folder.rglob("*.cu*")))
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def written_cycles() -> dict[str, float]:
    """Cycles of each stage, and of "all", as the document's first table has them."""
    written = DOCUMENT.read_text().split(BEGIN, 1)[1].split(END, 1)[0].split("Recipes:", 1)[0]
    rows = re.findall(r"^\| (\w+) \|.*\| ([\d,]+) \|$", written, re.M)
    return {name: float(number.replace(",", "")) for name, number in rows}
