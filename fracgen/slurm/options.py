"""Resources of jobs, in sbatch's terms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from fracgen.support.options import Option

RESERVED = {
    "array": "the number of jobs follows from the work, and --jobs says how many run at a time",
    "output": "the log's place is the folder beside the results", "error": "errors go to the log",
    "open-mode": "a log is continued", "chdir": "jobs run where the command runs",
    "wrap": "the command is fracgen's own",
    "signal": "fracgen sets it", "time": "it has an option of its own, --time",
    "nodes": "one job, one node; a pre-training takes --num-nodes", "ntasks-per-node": "it follows from the work",
    "ntasks": "it follows from the work",
}  # fmt: skip
"""Options of sbatch that are set elsewhere, with the place."""


def parse_minutes(text: str) -> int:
    """A time limit as sbatch takes it, in minutes; seconds round up.

    Raises:
        ValueError: it is none.

    >>> parse_minutes("90"), parse_minutes("4:00:00"), parse_minutes("1-12"), parse_minutes("2:30")
    (90, 240, 2160, 3)
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text, re.ASCII)
    if match is None:
        raise ValueError(f"--time {text!r}: use minutes, hours:minutes:seconds or days-hours, such as 4:00:00")
    days, first, second, third = (int(part or 0) for part in match.groups())
    if match[1] is None and match[4] is None:  # minutes, or minutes:seconds
        return first - (-second // 60)
    return days * 1440 + first * 60 + second - (-third // 60)


def parse_sbatch(options: list[str]) -> tuple[tuple[str, str], ...]:
    """`--sbatch NAME=VALUE`, or `NAME` for a flag.

    Raises:
        ValueError: there is no name.

    >>> parse_sbatch(["qos=long", "--exclusive"])
    (('qos', 'long'), ('exclusive', ''))
    """
    pairs = []
    for option in options:
        name, _, value = option.removeprefix("--").partition("=")
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise ValueError(f"--sbatch {option!r}: use NAME=VALUE with a name of sbatch's, such as qos=long")
        pairs.append((name, value))
    return tuple(pairs)


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """Resources of every job.

    Raises:
        ValueError: a number is out of range, or an option is not for the user to choose.

    >>> SlurmOptions(partition="gpu", minutes=90, gpus=1, sbatch=(("qos", "long"),)).parameters()["time"]
    90
    """

    minutes: Annotated[
        int, Option("SLURM: a job's time limit, as sbatch takes it.", names=("--time",), parse=parse_minutes,
                    default="4:00:00; pretrain: 1-0")
    ] = 240
    partition: Annotated[str | None, Option("SLURM: partition.", default="the cluster's")] = None
    memory: Annotated[str | None, Option("SLURM: memory on a node, such as 32G.", default="the cluster's")] = None
    account: Annotated[str | None, Option("SLURM: account to charge.", default="the cluster's")] = None
    sbatch: Annotated[
        tuple[tuple[str, str], ...],
        Option("SLURM: any further option of sbatch, such as qos=long; may be repeated.", parse=parse_sbatch,
               repeated=True),
    ] = ()
    """Names without dashes, values; an empty value is a flag."""
    gpus: int = 0
    """GPUs of a job on a node."""
    at_once: int = 256
    """Jobs of an array that run at a time."""
    nodes: int = 1
    tasks: int = 1
    """Processes on a node."""
    signal: str | None = None
    """Signal that the processes get before the time limit, and how many seconds before: `USR1@120`."""

    def __post_init__(self) -> None:
        for name, value, least in (("--time", self.minutes, 1), ("--gpus", self.gpus, 0), ("--jobs", self.at_once, 1)):
            if value < least:
                raise ValueError(f"{name} {value} is out of range: use {least} or more")
        if self.memory is not None and not re.fullmatch(r"\d+(\.\d+)?[KMGT]?B?", self.memory, re.I):
            raise ValueError(f"--memory {self.memory!r}: use a number with a unit, such as 32G")
        for name, _ in self.sbatch:
            if name in RESERVED:
                raise ValueError(f"--sbatch {name}: {RESERVED[name]}; leave it out")

    def parameters(self) -> dict[str, object]:
        """For submitit's SlurmExecutor."""
        named = {
            "partition": self.partition, "gpus-per-node": self.gpus, "mem": self.memory, "account": self.account,
            "signal": self.signal, "requeue": True,
        }  # fmt: skip
        further: dict[str, object] = {name: value for name, value in named.items() if value}
        further |= {name: value or True for name, value in self.sbatch}
        return {
            "time": self.minutes, "nodes": self.nodes, "ntasks_per_node": self.tasks,
            "array_parallelism": self.at_once, "stderr_to_stdout": True, "additional_parameters": further,
        }  # fmt: skip
