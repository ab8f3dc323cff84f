"""The loader's and the training step's benchmarks measure what they say."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fracgen import CodeBank, FractalLoader
from fracgen.benchmarking.loader import LAYOUTS, bench_loader
from fracgen.benchmarking.train import bench_train, interval_of_mean, live, step_flops, training_step
from fracgen.cli import run as command
from fracgen.training.config import QUICK_RECIPE, named_config

RECIPE = dataclasses.replace(QUICK_RECIPE.at_size(32), points=500)
CONFIG = dataclasses.replace(named_config("quick"), recipe=RECIPE, model="mobilenet_v3_small", batch_size=8)


def test_loader_record() -> None:
    data = bench_loader(CONFIG.bank, RECIPE, device="cpu", batch=4, batches=2, rounds=2)
    assert set(data["results"]) == set(LAYOUTS)
    assert all(r["median"] > 0 and r["n"] == 2 and r["unit"] == "images/s" for r in data["results"].values())
    assert data["settings"]["device"] == "cpu"


def test_sizes_of_batch_are_timed_beside_each_other() -> None:
    data = bench_loader(CONFIG.bank, RECIPE, device="cpu", batch=[2, 4], batches=2, rounds=2)
    assert set(data["results"]) == {f"{layout}, batch {size}" for layout in LAYOUTS for size in (2, 4)}
    assert data["settings"]["batch"] == [2, 4]


def test_train_record() -> None:
    results = bench_train(CONFIG, device="cpu", steps=2, rounds=3)["results"]
    low, high = (results[f"rendering adds, 95% interval, {end}"]["median"] for end in ("low", "high"))
    assert low <= results["rendering adds, mean"]["median"] <= high
    assert results["rendering adds"]["n"] == 3
    assert results["share of matrix multiplication rate"]["median"] > 0
    assert results["images/s"]["median"] == pytest.approx(
        8000 / results["step with live rendering"]["median"], rel=0.01)  # fmt: skip


def test_a_live_block_pays_for_all_the_batches_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = FractalLoader(CodeBank.sample(2, classes=2), RECIPE, 2, "cpu", epoch_size=100, prefetch=2, threads=1)
    whole = loader._make

    def slow(epoch: int, batch: int) -> Any:
        time.sleep(0.02)
        return whole(epoch, batch)

    monkeypatch.setattr(loader, "_make", slow)
    batches = iter(loader)
    next(batches)
    block = live(loader, batches, lambda images, labels: None, 5)
    block()
    start, made = time.perf_counter(), loader.meter.batches
    block()
    assert loader.meter.batches - made == 5
    assert time.perf_counter() - start >= 5 * 0.02
    time.sleep(0.1)
    assert loader.meter.batches - made == 5  # nothing is left over for the block that comes next


def test_flops_of_a_step() -> None:
    step = training_step(dataclasses.replace(CONFIG, model="resnet18"), 20, torch.device("cpu"), torch.float32)
    batch = (torch.randn(2, 3, 224, 224), torch.zeros(2, dtype=torch.long))
    forward = 2 * 2 * 1.814e9  # two images, two operations a multiply-add, 1.814 billion of them in the literature
    assert step_flops(step, batch) == pytest.approx(3 * forward, rel=0.05)


def test_interval_covers_the_mean() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(40):
        low, high = interval_of_mean(rng.normal(1.0, 0.5, 30))
        hits += low < 1.0 < high
    assert hits >= 34
    low, high = interval_of_mean(np.full(5, 2.0))
    assert low == high == 2.0


def test_commands_write_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "loader.json"
    assert command(["bench", "loader", "--size", "16", "--batch", "2", "--batches", "2", "--rounds", "1", "--device",
                    "cpu", "--recipe", "anderson2022", "-o", str(file)]) == 0  # fmt: skip
    assert json.loads(file.read_text())["subject"] == "loader"
    assert "| uint8 |" in capsys.readouterr().out
    assert command(["bench", "train", "--model", "resnet19", "--device", "cpu"]) == 2
    assert "unknown model 'resnet19'" in capsys.readouterr().err
