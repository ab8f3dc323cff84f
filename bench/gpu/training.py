"""What live rendering adds to a training step, by interleaved pairs."""

from __future__ import annotations

import math
import statistics
import time
from typing import Any

import torch

from bench.gpu.parity import small_bank
from fracgen.recipes.presets import PRESETS

STEPS = 10  # in a measurement: the prefetch of one step must fall inside it


def measure(batch: int, limit_s: float) -> dict[str, Any]:
    """`train_step` of the results file: WideResNet50-2, bfloat16, channels-last, 256 px.

    A pair times STEPS steps on batches from the loader, which renders the next one on a side stream,
    and the same number on one resident batch. The slowdown is the mean of the pairs' ratios less
    one, with a 95 % confidence interval. Pairs go on for `limit_s` seconds, three at least and 20 at most.
    """
    import torchvision

    import fracgen

    bank = small_bank("paper", codes=20_000)
    loader = fracgen.FractalLoader(
        bank, recipe=PRESETS["paper"].recipe, batch_size=batch, device="cuda", seed=0, epoch_size=1_000_000,
        dtype=torch.bfloat16, normalise=True, channels_last=True,
    )  # fmt: skip
    model = torchvision.models.wide_resnet50_2(num_classes=bank.classes).cuda()
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    batches = iter(loader)
    fixed = next(batches)

    def step(images: Any, labels: Any) -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def seconds(live: bool) -> float:
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(STEPS):
            step(*(next(batches) if live else fixed))
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    for live in (True, False, True, False):
        seconds(live)
    ratios, live_times = [], []
    began = time.monotonic()
    while (pair := len(ratios)) < 3 or (pair < 20 and time.monotonic() - began < limit_s):
        both = {live: seconds(live) for live in ((True, False) if pair % 2 else (False, True))}
        ratios.append(both[True] / both[False] - 1)
        live_times.append(both[True])
    half = 1.96 * statistics.stdev(ratios) / math.sqrt(len(ratios))
    mean = statistics.mean(ratios)
    return {
        "model": "wide_resnet50_2", "batch": batch, "size": 256, "dtype": "bfloat16", "pairs": len(ratios),
        "images_per_s": batch * STEPS / statistics.median(live_times), "slowdown": mean,
        "slowdown_95": [mean - half, mean + half],
    }  # fmt: skip
