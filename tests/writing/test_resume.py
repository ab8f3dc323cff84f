"""Shards add up, interrupted exports carry on to the same bytes, other selections are refused."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fracgen import __version__
from fracgen.support.files import whole_file
from fracgen.writing import make_writer, write
from fracgen.writing.base import Batch, Selection, Writer
from tests.fields import Fields
from tests.writing import conftest
from tests.writing.conftest import bank, contents, expected, export, recipe, renderer

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

FOLDERS = ["folder", "wds", "npy"]


def writer(format: str, folder: Path) -> Writer:
    return make_writer(format, folder, threads=2)


def selection(count: int = 23, name: str = "paper", **options: object) -> Selection:
    """Four samples a file."""
    return conftest.selection(count, name, **{"per_file": 4, **options})


@pytest.mark.parametrize("format", ["folder", "wds"])
@pytest.mark.parametrize("shards", [2, 3, 5])
def test_shards_into_one_folder_are_the_unsharded_set(tmp_path: Path, format: str, shards: int) -> None:
    export(selection(), writer(format, tmp_path / "whole"))
    made = [
        export(selection(shard=(i, shards)), writer(format, tmp_path / "parts")) for i in np.random.permutation(shards)
    ]  # fmt: skip
    assert sum(made) == 23
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert (tmp_path / "parts" / f"dataset-0-of-{shards}.json").exists()


@pytest.mark.parametrize("shards", [2, 3, 23])
def test_shards_of_arrays_and_streams_concatenate(tmp_path: Path, shards: int) -> None:
    for i in range(shards):
        export(selection(shard=(i, shards), per_file=1), writer("npy", tmp_path / "npy"))
        export(selection(shard=(i, shards), per_file=1), writer("raw", tmp_path / f"{i:02d}.rgb"))
    parts = [np.load(tmp_path / "npy" / f"images-{i}-of-{shards}.npy") for i in range(shards)]
    np.testing.assert_array_equal(np.concatenate(parts), expected(selection())[:, 0])
    labels = [np.load(tmp_path / "npy" / f"labels-{i}-of-{shards}.npy") for i in range(shards)]
    np.testing.assert_array_equal(np.concatenate(labels), np.arange(23) % 5)
    export(selection(), writer("raw", tmp_path / "whole"))
    assert b"".join(p.read_bytes() for p in sorted(tmp_path.glob("*.rgb"))) == (tmp_path / "whole").read_bytes()


def test_too_many_shards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="7 shards are too many for 6 files of 4 images: use at most 6"):
        export(selection(shard=(0, 7)), writer("wds", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format", FOLDERS)
@pytest.mark.parametrize("after", [1, 9, 22])
def test_an_interrupted_export_carries_on_to_the_same_bytes(
    tmp_path: Path, format: str, after: int, interrupt_after: Callable[[Selection, Writer, int], None]
) -> None:
    export(selection(), writer(format, tmp_path / "whole"))
    interrupt_after(selection(), writer(format, tmp_path / "out"), after)
    done = after // 4 * 4 if format == "wds" else after  # a tar file is whole or not there
    assert export(selection(), writer(format, tmp_path / "out"), resume=True) == 23 - done
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert export(selection(), writer(format, tmp_path / "out"), resume=True) == 0


@pytest.mark.parametrize("name", ["paper", "two-view"])
@pytest.mark.parametrize("format", FOLDERS)
def test_resuming_makes_what_is_missing(tmp_path: Path, format: str, name: str) -> None:
    """Of a pair, too, of which one file is there."""
    export(selection(name=name), writer(format, tmp_path / "out"))
    before = contents(tmp_path / "out")
    for file in list(before)[::2]:
        (tmp_path / "out" / file).unlink()
    export(selection(name=name), writer(format, tmp_path / "out"), resume=True)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("format", FOLDERS)
def test_resume_may_begin_a_folder(tmp_path: Path, format: str) -> None:
    assert export(selection(), writer(format, tmp_path / "out"), resume=True) == 23


def test_an_export_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    export(selection(), writer("folder", tmp_path / "out"))
    with pytest.raises(ValueError, match="already holds this dataset: add --resume"):
        export(selection(), writer("folder", tmp_path / "out"))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"seed": 1}, "seed 0 there, 1 asked for"),
        ({"epoch": 1}, "epoch 0 there, 1 asked for"),
        ({"count": 24}, "count 23 there, 24 asked for"),
        ({"order": "epoch"}, "order 'index' there, 'epoch' asked for"),
        ({"recipe": recipe().at_size(32)}, "recipe.size 16 there, 32 asked for"),
        ({"bank": bank().with_classes(3)}, "bank.sha256"),
    ],
)
@pytest.mark.parametrize("format", FOLDERS)
def test_another_selection_may_not_carry_on(tmp_path: Path, format: str, other: Fields, says: str) -> None:
    export(selection(), writer(format, tmp_path / "out"))
    before = contents(tmp_path / "out")
    task = Selection(**{"bank": bank(), "recipe": recipe(), "count": 23, "per_file": 4, **other})
    with pytest.raises(ValueError, match=f"holds another dataset .*{says}.*name another folder"):
        export(task, writer(format, tmp_path / "out"), resume=True)
    with pytest.raises(ValueError, match=r"holds another dataset .*format"):
        export(selection(), writer("npy" if format == "wds" else "wds", tmp_path / "out"), resume=True)
    assert contents(tmp_path / "out") == before


def test_pictures_that_no_version_promises_are_resumed_by_the_release_that_made_them(tmp_path: Path) -> None:
    task = Selection(bank(), dataclasses.replace(recipe(), render_version=0), 4)
    export(task, writer("folder", tmp_path))
    export(task, writer("folder", tmp_path), resume=True)
    record = tmp_path / "dataset.json"
    record.write_text(record.read_text().replace(f'"fracgen": "{__version__}"', '"fracgen": "0.1.0"'))
    with pytest.raises(ValueError, match=r"another dataset \(of render_version 0 and release 0\.1\.0, from which"):
        export(task, writer("folder", tmp_path), resume=True)
    with pytest.raises(ValueError, match=r"another dataset \(recipe\.render_version 0 there, 1 asked for\)"):
        export(Selection(bank(), recipe(), 4), writer("folder", tmp_path), resume=True)


def test_many_threads_leave_file_modes_alone(tmp_path: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    export(selection(200), make_writer("folder", tmp_path / "out", threads=8))
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "out").rglob("*.png")} == {0o666 & ~mask}


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    for resume in (False, True):
        with pytest.raises(ValueError, match="is not empty and holds no fracgen dataset"):
            export(selection(), writer("folder", tmp_path), resume)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(ValueError, match=r"dataset\.json is not readable"):
        export(selection(), writer("folder", tmp_path), resume=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dataset.json", "letter.txt"]


def whole(folder: Path) -> list[Path]:
    """The files of an export that are there, each checked to be whole."""
    files = [p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".part")]
    for path in files:
        if path.suffix == ".png":
            Image.open(path).load()
        elif path.suffix == ".tar":
            assert len(path.read_bytes()) % 10_240 == 0
            listed = subprocess.run(["tar", "-tf", str(path)], capture_output=True, text=True, check=True).stdout
            assert len(listed.split()) == 3 * 200
        elif path.suffix == ".npy":
            np.load(path)
        else:
            assert json.loads(path.read_text())["count"] == COUNT
    return files


COUNT = 4000


@pytest.mark.parametrize("format", FOLDERS)
def test_a_killed_export_leaves_whole_files_and_carries_on(tmp_path: Path, format: str) -> None:
    bank().save(tmp_path / "bank")
    (tmp_path / "recipe.json").write_text(json.dumps(recipe().to_json()))
    command = [
        sys.executable, "-m", "fracgen", "render", str(tmp_path / "bank"), "--recipe", str(tmp_path / "recipe.json"),
        "-n", str(COUNT), "--device", "cpu", "--threads", "1", "--format", format,
        *(["--per-file", "200"] if format == "wds" else []), "-o", str(tmp_path / "out"),
    ]  # fmt: skip

    def begun() -> bool:
        if format == "npy":
            return any(p.stat().st_size > 1_000_000 for p in (tmp_path / "out").glob(".images*.part"))
        return sum(1 for _ in (tmp_path / "out").rglob("[0-9s]*.[pt]*")) > 5

    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not begun():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()  # type: ignore[union-attr]

    found = whole(tmp_path / "out")
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "were there already" in done.stderr
    assert len(whole(tmp_path / "out")) > len(found)
    export(selection(COUNT, per_file=200), make_writer(format, tmp_path / "whole"))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


class FullDisk:
    """A file on a disk with room for so many bytes more."""

    room = 0

    def __init__(self, file: IO[Any]) -> None:
        self.file = file

    def write(self, data: ReadableBuffer) -> int:
        FullDisk.room -= len(memoryview(data).cast("B"))
        if FullDisk.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self.file.write(data))

    def __getattr__(self, name: str) -> object:
        return getattr(self.file, name)

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()


@pytest.mark.parametrize("room", [0, 300, 3_000, 8_000, 12_000])
@pytest.mark.parametrize("format", [*FOLDERS, "sheet", "raw"])
def test_a_full_disk_keeps_what_can_be_resumed_and_nothing_else(
    tmp_path: Path, format: str, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    output = writer(format, target)
    output.prepare(selection(), False)
    real, opened = os.fdopen, Path.open
    monkeypatch.setattr("fracgen.support.files.os.fdopen", lambda handle, mode: FullDisk(real(handle, mode)))
    monkeypatch.setattr("fracgen.writing.BATCH_BYTES", 1)

    def open_part(path: Path, mode: str = "r", *rest: Any, **options: Any) -> IO[Any] | FullDisk:
        file = opened(path, mode, *rest, **options)
        return FullDisk(file) if path.name.endswith(".part") else file

    monkeypatch.setattr(Path, "open", open_part)
    FullDisk.room = room
    with pytest.raises(OSError, match="No space left") as failed:
        write(selection(), renderer(selection()), output)
    assert Path(failed.value.filename).is_relative_to(target)
    monkeypatch.undo()
    left = {p.name for p in tmp_path.rglob("*") if p.is_file()}
    if format in ("sheet", "raw"):
        assert not left
        return
    parts = {name for name in left if name.endswith(".part")}
    assert parts <= ({".images.npy.part", ".labels.npy.part"} if format == "npy" else set())
    for path in target.rglob("*.png"):
        Image.open(path).load()
    made = export(selection(), writer(format, target), resume=True)
    assert 0 < made <= 23 - (room // 1_600 if format == "npy" else 0)
    export(selection(), writer(format, tmp_path / "whole"))
    assert contents(target) == contents(tmp_path / "whole")


@pytest.mark.parametrize("after", [0, 1, 5, 23])
def test_arrays_that_are_being_written_are_not_touched(tmp_path: Path, after: int) -> None:
    """A second process that goes on with the same arrays is refused; the first one ends as if alone."""
    out, task = writer("npy", tmp_path / "out"), selection()
    out.prepare(task, False)
    images = expected(task)
    with out.part(task, 0, 23) as put:
        for first in range(after):
            put(batch_of(task, images, first))
        second = writer("npy", tmp_path / "out")
        second.prepare(task, True)
        with pytest.raises(OSError, match="another process is writing it"), second.part(task, after, 23):
            pass
        for first in range(after, 23):
            put(batch_of(task, images, first))
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "images.npy"), images[:, 0])


def batch_of(task: Selection, images: NDArray[np.uint8], first: int) -> Batch:
    index = task.index(first, first + 1)
    return Batch(first, index, images[first : first + 1], index.astype(np.int64) % 5, np.zeros((1, 1), np.int64))


def test_arrays_whose_process_ended_between_their_two_names_need_no_images(tmp_path: Path) -> None:
    export(selection(), writer("npy", tmp_path / "out"))
    before = contents(tmp_path / "out")
    (tmp_path / "out" / "images.npy").rename(tmp_path / "out" / ".images.npy.part")
    assert export(selection(), writer("npy", tmp_path / "out"), resume=True) == 0
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("format", FOLDERS)
@pytest.mark.parametrize("shard", [(0, 1), (0, 2)])
def test_what_killed_processes_left_goes_when_an_export_is_carried_on(
    tmp_path: Path, format: str, shard: tuple[int, int]
) -> None:
    out = tmp_path / "out"
    export(selection(shard=shard), writer(format, out))
    left = {"folder": "0000/.0000000.png.ab_d1234.part", "wds": ".shard-000000.tar.ab_d1234.part",
            "npy": ".dataset.json.ab_d1234.part"}[format]  # fmt: skip
    (out / left).write_bytes(b"half")
    with whole_file(out / "dataset-1-of-2.json") as live:  # of another shard, at work
        live.write(b"{}")
        export(selection(shard=shard), writer(format, out), resume=True)
        assert not (out / left).exists()
