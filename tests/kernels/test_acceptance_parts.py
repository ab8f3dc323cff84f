"""The acceptance run's measurements, on a machine with GPUs that is not there: they call what exists and
return what the table reads. Times mean nothing here."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from bench.gpu import clock, figures, parity, rates
from fracgen.recipes.presets import PRESETS
from tests.kernels.pretend import switched_on

NAMES = ("paper",)


@pytest.fixture
def small_card(build_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A small recipe on a pretended GPU, a clock that does not wait."""
    small = {
        name: dataclasses.replace(
            PRESETS[name],
            recipe=dataclasses.replace(PRESETS[name].recipe.at_size(32), points=3000),
            bank=dataclasses.replace(PRESETS[name].bank, codes=40, classes=8),
        )
        for name in NAMES
    }
    for module in (parity, rates):
        monkeypatch.setattr(module, "PRESETS", small)
    monkeypatch.setattr(parity, "small_bank", lambda name, codes=0, seed=1: rates.CodeBank.sample(40, seed, classes=8))
    monkeypatch.setattr(rates, "small_bank", parity.small_bank)
    monkeypatch.setattr(rates, "clock_hz", lambda: 1.8e9)
    monkeypatch.setattr(rates, "milliseconds", lambda work: (work(), 1.0)[1])
    with switched_on(build_folder, monkeypatch) as machine:
        yield machine


def test_parity_sees_equal_and_unequal_bytes(small_card: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = parity.check(3)
    assert (found["images_checked"], found["mismatched_bytes"]) == (3, 0)
    other = parity.CpuRenderer

    class Wrong(other):  # type: ignore[misc, valid-type]
        def render(self, index: Any, **options: Any) -> Any:
            made = super().render(index, **options)
            made.images.reshape(-1)[5] ^= 1
            return made

    monkeypatch.setattr(parity, "CpuRenderer", Wrong)
    found = parity.check(3)
    assert found["mismatched_bytes"] == 1
    assert found["recipes"]["paper"]["first_mismatch"]["index"] >= 0


def test_rates_return_what_the_table_reads(small_card: Any) -> None:
    results: dict[str, Any] = {"failed": {}, "stages": rates.stage_cycles(4), "render": rates.measure(4)}
    results = json.loads(json.dumps(results))
    assert set(results["stages"]["cycles"]) >= {"scout", "attractor", "noise", "compose"}
    assert len(results["render"]) == 2 * len(NAMES)
    table = figures.markdown(results)
    for words in ("`paper` compose, cycles an image", "`paper` 32 px bfloat16"):
        assert words in table


def test_the_clock_takes_a_median(small_card: Any) -> None:
    assert clock.milliseconds(lambda: None, runs=2) > 0
