"""The acceptance run's results as one table: what was measured, and what the cycle model said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.gpu.microbenchmarks import CASES

PREDICTED = Path(__file__).with_name("predicted.json")
Row = tuple[str, str, str]


def predictions() -> dict[str, Any]:
    """What `python -m bench.model --write` put down; empty fields where it never ran."""
    empty = {"kernels": "", "recipes": {}, "microbenchmarks": {}}
    return empty | (json.loads(PREDICTED.read_text()) if PREDICTED.is_file() else {})


def markdown(results: dict[str, Any]) -> str:
    """The results as Markdown, with what failed above the table."""
    lines = head(results.get("environment"))
    lines += [f"**{name} failed**: {why}\n" for name, why in results["failed"].items()]
    expected = predictions()
    if results.get("environment", {}).get("kernels", "") != expected["kernels"]:
        lines.append("The predictions are of other kernels than these: `python -m bench.model --write`.\n")
    lines += ["| what | measured | predicted |", "|---|---|---|"]
    for rows in (correct, stages, rates, microbenchmarks, ceilings):
        lines += [f"| {what} | {measured} | {model} |" for what, measured, model in rows(results, expected)]
    return "\n".join(lines) + "\n"


def head(environment: dict[str, Any] | None) -> list[str]:
    """Device, date and versions."""
    if not environment:
        return ["# GPU acceptance", ""]
    device = environment["device"]
    return [
        f"# {device['name']}, {environment['date'][:10]}", "",
        f"Commit `{environment['commit'][:12]}`, driver {device['driver']}, CUDA {device['cuda']}, "
        f"torch {environment['versions'].get('torch')}, NVRTC {environment['versions']['nvrtc']}.", "",
    ]  # fmt: skip


def beside(measured: float, predicted: float | None) -> str:
    """A prediction with the distance of what was measured from it."""
    return "" if not predicted else f"{predicted:,.4g} ({100 * (measured / predicted - 1):+.0f} %)"


def correct(results: dict[str, Any], _: dict[str, Any]) -> Iterator[Row]:
    if g := results.get("golden"):
        wrong = g["differences"]
        yield "golden hashes", "all agree" if not wrong else "; ".join(wrong), ""
    if p := results.get("parity"):
        yield f"bytes unlike the CPU renderer's, over {p['images_checked']:,} images", f"{p['mismatched_bytes']:,}", "0"
    for way, same in results.get("other_ways", {}).items():
        yield f"the same bytes: {way.replace('_', ' ')}", "yes" if same else "NO", ""
    for tool, said in results.get("sanitizer", {}).items():
        yield f"compute-sanitizer {tool}", f"{said['verdict']}: {said['last_line']}", "clean"


def stages(results: dict[str, Any], expected: dict[str, Any]) -> Iterator[Row]:
    found = results.get("stages")
    if not found:
        return
    model = expected["recipes"].get(f"{found['recipe']} uint8", {}).get("cycles", {})
    for name, cycles in found["cycles"].items():
        what = f"`{found['recipe']}` {name}, cycles an image of one multiprocessor"
        yield what, f"{cycles:,.0f}", beside(cycles, model.get(name))
    total, said = sum(found["cycles"].values()), sum(model.values())
    yield f"`{found['recipe']}`, all stages at {found['clock_hz'] / 1e9:.2f} GHz", f"{total:,.0f}", beside(total, said)


def rates(results: dict[str, Any], expected: dict[str, Any]) -> Iterator[Row]:
    device = results.get("environment", {}).get("device", {}).get("name", "")
    card = "H200" if "H200" in device else "H100"
    if g := results.get("chaos_game"):
        yield "chaos game alone", f"{g['points_per_s'] / 1e9:.0f} x 10^9 points/s", ""
    for row in results.get("render", []):
        total = sum(row["stages"].values())
        shares = ", ".join(f"{name} {100 * ms / total:.0f} %" for name, ms in row["stages"].items())
        model = expected["recipes"].get(f"{row['recipe']} {row['dtype']}", {}).get("images_per_s", {}).get(card)
        what = f"`{row['recipe']}` {row['size']} px {row['dtype']}"
        yield what, f"{row['images_per_s']:,.0f} images/s ({shares})", beside(row["images_per_s"], model)
    if e := results.get("epoch"):
        what = f"an epoch of {e['images']:,} labelled images of {e['classes']:,} classes, wall clock"
        yield what, f"{e['seconds']:.2f} s", ""
    for row in results.get("loader", []):
        yield f"loader, {row['name']}", f"{row['images_per_s']:,.0f} images/s", ""
    if t := results.get("train_step"):
        low, high = (100 * end for end in t["slowdown_95"])
        what = f"{t['model']} step with live rendering, batch {t['batch']}, {t['dtype']}, {t['pairs']} pairs"
        yield what, f"{t['images_per_s']:,.0f} images/s, {100 * t['slowdown']:+.2f} % ({low:+.2f} to {high:+.2f})", ""


def microbenchmarks(results: dict[str, Any], expected: dict[str, Any]) -> Iterator[Row]:
    found = results.get("microbenchmarks", {}).get("cycles", {})
    for case in CASES:
        if case.name in found:
            said = expected["microbenchmarks"].get(case.name, {})
            nearest = min(said, key=lambda h: abs(said[h] - found[case.name]), default="")
            other = ", ".join(f"{h} {cycles:.2f}" for h, cycles in said.items())
            agrees = f" -> {nearest}" if len(set(said.values())) > 1 else ""
            yield f"{case.name}, cycles an instruction", f"{found[case.name]:.2f}{agrees}", other


def ceilings(results: dict[str, Any], _: dict[str, Any]) -> Iterator[Row]:
    if c := results.get("ceilings"):
        yield "ceiling: instructions", f"{c['thread_instructions_per_s'] / 32e12:.2f} x 10^12 warp instructions/s", ""
        yield "ceiling: shared memory atomics", f"{c['shared_atomics_per_s'] / 1e12:.2f} x 10^12/s", ""
        yield "ceiling: copy bandwidth", f"{c['copy_bytes_per_s'] / 1e12:.2f} TB/s", ""
