"""Accept the CUDA renderer on a real card: bytes against the CPU, then speed.

    python bench/gpu_acceptance.py [--out bench/results] [--quick]

Needs torch, CuPy, NumPy and Numba, not an installed fracgen; ends in under ten minutes. It writes
one Markdown table and one JSON file, named by date and device, and exits with 1 where a byte
differs. Ceilings are measured on the card in the same run, not taken from a datasheet.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "evaluation")]

TIME_LIMIT_S = 560  # the sanitizer's tools, which come last, are skipped where they would pass it


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results", help="folder of the results")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, to try the script")
    parser.add_argument("--sanitize-child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()

    from fracgen.rendering.device import cuda_fault

    if fault := cuda_fault():
        print(f"no usable GPU: {fault}", file=sys.stderr)
        return 2
    if options.sanitize_child:
        return sanitize_child()

    from bench.gpu import environment

    share = 10 if options.quick else 1
    result = environment.describe(ROOT)
    result["failed"] = failed = {}
    begin = time.perf_counter()
    options.out.mkdir(parents=True, exist_ok=True)
    device = result["device"]["name"].replace(" ", "-").lower()
    target = options.out / f"gpu-{result['date'][:10]}-{device}"

    def part(name: str, module: str, function: str, *arguments: Any) -> None:
        """One failure must not cost the other figures, nor a killed run those it had: each part
        imports what it needs, and the files are written after each."""
        start = time.perf_counter()
        try:
            result[name] = getattr(importlib.import_module(module), function)(*arguments)
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
        print(f"{name}: {failed.get(name, 'done')} ({time.perf_counter() - start:.0f} s)", flush=True)
        target.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        target.with_suffix(".md").write_text(markdown(result))

    part("parity", "bench.gpu.parity", "check", 1500 // share)
    part("other_ways", "bench.gpu.parity", "other_ways")
    part("ceilings", "bench.gpu.ceilings", "measure")
    part("chaos_game", "bench.gpu.rates", "chaos_game", 2112 // share)
    part("render", "bench.gpu.rates", "measure", 4224 // share)
    part("epoch", "bench.gpu.rates", "epoch", 1_000_000 // share, 4224)
    part("train_step", "bench.gpu.training", "measure", 512, 20 // share + 4)
    part("sanitizer", "bench.gpu.sanitizer", "sanitize", begin + TIME_LIMIT_S)
    print(markdown(result))

    wrong = result.get("parity", {}).get("mismatched_bytes", 1)
    others = [way for way, same in result.get("other_ways", {}).items() if not same]
    errors = [tool for tool, said in result.get("sanitizer", {}).items() if said["verdict"] == "errors"]
    return 1 if wrong or others or errors or failed else 0


def sanitize_child() -> int:
    """What runs under the sanitizer: small pictures of every recipe, in both layouts of memory."""
    import dataclasses

    from bench.gpu.parity import small_bank
    from fracgen.recipes.presets import PRESETS
    from fracgen.rendering.cuda.renderer import CudaRenderer

    for name, preset in PRESETS.items():
        recipe = dataclasses.replace(preset.recipe.at_size(64), points=5000)
        CudaRenderer(small_bank(name, codes=40), recipe).render(range(3), masks=True).images.cpu()
    large = dataclasses.replace(PRESETS["paper"].recipe.at_size(600), points=5000)
    CudaRenderer(small_bank("paper", codes=40), large).render(range(2)).images.cpu()
    return 0


def markdown(result: dict[str, Any]) -> str:
    """The results as one table, with what failed above it."""
    device = result["device"]
    lines = [
        f"# {device['name']}, {result['date'][:10]}",
        "",
        f"Commit `{result['commit'][:12]}`, driver {device['driver']}, CUDA {device['cuda']}, "
        f"torch {result['versions'].get('torch')}, NVRTC {result['versions']['nvrtc']}.",
        "",
        *(f"**{name} failed**: {why}\n" for name, why in result["failed"].items()),
        "| what | measured |",
        "|---|---|",
    ]
    lines += [f"| {what} | {figure} |" for what, figure in figures(result)]
    for tool, said in result.get("sanitizer", {}).items():
        lines.append(f"| compute-sanitizer {tool} | {said['verdict']}: {said['last_line']} |")
    return "\n".join(lines) + "\n"


def figures(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The rows of the table: what, and what was measured."""
    if p := result.get("parity"):
        yield f"bytes unlike the CPU renderer's, over {p['images_checked']:,} images", str(p["mismatched_bytes"])
    for way, same in result.get("other_ways", {}).items():
        yield f"the same bytes: {way.replace('_', ' ')}", "yes" if same else "NO"
    if c := result.get("ceilings"):
        yield "ceiling: instructions", f"{c['warp_instructions_per_s'] / 1e12:.2f} x 10^12 warp instructions/s"
        yield "ceiling: shared memory atomics", f"{c['shared_atomics_per_s'] / 1e12:.2f} x 10^12/s"
        yield "ceiling: copy bandwidth", f"{c['copy_bytes_per_s'] / 1e12:.2f} TB/s"
    if g := result.get("chaos_game"):
        yield "chaos game alone", f"{g['points_per_s'] / 1e9:.0f} x 10^9 points/s"
    for row in result.get("render", []):
        total = sum(row["stages"].values())
        shares = ", ".join(f"{name} {100 * ms / total:.0f} %" for name, ms in row["stages"].items())
        yield f"`{row['recipe']}` {row['size']} px {row['dtype']}", f"{row['images_per_s']:,.0f} images/s ({shares})"
    if e := result.get("epoch"):
        what = f"an epoch of {e['images']:,} labelled images of {e['classes']:,} classes, wall clock"
        yield what, f"{e['seconds']:.2f} s"
    if t := result.get("train_step"):
        low, high = (100 * end for end in t["slowdown_95"])
        what = f"{t['model']} step with live rendering, batch {t['batch']}, {t['dtype']}"
        yield what, f"{t['images_per_s']:,.0f} images/s, {100 * t['slowdown']:+.2f} % ({low:+.2f} to {high:+.2f})"


if __name__ == "__main__":
    sys.exit(main())
