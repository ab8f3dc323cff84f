"""Interleaved timing, and the JSON schema of every benchmark's results; the rules are in bench/README.md."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from fracgen.support.decode import Unchecked, from_json, read_json
from fracgen.support.files import whole_file
from fracgen.support.provenance import commit, processors, versions

SCHEMA_VERSION = 1
PACKAGES = ("fracgen", "numpy", "numba", "llvmlite", "torch", "cupy-cuda13x", "cupy-cuda12x")


def interleaved(
    actions: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:  # fmt: skip
    """Time every action once a round, in turn, so that a slow minute of the machine hits all alike.

    Args:
        actions: what to time; each must wait for its own work (a device must be synchronised).
        rounds: measurements of each, at least 1.
        warm_up: untimed calls of each beforehand: compilation, caches, clocks.
        clock: seconds.

    Returns:
        Seconds per call, [rounds] for each action.

    Raises:
        ValueError: there are no rounds.
    """
    if rounds < 1:
        raise ValueError(f"rounds {rounds} is out of range: use 1 or more")
    for action in actions.values():
        for _ in range(warm_up):
            action()
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(rounds):
        # Every other round backwards: none is always the one after the hottest.
        for name in list(actions)[:: 1 if turn % 2 == 0 else -1]:
            start = clock()
            actions[name]()
            seconds[name].append(clock() - start)
    return seconds


@dataclass(frozen=True)
class Summary:
    """A number that was measured `n` times (1 or more). The spread is the distance of its quartiles over the median."""

    unit: str
    median: float
    spread: float
    min: float
    max: float
    n: int

    @classmethod
    def of(cls, unit: str, values: Iterable[float]) -> Summary:
        """The summary of some values."""
        ordered = sorted(map(float, values))
        middle = median(ordered)
        low, high = (ordered[round(q * (len(ordered) - 1))] for q in (0.25, 0.75))
        return cls(unit, middle, (high - low) / middle if middle else 0.0, ordered[0], ordered[-1], len(ordered))


Results = dict[str, Summary]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine of a measurement: processor, number of CPUs that the process may use, their load, GPU."""

    processor: str
    cpus: int
    load_1min: float
    system: str
    gpu: str | None = None

    @classmethod
    def here(cls) -> Machine:
        """This machine, now; its GPU if torch is loaded and finds one."""
        torch = sys.modules.get("torch")
        info = Path("/proc/cpuinfo")
        model = re.search(r"^model name\s*: (.*)", info.read_text() if info.is_file() else "", re.M)
        return cls(
            processor=model[1].strip() if model else platform.processor() or "unknown",
            cpus=processors(), load_1min=round(os.getloadavg()[0], 2),
            system=f"{platform.system()} {platform.machine()}",
            gpu=torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Record:
    """One benchmark's results with all that is needed to judge them. The date is ISO 8601, in UTC."""

    schema_version: int
    subject: str
    date: str
    commit: str | None
    machine: Machine
    versions: dict[str, str]
    settings: dict[str, Unchecked]
    results: dict[str, Summary]

    @classmethod
    def of(cls, subject: str, settings: Mapping[str, object], results: Results) -> Record:
        """A record of what was measured here and now."""
        return cls(
            schema_version=SCHEMA_VERSION, subject=subject, date=datetime.now(UTC).replace(microsecond=0).isoformat(),
            commit=commit(), machine=Machine.here(), versions=versions(*PACKAGES), settings=dict(settings),
            results=results,
        )  # fmt: skip

    @classmethod
    def read(cls, path: Path) -> Record:
        """A record from its JSON file.

        Raises:
            ValueError: it is none, of another schema or without a result; the message names the file and the field.
            OSError: it cannot be read.
        """
        record = from_json(cls, read_json(path), str(path), closed=True)
        if record.schema_version != SCHEMA_VERSION or not record.results:
            raise ValueError(
                f"{path} has schema {record.schema_version} and {len(record.results)} results: schema {SCHEMA_VERSION} "
                "with at least one is read"
            )
        return record

    def to_json(self) -> str:
        """The text of its file."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all. Raises OSError."""
        with whole_file(path) as file:
            file.write(self.to_json().encode())

    def markdown(self) -> str:
        """The results as a table, under a line on the machine."""
        own = self.machine
        about = [own.processor, f"{own.cpus} CPUs", *([own.gpu] if own.gpu else []), f"load {own.load_1min}"]
        lines = [
            f"**{self.subject}**: {', '.join(about)}, commit {self.commit}, {self.date}", "",
            "| result | median | unit | spread | runs |", "|---|---|---|---|---|",
        ]  # fmt: skip
        lines += [f"| {n} | {r.median:.4g} | {r.unit} | {r.spread:.1%} | {r.n} |" for n, r in self.results.items()]
        return "\n".join(lines) + "\n"
