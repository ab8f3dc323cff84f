"""The acceptance run, as far as it can be tried without a card: what it runs, in which order, what it keeps."""

from __future__ import annotations

import importlib
import inspect
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.gpu import parts as acceptance
from bench.gpu.parts import CALLS, COMPILED, FIRST, PARTS, SECOND, Part, chosen, faults, main, run_parts, table
from fracgen.benchmarking.record import Record, Summary

SCRIPTS = {
    "bad": "echo first; echo the device is on fire; exit 1",
    "slow": "sleep 60 & sleep 60",
    "mute": "true",
}
IDENTITY: dict[str, object] = {"kernels": "these", "device": {"name": "NVIDIA H200"}}


def command(part: Part, path: Path, **identity: str) -> list[str]:
    """A shell that does what a part of that name does; any other writes a record with its name as the result."""
    if part.name in SCRIPTS:
        return ["sh", "-c", SCRIPTS[part.name]]
    unit, value = ("differences", 3) if part.name == "wrong" else ("s", 1)
    Record.of("gpu acceptance", IDENTITY | identity, {part.name: Summary.of(unit, [value])}).write(path)
    return ["true"]


def part(name: str, seconds: float = 20) -> Part:
    return Part(name, seconds)


def test_a_part_that_fails_costs_no_other_and_all_are_kept_as_they_come(tmp_path: Path) -> None:
    path, begin = tmp_path / "gpu.json", time.monotonic()
    record = run_parts([part(n) for n in ("good", "bad", "mute", "wrong")] + [part("slow", 1)], command, path, 300)
    assert time.monotonic() - begin < 60
    assert Record.read(path) == record
    assert set(record.results) == {"good", "wrong"}
    states = record.settings["parts"]
    assert (states["good"], states["wrong"]) == ("done", "done")
    assert states["bad"] == "exit code 1: the device is on fire"
    assert states["slow"] == "killed after 1 s"
    assert states["mute"].startswith("no result")
    assert list(faults(record)) == [
        "wrong", f"bad: {states['bad']}", f"mute: {states['mute']}", f"slow: {states['slow']}"
    ]  # fmt: skip
    assert path.with_suffix(".md").read_text() == table(record)
    assert "**wrong**: wrong\n" in table(record)


def test_a_call_goes_on_where_another_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, ran = tmp_path / "gpu.json", []

    def noted(own: Part, place: Path) -> list[str]:
        ran.append(own.name)
        return command(replace(own, name="good") if own.name == "bad" and len(ran) > 2 else own, place)

    parts = [COMPILED, part("bad"), part("good")]
    assert list(faults(run_parts(parts[:2], noted, path, 60))) == ["bad: exit code 1: the device is on fire"]
    record = run_parts(parts, noted, path, 60)
    assert ran == ["compiled", "bad", "compiled", "bad", "good"], "compiled for each machine, and what failed again"
    assert not list(faults(record))
    before = path.read_text()
    assert run_parts(parts[1:], noted, path, 60) == record
    assert path.read_text() == before
    assert len(ran) == 5


@pytest.mark.parametrize("changed", ["kernels", "device"])
def test_results_of_something_else_are_not_mixed_in(tmp_path: Path, changed: str) -> None:
    path = tmp_path / "gpu.json"
    run_parts([part("good")], command, path, 60)
    with pytest.raises(ValueError, match=f"gpu.json is of other {changed}: name another file with -o"):
        run_parts([COMPILED], lambda p, to: command(p, to, **{changed: "other"}), path, 60)
    assert list(Record.read(path).results) == ["good"]


def test_a_call_ends_in_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance, "SHORTEST", 1)
    parts = [part("good"), part("slow", 60), part("bad", 60)]
    begin = time.monotonic()
    states = run_parts(parts, command, tmp_path / "gpu.json", 3).settings["parts"]
    assert time.monotonic() - begin < 8
    assert states["slow"].startswith("killed after")
    assert states["bad"] == "no time left"


def test_two_calls_with_what_decides_first_fit_a_lease() -> None:
    assert (CALLS["first"], CALLS["second"]) == (5 * 60, 4 * 60)
    assert [p.name for p in FIRST[:3]] == ["compiled", "golden", "parity"]
    assert [p.name for p in SECOND[:2]] == ["compiled", "render"]
    assert [p.name for p in chosen("loader,parity")] == ["compiled", "loader", "parity"]


@pytest.mark.parametrize("own", PARTS.values(), ids=lambda p: p.name)
def test_parts_name_functions_that_take_their_arguments(own: Part) -> None:
    function: Callable[..., object] = getattr(importlib.import_module("bench.gpu.measures"), own.function or own.name)
    inspect.signature(function).bind(*own.arguments)


def test_mistakes_are_answered_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.json").write_text(json.dumps({"date": "2027-01-02"}))
    out = str(tmp_path / "gpu.json")
    assert main(["--parts", "brew", "-o", out]) == 2
    assert main(["-o", str(tmp_path / "no" / "gpu.json")]) == 2
    assert main(["-o", out]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("unknown part 'brew': use first, second, or some of compiled,golden,parity")
    assert "no" in lines[1]
    assert lines[2].startswith("no usable GPU: ")
    with pytest.raises(ValueError, match=r"old\.json"):
        run_parts(FIRST, command, tmp_path / "old.json", 60)
    assert not (tmp_path / "gpu.json").exists()
