"""Our AUPRO beside MVTec's own code, on random maps and masks.

    uv run python -m bench.study.mvtec_aupro --path MVTEC_AD_EVALUATION [--sets 40]

The folder is that of MVTec's evaluation code as it comes with MVTec AD, with `pro_curve_util.py` and
`generic_util.py`. Sets differ in the number and size of their images, in the share of defect pixels, in how far
defects stand out, and in ties: scores are floats, or whole numbers of which there may be 4 only. Prints one line of
JSON a limit: the largest and the mean difference. bench/README.md has the numbers.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.study.others import MissingCodeError, load_code

LIMITS = (0.3, 0.05)
LEVELS = (0, 4, 30, 1000)
"""How many values scores have; 0 for floats."""


def main() -> None:
    """Compare at both limits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", type=Path, required=True, help="folder of MVTec's evaluation code")
    parser.add_argument("--sets", type=int, default=40)
    options = parser.parse_args()
    try:
        theirs = mvtec(options.path)
    except MissingCodeError as error:
        parser.exit(2, f"{error}\n")
    for line in compare(theirs, options.sets):
        print(json.dumps(line), flush=True)


def mvtec(folder: Path) -> Callable[[Any, Any, float], float]:
    """MVTec's AUPRO of maps and masks up to a limit.

    Raises:
        MissingCodeError: see `load_code`; or the folder is that of MVTec 3D-AD, whose code has the same names.
    """
    curves, generic = load_code(
        folder, ("pro_curve_util", "generic_util"), "MVTec's evaluation code, which comes with MVTec AD"
    )
    if "num_thresholds" in inspect.signature(curves.compute_pro).parameters:
        raise MissingCodeError(
            f"{folder} is MVTec 3D-AD's code, which takes some thresholds and miscounts ties: give MVTec AD's"
        )

    def aupro(maps: Any, masks: Any, limit: float) -> float:
        with contextlib.redirect_stdout(io.StringIO()):
            fprs, pros = curves.compute_pro(list(maps), list(masks))
        return float(generic.trapezoid(fprs, pros, x_max=limit) / limit)

    return aupro


def compare(theirs: Callable[[Any, Any, float], float], sets: int) -> list[dict[str, Any]]:
    """How far two AUPROs are apart: for each limit, the largest and the mean difference over random sets."""
    from fracgen_eval.metrics import aupro

    cases = [random_set(seed) for seed in range(sets)]
    lines = []
    for limit in LIMITS:
        ours = np.array([aupro(*case, limit) for case in cases])
        apart = np.abs(ours - [theirs(*case, limit) for case in cases])
        worst = int(apart.argmax())
        lines.append({
            "limit": limit, "sets": sets, "aupro": [float(ours.min()), float(ours.max())],
            "largest_difference": float(apart.max()), "mean_difference": float(apart.mean()), "worst_set": worst,
        })  # fmt: skip
    return lines


def random_set(seed: int) -> tuple[Any, Any]:
    """Maps float32 and masks uint8, [N, H, W], the first image good, the others with blobs and single pixels."""
    rng = np.random.default_rng(seed)
    number, height, width = (int(rng.integers(*bounds)) for bounds in ((3, 9), (24, 97), (24, 97)))
    masks = (rng.random((number, height, width)) < rng.choice([0.0, 0.002, 0.02])).astype(np.uint8)
    for mask in masks:
        for _ in range(rng.integers(1, 4)):
            top, left, tall, wide = (int(rng.integers(*b)) for b in ((0, height), (0, width), (2, 20), (2, 20)))
            mask[top : top + tall, left : left + wide] = 1
    masks[0] = 0
    maps = rng.normal(size=masks.shape) + rng.choice([0.0, 0.5, 2.0]) * masks
    if levels := LEVELS[seed % len(LEVELS)]:
        maps = np.floor((maps - maps.min()) / np.ptp(maps) * levels)
    return maps.astype(np.float32), masks


if __name__ == "__main__":
    main()
