"""The table of peers: what it says of those that are here, and of those that are not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import peers
from fracgen.benchmarking.record import Record


def test_peers_that_are_missing_are_named_and_others_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(peers, "processor_seconds", lambda: next(clock) ** 2)
    monkeypatch.setattr(peers, "ancestor", lambda _: peers.Pair("images/s", lambda: None, 50, lambda: None, 10))
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["peers", "--rounds", "1", "-o", str(tmp_path / "peers.json")])
    peers.main()
    assert capsys.readouterr().out.splitlines() == [
        "flam3: flam3-render is not here, it comes with Debian",
        "mandelbulber2: mandelbulber2 is not here, it comes with Debian",
        "Anderson and Farrell, our port: 2 images/s, fracgen 50: 25.0 times (25.0 to 25.0)",
        "Anomalib: no pictures, name them with --root",
    ]
    assert Record.read(tmp_path / "peers.json").results["Anderson and Farrell, our port: ratio"].median == 25


def test_what_a_program_takes_counts(tmp_path: Path) -> None:
    before = peers.processor_seconds()
    peers.program(tmp_path, sys.executable, "-c", "sum(range(10**6))")()
    assert peers.processor_seconds() > before
