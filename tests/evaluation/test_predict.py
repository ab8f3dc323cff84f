"""Judging one's own pictures, and the commands of `fracgen eval` from the outside."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.pictures import read_picture
from fracgen_eval.predict import FittedModel, fit_model, write_heatmaps
from fracgen_eval.weights.backbones import WeightsSpec
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from fracgen.cli import run

QUICK = {"patchcore": {"image_size": 64}, "panda": {"resize": 64, "crop": 64}}


@pytest.fixture(scope="module")
def fitted(surfaces: Path) -> Any:
    return fit_model(
        "patchcore", surfaces / "gravel" / "train" / "good", WeightsSpec("random"), overrides=QUICK["patchcore"]
    )


@pytest.fixture(scope="module")
def pictures(surfaces: Path) -> Any:
    return sorted((surfaces / "gravel" / "test" / "stain").iterdir())


@pytest.fixture
def quick(tmp_path: Path) -> Any:
    path = tmp_path / "quick.json"
    path.write_text(json.dumps(QUICK))
    return str(path)


def test_a_kept_model_judges_alike(fitted: Any, pictures: Any, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.safetensors")
    again = FittedModel.load(tmp_path / "m.safetensors")
    first, second = fitted.judge(pictures), again.judge(pictures)
    assert np.array_equal(first.scores, second.scores)
    assert first.maps is not None
    assert second.maps is not None
    assert np.array_equal(first.maps, second.maps)
    assert (again.fit, again.normal) == (fitted.fit, fitted.normal)
    assert (again.fit.train_images, again.fit.held_out_images) == (36, 4)


def test_heatmaps_show_the_picture_and_its_map(fitted: Any, pictures: Any, tmp_path: Path) -> None:
    written = write_heatmaps(fitted, pictures, fitted.judge(pictures), tmp_path / "maps")
    assert written == [tmp_path / "maps" / f"{p.name}_patchcore.png" for p in pictures]
    both, picture = read_picture(written[0]), read_picture(pictures[0])
    assert both.shape == (128, 256, 3)
    assert np.array_equal(both[:, :128], picture)
    assert not np.array_equal(both[:, :128], both[:, 128:])


def test_every_picture_has_a_heatmap_of_its_own(fitted: Any, pictures: Any, tmp_path: Path) -> None:
    """Whatever the pictures are called; two of the same folder and two of the same name never meet."""
    names = ["part.png", "part.jpg", "part_2.png", "lot2/part.png", "lot2/part.png.png", "lot2/lot2/part.png"]
    paths = [tmp_path / "in" / name for name in names]
    for n, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(pictures[n % len(pictures)]) as image:
            image.crop((n, 0, 60, 60)).save(path)
    written = write_heatmaps(fitted, paths, fitted.judge(paths), tmp_path / "out")
    assert written == [tmp_path / "out" / f"{name}_patchcore.png" for name in names]
    assert {p for p in (tmp_path / "out").rglob("*") if p.is_file()} == set(written)
    assert [read_picture(p).shape[:2] for p in written] == [(60, 2 * (60 - n)) for n in range(6)]


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (33, 200)])
def test_heatmaps_have_the_shape_of_their_picture_and_stand_upright(shape: Any, fitted: Any, tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    prediction = fitted.judge([tmp_path / "a.png"])
    prediction.maps[:] = 0
    prediction.maps[0, :, 32:] = 1e4
    (written,) = write_heatmaps(fitted, [tmp_path / "a.png"], prediction, tmp_path / "out")
    both, upright = read_picture(written), np.rot90(stored, -1)
    assert np.array_equal(both[:, : shape[0]], upright)
    heat, edge = both[:, shape[0] :].astype(int), shape[0] // 2
    assert np.abs(heat[:, edge + 3 :] - upright[:, edge + 3 :] / 4 - 0.75 * np.array([252, 255, 164])).max() <= 2


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
    "normal_score is '0.5' instead of a number": {"normal_score": "0.5"},
    "normal_map is 1 instead of a list": {"normal_map": 1},
    "normal_map [1.0] is not two numbers": {"normal_map": [1.0]},
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
    assert len(list((tmp_path / "h").iterdir())) == len(names)


def test_predict_says_what_it_left_out(
    surfaces: Path, pictures: Any, quick: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(surfaces / "gravel" / "train" / "good", tmp_path / "good")
    (tmp_path / "good/lot2").mkdir()
    (tmp_path / "good/000.png").rename(tmp_path / "good/lot2/000.png")
    (tmp_path / "good/.DS_Store").touch()
    options = ["--weights", "random", "--settings", quick, "--device", "cpu", str(pictures[0])]
    assert run(["eval", "predict", "--train", str(tmp_path / "good"), *options]) == 0
    assert capsys.readouterr().err == (
        f"fracgen: {tmp_path / 'good'}: left out 1 picture (lot2/000.png), 1 hidden file or folder (.DS_Store)\n"
    )
    for path in (tmp_path / "good").glob("*.png"):
        path.unlink()
    with pytest.raises(EvaluationError, match=r"no pictures .* left out 1 picture \(lot2/000\.png\).*; give the"):
        fit_model("patchcore", tmp_path / "good", WeightsSpec("random"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["good/0.png", "notes.png"], "notes.png: cannot be read as an image"),
        (["good/0.png", "float.tif"], "float.tif: an image of floating-point numbers, which is not read: save it"),
        (["good/0.png", "-o", "notes.png"], "notes.png is a file: name a folder for heatmaps"),
        (["good/0.png", "--save", "nowhere/m.safetensors"], "there is no folder nowhere"),
        (["good/0.png", "--save", "good"], "good is a folder"),
    ],
)  # fmt: skip
def test_what_predict_cannot_read_or_write_is_refused_before_it_fits(
    arguments: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good").mkdir()
    Image.new("L", (8, 8)).save("good/0.png")
    Image.new("F", (8, 8)).save("float.tif")
    Path("notes.png").write_text("hello")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr("fracgen_eval.predict.fit_model", None)
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
