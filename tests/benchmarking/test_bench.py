"""`fracgen bench`: interleaved timing, the schema of records, and what is measured."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fracgen import CodeBank, FractalLoader
from fracgen.benchmarking.images import LAYOUTS, bench_loader, bench_render
from fracgen.benchmarking.record import Record, Summary, interleaved
from fracgen.benchmarking.train import bench_train, interval_of_mean, live
from fracgen.cli import run as command
from fracgen.recipes.presets import preset
from fracgen.training.config import QUICK_RECIPE, named_config
from tests.fields import Fields

RESULTS = Path(__file__).parents[2] / "bench" / "results"
RECIPE = dataclasses.replace(QUICK_RECIPE.at_size(32), points=500)
CONFIG = dataclasses.replace(named_config("quick"), recipe=RECIPE, model="mobilenet_v3_small", batch_size=8)
SMALL = dataclasses.replace(preset("paper"), bank=CONFIG.bank, recipe=RECIPE)


def test_actions_take_turns_and_are_timed_alone() -> None:
    calls: list[str] = []
    seconds = iter(range(1000))

    def clock() -> float:
        return float(next(seconds))

    def slow() -> None:
        calls.append("b")
        for _ in range(4):
            clock()

    found = interleaved({"a": lambda: calls.append("a"), "b": slow}, 3, warm_up=0, clock=clock)
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": [1.0] * 3, "b": [5.0] * 3}
    with pytest.raises(ValueError, match="rounds 0"):
        interleaved({}, 0)


def test_a_summary() -> None:
    assert Summary.of("s", [4.0, 1.0, 2.0, 3.0, 10.0]) == Summary("s", 3.0, 2 / 3, 1.0, 10.0, 5)


@pytest.fixture(scope="module")
def measured() -> Record:
    chosen = preset("multi-formula")
    small = dataclasses.replace(chosen, recipe=dataclasses.replace(chosen.recipe.at_size(32), scene=None))
    return bench_render(small, device="cpu", batch=4, rounds=2, threads=1)


def test_a_render_benchmark(measured: Record) -> None:
    medians = {name: r.median for name, r in measured.results.items()}
    assert min(medians["images"], medians["points"], medians["time"]) > 0
    assert sum(value for name, value in medians.items() if name.startswith("share")) == pytest.approx(1, abs=0.2)
    # 4 to 10 attractors of 100,000 points an image.
    assert 4e5 <= medians["points"] / medians["images"] <= 10e5
    assert all(f"| {name} |" in measured.markdown() for name in medians)


@pytest.mark.parametrize(("scene", "known"), [(None, True), (16, True), (40, False)])
def test_points_are_counted_only_where_all_that_were_drawn_are_known(scene: int | None, known: bool) -> None:
    chosen = preset("two-view")
    recipe = dataclasses.replace(chosen.recipe.at_size(16), points=500, scene=scene)
    results = bench_render(dataclasses.replace(chosen, recipe=recipe), device="cpu", batch=2, rounds=1).results
    assert ("points" in results) == known
    if known:
        assert results["points"].median / results["images"].median == pytest.approx(2 * 500)


def test_a_record_is_the_same_when_it_is_read(measured: Record, tmp_path: Path) -> None:
    measured.write(tmp_path / "record.json")
    assert Record.read(tmp_path / "record.json").to_json() == measured.to_json()


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.data())
def test_a_damaged_record_is_refused_by_the_name_of_its_file(
    measured: Record, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    table: Fields = json.loads(measured.to_json())
    parts = [table, table["machine"], table["results"]["images"]]
    part = data.draw(st.sampled_from(parts))
    optional = ("gpu", "commit")
    field = data.draw(st.sampled_from([name for name in part if name not in optional]))
    damage: dict[str, Callable[[], object]] = {
        "is missing": lambda: part.pop(field),
        "instead of": lambda: part.update({field: [None]}),
        "": lambda: part.update({"unknown": 1}) if part is table else part.pop(field),
    }
    words = data.draw(st.sampled_from(list(damage)))
    damage[words]()
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    path.write_text(json.dumps(table))
    with pytest.raises(ValueError, match=rf"damaged\.json.*{words}") as error:
        Record.read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [{"schema_version": 99}, {"results": {}}])
def test_a_record_of_another_schema_or_without_results_is_refused(
    measured: Record, tmp_path: Path, change: Fields
) -> None:
    (tmp_path / "a.json").write_text(json.dumps({**json.loads(measured.to_json()), **change}))
    with pytest.raises(ValueError, match=r"schema \d+ and \d+ results: schema 1 with at least one"):
        Record.read(tmp_path / "a.json")


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.stem)
def test_published_results_keep_to_the_schema(file: Path) -> None:
    assert Record.read(file).commit


def test_the_loader() -> None:
    one = bench_loader(SMALL, device="cpu", batch=[4], batches=2, rounds=2)
    assert set(one.results) == set(LAYOUTS)
    assert all(r.median > 0 and (r.n, r.unit) == (2, "images/s") for r in one.results.values())
    assert (one.settings["device"], one.settings["batch"]) == ("cpu", 4)
    two = bench_loader(SMALL, device="cpu", batch=[2, 4], batches=1, rounds=1)
    assert set(two.results) == {f"{layout}, batch {size}" for layout in LAYOUTS for size in (2, 4)}


def test_a_training_step() -> None:
    results = bench_train(CONFIG, device="cpu", steps=2, rounds=3).results
    low, high = (results[f"rendering adds, 95% interval, {end}"].median for end in ("low", "high"))
    assert low <= results["rendering adds, mean"].median <= high
    assert results["rendering adds"].n == 3
    assert results["images/s"].median == pytest.approx(8000 / results["step with live rendering"].median, rel=0.01)


def test_a_live_block_pays_for_all_the_batches_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    bank = CodeBank.sample(2, classes=2)
    loader = FractalLoader(bank, RECIPE, 2, device="cpu", epoch_size=100, prefetch=2, threads=1)
    whole = loader._make

    def slow(epoch: int, batch: range) -> object:
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


def test_an_interval_covers_the_mean() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(40):
        low, high = interval_of_mean(rng.normal(1.0, 0.5, 30))
        hits += low < 1.0 < high
    assert hits >= 34
    assert interval_of_mean(np.full(5, 2.0)) == (2.0, 2.0)


QUICK = ["bench", "render", "--device", "cpu", "--size", "16", "--points", "2000", "--batch-size", "2", "--rounds", "2"]


def test_commands_print_a_table_or_json_and_write_the_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "record.json"
    assert command([*QUICK, "-o", str(file)]) == 0
    assert "images/s" in capsys.readouterr().out
    assert Record.read(file).settings["recipe"]["points"] == 2000
    assert command([*QUICK, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["subject"] == "render"
    assert command(["bench", "loader", "--size", "16", "--batch-size", "2", "--batches", "2", "--rounds", "1",
                    "--device", "cpu", "--recipe", "anderson2022", "-o", str(file)]) == 0  # fmt: skip
    assert Record.read(file).subject == "loader"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*QUICK, "--batch-size", "0"], "batch 0 is out of range"),
        (["bench", "render", "--recipe", "nothing"], "unknown recipe 'nothing'"),
        ([*QUICK, "-o", "no/record.json"], "there is no folder no"),
        (["bench", "train", "--model", "resnet19", "--device", "cpu"], "unknown model 'resnet19'"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
