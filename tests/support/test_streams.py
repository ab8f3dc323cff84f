"""Standard output takes every byte or says no, whatever it is: slow, stopped, closed, full, not blocking."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fracgen import CodeBank
from fracgen.support.streams import Descriptor, OutputLost, _text
from tests.command_line import Ran, command_line

NOISE = np.random.default_rng(0).bytes(3_000_000)


def read_slowly(descriptor: int, at_once: int, seen: list[bytes]) -> threading.Thread:
    """Read a pipe to its end in a thread, a little at a time."""

    def read() -> None:
        while block := os.read(descriptor, at_once):
            seen.append(block)
            time.sleep(0.0001)

    thread = threading.Thread(target=read)
    thread.start()
    return thread


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "not blocking"])
@pytest.mark.parametrize(("sizes", "at_once"), [([1, 70_000, 3], 999), ([3_000_000], 65_536), ([4096] * 100, 4097)])
def test_a_slow_reader_gets_every_byte(blocking: bool, sizes: list[int], at_once: int) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, blocking)
    seen: list[bytes] = []
    reader = read_slowly(reading, at_once, seen)
    stream, first = Descriptor(writing), 0
    for size in sizes:
        assert stream.write(NOISE[first : first + size]) == size
        first += size
    os.close(writing)
    reader.join()
    os.close(reading)
    assert b"".join(seen) == NOISE[: sum(sizes)]


@pytest.mark.parametrize("seed", range(5))
def test_short_and_refused_writes_lose_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random, taken = np.random.default_rng(seed), bytearray()

    def write(descriptor: int, data: memoryview) -> int:
        if random.random() < 0.3:
            raise BlockingIOError
        count = int(random.integers(1, len(data) + 1))
        taken.extend(data[:count])
        return count

    monkeypatch.setattr("fracgen.support.streams.os.write", write)
    monkeypatch.setattr(Descriptor, "_wait", lambda self: None)
    array = random.integers(0, 256, (5, 7, 11), np.uint8)
    text = _text(1, sys.stdout)
    assert text.buffer.write(array.data) == array.size
    text.write("é" * 10_000)
    text.flush()
    assert bytes(taken) == array.tobytes() + ("é" * 10_000).encode()


def gone() -> int:
    """A pipe whose reader has ended."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


REFUSING: dict[str, Callable[[], int]] = {
    "closed": lambda: os.open(os.devnull, os.O_RDONLY),  # what `open_streams` puts there
    "full": lambda: os.open("/dev/full", os.O_WRONLY),
    "unread": gone,
}
SAYS = {
    "closed": "fracgen: standard output is closed\n",
    "full": "fracgen: standard output takes no more: No space left on device\n",
    "unread": "",
}


