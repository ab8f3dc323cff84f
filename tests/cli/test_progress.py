"""The line that shows how far work has come, on a terminal."""

from __future__ import annotations

import io
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
