"""Judging one's own pictures: what a model keeps, promises, warns of and writes."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from fracgen_eval import decisions
from fracgen_eval.errors import EvaluationError
from fracgen_eval.images import Geometry
from fracgen_eval.methods.kept import kept_features
from fracgen_eval.pictures import read_picture
from fracgen_eval.predict.fitting import calibrated, fit_model
from fracgen_eval.predict.heatmaps import write_heatmap
from fracgen_eval.predict.model import FittedModel
from fracgen_eval.predict.page import PAGE, RECORD, TABLE
from fracgen_eval.predict.pictures import Cut, judge, to_fit
from fracgen_eval.predict.request import Choice, Request
from fracgen_eval.predict.run import predict
from fracgen_eval.weights.backbones import WeightsSpec
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.evaluation.grids import QUICK
from tests.fields import Fields
from tests.malformed import one_line

SMALL = Choice(weights=WeightsSpec("random"), overrides=QUICK)


@pytest.fixture(scope="module")
def good(surfaces: Path) -> Path:
    return surfaces / "gravel" / "train" / "good"


@pytest.fixture(scope="module")
def fitted(good: Path) -> FittedModel:
    return fit_model(SMALL, good)


@pytest.fixture(scope="module")
def kept(fitted: FittedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "kept.safetensors"
    fitted.save(path)
    return path


@pytest.fixture(scope="module")
def pictures(surfaces: Path) -> list[Path]:
    return sorted((surfaces / "gravel" / "test" / "stain").iterdir())


def test_a_kept_model_judges_alike(fitted: FittedModel, kept: Path, pictures: list[Path]) -> None:
    again = FittedModel.load(kept)
    first, second = fitted.judge(pictures), again.judge(pictures)
    assert np.array_equal(first.scores, second.scores)
    assert first.maps is not None
    assert second.maps is not None
    assert np.array_equal(first.maps, second.maps)
    assert again.fit == fitted.fit
    assert np.array_equal(again.own.scores, fitted.own.scores)
    assert (again.own.digests, again.own.map_range) == (fitted.own.digests, fitted.own.map_range)
    assert np.array_equal(again.p_values(second), fitted.p_values(first))


def test_a_kept_model_decides_alike_with_other_threads(kept: Path, pictures: list[Path]) -> None:
    ours = [(row.path, row.p_value, row.flagged) for row in predict(pictures, Request(load=kept)).rows]
    threads = "2" if torch.get_num_threads() == 1 else "1"
    arguments = ["eval", "predict", "--load", str(kept), "--device", "cpu", "--json", *map(str, pictures)]
    code = f"import sys; from fracgen.cli import run; sys.exit(run({arguments!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"OMP_NUM_THREADS": threads}, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["path"], row["p_value"], row["flagged"]) for row in rows] == ours


@pytest.mark.parametrize("method", ["patchcore", "padim", "panda"])
def test_a_picture_is_never_judged_by_a_model_that_saw_it(method: str, good: Path, tmp_path: Path) -> None:
    """One of ten pictures is another surface: alone in its fold, it scores higher than all others by far."""
    for path in sorted(good.iterdir())[:9]:
        shutil.copy(path, tmp_path)
    Image.new("RGB", (128, 128), "red").save(tmp_path / "odd.png")
    choice = Choice(method=method, weights=WeightsSpec("random"), overrides=QUICK)
    scores = fit_model(choice, tmp_path).own.scores
    assert len(scores) == 10
    assert scores.argmax() == 9
    assert scores[9] > 1.3 * np.sort(scores)[-2]


@pytest.mark.parametrize("method", ["patchcore", "padim"])
def test_features_of_a_picture_are_computed_once(method: str, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def counted(network: torch.nn.Module) -> AbstractContextManager[None]:
        compute = network.forward

        def count(images: torch.Tensor) -> object:
            seen.append(len(images))
            return compute(images)

        vars(network)["forward"] = count
        return kept_features(network)

    monkeypatch.setattr("fracgen_eval.predict.folds.kept_features", counted)
    fit_model(Choice(method=method, weights=WeightsSpec("random"), overrides=QUICK, folds=4), good)
    assert sum(seen) == 40


def test_few_normal_pictures_promise_what_they_can(good: Path, pictures: list[Path], tmp_path: Path) -> None:
    says = {
        1: "no normal picture was kept back, so there are no p-values and no decisions: add normal pictures, or",
        4: "4 normal pictures can promise 1 false alarm in 5, not 0.05: flagged is what scores above all of them; 19",
    }
    for number, line in says.items():
        folder = tmp_path / str(number)
        folder.mkdir()
        for path in sorted(good.iterdir())[:number]:
            shutil.copy(path, folder)
        verdict = predict(pictures, Request(train=folder, choice=SMALL))
        assert line in verdict.promise
        highest = max(verdict.normal_scores, default=0)
        for row in verdict.rows:
            assert row.flagged is (None if number == 1 else row.score > highest)
            assert (row.p_value is None) == (number == 1)


def test_calibrating_compares_with_good_pictures_of_another_day(
    fitted: FittedModel, surfaces: Path, good: Path, tmp_path: Path
) -> None:
    for path in sorted((surfaces / "gravel" / "test" / "good").iterdir())[:20]:
        Image.fromarray(read_picture(path) // 2).save(tmp_path / path.name)
    model, (line,) = calibrated(fitted, tmp_path, 0.05)
    assert model.calibration is not None
    assert len(model.calibration.scores) == 20
    flagged = decisions.flagged(fitted.p_values(model.judge(sorted(tmp_path.iterdir()))), 40, 0.05).sum()
    assert line == (
        f"before calibrating, {flagged} of 20 good pictures of another day were flagged; among the training's own, "
        "2 of 40"
    )
    shutil.copy(sorted(good.iterdir())[0], tmp_path / "twin.png")
    again, notes = calibrated(fitted, tmp_path, 0.05)
    assert notes[0] == f"{tmp_path}: left out 1 of the training's own pictures (twin.png, ...)"
    assert np.array_equal(again.normal.scores, model.normal.scores)
    with pytest.raises(EvaluationError, match=r"all 40 pictures are among those of the training: calibrate on others"):
        calibrated(fitted, good, 0.05)
    again.save(tmp_path / "m.safetensors")
    assert np.array_equal(FittedModel.load(tmp_path / "m.safetensors").normal.scores, model.normal.scores)


def test_judged_pictures_of_the_training_and_of_another_light_are_warned_about(
    kept: Path, good: Path, tmp_path: Path
) -> None:
    dark = []
    for path in sorted(good.iterdir())[:12]:
        dark.append(tmp_path / path.name)
        Image.fromarray(read_picture(path) // 3).save(dark[-1])
    (warning,) = predict(dark, Request(load=kept)).warnings
    assert warning.startswith("the judged pictures differ from the normal ones as a whole (p = 0.001; ")
    (warning,) = predict(sorted(good.iterdir())[:12], Request(load=kept)).warnings
    assert warning.startswith("12 of the judged pictures (000.png, ...) are among those that the model was fitted on")


def test_what_pictures_have_in_common_is_looked_at(good: Path, pictures: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "good"
    folder.mkdir()
    for n, path in enumerate(sorted(good.iterdir())[:4]):
        with Image.open(path) as image:
            image.crop((0, 0, 100 + 20 * (n > 2), 100)).convert("L" if n == 0 else "RGB").save(folder / path.name)
    notes = predict(pictures[:1], Request(train=folder, choice=SMALL)).notes
    assert [note.split(":")[0] for note in notes] == [
        "the normal pictures differ in their shapes (3 of 100 x 100 px, 1 of 120 x 100 px)",
        "the normal pictures differ in their depths (3 of 8 bits of colour, 1 of 8 bits of grey)",
    ]
    (folder / "000.png").unlink()
    (folder / "003.png").unlink()
    notes = predict(pictures[:1], Request(train=folder, choice=SMALL)).notes
    assert notes == ("judged pictures have shapes that no normal one has (128 x 128 px): that may flag them",)


def test_results_are_a_page_a_table_a_record_and_heatmaps(kept: Path, pictures: list[Path], tmp_path: Path) -> None:
    """Every picture has a heatmap of its own; two of the same folder and two of the same name never meet."""
    names = ["part.png", "part.jpg", "part_2.png", "lot2/part.png", "lot2/part.png.png", "lot2/lot2/<part>.png"]
    paths = [tmp_path / "in" / name for name in names]
    for n, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(pictures[n % len(pictures)]) as image:
            image.crop((n, 0, 60, 60)).save(path)
    out = tmp_path / "out"
    verdict = predict([tmp_path / "in"], Request(load=kept, out=out))
    written = {out / f"{name}_patchcore.png" for name in names}
    assert {Path(str(row.heatmap)) for row in verdict.rows} == written
    assert {p for p in out.rglob("*") if p.is_file()} == written | {out / PAGE, out / TABLE, out / RECORD}
    assert [read_picture(out / f"{name}_patchcore.png").shape for name in names] == [
        (60, 2 * (60 - n), 3) for n in range(6)
    ]
    assert [row.score for row in verdict.rows] == sorted((row.score for row in verdict.rows), reverse=True)
    record = json.loads((out / RECORD).read_text())
    assert record["rows"] == [dataclasses.asdict(row) for row in verdict.rows]
    with (out / TABLE).open() as file:
        table = list(csv.DictReader(file))
    assert [row["path"] for row in table] == [row.path for row in verdict.rows]
    assert {row["flagged"] for row in table} <= {"True", "False"}
    page = (out / PAGE).read_text()
    assert "lot2/lot2/&lt;part&gt;.png" in page
    assert "<part>" not in page
    assert page.count("<article") == 6
    assert page.count("data:image/webp;base64,") == 12
    assert "http" not in page


def test_methods_without_maps_have_a_page_too(good: Path, pictures: list[Path], tmp_path: Path) -> None:
    choice = Choice(method="panda", weights=WeightsSpec("random"), overrides=QUICK)
    verdict = predict(pictures, Request(train=good, choice=choice, out=tmp_path / "out"))
    assert [row.heatmap for row in verdict.rows] == [None] * len(pictures)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted([PAGE, TABLE, RECORD])


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (300, 200)])
def test_heatmaps_have_the_shape_of_their_picture(shape: tuple[int, int], tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    heat = np.zeros((64, 64), np.float32)
    heat[:, 32:] = 9
    write_heatmap(picture, heat, (0.0, 9.0), tmp_path / "a" / "heat.png")
    both, edge = read_picture(tmp_path / "a" / "heat.png").astype(int), shape[1] // 2 + 3
    assert np.array_equal(both[:, : shape[1]], picture)
    assert np.array_equal(both[:, shape[1] : 2 * shape[1] - edge], picture[:, : shape[1] - edge])
    hot = both[:, shape[1] + edge :] - picture[:, edge:] / 4 - 0.75 * np.array([252, 255, 164])
    assert np.abs(hot).max() <= 2


def test_tiles_cover_a_picture_and_a_defect_in_one_is_seen(good: Path, tmp_path: Path) -> None:
    wide = np.concatenate([read_picture(path) for path in sorted(good.iterdir())[:4]], axis=1)  # 128 x 512
    for n in range(8):
        Image.fromarray(np.roll(wide, 37 * n, axis=1)).save(tmp_path / f"{n}.png")
    bad = np.roll(wide, 11, axis=1).copy()
    bad[60:90, 380:420] = (255, 0, 0)
    Image.fromarray(bad).save(tmp_path / "bad.png")
    paths = sorted(tmp_path.glob("[0-9].png"))
    choice = dataclasses.replace(SMALL, tiles=True, folds=4)
    (tmp_path / "normal").mkdir()
    for path in paths:
        shutil.move(path, tmp_path / "normal")
    model = fit_model(choice, tmp_path / "normal")
    judged = model.judge([tmp_path / "bad.png"])
    assert judged.maps is not None
    (heat,) = judged.maps
    assert heat.shape == (128, 512)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 50 < row < 100
    assert 370 < column < 430
    assert judged.scores[0] > model.own.scores.max()
    cut = Cut(Geometry(64), tiled=True)
    covered = np.zeros((128, 512), int)
    for top, left, bottom, right in cut.boxes(128, 512):
        assert (bottom - top, right - left) == (64, 64)
        covered[top:bottom, left:right] += 1
    assert covered.min() >= 1
    images, owners = to_fit([tmp_path / "bad.png"] * 3, cut, seed=0)
    assert images.shape == (3 * len(cut.boxes(128, 512)), 3, 64, 64)
    assert np.bincount(owners).tolist() == [len(cut.boxes(128, 512))] * 3


def test_a_picture_of_one_tile_is_judged_as_a_whole_one(fitted: FittedModel, tmp_path: Path, good: Path) -> None:
    with Image.open(sorted(good.iterdir())[0]) as image:
        image.crop((0, 0, 64, 64)).save(tmp_path / "tile.png")
    method, paths = fitted.method, [tmp_path / "tile.png"]
    whole, tiled = (judge(method, Cut(method.geometry, of), paths) for of in (False, True))
    assert whole.scores == tiled.scores
    assert whole.maps is not None
    assert tiled.maps is not None
    assert np.allclose(whole.maps[0], tiled.maps[0], rtol=1e-6)


def test_foreign_and_damaged_models_are_refused(fitted: FittedModel, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    fitted.save(tmp_path / "cut.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:999])
    for name in ("foreign", "cut", "absent"):
        with one_line(name, EvaluationError):
            FittedModel.load(tmp_path / f"{name}.safetensors")


def spoilt(kept: Path, to: Path, change: Callable[[Fields, dict[str, torch.Tensor]], object]) -> Path:
    """A kept model of whose header or tensors something was changed."""
    with safe_open(kept, framework="pt") as file:
        metadata = file.metadata()
    about, state = json.loads(metadata["about"]), load_file(kept)
    change(about, state)
    save_file(state, to, metadata | {"about": json.dumps(about)})
    return to


CRAFTED: dict[str, Callable[[Fields, dict[str, torch.Tensor]], object]] = {
    "unknown method 'svm'": lambda about, _: about.update(method="svm"),
    "patchcore.image_size = 4000000000 is out of range: use 2048 at most":
        lambda about, _: about["settings"].update(image_size=4_000_000_000),
    "unknown setting of patchcore 'size'": lambda about, _: about["settings"].update(size=3),
    "has no layer 'layer9'": lambda about, _: about.update(layers=["layer9"]),
    "unknown model 'vgg'": lambda about, _: about["weights"].update(model="vgg"),
    "are not three numbers each": lambda about, _: about["weights"].update(mean=[0.5, 0.5]),
    "std above 0": lambda about, _: about["weights"].update(std=[1, 1, 0]),
    "tiled is 1 instead of true or false": lambda about, _: about.update(tiled=1),
    "cannot be read as a fitted model (The size of": 
        lambda _, state: state.update(memory_bank=state["memory_bank"][:, :7].contiguous()),
    "memory_bank is complex64": lambda _, state: state.update(memory_bank=state["memory_bank"].to(torch.complex64)),
    "tensor memory_bank": lambda _, state: state.update(memory_bank=state["memory_bank"] * float("nan")),
    "fitted model": lambda _, state: state.pop("memory_bank"),
}  # fmt: skip


@pytest.mark.parametrize("message", CRAFTED)
def test_every_part_of_a_kept_model_is_checked(message: str, kept: Path, tmp_path: Path) -> None:
    path = spoilt(kept, tmp_path / "kept.safetensors", CRAFTED[message])
    with pytest.raises(EvaluationError, match=re.escape(message)) as caught:
        FittedModel.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