@pytest.fixture(params=REFUSING)
def refusing(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """A descriptor that takes nothing: what is wrong with it, and its number."""
    if request.param == "full" and not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    descriptor = REFUSING[request.param]()
    yield request.param, descriptor
    os.close(descriptor)


def test_what_is_not_taken_is_lost_or_dropped(refusing: tuple[str, int]) -> None:
    kind, descriptor = refusing
    with pytest.raises(OutputLost) as lost:
        Descriptor(descriptor).write(b"bytes")
    assert lost.value.unwanted == (kind == "unread")
    assert Descriptor(descriptor, optional=True).write(b"message") == 7


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a bank, and a measurement that takes no time."""
    CodeBank.sample(4, classes=2).save(tmp_path / "bank")
    (tmp_path / "cells").mkdir()
    monkeypatch.chdir(tmp_path)
    measured = SimpleNamespace(to_json=lambda: "{}\n")
    monkeypatch.setattr("fracgen.benchmarking.images.bench_render", lambda *args, **options: measured)


@pytest.mark.usefixtures("commands")
@pytest.mark.parametrize(
    "line",
    ["--version", "--help", "sample --codes 4 --classes 2 -o made", "codes show bank", "codes show bank 1 --json",
     "codes stats bank", "codes stats bank --json", "eval list", "eval list --json", "bench render --json",
     *(f"render bank -n 2 --size 16 --device cpu --format {format} -o -" for format in ("raw", "wds", "npy"))],
)  # fmt: skip
def test_a_line_that_is_not_taken_is_a_failure(
    line: str, refusing: tuple[str, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, descriptor = refusing
    monkeypatch.setattr(sys, "stdout", _text(descriptor, sys.stdout))
    ran: Ran = command_line(capsys)(*line.split())
    assert ran.code == 1
    assert ran.err.endswith(SAYS[kind])
    assert len(ran.err.splitlines()) == (1 if line.startswith("sample") else 0) + bool(SAYS[kind])
    monkeypatch.undo()


@pytest.mark.usefixtures("commands")
def test_messages_that_nobody_gets_do_not_stop_the_work(
    refusing: tuple[str, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error in (_text(2, sys.stderr), None):  # Python's own, where it was closed
        if error is not None:
            error.buffer._descriptor = refusing[1]  # type: ignore[attr-defined]
        monkeypatch.setattr(sys, "stderr", error)
        ran = command_line(capsys)("render", "bank", "-n", "3", "--size", "16", "--device", "cpu", "--format", "npy",
                                   "-o", f"out{error is None}")  # fmt: skip
        assert (ran.code, ran.out) == (0, "")
        assert np.load(f"out{error is None}/images.npy").shape == (3, 3, 16, 16)
        ran = command_line(capsys)("codes", "show", "bank", "99")
        assert (ran.code, ran.out) == (2, "")


@pytest.mark.parametrize(
    ("redirected", "code", "out"),
    [("0<&- 1>&- 2>&-", 1, ""), ("2>&-", 0, "fracgen "), ("0<&- 2>&-", 0, "fracgen ")],
)
def test_closed_descriptors_are_no_place_for_files(redirected: str, code: int, out: str) -> None:
    """Else the next file that is opened would be standard output."""
    script = "import sys, os; from fracgen.cli import main; sys.argv[1:] = ['--version']\n"
    script += "try: main()\nfinally: assert os.open(os.devnull, os.O_RDONLY) > 2\n"
    done = subprocess.run(["bash", "-c", f"exec {sys.executable} -c \"$0\" {redirected}", script], capture_output=True,
                          text=True)  # fmt: skip
    assert done.returncode == code
    assert done.stdout.startswith(out)
    assert done.stderr == ""


WRITER = """
import os, sys
import numpy as np
from types import SimpleNamespace
from fracgen import CodeBank, preset
from fracgen.writing import make_writer, write
from fracgen.writing.base import Selection

class Renderer:
    def render(self, index, **options):
        pixels = np.random.default_rng(int(index[0])).integers(0, 256, (len(index), 3, 64, 64), np.uint8)
        batch = SimpleNamespace(codes=np.zeros((len(index), 1), int), images=pixels)
        return SimpleNamespace(numpy=lambda: batch)

selection = Selection(CodeBank.sample(4), preset("paper").recipe.at_size(64), 200)
for format, pipe in zip(("raw", "wds", "npy"), sys.argv[1:]):
    os.dup2(int(pipe), 1)
    os.close(int(pipe))
    write(selection, Renderer(), make_writer(format, None))
    os.close(1)
"""


def written(pauses: bool) -> list[tuple[int, str]]:
    """Size and digest of what a process writes in each format to a pipe; it is stopped and continued while it does."""
    pipes = [os.pipe() for _ in range(3)]
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, *(str(writing) for _, writing in pipes)],
        pass_fds=[writing for _, writing in pipes], env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    found = []
    for reading, writing in pipes:
        os.close(writing)
        seen, reads = b"", 0
        while block := os.read(reading, 65_536):
            seen, reads = seen + block, reads + 1
            if pauses and reads in (3, 9, 20):
                time.sleep(0.05)  # until the pipe is full again
                process.send_signal(signal.SIGSTOP)
                time.sleep(0.02)
                process.send_signal(signal.SIGCONT)
        os.close(reading)
        found.append((len(seen), hashlib.sha256(seen).hexdigest()))
    assert process.wait() == 0
    return found


def test_a_writer_that_is_stopped_and_continued_loses_nothing() -> None:
    plain = written(False)
    assert min(size for size, _ in plain) >= 200 * 3 * 64 * 64
    assert written(True) == plain
