"""What the kernels should cost on a Hopper card, from their binaries: see bench/model/__init__.py.

python -m bench.model [--kernels COMMIT] [--recipes paper ...] [--details attractor] [--verify] [--write]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from bench.model.disassembly import UnknownInstruction
from bench.model.document import DOCUMENT, PREDICTED, write, write_predictions
from bench.model.machine import Multiprocessor
from bench.model.predict import Prediction, WorkerError, predict, recipes_of, sensitivity
from bench.model.table import details, report
from bench.model.tree import source_tree

BEFORE = "f7d4f6f"
"""The kernels as they were before anything was tuned by this model."""


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    job = {
        "images": options.images, "size": options.size, "seed": options.seed, "verify": options.verify,
        "element_bytes": options.element_bytes, "channels_last": options.channels_last,
        "machine": dict(options.set),
    }  # fmt: skip
    try:
        with source_tree(options.kernels) as folder:
            new = predict(folder, options.recipes, job)
            types = {"uint8": new}
            if options.write:
                other = job | {"element_bytes": 2, "channels_last": True, "verify": False}
                types["bfloat16"] = predict(folder, options.recipes, other, batches=())
            if_wrong = sensitivity(folder, next(iter(new)), job)
            more = [details(p, kernel, folder) for kernel in options.details for p in new.values()]
        against = BEFORE if options.write else options.against
        old = None
        if against:
            with source_tree(against) as folder:
                both = [name for name in recipes_of(folder) if name in new]
                old = predict(folder, both, job | {"verify": False}, batches=()) if both else None
        text = report(new, old, against or "", if_wrong)
    except (ValueError, WorkerError, FileNotFoundError, UnknownInstruction) as error:
        print(error, file=sys.stderr)
        return 2
    print(text)
    for part in more:
        print(part)
    if options.json:
        options.json.write_text(json.dumps({n: dataclasses.asdict(p) for n, p in new.items()}, indent=1) + "\n")
    if options.write:
        write(text)
        write_predictions(types)
        print(f"written to {DOCUMENT} and {PREDICTED}", file=sys.stderr)
    return verdict(new)


def verdict(new: dict[str, Prediction]) -> int:
    """1 where simulated bytes differed from the CPU renderer's."""
    wrong = 0
    for name, p in new.items():
        if p.verified:
            wrong += p.verified["mismatched_bytes"]
            of = f"{p.verified['mismatched_bytes']:,} of {p.verified['bytes']:,} bytes"
            print(f"{name}: {of} unlike the CPU renderer's")
    return 1 if wrong else 0


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m bench.model", description=__doc__.splitlines()[0])
    p.add_argument("--kernels", metavar="TREE", help="a commit or a folder; default: these files")
    p.add_argument("--against", metavar="TREE", help="another one, whose cycles are shown beside")
    p.add_argument("--recipes", nargs="+", default=[], metavar="NAME", help="default: all")
    p.add_argument("--images", type=int, default=12, help="simulated of each recipe (default 12)")
    p.add_argument("--size", type=int, help="of the pictures in pixels; default: the recipe's")
    p.add_argument("--seed", type=int, default=0, help="of the choice of images")
    p.add_argument("--element-bytes", type=int, default=1, choices=(1, 2, 4), help="of the output (default 1)")
    p.add_argument("--channels-last", action="store_true", help="of the output")
    p.add_argument("--details", nargs="+", default=[], metavar="KERNEL", help="where a kernel's cycles go")
    p.add_argument("--set", nargs="+", default=[], type=setting, metavar="NAME=VALUE", help="of Multiprocessor")
    p.add_argument("--verify", action="store_true", help="hold every simulated byte against the CPU renderer's")
    p.add_argument("--json", type=Path, metavar="FILE", help="write everything there as well")
    p.add_argument("--write", action="store_true", help=f"put the tables beside {BEFORE}'s into {DOCUMENT.name}")
    return p


def setting(text: str) -> tuple[str, Any]:
    """NAME=VALUE of a field of `Multiprocessor`."""
    name, _, value = text.partition("=")
    known = {f.name: f for f in dataclasses.fields(Multiprocessor)}
    if name not in known:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
    return name, (float if known[name].type == "float" else int)(value)


if __name__ == "__main__":
    sys.exit(main())
