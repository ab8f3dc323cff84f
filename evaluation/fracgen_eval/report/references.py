"""Calibration: cells beside what others published for the same method, weights and setting on MVTec AD.

The numbers (`data/references.csv`) are copied from their sources, class by class; averages are computed.
A difference within its tolerance says that this harness measures what others measure.
"""

from __future__ import annotations

import csv
from dataclasses import KW_ONLY, dataclass
from functools import cache
from importlib.resources import files
from statistics import fmean

from fracgen_eval.grid.result import METRIC_NAMES
from fracgen_eval.report.published import PAPER_MODEL, published
from fracgen_eval.report.tables import METHOD_NAMES, Table, column_title
from fracgen_eval.report.text import csv_text

METRICS = ("image_auroc", "pixel_auroc")


@dataclass(frozen=True)
class Source:
    """A publication's per-class numbers for one method, ImageNet's WideResNet50-2, MVTec AD."""

    method: str
    title: str
    place: str
    """Where the numbers were read: repository, file, commit."""
    tolerance: dict[str, float]
    """Greatest difference in percentage points of a class that is taken for agreement; of the average, half of it.
    A judgement: a class has 42 to 167 test images, so one image is worth half a point and more of image AUROC, and
    methods that train, or draw features at random, differ by their seeds."""


def _source(method: str, title: str, place: str, image: float, pixel: float) -> Source:
    return Source(method, title, place, {"image_auroc": image, "pixel_auroc": pixel})


_README = "openvinotoolkit/anomalib, src/anomalib/models/image/{}/README.md at {}"
SOURCES = {
    "amazon-patchcore": _source(
        "patchcore", "Amazon's PatchCore, its authors' own",
        "amazon-science/patchcore-inspection, models/IM224_WR50_L2-3_P01_D1024-1024_PS-3_AN-1/results.csv at 5adb469",
        2.0, 1.0,
    ),
    "anomalib-padim": _source("padim", "Anomalib's PaDiM", _README.format("padim", "7edb6af"), 3.0, 1.0),
    "anomalib-cflow": _source("cflow", "Anomalib's C-Flow", _README.format("cflow", "4e56004"), 4.0, 1.5),
    "anomalib-rd": _source("rd", "Anomalib's RD", _README.format("reverse_distillation", "209955b"), 3.0, 1.5),
    "anomalib-fastflow": _source("fastflow", "Anomalib's FastFlow", _README.format("fastflow", "4c0568b"), 5.0, 1.5),
}  # fmt: skip
PAPER = "paper"
PAPER_TOLERANCE = {"image_auroc": 5.0, "pixel_auroc": 2.0}
"""Of the paper's ImageNet column: it stopped on the test set, with seeds and versions that it does not name."""


@dataclass(frozen=True)
class Compared:
    """One number beside a published one, percent."""

    source: str
    column: str
    metric: str
    row: str
    """Class, or `average` over the classes that are here."""
    _: KW_ONLY
    ours: float
    theirs: float
    tolerance: float

    @property
    def difference(self) -> float:
        """Ours minus theirs, percentage points."""
        return self.ours - self.theirs

    @property
    def off(self) -> bool:
        """Whether it is further off than its tolerance."""
        return abs(round(self.difference, 6)) > self.tolerance

    @property
    def source_title(self) -> str:
        """For people."""
        return "the paper's ImageNet column" if self.source == PAPER else SOURCES[self.source].title

    @property
    def title(self) -> str:
        """Method and metric."""
        return f"{column_title(self.column)}, {METRIC_NAMES[self.metric]}"


@cache
def references() -> dict[tuple[str, str, str], float]:
    """Percent by (source, class, metric), as published."""
    text = (files("fracgen_eval") / "data" / "references.csv").read_text(encoding="utf-8")
    return {
        (row["source"], row["class"], metric): float(row[metric])
        for row in csv.DictReader(text.splitlines())
        for metric in METRICS
    }


def calibrate(tables: list[Table]) -> list[Compared]:
    """Every number of ImageNet's weights, with a method's usual settings, beside each publication that has it: on MVTec
    AD, whole, with WideResNet50-2 under protocol `paper`."""
    out: list[Compared] = []
    for table in tables:
        c, metric = table.condition, table.metric
        here = (c.dataset, c.model, c.protocol, c.limit)
        if here != ("mvtec", PAPER_MODEL, "paper", "") or metric not in METRICS or "imagenet" not in table.weights:
            continue
        for column in (c for c in table.columns if c in METHOD_NAMES):  # a column's other settings stand behind a space
            means = {row: table.values[row, column, "imagenet"].mean for row in table.classes}
            ours = {row: mean for row, mean in means.items() if mean is not None}
            for source, tolerance in _sources(column, metric):
                pairs = [(row, n, t) for row, n in ours.items() if (t := _theirs(source, row, column, metric))]
                if len(pairs) > 1:
                    pairs.append(("average", fmean(mine for _, mine, _ in pairs), fmean(t for _, _, t in pairs)))
                for row, number, theirs in pairs:
                    allowed = tolerance / 2 if row == "average" else tolerance
                    out.append(Compared(source, column, metric, row, ours=number, theirs=theirs, tolerance=allowed))
    return out


def calibration_line(compared: list[Compared]) -> str | None:
    """What a summary says; None where there is nothing to compare."""
    if not compared:
        return None
    bad = [c for c in compared if c.off]
    line = f"calibration: {len(compared) - len(bad)} of {len(compared)} numbers within tolerance of published ones"
    if not bad:
        return line
    worst = max(bad, key=lambda c: abs(c.difference) / c.tolerance)
    return f"{line}; furthest off: {worst.title}, {worst.row}: {worst.difference:+.1f} against {worst.source_title}"


def to_csv(compared: list[Compared]) -> str:
    """One line per number."""
    head = ["source", "method", "metric", "class", "ours", "published", "difference", "tolerance", "off"]
    return csv_text(head, (
        [c.source, c.column, c.metric, c.row, *(f"{n:.2f}" for n in (c.ours, c.theirs, c.difference)),
         f"{c.tolerance:g}", "yes" if c.off else "no"] for c in compared
    ))  # fmt: skip


def _sources(method: str, metric: str) -> list[tuple[str, float]]:
    own = [(name, s.tolerance[metric]) for name, s in SOURCES.items() if s.method == method]
    return [*own, (PAPER, PAPER_TOLERANCE[metric])]


def _theirs(source: str, row: str, method: str, metric: str) -> float | None:
    if source == PAPER:
        return published().get(("mvtec", metric, row, method, "imagenet"))
    return references().get((source, row, metric))
