"""What augmentation costs, and what the choice of arithmetic gains, in training on a CPU.

    uv run python bench/training_cpu.py [--model resnet18] [--size 96] [--rounds 15] [-o bench/results/FILE.json]

Two questions, on one thread, each answered by a few training steps in turn: steps on images with full
augmentation against steps without, which is to cost at most 10 %; and steps in the arithmetic that
`fracgen pretrain` chooses against float32 planes, at least 1.8 times as fast for a ResNet-18 where the processor
multiplies bfloat16 itself. Clock: processor time of the process, loader included. Exit code 1 where a goal is
missed. Methodology: bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from fracgen import CodeBank, FractalLoader
from fracgen.benchmarking.timing import interleaved, make_record, result
from fracgen.loading.augment import Augmentation, augmentation
from fracgen.recipes.presets import preset
from fracgen.training.arithmetic import Arithmetic, choose, fast_bfloat16
from fracgen.training.config import Machine
from fracgen.networks import create

BATCH, STEPS = 32, 2


def steps(model_name: str, size: int, how: Arithmetic, augment: Augmentation | None) -> Callable[[], None]:
    """A function that takes a few training steps."""
    bank = CodeBank.sample(1000, classes=1000)
    model = create(model_name, bank.classes, size, 0)
    if how.channels_last:
        model = model.to(memory_format=torch.channels_last)
    loader = FractalLoader(
        bank, preset("paper").recipe.at_size(size), BATCH, "cpu", epoch_size=1_000_000, dtype=how.dtype,
        channels_last=how.channels_last, augment=augment, prefetch=0, threads=1,
    )  # fmt: skip
    batches: Iterator[tuple[torch.Tensor, ...]] = iter(loader)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=1e-4)

    def take() -> None:
        for _ in range(STEPS):
            images, labels = next(batches)
            with torch.autocast("cpu", torch.bfloat16, enabled=how.precision == "bfloat16"):
                outputs = model(images)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(outputs.float(), labels).backward()
            optimizer.step()

    return take


def main() -> int:
    """Answer both questions; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = choose(Machine(), create(options.model, 10, options.size, 0), "cpu")
    plain = Arithmetic("cpu", "float32", False)
    ways = {"plain": (plain, None), "chosen": (chosen, None), "augmented": (chosen, augmentation("full"))}
    actions = {name: steps(options.model, options.size, *way) for name, way in ways.items()}
    seconds = interleaved(actions, options.rounds, clock=time.process_time)
    cost = [a / c for a, c in zip(seconds["augmented"], seconds["chosen"], strict=True)]
    gain = [p / c for p, c in zip(seconds["plain"], seconds["chosen"], strict=True)]
    rates = {
        f"images/s of processor time, {name}": result("images/s", [BATCH * STEPS / s for s in spent])
        for name, spent in seconds.items()
    }
    results = {"augmented / not, time": result("ratio", cost), "chosen / float32 planes, speed": result("ratio", gain)}
    settings = {"model": options.model, "size": options.size, "batch": BATCH, "steps": STEPS, "chosen": str(chosen)}
    data = make_record("training on a CPU", settings, results | rates)
    print(json.dumps(data, indent=2))
    if options.output:
        options.output.write_text(json.dumps(data, indent=2) + "\n")
    missed = results["augmented / not, time"]["median"] > 1.1
    if fast_bfloat16() and options.model == "resnet18":
        missed |= results["chosen / float32 planes, speed"]["median"] < 1.8
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
