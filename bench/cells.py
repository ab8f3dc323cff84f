"""Processor time and memory of a cell, from files to maps, in fracgen and in plain Anomalib, side by side.

    uv run python -m bench.cells --root SURFACES [--category gravel] [--model resnet18] [--size 256] [--epochs 3]
                                 [--methods patchcore,stfpm] [--rounds 3] [-o cells.json]

Every measurement is a process of its own with one thread, whose imports are not counted; a round takes each method once
on each side, every other round backwards. The settings are the methods' own, alike on both sides, but for the size, the
epochs of methods that train, and CutPaste's steps (an epoch of 8 here). PANDA and CutPaste are not in Anomalib: they
are measured alone. The coreset is `select_coreset` beside Anomalib's `KCenterGreedy` on the patches of 24 of
the pictures; tests/evaluation hold that both select the same ones.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.study.plain_anomalib import SIDES, plain
from fracgen.benchmarking.record import Record, Summary

ALONE = ("panda", "cutpaste")
STEPS_AN_EPOCH = 8
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": str(16 << 20)}
"""The second keeps glibc from setting its threshold itself: each of the 20 MB that Anomalib's k-center allocates a step
would then leave a hole, 24 GB after a thousand steps (glibc 2.36)."""


def main() -> None:
    """Print a line a method, and write all numbers where `-o` says."""
    from fracgen_eval.methods import METHODS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="a dataset in MVTec layout, such as surfaces")
    parser.add_argument("--category", default="gravel")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--methods", default=",".join(("coreset", *METHODS)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        method, side = options.one.split("/")
        print(json.dumps(_measure(method, side, options)))
        return
    found: dict[str, list[dict[str, float]]] = {}
    names = [f"{m}/{side}" for m in options.methods.split(",") for side in SIDES if side == SIDES[0] or m not in ALONE]
    for turn in range(options.rounds):
        for name in names[:: 1 if turn % 2 == 0 else -1]:
            found.setdefault(name, []).append(_process(name))
    for method in options.methods.split(","):
        print(_line(method, *(found.get(f"{method}/{side}") for side in SIDES)), flush=True)
    paired = [m for m in options.methods.split(",") if m not in (*ALONE, "coreset")]
    sums = [
        sum(found[f"{m}/{side}"][turn]["seconds"] for m in paired for turn in range(options.rounds)) for side in SIDES
    ]
    if paired:
        print(f"sum of {len(paired)} methods: {sums[0] / sums[1]:.2f} of Anomalib's processor time")
    if options.output:
        results = {
            f"{name}/{what}": Summary.of(unit, [one[what] for one in many])
            for name, many in found.items()
            for what, unit in (("seconds", "s"), ("peak", "MB"))
        }
        settings = {name: str(value) for name, value in vars(options).items() if name not in ("one", "output")}
        Record.of("cells", settings, results).write(options.output)


def _process(name: str) -> dict[str, float]:
    """What a process of its own measures."""
    command = [sys.executable, "-m", "bench.cells", *sys.argv[1:], "--one", name]
    done = subprocess.run(command, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _line(method: str, ours: list[dict[str, float]] | None, theirs: list[dict[str, float]] | None) -> str:
    assert ours is not None
    seconds, peak = (
        Summary.of(unit, [one[what] for one in ours]).median for what, unit in (("seconds", "s"), ("peak", "MB"))
    )
    line = f"{method:10} {seconds:8.2f} s {peak:8.0f} MB"
    if theirs is None:
        return f"{line}   (not in Anomalib)"
    time, memory = (
        Summary.of("", [one[what] / other[what] for one, other in zip(ours, theirs, strict=True)])
        for what in ("seconds", "peak")
    )
    spread = f"({time.min:.2f} to {time.max:.2f})"
    return f"{line}   {time.median:.2f} {spread} of Anomalib's time, {memory.median:.2f} of its peak"


def _measure(method: str, side: str, options: argparse.Namespace) -> dict[str, float]:
    """Processor seconds, and the peak of the resident set in MB, of one cell or one coreset."""
    act = _coreset(side, options) if method == "coreset" else _cell(method, side, options)
    start = _processor_seconds()
    act()
    seconds = _processor_seconds() - start
    return {"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _cell(method: str, side: str, options: argparse.Namespace) -> Callable[[], object]:
    """Fit on a category and judge its test pictures."""
    import anomalib.models  # noqa: F401 - imports are not counted
    from fracgen_eval.datasets import dataset
    from fracgen_eval.images import load_images
    from fracgen_eval.methods import build_method, settings_for
    from fracgen_eval.weights.backbones import WeightsSpec, load_weights

    data = dataset("folder").load(options.root, options.category)
    changes: dict[str, Any] = {"epochs": options.epochs, "image_size": options.size, "steps": STEPS_AN_EPOCH}
    known = settings_for(method)
    settings = settings_for(method, overrides={name: value for name, value in changes.items() if name in known})
    weights = load_weights(WeightsSpec.parse("random"), options.model)
    test = [sample.path for sample in data.test]

    def ours() -> None:
        built = build_method(method, weights, settings, seed=0)
        built.fit(load_images([sample.path for sample in data.train], built.geometry))
        built.predict(load_images(test, built.geometry))

    def theirs() -> None:
        plain(method, weights, settings, options.root / options.category, test, 0, same_draws=True)

    return ours if side == SIDES[0] else theirs


def _coreset(side: str, options: argparse.Namespace) -> Callable[[], object]:
    """Select a tenth of the patches of the training pictures."""
    import torch
    from anomalib.models.components import KCenterGreedy
    from fracgen_eval.datasets import dataset
    from fracgen_eval.images import Geometry, load_images
    from fracgen_eval.methods import build_method, settings_for
    from fracgen_eval.methods.base import normalised
    from fracgen_eval.methods.coreset import select_coreset
    from fracgen_eval.weights.backbones import WeightsSpec, load_weights

    data = dataset("folder").load(options.root, options.category)
    weights = load_weights(WeightsSpec.parse("random"), options.model)
    settings = settings_for("patchcore", overrides={"image_size": options.size})
    model: Any = build_method("patchcore", weights, settings, seed=0)
    images = load_images([sample.path for sample in data.train[:24]], Geometry(options.size))
    with torch.no_grad():
        features = model.module.model.feature_extractor(normalised(torch.stack(list(images)), weights, "cpu"))
        rows = model.module.model.generate_embedding(features)
    rows = rows.permute(0, 2, 3, 1).reshape(-1, rows.shape[1])
    torch.manual_seed(0)
    if side == SIDES[0]:
        return lambda: select_coreset(rows, 0.1)
    return lambda: KCenterGreedy(rows, 0.1).sample_coreset()


if __name__ == "__main__":
    main()
