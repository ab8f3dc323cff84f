"""Running a command line in the test's own process."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import NamedTuple

import pytest

from fracgen.cli import run


class Ran(NamedTuple):
    """What a command line did."""

    code: int
    out: str
    err: str


Command = Callable[..., Ran]
"""Runs a command line, given as words."""
Process = Callable[..., "subprocess.CompletedProcess[str]"]
"""The same in a process of its own; options are those of `subprocess.run`."""


def command_line(capsys: pytest.CaptureFixture[str]) -> Command:
    """A function that runs a command line, given as words, in the present folder."""

    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return call
