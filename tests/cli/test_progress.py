"""The line that shows how far work has come, on a terminal; and threads that wait without burning the core that the
one they wait for needs: shared servers are where this runs."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fracgen.support import terminal
from tests.training.conftest import TINY, train


class Screen(io.StringIO):
    """A terminal of one line, below those that have scrolled away."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """What stands there: a carriage return and an erasure begin the last line anew."""
        return [line.rpartition(terminal.ERASE)[2] for line in self.getvalue().split("\n")]


def terminal_of_a_test(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Stderr from now on; not in a fixture, after which pytest puts its own in place."""
    made = Screen()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setenv("TERM", "xterm")
    return made


def clock(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    """Let every look at the clock find it some seconds later."""
    now = iter(range(1_000_000))
    monkeypatch.setattr("fracgen.support.terminal.time.perf_counter", lambda: step * next(now))


def test_a_line_is_rewritten_and_messages_stand_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal_of_a_test(monkeypatch)
    clock(monkeypatch, 2.0)
    progress = terminal.Progress(100, "images", done=40)
    progress.add(10, "loss 0.5")
    assert screen.lines() == ["50/100 images  5.0/s  loss 0.5  10 s left"]
    terminal.say("a shard is finished")
    progress.add(30)
    assert screen.lines() == ["fracgen: a shard is finished", "80/100 images  10/s  2 s left"]
    progress.clear()
    assert screen.lines() == ["fracgen: a shard is finished", ""]


def test_a_run_shows_its_steps_and_leaves_only_its_messages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    screen = terminal_of_a_test(monkeypatch)
    clock(monkeypatch, 0.2)
    train(TINY, tmp_path / "run", log_steps=1)
    shown = screen.getvalue()
    assert "3/3 steps" in shown
    assert "epoch 1.00/1  loss " in shown
    assert all(line.startswith("fracgen: ") for line in screen.lines() if line)
    assert any("epoch 1 of 1" in line for line in screen.lines())


def test_nothing_is_rewritten_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    progress = terminal.Progress(2, "images")
    progress.add(1)
    progress.clear()
    terminal.say("done")
    assert capsys.readouterr().err == "fracgen: done\n"


PIECE = """
import contextlib, json, os, resource
from fracgen.cli import main
with contextlib.suppress(SystemExit):
    main(["--version"])
import torch

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # two threads on one core, as on a machine that others use
network = torch.nn.Sequential(torch.nn.Conv2d(16, 32, 3), torch.nn.BatchNorm2d(32), torch.nn.ReLU())
images = torch.rand(16, 16, 64, 64)


def seconds(threads):
    torch.set_num_threads(threads)
    for _ in range(3):
        network(images).sum().backward()
    start = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(20):
        network(images).sum().backward()
    end = resource.getrusage(resource.RUSAGE_SELF)
    return end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime


print(json.dumps([seconds(1), seconds(2)]))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux can take cores away")
def test_threads_that_share_a_core_wait_without_using_it() -> None:
    """The processor's time, which others on the machine do not change, of two threads against one's: 1.1 times it was
    measured, and 7.7 times with threads that spin."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
    done = subprocess.run([sys.executable, "-c", PIECE], capture_output=True, text=True, check=True, env=environment)
    one, two = json.loads(done.stdout.splitlines()[-1])
    assert two < 1.3 * one + 0.15, f"{two:.2f} s of two threads, {one:.2f} s of one"


def test_what_the_user_says_about_waiting_stands() -> None:
    said = "import atexit, os, fracgen.cli\natexit.register(lambda: print(os.environ['OMP_WAIT_POLICY']))\n"
    said += "fracgen.cli.main(['--version'])"
    done = subprocess.run(
        [sys.executable, "-c", said], capture_output=True, text=True, check=True,
        env=os.environ | {"OMP_WAIT_POLICY": "active"},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "active"
