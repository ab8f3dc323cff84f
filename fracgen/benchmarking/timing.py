"""Interleaved timing, and records of the results; the rules are in bench/README.md."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from fracgen.support.provenance import commit, versions

SCHEMA_VERSION = 1

PACKAGES = ("fracgen", "numpy", "numba", "llvmlite", "torch", "cupy-cuda13x", "cupy-cuda12x")


def interleaved(
    actions: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1, clock: Callable[[], float] | None = None
) -> dict[str, list[float]]:
    """Time every action once a round, in turn, so that a slow minute of the machine hits all alike.

    Args:
        actions: what to time; each must wait for its own work (a device must be synchronised).
        rounds: measurements of each, at least 1.
        warm_up: untimed calls of each beforehand: compilation, caches, clocks.
        clock: seconds; default: `time.perf_counter`.

    Returns:
        Seconds per call, [rounds] for each action.
    """
    if rounds < 1:
        raise ValueError(f"rounds {rounds} is out of range: use 1 or more")
    now = clock or time.perf_counter
    for action in actions.values():
        for _ in range(warm_up):
            action()
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(rounds):
        # Every other round backwards: none is always the one after the hottest.
        for name in list(actions) if turn % 2 == 0 else list(actions)[::-1]:
            start = now()
            actions[name]()
            seconds[name].append(now() - start)
    return seconds


def summary(values: list[float]) -> dict[str, float]:
    """Median and spread: the distance of the quartiles as a share of the median, and the extremes."""
    ordered = sorted(values)
    middle = median(ordered)
    low, high = (ordered[round(q * (len(ordered) - 1))] for q in (0.25, 0.75))
    return {
        "median": middle, "spread": (high - low) / middle if middle else 0.0, "min": ordered[0], "max": ordered[-1],
        "n": len(ordered),
    }  # fmt: skip


def machine() -> dict[str, Any]:
    """Processor, CPUs this process may use, load when asked, GPU if torch is loaded and finds one."""
    import sys

    facts: dict[str, Any] = {
        "processor": _processor(), "cpus": len(os.sched_getaffinity(0)), "load_1min": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}", "gpu": None,
    }  # fmt: skip
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def make_record(subject: str, settings: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """One benchmark's result with all that is needed to judge it; see `check_record`."""
    data = {
        "schema_version": SCHEMA_VERSION, "subject": subject,
        "date": datetime.now(UTC).replace(microsecond=0).isoformat(), "commit": commit(),
        "machine": machine(), "versions": versions(*PACKAGES), "settings": settings, "results": results,
    }  # fmt: skip
    return check_record(data)


def check_record(data: Any) -> dict[str, Any]:
    """A record that has every field of the schema, with the right types, and goes to JSON and back.

    Every result is a number with a unit in its name's place, or a `summary` with `unit`.

    Raises:
        ValueError: names the field that is missing, unknown or wrong.
    """
    kinds = {
        "schema_version": int, "subject": str, "date": str, "commit": (str, type(None)), "machine": dict,
        "versions": dict, "settings": dict, "results": dict,
    }  # fmt: skip
    if not isinstance(data, dict) or set(data) != set(kinds):
        found = ", ".join(data) if isinstance(data, dict) else repr(data)
        raise ValueError(f"a benchmark record has the fields {', '.join(kinds)}; found {found}")
    for name, kind in kinds.items():
        if not isinstance(data[name], kind):  # type: ignore[arg-type]
            raise ValueError(f"field {name!r} of a benchmark record is {data[name]!r}, of the wrong type")
    if data["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"benchmark record of schema {data['schema_version']}, this fracgen reads {SCHEMA_VERSION}")
    datetime.fromisoformat(data["date"])
    for name in ("processor", "cpus", "load_1min"):
        if name not in data["machine"]:
            raise ValueError(f"field 'machine' of a benchmark record lacks {name!r}")
    if not data["results"]:
        raise ValueError("a benchmark record holds no result")
    for name, result in data["results"].items():
        if not isinstance(result, dict) or set(result) != {"unit", "median", "spread", "min", "max", "n"}:
            raise ValueError(f"result {name!r} must be a summary with a unit; found {result!r}")
    loaded: dict[str, Any] = json.loads(json.dumps(data))
    return loaded


def result(unit: str, values: list[float]) -> dict[str, Any]:
    """A summary with its unit: an entry of a record's `results`."""
    return {"unit": unit, **summary(values)}


def markdown(data: dict[str, Any]) -> str:
    """A record as a Markdown table."""
    lines = [
        f"**{data['subject']}**: {data['machine']['processor']}, {data['machine']['cpus']} CPUs"
        + (f", {data['machine']['gpu']}" if data["machine"]["gpu"] else "")
        + f", load {data['machine']['load_1min']}, commit {data['commit']}, {data['date']}",
        "", "| result | median | unit | spread | runs |", "|---|---|---|---|---|",
    ]  # fmt: skip
    lines += [
        f"| {name} | {r['median']:.4g} | {r['unit']} | {r['spread']:.1%} | {r['n']} |"
        for name, r in data["results"].items()
    ]
    return "\n".join(lines) + "\n"
