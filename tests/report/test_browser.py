"""The HTML report in a real browser: nothing fetched, nothing logged, readable, and its controls work."""

from __future__ import annotations

import base64
import io
import os

import pytest
from PIL import Image

from tests.report.browser import chromium, executable, faults


@pytest.fixture(scope="module")
def browser():
    path = executable()
    if path is None:
        # Skipped, this would pass unseen where nobody looks.
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium: apt-get install chromium")
    with chromium(path) as browser:
        yield browser


@pytest.fixture
def report_html(tmp_path):
    path = tmp_path / "report.html"
    path.write_text(PAGE)
    return path


def test_report_in_a_browser(browser, report_html):
    assert faults(browser, report_html) == []


def picture():
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
    [("::placeholder { color: inherit; }", "", "contrast")],  # the browser's own, in dark mode
]


@pytest.mark.parametrize("planted", PLANTED)
def test_planted_faults_are_found(browser, report_html, planted):
    page, expected = PAGE, set()
    for old, new, kinds in planted:
        assert old in page
        page = page.replace(old, new, 1)
        expected |= set(kinds.split())
    report_html.write_text(page)
    assert {fault.split(":")[0] for fault in faults(browser, report_html)} == expected
