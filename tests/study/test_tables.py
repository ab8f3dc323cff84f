"""The tables of numbers in README, docs and cards are what stored results say, or are known to have none."""

from __future__ import annotations

import re

import pytest

from bench import tables

PAGES = sorted([tables.ROOT / "README.md", *tables.ROOT.glob("docs/*.md"), *tables.ROOT.glob("bench/*.md"),
                *tables.ROOT.glob("fracgen/weights/*/README.md")])  # fmt: skip


def test_tables_of_scores_are_what_their_results_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert tables.main(["--check"]) == 0, capsys.readouterr().err


def test_a_changed_table_is_seen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    line = tables.SUMMARY[0]._replace(dataset="elpv")
    monkeypatch.setattr(tables, "SUMMARY", (line, *tables.SUMMARY[1:]))
    assert tables.main(["--check"]) == 1
    assert capsys.readouterr().err == "README.md: table scores is not what its results say\n"


def test_every_table_of_numbers_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Those with a cell that begins with a decimal number."""
    assert tables.main(["--list"]) == 0
    listed, unlisted = set(capsys.readouterr().out.splitlines()), []
    assert all((tables.ROOT / tables.SCORES / f"{file}.json").is_file() for file in tables.ANEW)
    for page in PAGES:
        name, text = page.relative_to(tables.ROOT).as_posix(), page.read_text()
        text = re.sub(r"<!-- table .*?<!-- end of table -->", "", text, flags=re.DOTALL)
        for part in re.split(r"\n#+ ", text):
            places = {name, f"{name}#{part.partition(chr(10))[0]}"}
            if re.search(r"^\|.*\| [*+-]*\d+\.\d+(?![\d%])", part, re.MULTILINE) and not places & listed:
                unlisted.append(max(places))
    assert not unlisted, "say in bench/tables.py where their numbers come from"
