"""`fracgen render`: what it makes, what it says, and how it ends."""

from __future__ import annotations

import dataclasses
import errno
import functools
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fracgen import CodeBank, preset
from fracgen.cli.render import Rendering, preset_bank
from fracgen.formulas.formula import make_bank
from fracgen.recipes.presets import PRESETS
from fracgen.rendering import make_renderer
from tests.command_line import Command, Process


def test_by_default_it_makes_one_sheet(process: Process, tmp_path: Path) -> None:
    done = process("render", "--device", "cpu", cwd=tmp_path, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert os.listdir(tmp_path) == ["fractals.png"]
    sheet = np.asarray(Image.open(tmp_path / "fractals.png"))
    assert sheet.shape == (2048, 2048, 3)
    images = make_renderer(CodeBank.sample(), "paper", "cpu").render(range(10)).numpy().images
    for k, image in enumerate(images):  # those of the whole bank, although it was not sampled
        y, x = 256 * (k // 8), 256 * (k % 8)
        np.testing.assert_array_equal(sheet[y : y + 256, x : x + 256], image.transpose(1, 2, 0))
    assert done.stderr.startswith("fracgen: 64 images of paper, 256 px, to fractals.png in ")
    assert done.stderr.count("\n") == 1
    assert "\r" not in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_part_of_the_bank_shows_the_same_codes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make = functools.cache(make_bank)
    monkeypatch.setattr("fracgen.formulas.formula.make_bank", make)  # a million codes take seconds
    chosen = preset(name)
    whole = make(chosen.bank, 3)
    for count in (1, 64, 1500):
        small = preset_bank(chosen, Rendering(bank_seed=3, count=count))
        assert small.per_class == whole.per_class
        if small.classes < whole.classes:
            assert small.classes == count
            assert isinstance(small, CodeBank)
            assert isinstance(whole, CodeBank)
            np.testing.assert_array_equal(small.maps, whole.maps[: len(small)])
        assert preset_bank(chosen, Rendering(bank_seed=3, count=count, format="folder")) is whole
        assert preset_bank(chosen, Rendering(bank_seed=3, count=count, order="epoch")) is whole


def test_options_change_the_images(fracgen: Command, tiny: list[str]) -> None:
    seen = set()
    for options in [[], ["--seed", "1"], ["--epoch", "1"], ["--order", "epoch"], ["--size", "32"], ["--shard", "1/2"]]:
        assert fracgen("render", *tiny, "-n", "8", "--format", "raw", "-o", "x", *options).code == 0
        seen.add(Path("x").read_bytes())
    assert len(seen) == 6
    for options in [["--threads", "1"], ["--threads", "3"], ["--device", "cpu"], ["--shard", "0/1"]]:
        assert fracgen("render", *tiny, "-n", "8", "--format", "raw", "-o", "x", *options).code == 0
        assert Path("x").read_bytes() in seen


def test_a_preset_may_come_from_a_file(fracgen: Command, tmp_path: Path) -> None:
    chosen = preset("fractaldb")
    recipe = dataclasses.replace(chosen.recipe, points=500)
    bank = chosen.bank.changed(codes=6, classes=3, maps=(2, 2))
    data = dataclasses.replace(chosen, bank=bank, recipe=recipe).to_json()
    (tmp_path / "mine.json").write_text(json.dumps(data))
    ran = fracgen(
        "render", "--recipe", tmp_path / "mine.json", "--size", "16", "-n", "6", "--format", "npy", "-o", "out",
        "--device", "cpu",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert np.load("out/labels.npy").tolist() == [0, 1, 2, 0, 1, 2]
    assert json.loads(Path("out/dataset.json").read_text())["bank"]["codes"] == 6


def test_auto_says_why_it_takes_the_cpu(fracgen: Command, tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fracgen.rendering.device.cuda_fault", lambda: "nothing found; install something")
    ran = fracgen("render", *tiny[:-1], "auto", "-n", "1")
    assert ran.code == 0
    assert ran.err.splitlines()[0] == "fracgen: rendering on the CPU: nothing found; install something"


KEPT = "what is finished is kept in out: add --resume to go on\n"


def test_a_full_disk_ends_with_one_line(fracgen: Command, tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fracgen.writing.formats.folder.encode_png", full)
    ran = fracgen("render", *tiny, "-n", "1", "--format", "folder", "-o", "out")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "fracgen: out/0000/0000000.png: No space left on device; " + KEPT
    assert [p.name for p in Path("out").rglob("*") if p.is_file()] == ["dataset.json"]


def test_a_reader_that_stops_is_no_error(tiny: list[str]) -> None:
    command = [sys.executable, "-m", "fracgen", "render", *tiny, "-n", "20000", "--format", "raw", "-o", "-"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    assert len(process.stdout.read(1000)) == 1000
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 1


def heed_signals() -> None:
    """A shell starts background jobs deaf to some, and so would be what they start."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("number", "format", "begun", "says"),
    [(signal.SIGINT, "folder", "*/*.png", "\nfracgen: interrupted\n"),
     (signal.SIGTERM, "wds", "*.tar", "fracgen: stopped by SIGTERM\n"),
     (signal.SIGHUP, "npy", ".images.npy.part", "fracgen: stopped by SIGHUP\n")],
)  # fmt: skip
def test_a_stop_keeps_what_is_finished(
    tiny: list[str], tmp_path: Path, number: signal.Signals, format: str, begun: str, says: str
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "fracgen", "render", *tiny, "-n", "200000", "--format", format, "-o", "out"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, preexec_fn=heed_signals)
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size > 500 for path in out.glob(begun)):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    assert process.communicate(timeout=60)[1] == f"fracgen: {KEPT}{says}"
    assert process.returncode == 128 + number
    left = {path.name for path in out.rglob("*.part")}
    assert left == ({".images.npy.part", ".labels.npy.part"} if format == "npy" else set())


def test_a_terminal_that_goes_away_does_not_stop_what_ignores_it(tiny: list[str], tmp_path: Path) -> None:
    """As under `nohup`: nothing can be written to it any more, and the work is done."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fracgen", "render", *tiny, "-n", "3000", "--format", "npy", "-o", "out"],
        stderr=slave, stdout=slave, cwd=tmp_path, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    os.close(master)
    assert process.wait(120) == 0
    assert np.load(tmp_path / "out" / "images.npy").shape == (3000, 3, 16, 16)


def on_a_terminal(arguments: list[str], cwd: Path, **environment: str) -> str:
    """What a command writes to a terminal that is its stderr."""
    master, slave = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    command = [sys.executable, "-m", "fracgen", "render", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, cwd=cwd, env=env)
    os.close(slave)
    seen = b""
    while True:
        try:
            data = os.read(master, 65_536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        seen += data
    os.close(master)
    process.communicate()
    assert process.returncode == 0
    return seen.decode()


def test_a_terminal_gets_a_preview_and_progress(tiny: list[str], tmp_path: Path) -> None:
    seen = on_a_terminal([*tiny, "-n", "6000", "--format", "raw", "-o", "x"], tmp_path)
    assert "▀" in seen
    assert "\x1b[38;2;" in seen
    assert "/6,000 images" in seen
    assert " left" in seen


def test_no_color_and_no_preview(tiny: list[str], tmp_path: Path) -> None:
    for arguments, environment in [([], {"NO_COLOR": "1"}), (["--no-preview"], {})]:
        seen = on_a_terminal([*tiny, *arguments], tmp_path, **environment)
        assert "▀" not in seen
        assert "[38;2;" not in seen


def test_a_terminal_is_not_filled_with_bytes(tiny: list[str], tmp_path: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "fracgen", "render", *tiny, "--format", "raw", "-o", "-"]
    done = subprocess.run(command, stdout=slave, stderr=subprocess.PIPE, text=True)
    os.close(slave)
    os.close(master)
    assert done.returncode == 2
    assert "stdout is a terminal" in done.stderr


def test_memory_does_not_grow_with_the_number_of_images(tiny: list[str], tmp_path: Path) -> None:
    """All formats in one process: first few images of each, then seven times as many. What came before the few, such as
    compiling the stages, does not count: Linux forgets its peak where 5 is written to `clear_refs`."""
    code = f"""
from pathlib import Path
from fracgen.cli import run
tiny = {tiny!r} + ["--size", "64", "--threads", "2"]
def render(n):
    Path("/proc/self/clear_refs").write_text("5")
    for format in ("raw", "sheet", "folder", "wds", "npy"):
        assert run(["render", *tiny, "-n", str(n), "--format", format, "-o", f"{{format}}-{{n}}"]) == 0
    (peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
    print(int(peak) * 1024)
for n in (16, 512, 3584):
    render(n)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _, few, many = (int(line) for line in done.stdout.split())
    more = (3584 - 512) * 3 * 64 * 64  # bytes that holding the images would take
    print(few, many, more)
    assert many - few < 0.2 * more


def test_preview_shrinks_by_means() -> None:
    from fracgen.writing.formats.sheet import Preview, shrink

    image = np.arange(3 * 48 * 48, dtype=np.uint32).reshape(3, 48, 48).astype(np.uint8)
    expected = image.reshape(3, 24, 2, 24, 2).astype(int).sum(axis=(2, 4)) // 4
    np.testing.assert_array_equal(shrink(image, 24), expected.transpose(1, 2, 0))
    assert shrink(image[:, :8, :8], 24).shape == (24, 24, 3)
    preview = Preview(columns=50)
    preview.add(np.stack([image[None]] * 9))
    assert preview.text().count("\n") == 24  # two lines of images of twelve lines each
    assert preview.text().count("▀") == 24 * 48
