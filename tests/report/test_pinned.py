"""Every number of a report of a small grid that has everything in it: page, files, summary, verdict, table of gains.

`python -m tests.report.test_pinned` writes `pinned.json` anew; what changes in it is what users see change.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from fracgen_eval.report import write_report
from fracgen_eval.report.significance import verdict

from bench.study import scores
from tests.fields import Fields
from tests.report.cells import add

PINNED = Path(__file__).parent / "pinned.json"
PIXEL = ("pixel_auroc", "aupro", "aupro_05")
NAMES = ("image_auroc", "image_ap", "image_f1_max", *PIXEL)


def cell_of(rng: np.random.Generator, out: Path, method: str, category: str, weights: str, **options: object) -> None:
    """A cell with all metrics, replicates, two kinds of defects and eight test images, all drawn."""
    more: Fields = dict(options)
    names = [name for name in NAMES if method != "cutpaste" or name.startswith("image_")]
    values = dict(zip(names, rng.uniform(0.4, 0.95, len(names)).round(6), strict=True))
    drawn = {name: np.clip(value + rng.normal(0, 0.03, 40), 0, 1).round(4).tolist() for name, value in values.items()}
    kinds = {kind: {"image_auroc": round(rng.uniform(0.3, 1), 5), "aupro": round(rng.uniform(0.2, 0.9), 5)}
             for kind in ("crack", "drop" if category in ("brick", "coins") else "stain")}  # fmt: skip
    images = [{"path": f"test/{n}.png", "defect": "good" if n < 4 else "crack", "score": rng.normal(n > 3)}
              for n in range(8)]  # fmt: skip
    more |= {"beside": {"steps=0": {"image_auroc": round(rng.uniform(0.4, 0.9), 5)}}} if method == "cutpaste" else {}
    add(out, method, category, weights, metrics=values, replicates=drawn, by_defect=kinds, images=images,
        wall_s=round(rng.uniform(1, 9), 2), device="cpu", **more)  # fmt: skip


def grid(out: Path) -> Path:
    """Three conditions, random networks, seeds, layers, shots, gaps, doubles and foreign files."""
    rng = np.random.default_rng(5)
    for category in ("brick", "coins", "fur", "grass", "gravel", "petals", "text"):
        for method in ("patchcore", "padim", "stfpm", "cutpaste"):
            for seed in (0, 1):
                for weights in ("random", "random-1", "fractal"):
                    if (category, method, seed, weights) not in (("fur", "padim", 1, "random"),
                                                                 ("text", "cutpaste", 0, "fractal")):  # fmt: skip
                        cell_of(rng, out, method, category, weights, seed=seed)
    for category in ("brick", "coins"):
        cell_of(rng, out, "patchcore", category, "fractal", settings={"coreset": 0.01, "layers": ["layer2", "layer3"]})
        for layers in (("layer1", "layer2"), ("layer3",)):
            cell_of(rng, out, "patchcore", category, "fractal", layers=layers)
        for shots in (1, 4):
            cell_of(rng, out, "padim", category, "fractal", shots=shots)
            cell_of(rng, out, "padim", category, "random", shots=shots)
    whole = {"dataset": "mvtec", "model": "wide_resnet50_2", "protocol": "paper"}
    for category in ("carpet", "grid", "leather", "tile", "wood", "bottle"):
        for method in ("patchcore", "padim", "cflow"):
            for weights in ("imagenet", "fractal-b"):
                if (category, weights) != ("wood", "fractal-b"):
                    cell_of(rng, out, method, category, weights, **whole)
    cell_of(rng, out, "patchcore", "brick", "fractal", limit="12")
    cell_of(rng, out, "patchcore", "coins", "fractal", data_digest="e", seed=2)
    add(out, "padim", "tissue", "fractal", status="failed")
    add(out, "stfpm", "brick", "fractal", metrics={"image_auroc": 0.5}, seed=2)
    (out / "cells/foreign.json").write_text("{}")
    return out


class Lines(HTMLParser):
    """A page as lines of text, one a block, each with the heading above it."""

    BLOCKS = ("tr", "p", "li", "caption", "figcaption", "summary", "h1", "h2", "h3", "dt", "dd", "table", "details")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.text, self.heading, self.hidden = "", "", False
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.hidden |= tag in ("script", "style")
        if tag in self.BLOCKS:
            self.flush("")
        elif tag in ("td", "th"):
            self.text += " | "
        titles = [value for name, value in attributes if name in ("title", "alt") and value]
        self.text += "".join(f" ({title}) " for title in titles)

    def handle_endtag(self, tag: str) -> None:
        self.hidden &= tag not in ("script", "style")
        if tag in self.BLOCKS:
            self.flush(tag)

    def handle_data(self, data: str) -> None:
        self.text += "" if self.hidden else data

    def flush(self, tag: str) -> None:
        line, self.text = " ".join(self.text.split()), ""
        if tag in ("h2", "h3"):
            self.heading = line
        elif line.strip(" |"):
            self.lines.append(f"{self.heading}: {line}")


def numbers(folder: Path, out: Path) -> Fields:
    """All that a report and the study's table say of a folder."""
    done = write_report(folder, out)
    files = {path.relative_to(out).as_posix(): path for path in done.files}
    scores.main([str(folder), "-o", str(out / "scores.json")])
    record = json.loads((out / "scores.json").read_text())
    gains = {table["title"]: table for table in record["tables"]}
    gains = json.loads(json.dumps(gains), parse_float=lambda text: round(float(text), 9))
    return {
        "page": sorted(Lines(files["report.html"].read_text()).lines),
        "files": sorted(files),
        "digests": {name: digest(path.read_bytes()) for name, path in files.items() if name.startswith("tables/")},
        "summary": done.summary, "problems": done.problems, "verdict": verdict(folder), "gains": gains,
    }  # fmt: skip


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def differences(one: object, other: object, place: str = "") -> Iterator[str]:
    """Where two tables differ, a line each."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(set(one) | set(other)):
            yield from differences(one.get(key), other.get(key), f"{place}/{key}")
    elif isinstance(one, list) and isinstance(other, list) and all(isinstance(x, str) for x in (*one, *other)):
        yield from (f"{place}: no longer {line}" for line in one if line not in other)
        yield from (f"{place}: new {line}" for line in other if line not in one)
        if sorted(one) == sorted(other) and one != other:
            yield f"{place}: in another order"
    elif one != other:
        yield f"{place}: {other} instead of {one}"


def test_the_numbers_of_a_report_are_those_of_before(tmp_path: Path) -> None:
    found = json.loads(json.dumps(numbers(grid(tmp_path / "eval"), tmp_path / "report")))
    assert not list(differences(json.loads(PINNED.read_text()), found))


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    add(tmp_path / "e")
    add(tmp_path / "e", "padim")
    one, two = (write_report(tmp_path / "e", tmp_path / name) for name in ("one", "two"))
    assert [p.read_bytes() for p in one.files] == [p.read_bytes() for p in two.files]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = numbers(grid(Path(folder) / "eval"), Path(folder) / "report")
    PINNED.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    sys.stdout.write(f"{PINNED}\n")
