"""Peak memory of PaDiM and PatchCore on a CPU at full settings, ours beside Anomalib's own.

    uv run python -m bench.study.memory --method padim --side fracgen
    uv run python -m bench.study.memory --method patchcore --side anomalib --steps 50

Pictures are noise, for memory does not depend on what they show: 400 of 256 px to fit on, 32 to judge in batches of 16,
and a WideResNet50-2 of fresh weights. Both sides get the same pictures in batches of 32. Anomalib's side is its own
model class with its defaults. The work runs in a process of its own with a limit on its address space, so that the
machine is never out of memory; what the limit stops is said, with the peak until then. `--steps` ends PatchCore's
greedy selection after so many patches and takes the others at even distances: its steps are all alike, and there are
40,960 of them. Prints one line of JSON. docs/evaluation.md has the table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

MODEL, SIDE, BATCH, JUDGED = "wide_resnet50_2", 256, 32, 32


def main() -> None:
    """Measure one method on one side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=("padim", "patchcore"), required=True)
    parser.add_argument("--side", choices=("fracgen", "anomalib"), required=True)
    parser.add_argument("--images", type=int, default=400, help="to fit on")
    parser.add_argument("--limit-gb", type=float, default=21.0, help="of the process's address space")
    parser.add_argument("--steps", type=int, default=0, help="of PatchCore's greedy selection; 0 for all")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=measure, args=(vars(options), send))
    child.start()
    send.close()
    try:
        print(json.dumps(receive.recv()))
    except EOFError:
        child.join()
        print(json.dumps({**vars(options), "stopped": f"exit code {child.exitcode}"}))


def measure(options: dict[str, Any], send: Any) -> None:
    """In a process of its own: fit, judge, and tell the peak."""
    limit = int(options["limit_gb"] * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    import torch

    found: dict[str, Any] = dict(options)
    start = time.perf_counter()
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (options["images"], 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    if options["steps"]:
        cut_selection(options["steps"])
    try:
        side = fracgen if options["side"] == "fracgen" else anomalib
        side(options["method"], images, found)
    except (MemoryError, RuntimeError) as error:
        found["stopped"] = (str(error).splitlines() or [type(error).__name__])[0][:150]
    send.send({**found, "peak_gb": peak_gb(), "seconds": round(time.perf_counter() - start)})


def fracgen(method: str, images: Any, found: dict[str, Any]) -> None:
    """Fit and judge as `fracgen eval run` does."""
    from fracgen_eval.methods import build_method
    from fracgen_eval.weights.backbones import WeightsSpec, load_weights

    fitted = build_method(method, load_weights(WeightsSpec("random"), MODEL))
    fitted.fit(images)
    found["fit_peak_gb"] = peak_gb()
    fitted.predict(images[:JUDGED])


def anomalib(method: str, images: Any, found: dict[str, Any]) -> None:
    """Fit and judge by Anomalib's own model."""
    import torch
    from fracgen_eval.methods.anomalib.quiet import quiet
    from fracgen_eval.methods.base import batches, normalised
    from fracgen_eval.weights.backbones import WeightsSpec, load_backbone, load_weights

    weights = load_weights(WeightsSpec("random"), MODEL)
    with quiet(), torch.no_grad():
        from anomalib.models import Padim, Patchcore

        kind: Any = Padim if method == "padim" else Patchcore
        module = kind(MODEL, pre_trained=False, post_processor=False, evaluator=False, visualizer=False)
        load_backbone(module.model.feature_extractor.feature_extractor, weights)
        module.model.train()
        for part in batches(images, BATCH):
            module.model(normalised(part, weights, "cpu"))
        module.fit()
        found["fit_peak_gb"] = peak_gb()
        module.model.eval()
        for part in batches(images[:JUDGED], 16):
            module.model(normalised(part, weights, "cpu"))


def cut_selection(steps: int) -> None:
    """End Anomalib's greedy selection early; the rest of the coreset is taken at even distances."""
    from fracgen_eval.methods.anomalib.quiet import quiet

    with quiet():
        from anomalib.models.components.sampling import k_center_greedy

    original = k_center_greedy.KCenterGreedy.select_coreset_idxs

    def cut(self: Any) -> list[int]:
        size, self.coreset_size = self.coreset_size, min(steps, self.coreset_size)
        first = set(chosen := original(self))
        even = range(0, self.n_observations, max(1, self.n_observations // size))
        return (chosen + [n for n in even if n not in first])[:size]

    k_center_greedy.KCenterGreedy.select_coreset_idxs = cut


def peak_gb() -> float:
    """Most memory that this process has had so far, in GiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    return round(kilobytes / 2**20, 2)


if __name__ == "__main__":
    main()
