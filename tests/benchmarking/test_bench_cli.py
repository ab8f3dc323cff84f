"""`fracgen bench render` prints a table or JSON, and can write the record."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from fracgen.benchmarking.timing import check_record
from fracgen.cli.bench import app

QUICK = ["render", "--device", "cpu", "--size", "16", "--points", "2000", "--batch", "2", "--rounds", "2"]


def test_table_and_file(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, [*QUICK, "-o", str(tmp_path / "record.json")], catch_exceptions=False)
    assert shown.exit_code == 0
    assert "images/s" in shown.stdout
    assert check_record(json.loads((tmp_path / "record.json").read_text()))["settings"]["recipe"]["points"] == 2000


def test_json_goes_to_stdout_alone() -> None:
    shown = CliRunner().invoke(app, [*QUICK, "--json"], catch_exceptions=False)
    assert check_record(json.loads(shown.stdout))["subject"] == "render"


def test_bad_input_is_refused(tmp_path: Path) -> None:
    runner = CliRunner()
    assert isinstance(runner.invoke(app, [*QUICK, "--batch", "0"]).exception, ValueError)
    assert isinstance(runner.invoke(app, ["render", "--recipe", "nothing"]).exception, ValueError)
    missing = runner.invoke(app, [*QUICK, "-o", str(tmp_path / "no" / "record.json")]).exception
    assert isinstance(missing, FileNotFoundError)
