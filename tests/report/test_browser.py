"""The HTML report in a real browser: nothing fetched, nothing logged, readable, and its controls work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fracgen_eval.methods import METHODS
from fracgen_eval.report import Report, write_report
from fracgen_eval.report.published import write_cells
from playwright.sync_api import Browser
from safetensors.numpy import save_file

from tests.report.browser import chromium, executable, faults, printed
from tests.report.cells import add


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = executable()
    if path is None:
        # Skipped, this would pass unseen where nobody looks.
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium: apt-get install chromium")
    with chromium(path) as browser:
        yield browser


@pytest.fixture(scope="module")
def report(surfaces: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A report with everything in it: published numbers, charts, filters, galleries, gaps."""
    folder = tmp_path_factory.mktemp("eval")
    rng = np.random.default_rng(0)
    for name in ("data", "maps", "filters"):
        (folder / name).mkdir()
    (folder / "data/surfaces").symlink_to(surfaces)
    filters = rng.normal(size=(64, 3, 7, 7)).astype(np.float32)
    save_file({"conv1.weight": filters}, folder / "filters/fractal.safetensors", {"name": "fractal"})
    for n, category in enumerate(("brick", "gravel")):
        image = sorted((surfaces / category / "test/stain").iterdir())[0].relative_to(surfaces / category)
        images = [{"path": image.as_posix(), "defect": "stain", "score": 1.0}]
        for weights in ("random", "fractal"):
            name = f"maps/{category}-{weights}.npz"
            mask = np.zeros((1, 256, 256), bool)
            mask[:, 50:90, 60:120] = True
            np.savez(folder / name, maps=rng.random((1, 256, 256)) + 0.1 * mask, masks=mask)
            add(folder, category=category, weights=weights, value=0.7 + 0.1 * n, maps=name, images=images, side=256,
                mask_threshold={"value": 0.5}, wall_s=2.0, device="cpu")  # fmt: skip
            add(folder, "padim", category, weights, value=0.6)
            add(folder, "stfpm", category, weights, value=0.65)
            add(folder, "patchcore", category, weights, layers=("layer1", "layer2"), value=0.5)
    add(folder, "padim", "grass", "fractal", status="failed")
    add(folder, dataset="mvtec", category="carpet", weights="imagenet", model="wide_resnet50_2", value=0.9)
    add(folder, dataset="mvtec", category="grid", weights="imagenet", model="wide_resnet50_2", value=0.8)
    (folder / "cells/foreign.json").write_text("{}")
    return write_report(folder)


def test_report_in_a_browser(browser: Browser, report: Report) -> None:
    assert faults(browser, report.html) == []
    page = report.html.read_text()
    drawn = {p.name for p in report.files if p.suffix == ".svg"}
    kinds = ("spider", "layers-patchcore-image_auroc", "layers-patchcore-aupro", "cpu-time")
    assert all(any(kind in name for name in drawn) for kind in kinds), drawn
    assert page.count("<figure") == len(drawn) + 1 + 2  # filters, and a gallery of two cases
    assert 'id="h-summary"' in page
    assert page.count("data:image/webp") == 2 * 6
    assert "Table 1." in page
    assert len(page) < 10_000_000
    assert len(report.problems) == 1


def test_the_published_report_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    write_cells(tmp_path)
    assert faults(browser, write_report(tmp_path).html) == []


def test_a_wide_table_fits_on_paper(browser: Browser, tmp_path: Path) -> None:
    for method in METHODS:
        for weights in ("imagenet", "random", "fractal"):
            for seed, value in enumerate((0.5, 0.9, 1.0)):
                more = {"dataset": "mvtec", "model": "wide_resnet50_2"}
                add(tmp_path, method, "toothbrush", weights, seed, value, **more)
    assert printed(browser, write_report(tmp_path).html) == []


PLANTED = [
    ("<script>", "<script>console.warn('odd'); setTimeout(() => missing());", "console page"),
    ("<script>", "<script>new Image().src = 'http://localhost:9/a.png';", "console request"),
    ("data:image/png;base64,", "data:image/png;base64,AAAA", "image"),
    ('alt="Ground truth: the defect in white"', 'alt=""', "alt"),
    ('<main id="main">', '<main id="main"><p style="color: #888; background: #777">pale</p>', "contrast"),
    ('<main id="main">', '<main id="main"><p style="width: 400px">wide</p>', "overflow"),
    ("</style>", "@media print { h1 { width: 1100px } }</style>", "print"),
    ('type="button" class="sort"', 'type="button" class="sort" tabindex="-1"', "keyboard"),
    ("small.published { display: none;", "small.published { display: inline;", "published"),
    ("return up ? order : -order", "return order", "sort"),
    ("row.hidden =", "row.other =", "filter"),
]
"""What is replaced in a page, and the kinds of faults that must be found then."""


def test_planted_faults_are_found(browser: Browser, report: Report, tmp_path: Path) -> None:
    page = report.html.read_text()
    for old, new, _ in PLANTED:
        assert old in page
        page = page.replace(old, new, 1)
    (tmp_path / "report.html").write_text(page)
    kinds = {fault.split(":")[0] for fault in faults(browser, tmp_path / "report.html")}
    assert kinds == {kind for *_, said in PLANTED for kind in said.split()}
