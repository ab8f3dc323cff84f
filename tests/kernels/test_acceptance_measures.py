"""The acceptance run's measurements, on a machine with GPUs that is not there: they call what exists, and see bytes
that differ. Times mean nothing here."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench.gpu import measures
from fracgen.benchmarking.record import Record, Results
from fracgen.formulas.ifs import BankSpec
from fracgen.recipes.presets import PRESETS
from fracgen.rendering.base import Renderer
from fracgen.rendering.cuda import renderer as cuda_renderer
from fracgen.rendering.cuda.sources import kernels, sources
from tests.kernels.host import HostBackend
from tests.kernels.pretend import SHARED_MEMORY, Machine, switched_on


@pytest.fixture
def card(build_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A small recipe on a pretended GPU of two multiprocessors, whose clock does not wait."""
    recipe = dataclasses.replace(PRESETS["paper"].recipe.at_size(32), points=3000)
    small = dataclasses.replace(PRESETS["paper"], recipe=recipe, bank=BankSpec(40, 8))
    monkeypatch.setattr(measures, "PRESETS", {"paper": small})
    monkeypatch.setattr(measures, "clock_hz", lambda: 1.8e9)
    with switched_on(build_folder, monkeypatch) as machine:
        properties = types.SimpleNamespace(
            name="pretended", shared_memory_per_block_optin=SHARED_MEMORY, multi_processor_count=2
        )
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device=None: properties)
        yield machine


def differences(results: Results) -> dict[str, float]:
    return {name: r.max for name, r in results.items() if r.unit == "differences" and r.max}


def test_parity_where_bytes_are_equal(card: Machine) -> None:
    results = measures.parity(8, 20.0)
    assert not differences(results)
    assert results["`paper` images compared"].max == 8


@pytest.mark.parametrize(
    ("kernel", "whole", "wrong", "buffer"),
    [
        ("attractor", "advance(maps[(2 * k + 1) % 5]", "advance(maps[k]", "density"),
        ("compose", "2 * PARAM_SIZE - 2 - r", "2 * PARAM_SIZE - 3 - r", "images"),
    ],
)
def test_parity_names_the_first_buffer_that_differs(
    card: Machine, build_folder: Path, monkeypatch: pytest.MonkeyPatch, kernel: str, whole: str, wrong: str, buffer: str
) -> None:
    text = sources()[kernels()[kernel]]
    assert whole in text
    faulty = HostBackend(build_folder, edited={kernel: text.replace(whole, wrong)})
    faulty.shared = dict.fromkeys(kernels(), SHARED_MEMORY)
    monkeypatch.setattr(cuda_renderer, "compile_kernel", lambda name, header, arch: faulty.build(name, header))
    found = differences(measures.parity(8, 20.0))
    assert found.pop("`paper` bytes unlike the CPU renderer's") > 1
    (place,) = found
    assert f": {buffer} differs from byte " in place


def test_cycles_stand_beside_predictions(card: Machine) -> None:
    results = measures.stages(4)
    predicted = Record.read(measures.PREDICTED).results
    for name in ("scout", "attractor", "noise", "compose"):
        assert results[f"`paper` {name}, predicted"] == predicted[f"`paper` {name}"]
        assert results[f"`paper` {name}"].median == pytest.approx(1e-3 * 1.8e9 * 2 / 4)  # a millisecond, here
    assert results["`paper`"].median == pytest.approx(4 * 1e-3 * 1.8e9 * 2 / 4)


def test_rates_of_recipes_and_of_the_loader(card: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fracgen.benchmarking.images.LAYOUTS", ("uint8", "bfloat16 channels-last"))
    rates = measures.render()
    assert {"`paper` uint8: images", "`paper` bfloat16 channels-last: share of compose"} <= set(rates)
    drained = measures.loader((2, 4), 6)
    assert len(drained) == 4
    assert drained["epoch of 8, uint8, batch 4"].median > 0


def test_the_chaos_game_is_what_more_points_take(card: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(renderer: Renderer, index: object) -> dict[str, float]:
        return {"attractor": 1.0 + (renderer.recipe.points - 1024) / 1000}

    monkeypatch.setattr(measures, "stage_seconds", seconds)
    results = measures.chaos_game(2)
    assert results["chaos game alone"].median == pytest.approx(2 * 1000)
    assert results["chaos game with densities"].median == pytest.approx(2 * 3000 / 2.976)


def test_everything_is_compiled_before_it_is_measured(card: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Here:  # threads of a pool do not see the pretended torch
        map = staticmethod(map)
        __enter__ = lambda self: self
        __exit__ = lambda self, *_: None

    monkeypatch.setattr(measures, "ThreadPoolExecutor", Here)
    assert measures.compiled()["compilation"].unit == "s"
