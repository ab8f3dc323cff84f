"""Judging one's own pictures, and the commands of `fracgen eval` from the outside."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fracgen_eval import decisions
from fracgen_eval.errors import EvaluationError
from fracgen_eval.images import Geometry
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
from safetensors.torch import save_file

from fracgen.cli import run

QUICK: dict[str, dict[str, object]] = {
    "patchcore": {"image_size": 64}, "panda": {"resize": 64, "crop": 64}, "padim": {"image_size": 64},
}  # fmt: skip
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


@pytest.fixture
def quick(tmp_path: Path) -> str:
    path = tmp_path / "quick.json"
    path.write_text(json.dumps(QUICK))
    return str(path)


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
    from fracgen_eval.methods.kept import kept_features

    seen: list[int] = []

    def counted(network: Any) -> Any:
        compute = network.forward

        def count(images: Any) -> Any:
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


def test_foreign_and_damaged_models_are_refused(fitted: Any, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    fitted.save(tmp_path / "cut.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:999])
    for name in ("foreign", "cut", "absent"):
        with pytest.raises(EvaluationError, match=name) as caught:
            FittedModel.load(tmp_path / f"{name}.safetensors")
        assert "\n" not in str(caught.value)


CRAFTED: dict[str, dict[str, Any]] = {
    "method is 3 instead of a text": {"method": 3},
    "unknown method 'svm'": {"method": "svm"},
    "patchcore.image_size = 4000000000 is out of range: use 2048 at most": {"settings": {"image_size": 4_000_000_000}},
    "patchcore.image_size is '64'": {"settings": {"image_size": "64"}},
    "unknown setting of patchcore 'size'": {"settings": {"size": 3}},
    "settings is [] instead of a table": {"settings": []},
    "seed is '0' instead of a whole number": {"seed": "0"},
    "has no layer 'layer9'": {"layers": ["layer9"]},
    "own.map_range is 1 instead of a list": {"own": {"map_range": 1}},
    "own.digests[0] is 3 instead of a text": {"own": {"digests": [3]}},
    "tiled is 1 instead of true or false": {"tiled": 1},
    "weights is None instead of a table": {"weights": None},
    "unknown model 'vgg'": {"weights": {"model": "vgg"}},
    "are not three numbers each": {"weights": {"mean": [0.5, 0.5]}},
    "weights.std[2] is 'x' instead of a number": {"weights": {"std": [1, 1, "x"]}},
    "std above 0": {"weights": {"std": [1, 1, 0]}},
}


@pytest.mark.parametrize("message", CRAFTED)
def test_every_field_of_a_kept_model_is_checked(
    message: str, fitted: Any, pictures: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file

    kept = tmp_path / "kept.safetensors"
    fitted.save(kept)
    with safe_open(kept, framework="pt") as file:
        header = file.metadata()
    about = json.loads(header["about"])
    for key, value in CRAFTED[message].items():
        about[key] = about[key] | value if isinstance(value, dict) else value
    save_file(load_file(kept), kept, header | {"about": json.dumps(about)})
    assert run(["eval", "predict", "--load", str(kept), "--device", "cpu", str(pictures[0])]) == 2
    said = capsys.readouterr().err
    assert message in said or ("weights.mean" in message and "are not three numbers each" in said)
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("change", ["width", "missing", "type", "nan", "about"])
def test_tensors_of_a_kept_model_that_do_not_fit_are_refused(change: Any, fitted: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    kept = tmp_path / "kept.safetensors"
    fitted.save(kept)
    with safe_open(kept, framework="pt") as file:
        header = file.metadata()
    state = load_file(kept)
    bank = state["memory_bank"]
    state["memory_bank"] = {"width": bank[:, :7].contiguous(), "type": bank.to(torch.complex64),
                            "nan": bank * float("nan")}.get(change, bank)  # fmt: skip
    if change == "missing":
        del state["memory_bank"]
    if change == "about":
        header["about"] = "[" * 100_000
    save_file(state, kept, header)
    with pytest.raises(EvaluationError, match=r"kept\.safetensors: .* fitted model|memory_bank.*: fit it") as caught:
        FittedModel.load(kept)
    assert "\n" not in str(caught.value)


def test_predict_command_fits_keeps_and_uses_a_model(
    surfaces: Path, pictures: Any, quick: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = surfaces / "gravel" / "train" / "good"
    kept = str(tmp_path / "kept.safetensors")
    names = [str(p) for p in pictures]
    options = ["--weights", "random", "--settings", quick, "--device", "cpu", "--json"]
    assert run(["eval", "predict", "--train", str(good), "--save", kept, *options, *names]) == 0
    first = capsys.readouterr().out
    assert run(["eval", "predict", "--load", kept, "--device", "cpu", "--json", *names, "-o", str(tmp_path / "h")]) == 0
    rows = [[json.loads(line) for line in text.splitlines()] for text in (first, capsys.readouterr().out)]
    assert [r["score"] for r in rows[0]] == [r["score"] for r in rows[1]]
    assert {r["path"] for r in rows[0]} == set(names)
    assert rows[0] == sorted(rows[0], key=lambda r: -r["score"])
    assert len(list((tmp_path / "h").glob("*_patchcore.png"))) == len(names)


def test_predict_says_what_it_left_out(
    surfaces: Path, pictures: Any, quick: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(surfaces / "gravel" / "train" / "good", tmp_path / "good")
    (tmp_path / "good/lot2").mkdir()
    (tmp_path / "good/000.png").rename(tmp_path / "good/lot2/000.png")
    (tmp_path / "good/.DS_Store").touch()
    options = ["--weights", "random", "--settings", quick, "--device", "cpu", str(pictures[0])]
    assert run(["eval", "predict", "--train", str(tmp_path / "good"), *options]) == 0
    assert capsys.readouterr().err.splitlines()[0] == (
        f"fracgen: {tmp_path / 'good'}: left out 1 picture (lot2/000.png), 1 hidden file or folder (.DS_Store)"
    )
    for path in (tmp_path / "good").glob("*.png"):
        path.unlink()
    with pytest.raises(EvaluationError, match=r"no pictures .* left out 1 picture \(lot2/000\.png\).*; give the"):
        fit_model(SMALL, tmp_path / "good")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["good/0.png", "notes.png"], "notes.png: cannot be read as an image"),
        (["good/0.png", "float.tif"], "float.tif: an image of floating-point numbers, which is not read: save it"),
        (["good/0.png", "-o", "notes.png"], "notes.png is a file: name a folder for the results"),
        (["good/0.png", "--false-alarms", "1"], "a rate of 1 false alarms: use a number above 0 and below 1"),
        (["good/0.png", "--false-alarms", "nan"], "a rate of nan false alarms: use a number above 0 and below 1"),
        (["good/0.png", "--calibrate", "nowhere"], "nowhere: no such folder of good pictures of another day"),
        (["good/0.png", "empty"], "empty: no pictures (.png, "),
        (["good/0.png", "--save", "nowhere/m.safetensors"], "there is no folder nowhere"),
        (["good/0.png", "--save", "good"], "good is a folder"),
    ],
)  # fmt: skip
def test_what_predict_cannot_read_or_write_is_refused_before_it_fits(
    arguments: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good").mkdir()
    Path("empty").mkdir()
    Image.new("L", (8, 8)).save("good/0.png")
    Image.new("F", (8, 8)).save("float.tif")
    Path("notes.png").write_text("hello")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr("fracgen_eval.predict.run.fit_model", None)
    assert run(["eval", "predict", "--train", "good", "--device", "cpu", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_predict_takes_the_packages_own_weights_where_none_are_named(
    surfaces: Path, pictures: Any, quick: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    good = surfaces / "gravel" / "train" / "good"
    options = ["--settings", quick, "--device", "cpu", "--json", str(pictures[0])]
    assert run(["eval", "predict", "--train", str(good), *options]) == 0
    said = capsys.readouterr()
    assert run(["eval", "predict", "--train", str(good), "--weights", "fractal", *options]) == 0
    assert capsys.readouterr().out == said.out
    assert run(["eval", "predict", "--train", str(good), "--model", "resnet50", *options]) == 2
    refused = capsys.readouterr().err
    assert "brings no fractal weights of 'resnet50' (there are those of resnet18, tf_efficientnet_lite0)" in refused


def test_run_and_list_commands(surfaces: Path, quick: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "eval", "run", "--method", "panda", "--dataset", "surfaces", "--root", str(surfaces),
        "--category", "gravel,grass", "--weights", "random", "--model", "resnet18", "--limit", "small",
        "--settings", quick, "--device", "cpu", "-o", str(tmp_path / "out"),
    ]  # fmt: skip
    assert run([*options, "--dry-run"]) == 0
    dry = capsys.readouterr()
    assert len(dry.out.splitlines()) == 2
    assert "2 cells to run" in dry.err
    assert not (tmp_path / "out").exists()
    assert run(options) == 0
    done = capsys.readouterr()
    assert done.out.strip() == str(tmp_path / "out")
    assert "[2/2] panda surfaces/grass random seed 0: image AUROC" in done.err
    assert run(["eval", "list", str(tmp_path / "out"), "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {r["cell"]["category"] for r in listed} == {"gravel", "grass"}
    assert {p.split("/", 1)[1] for p in dry.out.split()} == {r["path"].split("/", 2)[2][:-5] for r in listed}


def test_a_grid_with_failed_cells_exits_with_3(
    surfaces: Path, quick: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import fracgen_eval.methods.panda as panda

    def broken(self: Any, images: Any, watch: Any = None) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(panda.Panda, "fit", broken)
    options = ["--root", str(surfaces), "--category", "gravel", "--weights", "random", "--model", "resnet18"]
    code = run(["eval", "run", "--method", "panda", *options, "--limit", "small", "-o", str(tmp_path / "out")])
    assert code == 3
    assert "failed: out of luck" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--method", "all", "--weights", "imagnet"], "unknown weights 'imagnet'"),
        (["run", "--method", "all", "--weights", "random", "--dataset", "mvtec"], "give its folder with --root"),
        (["run", "--method", "pandas", "--weights", "random"], "unknown method 'pandas'"),
        (["run", "--method", "panda", "--weights", "random", "--seeds", "a"], "not whole numbers"),
        (["run", "--method", "panda", "--weights", "random", "--shard", "3/3"], "not of the form i/n"),
        (["run", "--method", "panda", "--weights", "mine=nowhere.safetensors"], "no such weights file"),
        (["data", "mvtec"], "give its folder with --root"),
        (["list", "nowhere"], "no such result folder"),
        (["predict", "nowhere.png", "--train", "x"], "no such picture"),
        (["predict", "nowhere.png"], "give either --train"),
    ],
)
def test_bad_command_lines_are_one_line_and_exit_code_2(
    arguments: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["eval", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert len(said.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_data_command_checks(surfaces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "data", "surfaces", "-o", str(surfaces)]) == 0
    assert run(["eval", "data", "folder", "--root", str(surfaces)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert lines[1].split() == ["brick", "40", "train", "28", "good", "28", "with", "defects"]


def test_list_names_methods_and_categories(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed["methods"]) == 8
    assert sum(len(listed["datasets"][d]) for d in ("mvtec", "visa")) == 27
