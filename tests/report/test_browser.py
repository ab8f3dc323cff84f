"""The HTML report in a real browser: nothing fetched, nothing logged, readable, and its controls work."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fracgen_eval.datasets import write_surfaces
from fracgen_eval.methods import METHODS
from fracgen_eval.report import Report, write_report
from fracgen_eval.report.published import write_cells
from PIL import Image
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


@pytest.fixture
def report_html(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(PAGE)
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A report with everything in it: published numbers, charts, filters, galleries, gaps."""
    folder = tmp_path_factory.mktemp("eval")
    pictures = write_surfaces(folder / "data" / "surfaces")
    rng = np.random.default_rng(0)
    (folder / "maps").mkdir()
    (folder / "filters").mkdir()
    filters = rng.normal(size=(64, 3, 7, 7)).astype(np.float32)
    save_file({"conv1.weight": filters}, folder / "filters/fractal.safetensors", {"name": "fractal"})
    for n, category in enumerate(("brick", "gravel")):
        image = sorted((pictures / category / "test/stain").iterdir())[0].relative_to(pictures / category)
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


def test_the_page_for_planted_faults_has_none(browser: Browser, report_html: Path) -> None:
    assert faults(browser, report_html) == []


def picture() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


# The least page that has what a report has: nothing is wrong with it until a test plants something.
PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Report</title>
<meta name="viewport" content="width=device-width"><style>
:root { color-scheme: light dark; --dim: #595959; }
@media (prefers-color-scheme: dark) { :root { --dim: #aaa; } }
::placeholder { color: inherit; } small { color: var(--dim); } th[aria-sort] button::after { content: " ↕"; }
[hidden], body:not(:has(#show-published:checked)) .published { display: none; }
</style></head><body>
<label><input type="checkbox" id="show-published">published</label> <small>dim</small>
<input type="search" class="filter" data-for="t" aria-label="filter" placeholder="class">
<div style="overflow-x: auto"><table class="results" id="t"><thead><tr>
<th scope="col"><button type="button" class="sort">Class</button></th>
<th scope="col"><button type="button" class="sort">AUROC</button></th></tr></thead>
<tbody class="classes">
<tr data-class="wood"><td>wood</td><td data-value="9.5">9.5</td></tr>
<tr data-class="carpet"><td>carpet</td><td data-value=""></td></tr>
<tr data-class="tile"><td>tile</td><td data-value="80">80.0 <b class="published">81.0</b></td></tr>
<tr data-class="cable"><td>cable</td><td data-value="10">10.0</td></tr>
</tbody><tbody class="averages"><tr><td>average</td><td data-value="33">33.2</td></tr></tbody></table></div>
<details><summary>More</summary><img src="PICTURE" alt="teal" loading="lazy"></details>
<script>
for (const button of document.querySelectorAll("button.sort")) button.onclick = () => {
  const th = button.parentElement, i = th.cellIndex, body = document.querySelector("tbody.classes")
  const direction = (th.ariaSort ?? (i ? "ascending" : "descending")) == "ascending" ? "descending" : "ascending"
  for (const other of th.parentElement.cells) other.removeAttribute("aria-sort")
  th.ariaSort = direction
  const sign = direction == "ascending" ? 1 : -1, key = row => row.cells[i].dataset.value
  body.append(...[...body.rows].sort((a, b) => !i ? sign * (a.dataset.class < b.dataset.class ? -1 : 1)
    : !key(a) - !key(b) || sign * (key(a) - key(b))))
}
document.querySelector(".filter").oninput = event => {
  for (const row of document.querySelectorAll("tbody.classes tr"))
    row.hidden = !row.dataset.class.includes(event.target.value)
}
</script></body></html>""".replace("PICTURE", picture())


# One fault of a kind on a page, many kinds on one, as a page takes seconds: [(old, new, kinds)].
PLANTED = [
    [
        ("<script>", "<script>console.warn('odd');", "console"),
        ('alt="teal"', 'alt=""', "alt"),
        ("--dim: #595959", "--dim: #888", "contrast"),  # in light mode only
        ("<details>", "<p style='width: 400px'>wide</p><details>", "overflow"),
        ('class="sort">AUROC', 'class="sort" tabindex="-1">AUROC', "keyboard"),
        ("!key(a) - !key(b) ||", "", "sort"),  # missing ones are not last
        ("row.hidden =", "row.other =", "filter"),
    ],
    [
        ("<script>", "<script>setTimeout(() => missing());", "page"),
        ("base64,", "base64,AAAA", "image"),
        ("--dim: #aaa", "--dim: #666", "contrast"),  # in dark mode only
        ('<meta name="viewport"', '<meta name="else"', "overflow"),
        ('type="search"', 'type="search" tabindex="-1"', "keyboard"),
        ("sign * (key(a) - key(b))", "sign * (key(a) < key(b) ? -1 : 1)", "sort"),  # numbers as text
        ("[hidden],", "tr { display: table-row }", "filter"),
    ],
    [
        ("<script>", "<script>new Image().src = 'http://localhost:9/a.png';", "request console"),
        ("<small>", "<small style='opacity: 0.6'>", "contrast"),
        ("[hidden], body", "[hidden], main", "published"),
        ('(i ? "ascending" : "descending")', '"descending"', "sort"),  # numbers ascend first
        ('classes tr"))\n    row.hidden = !row.dataset.class', 'averages tr"))\n    row.hidden = !""', "filter"),
    ],
    [
        ("</style>", "</style><link rel='stylesheet' href='other.css'>", "request console"),
        ("<small>", "<small style='font-size: 40px; color: #888'>", "contrast"),
        ("body.append(", "body.before(document.querySelector('.averages')); body.append(", "sort"),
    ],
    [("<small>", "<small style='background: rgb(128 128 128 / 0.5)'>", "contrast")],
    [("th[aria-sort] button::after {", "button::after { color: #777a;", "contrast")],
    [
        ("::placeholder { color: inherit; }", "", "contrast"),  # the browser's own, in dark mode
        ("</style>", "@media print { details { width: 1100px } }</style>", "print"),
    ],
]


@pytest.mark.parametrize("planted", PLANTED)
def test_planted_faults_are_found(browser: Browser, report_html: Path, planted: list[tuple[str, str, str]]) -> None:
    page, expected = PAGE, set()
    for old, new, kinds in planted:
        assert old in page
        page = page.replace(old, new, 1)
        expected |= set(kinds.split())
    report_html.write_text(page)
    assert {fault.split(":")[0] for fault in faults(browser, report_html)} == expected
