"""Files are whole or not there; leftovers of killed processes go, and what is being written stays."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fracgen.support.files import check_writable, remove_parts, wait_for_disk, whole_file, whole_folder

NAMES = ["sheet.png", "a.b.c.npz", "[odd] *?.json", "x" * 200, ".hidden"]


def leftover(path: Path) -> Path:
    """What a process that is killed while it writes `path` leaves: a file of the same kind of name, without a lock."""
    with contextlib.suppress(RuntimeError), whole_file(path):
        (part,) = path.parent.glob(".*.part")
        raise RuntimeError
    part.write_bytes(b"half")
    return part


@pytest.mark.parametrize("name", NAMES)
def test_the_next_to_write_a_file_removes_what_a_killed_one_left(tmp_path: Path, name: str) -> None:
    part = leftover(tmp_path / name)
    (tmp_path / "other").touch()
    with whole_file(tmp_path / name) as file:
        file.write(b"whole")
        assert not part.exists()
    assert (tmp_path / name).read_bytes() == b"whole"
    assert {path.name for path in tmp_path.iterdir()} == {name, "other"}


@pytest.mark.parametrize("name", NAMES)
def test_what_another_is_writing_stays(tmp_path: Path, name: str) -> None:
    with whole_file(tmp_path / name) as one:
        one.write(b"one")
        with whole_file(tmp_path / name) as other:
            other.write(b"other")
            remove_parts(tmp_path)
            remove_parts(tmp_path.parent, "**/.*")
            assert len(list(tmp_path.glob(".*.part"))) == 2
        assert (tmp_path / name).read_bytes() == b"other"
    assert (tmp_path / name).read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "name",
    ["photo.12345678.part", ".video.part", ".images.npy.part", ".images-0-of-8.npy.part", ".x.ABCDEFGH.part",
     ".x.abcdefg.part", ".x.abcdefgh.parts"],
)  # fmt: skip
def test_files_of_others_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    remove_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_cleaner_and_writers_at_the_same_time(tmp_path: Path) -> None:
    """One that cleans all the time never takes a file from those that write."""
    ended = threading.Event()

    def clean() -> None:
        while not ended.is_set():
            remove_parts(tmp_path)

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        for number in range(100):
            with whole_file(tmp_path / f"{number % 7}", sync=number % 2 == 0) as file:
                file.write(b"%d" % number)
    finally:
        ended.set()
        cleaner.join()
    assert sorted(int(path.read_bytes()) for path in tmp_path.iterdir()) == list(range(93, 100))


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "made") as beside:
        (beside / "file").touch()
        remove_parts(tmp_path)
        assert not (tmp_path / "made").exists()
    def fail() -> None:
        with whole_folder(tmp_path / "failed") as beside:
            (beside / "file").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    with pytest.raises(OSError, match="not empty"), whole_folder(tmp_path / "made") as beside:
        pass
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["made", "made/file"]
    (tmp_path / ".made.abcd1234.part").mkdir()
    (tmp_path / ".made.abcd1234.part" / "half").touch()
    remove_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 1,000 bytes, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("size", [1001, 9000, 5_000_000])
def test_an_error_says_which_file(tmp_path: Path, size: int) -> None:
    (tmp_path / "whole").write_bytes(b"before")
    with pytest.raises(OSError, match="File too large") as failed, whole_file(tmp_path / "whole") as file:
        file.write(bytes(size))
    assert failed.value.filename == str(tmp_path / "whole")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


@pytest.mark.parametrize(("number", "raised"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True),
                                                (errno.ENOSPC, True), (errno.EDQUOT, True)])  # fmt: skip
def test_a_disk_that_cannot_take_it_is_no_secret(number: int, raised: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fracgen.support.files.os.fsync", fsync)
    if raised:
        with pytest.raises(OSError, match=os.strerror(number)):
            wait_for_disk(1)
    else:
        wait_for_disk(1)


def test_file_systems_without_locks_can_be_written_and_nothing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = leftover(tmp_path / "file")

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fracgen.support.files.fcntl.flock", flock)
    with whole_file(tmp_path / "file") as file:
        file.write(b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"file", part.name}


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    for path, says in [(tmp_path, "is a folder"), (tmp_path / "none" / "file", "there is no folder")]:
        with pytest.raises(OSError, match=says):
            check_writable(path)
    assert not list(tmp_path.iterdir())


STOPPED = """
import os, signal, sys
from pathlib import Path
from fracgen.cli import main, COMMANDS
from fracgen.support import files

def report():
    with files.whole_file("out") as file:
        file.write(b"half")
        os.kill(os.getpid(), int(sys.argv[1]))
        while True:
            signal.pause()

import fracgen.cli.doctor as doctor
doctor.doctor = report
main(["doctor"])
"""


@pytest.mark.parametrize(
    ("number", "says"),
    [(signal.SIGHUP, "fracgen: stopped by SIGHUP\n"), (signal.SIGTERM, "fracgen: stopped by SIGTERM\n"),
     (signal.SIGINT, "\nfracgen: interrupted\n")],
)  # fmt: skip
def test_a_command_that_is_stopped_leaves_nothing_half_written(tmp_path: Path, number: int, says: str) -> None:
    def heed() -> None:
        signal.signal(number, signal.SIG_DFL)  # what the tests themselves ignore would stay ignored

    done = subprocess.run([sys.executable, "-c", STOPPED, str(int(number))], cwd=tmp_path,
                          capture_output=True, text=True, preexec_fn=heed)  # fmt: skip
    assert (done.returncode, done.stderr) == (128 + number, says)
    assert not list(tmp_path.iterdir())
