"""Every format holds the images it should, with their labels, as its usual readers see them."""

from __future__ import annotations

import gc
import io
import json
import subprocess
import sys
import tarfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import webdataset
from numpy.typing import NDArray
from PIL import Image
from torchvision.datasets import ImageFolder

from fracgen.recipes.recipe import RENDER_VERSION
from fracgen.writing import make_writer
from fracgen.writing.base import Selection
from fracgen.writing.formats.png import encode_png
from tests.writing.conftest import CLASSES, bank, contents, expected, export, recipe, renderer, selection


def pixels(file: Path | io.BytesIO | str) -> NDArray[np.uint8]:
    """uint8 [3, height, width] of an image file."""
    return np.asarray(Image.open(file)).transpose(2, 0, 1)


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 7, 5), (3, 64, 64)])
def test_png_holds_the_pixels(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with Image.open(io.BytesIO(encode_png(image))) as file:
        file.verify()
    np.testing.assert_array_equal(pixels(io.BytesIO(encode_png(image))), image)


@pytest.mark.parametrize("name", ["paper", "two-view"])
@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_a_sheet_shows_the_images_row_by_row(tmp_path: Path, name: str, count: int) -> None:
    task = selection(count, name)
    export(task, make_writer("sheet", tmp_path / "s.png"))
    sheet, tiles = pixels(tmp_path / "s.png"), expected(task).reshape(-1, 3, 16, 16)
    across = sheet.shape[2] // 16
    assert (across % task.recipe.views, sheet.shape[1] % 16) == (0, 0)
    assert len(tiles) <= across * (sheet.shape[1] // 16) < len(tiles) + across
    for k, tile in enumerate(tiles):
        y, x = 16 * (k // across), 16 * (k % across)
        np.testing.assert_array_equal(sheet[:, y : y + 16, x : x + 16], tile)
    made = json.loads(Image.open(tmp_path / "s.png").text["fracgen"])  # type: ignore[attr-defined]
    assert made["recipe"]["name"] == name


def test_a_folder_is_an_image_folder(tmp_path: Path) -> None:
    task = selection(23)
    export(task, make_writer("folder", tmp_path / "out", threads=2))
    data = ImageFolder(str(tmp_path / "out"))
    assert data.classes == [f"{label:04d}" for label in range(CLASSES)]
    assert len(data) == 23
    by_name = {Path(path).name: (path, label) for path, label in data.samples}
    for k, images in enumerate(expected(task)):
        path, label = by_name[f"{k:07d}.png"]
        assert label == k % CLASSES
        np.testing.assert_array_equal(pixels(path), images[0])


def test_a_folder_of_pairs_has_two_files_a_sample(tmp_path: Path) -> None:
    task = selection(6, "two-view")
    export(task, make_writer("folder", tmp_path / "out"))
    for k, images in enumerate(expected(task)):
        for view in range(2):
            path = tmp_path / "out" / f"{k % CLASSES:04d}" / f"{k:07d}-{view}.png"
            np.testing.assert_array_equal(pixels(path), images[view])


def test_a_folder_refuses_several_labels(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="several classes in an image and a folder holds one: use --format wds or npy"):
        export(selection(6, "multi-instance"), make_writer("folder", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("member", ["png", "npy"])
@pytest.mark.parametrize("name", ["paper", "two-view", "multi-instance"])
def test_webdataset_reads_tar_files(tmp_path: Path, name: str, member: str) -> None:
    task = selection(23, name, per_file=10)
    export(task, make_writer("wds", tmp_path / "out", member=member, threads=2))
    assert sorted(p.name for p in (tmp_path / "out").glob("*.tar")) == [f"shard-{k:06d}.tar" for k in range(3)]
    urls = str(tmp_path / "out" / "shard-{000000..000002}.tar")
    check_samples(read_tar(urls), task, member)


@contextmanager
def unclosed_files() -> Iterator[None]:
    """Around readers that leave closing their files to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def read_tar(urls: str) -> list[dict[str, object]]:
    """All samples, decoded, by the library itself."""
    with unclosed_files():
        return list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))


def check_samples(samples: list[dict[str, object]], task: Selection, member: str) -> None:
    assert [s["cls"] for s in samples] == [k % CLASSES for k in range(task.count)]
    codes = renderer(task).render(range(task.count)).numpy().codes
    for k, (sample, images) in enumerate(zip(samples, expected(task), strict=True)):
        names = [member] if task.recipe.views == 1 else [f"0.{member}", f"1.{member}"]
        for key, image in zip(names, images, strict=True):
            read = np.asarray(sample[key])
            np.testing.assert_array_equal(read.transpose(2, 0, 1) if member == "png" else read, image)
        shown = sorted({int(c) // 3 for c in codes[k] if c >= 0})
        assert sample["json"] == {"index": k, "class": k % CLASSES, "classes": shown}


def test_multi_instance_has_several_classes(tmp_path: Path) -> None:
    export(selection(40, "multi-instance"), make_writer("npy", tmp_path / "out"))
    labels = np.load(tmp_path / "out" / "labels.npy")
    assert labels.shape == (40, 5)
    np.testing.assert_array_equal(labels[:, 0], np.arange(40) % CLASSES)
    assert (labels[:, 1] >= 0).sum() > 20
    shown = (labels >= 0).sum(axis=1)
    assert all((row[:n] >= 0).all() and (row[n:] == -1).all() for row, n in zip(labels, shown, strict=True))


def test_timm_reads_tar_files(tmp_path: Path) -> None:
    from timm.data.readers.reader_wds import ReaderWds

    task = selection(23, per_file=10)
    export(task, make_writer("wds", tmp_path / "out"))
    reader = ReaderWds(root=str(tmp_path / "out"), split="shard-{000000..000002}.tar|23")
    with unclosed_files():
        samples = list(reader)
    assert [target for _, target in samples] == [k % CLASSES for k in range(23)]
    for (image, _), wanted in zip(samples, expected(task), strict=True):
        np.testing.assert_array_equal(np.asarray(image).transpose(2, 0, 1), wanted[0])


def test_timm_reads_several_labels(tmp_path: Path) -> None:
    from timm.data.readers.reader_wds import ReaderWds

    export(selection(12, "multi-instance"), make_writer("wds", tmp_path / "out"))
    root, split = str(tmp_path / "out"), "shard-000000.tar|12"
    reader = ReaderWds(root=root, split=split, target_key="classes")
    with unclosed_files():
        targets = [target for _, target in reader]
    assert len(targets) == 12
    for k, target in enumerate(targets):
        assert k % CLASSES in target


def test_tar_files_say_nothing_of_the_machine(tmp_path: Path) -> None:
    export(selection(3), make_writer("wds", tmp_path / "out"))
    with tarfile.open(tmp_path / "out" / "shard-000000.tar") as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in tar} == {(0, 0, 0, "", "")}


@pytest.mark.parametrize("name", ["paper", "two-view"])
def test_npy_holds_images_channels_first(tmp_path: Path, name: str) -> None:
    task = selection(23, name, seed=4, epoch=2)
    export(task, make_writer("npy", tmp_path / "out"))
    images = np.load(tmp_path / "out" / "images.npy", mmap_mode="r")
    assert images.dtype == np.uint8
    wanted = expected(task)
    np.testing.assert_array_equal(images, wanted if name == "two-view" else wanted[:, 0])
    labels = np.load(tmp_path / "out" / "labels.npy")
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, np.arange(23) % CLASSES)


@pytest.mark.parametrize("name", ["paper", "two-view"])
def test_raw_is_frames_of_rgb24(tmp_path: Path, name: str) -> None:
    task = selection(5, name)
    export(task, make_writer("raw", tmp_path / "frames.rgb"))
    frames = np.frombuffer((tmp_path / "frames.rgb").read_bytes(), np.uint8).reshape(-1, 16, 16, 3)
    np.testing.assert_array_equal(frames.transpose(0, 3, 1, 2), expected(task).reshape(-1, 3, 16, 16))


@pytest.mark.parametrize("format", ["folder", "wds", "npy"])
def test_the_order_of_an_epoch(tmp_path: Path, format: str) -> None:
    task = selection(23, order="epoch", seed=1)
    assert sorted(task.index(0, 23).tolist()) == list(range(23))
    assert task.index(0, 23).tolist() != list(range(23))
    export(task, make_writer(format, tmp_path / "out"))
    if format == "npy":
        np.testing.assert_array_equal(np.load(tmp_path / "out" / "labels.npy"), task.index(0, 23) % CLASSES)
        np.testing.assert_array_equal(np.load(tmp_path / "out" / "images.npy"), expected(task)[:, 0])
    elif format == "wds":
        with tarfile.open(tmp_path / "out" / "shard-000000.tar") as tar:
            keys = [int(name.split(".")[0]) for name in tar.getnames() if name.endswith(".cls")]
        assert keys == task.index(0, 23).tolist()
    else:  # the same files, made in another order
        export(selection(23, seed=1), make_writer("folder", tmp_path / "by-index"))
        assert contents(tmp_path / "out") == contents(tmp_path / "by-index")


@pytest.mark.parametrize("format", ["folder", "wds", "npy"])
def test_the_record_says_what_the_folder_is(tmp_path: Path, format: str) -> None:
    task = selection(6, seed=3, epoch=1)
    export(task, make_writer(format, tmp_path / "out"))
    record = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert record["recipe"] == recipe().to_json()
    assert record["recipe_digest"] == recipe().digest
    assert record["bank"]["sha256"] == bank().sha256
    said = {key: record[key] for key in ("format", "count", "seed", "epoch", "stream", "render_version", "shard")}
    assert said == {
        "format": format, "count": 6, "seed": 3, "epoch": 1, "stream": 0, "render_version": RENDER_VERSION,
        "shard": "0/1",
    }  # fmt: skip
    assert {"fracgen", "python", "numpy"} <= set(record["made_with"])


def piped(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "fracgen", "render", "--device", "cpu", "-o", "-", *arguments]


def command_selection(tmp_path: Path, count: int) -> tuple[Selection, list[str]]:
    """A selection, and the arguments by which the command line makes the same."""
    bank().save(tmp_path / "bank")
    (tmp_path / "recipe.json").write_text(json.dumps(recipe().to_json()))
    return selection(count), [str(tmp_path / "bank"), "-n", str(count), "--recipe", str(tmp_path / "recipe.json")]


def test_webdataset_reads_a_pipe_with_labels(tmp_path: Path) -> None:
    task, arguments = command_selection(tmp_path, 12)
    url = "pipe:" + " ".join(piped(*arguments, "--format", "wds"))
    check_samples(read_tar(url), task, "png")


def test_npy_and_raw_go_to_a_pipe(tmp_path: Path) -> None:
    task, arguments = command_selection(tmp_path, 12)
    npy = subprocess.run(piped(*arguments, "--format", "npy"), capture_output=True, check=True).stdout
    np.testing.assert_array_equal(np.load(io.BytesIO(npy)), expected(task)[:, 0])
    raw = subprocess.run(piped(*arguments, "--format", "raw"), capture_output=True, check=True).stdout
    frames = np.frombuffer(raw, np.uint8).reshape(12, 16, 16, 3)
    np.testing.assert_array_equal(frames.transpose(0, 3, 1, 2), expected(task)[:, 0])
