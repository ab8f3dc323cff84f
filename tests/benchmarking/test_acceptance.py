"""The acceptance run, as far as it can be tried without a card: what it runs, in which order, what it keeps."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.gpu import figures, microbenchmarks
from bench.gpu.acceptance import chosen, main
from bench.gpu.parts import CALL_SECONDS, CALLS, PARTS, Part, run_parts
from bench.model.document import kernels_digest
from bench.model.microbenchmarks import predicted
from fracgen.rendering.cuda.sources import digest

SCRIPTS = {
    "good": "import json; json.dump({'answer': 42}, open(path, 'w'))",
    "bad": "print('first'); raise SystemExit('the device is on fire')",
    "slow": "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)",
    "mute": "pass",
}


def command(part: Part, path: Path) -> list[str]:
    return [sys.executable, "-c", f"path = {str(path)!r}; {SCRIPTS[part.name]}"]


def part(name: str, seconds: int = 10) -> Part:
    return Part(name, "first", "", seconds)


def test_a_part_that_fails_costs_no_other_and_all_are_kept_as_they_come():
    seen: list[dict[str, Any]] = []
    parts = [part("bad"), part("slow", 1), part("mute"), part("good")]
    begin = time.monotonic()
    results = run_parts(parts, command, lambda r: seen.append(json.loads(json.dumps(r))))
    assert time.monotonic() - begin < 20
    assert results["good"] == {"answer": 42}
    assert results["failed"]["bad"] == "exit code 1: the device is on fire"
    assert results["failed"]["slow"] == "stopped after 1 s"
    assert results["failed"]["mute"].startswith("no result")
    assert [len(r["failed"]) for r in seen] == [1, 2, 3, 3]


def test_a_call_ends_in_its_time(monkeypatch):
    monkeypatch.setattr("bench.gpu.parts.SHORTEST", 1)
    results = run_parts([part("slow", 60), part("good", 60)], command, lambda _: None, seconds=2)
    assert results["failed"] == {"slow": "stopped after 2 s", "good": "skipped: no time was left"}


def test_two_calls_hold_every_part_with_what_decides_first():
    calls = {call: [p.name for p in chosen(call)[0]] for call in CALLS}
    assert calls["first"][:4] == ["environment", "golden", "stages", "microbenchmarks"]
    assert calls["second"][-1] == "sanitizer"
    assert {p.name for p in PARTS} == {name for names in calls.values() for name in names}
    assert CALL_SECONDS <= 8 * 60
    assert [p.name for p in chosen("epoch,parity")[0]] == ["environment", "epoch", "parity"]


@pytest.mark.parametrize("own", PARTS, ids=lambda p: f"{p.call}-{p.name}")
def test_parts_name_functions_that_take_their_arguments(own: Part):
    module, _, name = own.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    inspect.signature(function).bind(*own.arguments)
    if own.quick is not None:
        inspect.signature(function).bind(*own.quick)


def test_mistakes_are_answered_in_one_line(tmp_path, capsys):
    assert main(["--parts", "brew"]) == 2
    assert main(["--join", str(tmp_path / "none.json")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "use first, second" in lines[0]


RESULTS: dict[str, Any] = {
    "failed": {"epoch": "stopped after 45 s"},
    "environment": {
        "date": "2027-01-02T03:04:05+00:00", "commit": "0" * 40, "kernels": "others",
        "device": {"name": "NVIDIA H200", "driver": "1", "cuda": "13.0"}, "versions": {"torch": "2", "nvrtc": "13.2"},
    },
    "golden": {"differences": []},
    "stages": {"recipe": "paper", "clock_hz": 1.8e9, "cycles": {"scout": 10_000.0, "compose": 60_000.0}},
    "microbenchmarks": {"cycles": {"128-bit loads, eight rows": 1.1, "atomics, hashed": 3.5}, "clock_hz": 1.8e9},
}  # fmt: skip


def test_calls_are_joined_and_predictions_stand_beside(tmp_path, monkeypatch, capsys):
    said = {
        "kernels": "these", "recipes": {"paper uint8": {"cycles": {"scout": 9_000, "compose": 60_000}}},
        "microbenchmarks": {"128-bit loads, eight rows": {"as assumed": 4.02, "wide loads merged": 1.23}},
    }  # fmt: skip
    (tmp_path / "predicted.json").write_text(json.dumps(said))
    monkeypatch.setattr(figures, "PREDICTED", tmp_path / "predicted.json")
    second = {"failed": {}, "epoch": {"images": 10, "classes": 2, "seconds": 0.5}}
    for name, results in (("a.json", RESULTS), ("b.json", second)):
        (tmp_path / name).write_text(json.dumps(results))
    assert main(["--join", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--out", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert table.strip() == (tmp_path / "gpu-2027-01-02-nvidia-h200-all.md").read_text().strip()
    assert "| `paper` scout, cycles an image of one multiprocessor | 10,000 | 9,000 (+11 %) |" in table
    assert "| 1.10 -> wide loads merged | as assumed 4.02, wide loads merged 1.23 |" in table
    assert "of other kernels" in table
    assert "epoch of 10 labelled images" in table
    assert "failed" not in table, "what failed in one call succeeded in the other"


def test_predictions_name_their_kernels_and_every_case():
    """That their cycles are these kernels' is held by test_cycle_model.py."""
    assert kernels_digest() == digest(), "a run on a card compares the two"
    said = figures.predictions()
    assert set(said["microbenchmarks"]) == {case.name for case in microbenchmarks.CASES}
    assert len(said["kernels"]) == 64


@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"])
def test_microbenchmarks_compile_for_every_architecture(arch):
    assert microbenchmarks.binary(arch).startswith(b"\x7fELF")


def test_microbenchmarks_tell_the_hypotheses_apart(monkeypatch):
    names = ("atomics, pairs share a word", "atomics, hashed", "128-bit loads, eight rows", "mix, logic and product")
    monkeypatch.setattr("bench.model.microbenchmarks.CASES", [c for c in microbenchmarks.CASES if c.name in names])
    found = predicted()
    assert found["atomics, hashed"]["as assumed"] == pytest.approx(3.54, abs=0.05), "32 random words in 32 banks"
    pairs = found["atomics, pairs share a word"]
    assert pairs["as assumed"] > 1.9 > 1.1 > pairs["equal words merged"]
    assert found["128-bit loads, eight rows"]["as assumed"] > 3.9
    assert found["128-bit loads, eight rows"]["wide loads merged"] < 1.3
    assert found["mix, logic and product"]["as assumed"] < 0.3, "two pipes"
