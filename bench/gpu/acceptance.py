"""The acceptance run's command line; `bench/gpu_acceptance.py` is how it is started."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench.gpu.figures import markdown
from bench.gpu.parts import CALL_SECONDS, CALLS, PARTS, ROOT, Part, run_parts


def main(arguments: list[str] | None = None, description: str = "") -> int:
    options = parser(description).parse_args(arguments)
    try:
        if options.join:
            return join(options.join, options.out)
        parts, label = chosen(options.parts)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    from fracgen.rendering.device import cuda_fault

    if fault := cuda_fault():
        print(f"no usable GPU: {fault}", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    size = "quick" if options.quick else "full"

    def command(part: Part, path: Path) -> list[str]:
        return [sys.executable, "-m", "bench.gpu.parts", part.name, str(path), size]

    results = run_parts(parts, command, lambda results: write(results, options.out, label), options.seconds)
    print(markdown(results))
    return verdict(results)


def chosen(text: str) -> tuple[list[Part], str]:
    """The parts of a call or of a list of names, after the environment, and what the files are called."""
    if text in CALLS:
        return [part for part in PARTS if part.call == text], text
    names = text.split(",")
    known = list(dict.fromkeys(part.name for part in PARTS))
    for name in names:
        if name not in known:
            raise ValueError(f"unknown part {name!r}: use first, second, or some of {','.join(known)}")
    by_name = {part.name: part for part in PARTS}
    return [by_name[name] for name in dict.fromkeys(["environment", *names])], "-".join(names)


def write(results: dict[str, Any], folder: Path, label: str) -> None:
    """The files of a call, as far as it has come."""
    environment = results.get("environment", {})
    device = environment.get("device", {}).get("name", "unknown").replace(" ", "-").lower()
    target = folder / f"gpu-{environment.get('date', 'undated')[:10]}-{device}-{label}"
    target.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    target.with_suffix(".md").write_text(markdown(results))


def join(files: list[Path], folder: Path) -> int:
    """Make one table of several calls' files."""
    results: dict[str, Any] = {"failed": {}}
    for file in files:
        own = json.loads(file.read_text())
        results["failed"] |= own.pop("failed", {})
        results |= own
    results["failed"] = {name: why for name, why in results["failed"].items() if name not in results}
    write(results, folder, "all")
    print(markdown(results))
    return verdict(results)


def verdict(results: dict[str, Any]) -> int:
    """1 where a byte differed, a tool found an error or a part failed."""
    wrong = list(results.get("golden", {}).get("differences", []))
    wrong += [way for way, same in results.get("other_ways", {}).items() if not same]
    wrong += [tool for tool, said in results.get("sanitizer", {}).items() if said["verdict"] == "errors"]
    return 1 if wrong or results.get("parity", {}).get("mismatched_bytes") or results["failed"] else 0


def parser(description: str) -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="bench/gpu_acceptance.py", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--parts", default="first", metavar="CALL", help="first, second, or parts with commas between")
    p.add_argument("--out", type=Path, default=ROOT / "bench" / "results", help="folder of the results")
    p.add_argument("--seconds", type=float, default=CALL_SECONDS, help=f"for the whole call (default {CALL_SECONDS})")
    p.add_argument("--quick", action="store_true", help="little of everything, to try the script")
    p.add_argument("--join", nargs="+", type=Path, metavar="FILE", help="one table of several calls' JSON files")
    return p
