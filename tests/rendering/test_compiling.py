"""Stages are compiled once for all processes of a machine, and several at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fracgen.formulas.formula import formula, make_bank
from fracgen.rendering.cpu import compiling
from fracgen.rendering.cpu.jit import STAGES
from fracgen.rendering.cpu.renderer import CpuRenderer
from fracgen.rendering.cpu.stages import Stages
from fracgen.rendering.parameters import Parameters

COUNTED = """
import sys
import numba.core.event as event

class Compiled(event.Listener):
    def on_start(self, happened):
        print(happened.data["dispatcher"].py_func.__name__)
    def on_end(self, happened):
        pass

event.register("numba:compile", Compiled())
from fracgen.rendering.cpu.compiling import main
main(sys.argv[1:])
"""


def stages_of(name: str) -> Stages:
    preset = formula(name).presets[0]
    return formula(name).stages(make_bank(preset.bank), Parameters.of(preset.recipe))


@pytest.mark.parametrize("name", ["ifs", "mandelbulb"])
def test_another_process_compiles_nothing(name: str) -> None:
    preset = formula(name).presets[0]
    renderer = CpuRenderer(make_bank(preset.bank), preset.recipe)
    renderer.render([0])
    names = list(compiling.nothing(renderer.stages))
    done = subprocess.run([sys.executable, "-c", COUNTED, name, *names], capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_a_process_compiles_the_stages_that_it_is_given(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "fracgen.rendering.cpu.compiling", "mandelbulb", "backdrop"]
    subprocess.run(command, env=environment, check=True)
    assert [path.name.split(".")[1].split("-")[0] for path in tmp_path.rglob("*.nbi")] == ["backdrop_stage"]


def test_stages_are_dealt_to_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process takes the first and every n-th after it; what fails elsewhere is left to rendering."""
    asked: list[list[str]] = []
    run = subprocess.Popen

    def started(command: list[str], **options: int) -> subprocess.Popen[bytes]:
        asked.append(command[3:])
        return run([sys.executable, "-c", "raise SystemExit(1)"], **options)  # type: ignore[call-overload, no-any-return]

    own: list[list[str]] = []
    monkeypatch.setattr(compiling, "run_on_nothing", lambda stages, names: own.append(names))
    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr(compiling, "cold", lambda name: name != "noise")
    compiling.compile_stages(stages_of("ifs"), 2)
    assert own == [["scout", "compose"]]
    assert asked == [["ifs", "attractor"]]
    monkeypatch.setattr(compiling, "cold", lambda name: name == "scout")
    compiling.compile_stages(stages_of("ifs"), 2)
    assert len(asked) == 1
    assert set(STAGES) >= {"scout", "attractor", "noise", "compose", "view", "surface", "backdrop", "blend"}
