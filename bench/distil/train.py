"""Train an EfficientNet-Lite0 to give the teacher's components, in steps that go on where they were stopped.

First all but its last two stages, on the components of strides 4, 8 and 16; then, over the frozen and averaged rest,
the last two on those of stride 32. The head, which widens 320 channels to 1,280, keeps its random weights: only its
batch normalisation learns its statistics. What is written is the average of the weights, in half precision.
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from bench.distil import BLOCKS, SIDE, STAGES
from fracgen.networks import create
from fracgen.support.files import whole_file
from fracgen.training.loop import MovingAverage
from fracgen.weights import fault, load_plain

MODEL = "tf_efficientnet_lite0"
DECAY = 0.999
"""Of the moving averages of the weights."""
WEIGHTS = (0.3, 1.0, 1.0)
"""Of the errors at strides 4, 8 and 16. An error is mean((map - components)^2), so 1 is no better than the mean."""
FREE = ("blocks.5.", "blocks.6.", "conv_head.", "bn2.", "classifier.")
"""Parameters that the first part does not train."""


def batch(pool: list[dict[str, Tensor]], seed: int, step: int, size: int) -> dict[str, Tensor]:
    """Places of one chunk, drawn by (seed, step)."""
    draw = random.Random(f"{seed} {step}")
    chunk = pool[draw.randrange(len(pool))]
    index = torch.tensor([draw.randrange(len(chunk["pictures"])) for _ in range(size)])
    return {name: tensor[index] for name, tensor in chunk.items()}


def pictures(shown: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] as the network takes it, in -1 to 1."""
    return (shown.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def middle(network: Any, x: Tensor) -> list[Tensor]:
    """The student's maps at strides 4, 8 and 16."""
    x = network.bn1(network.conv_stem(x))
    found = []
    for number, block in enumerate(network.blocks[: BLOCKS[2] + 1]):
        x = block(x)
        if number in BLOCKS:
            found.append(x)
    return found


def rate(step: int, steps: int) -> float:
    """Share of the learning rate: a short warm-up, then 1, then down to 0 in the last 35 %."""
    return min(1.0, (step + 1) / 300, (1 - step / steps) / 0.35)


def grouped(parameters: dict[str, nn.Parameter]) -> list[dict[str, Any]]:
    """For the optimiser: no weight decay on vectors."""
    matrices = [p for p in parameters.values() if p.dim() > 1]
    vectors = [p for p in parameters.values() if p.dim() <= 1]
    return [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]


class Leg:
    """A network, its average and an optimiser, at a step; kept in one file."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.path: Path = options.output.with_suffix(".state")
        self.network = create(MODEL, 128, SIDE, 0).to(memory_format=torch.channels_last).train()
        self.average = MovingAverage(self.network, DECAY)
        body = {name: p for name, p in self.network.named_parameters() if not name.startswith(FREE)}
        self.optimizer = torch.optim.AdamW(grouped(body), options.rate, weight_decay=0.02)
        self.step = 0
        self.terms = {name: getattr(options, name) for name in ("steps", "batch", "rate", "seed")}
        if self.path.is_file():
            with self.path.open("rb") as file:
                state = load_plain(file, self.path)
            if state["terms"] != self.terms:
                raise ValueError(
                    f"{self.path} is of a leg with {state['terms']}, not {self.terms}: name another --output"
                )
            self.network.load_state_dict(state["network"])
            self.average.model.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]

    def save(self) -> None:
        """Replace the file."""
        with whole_file(self.path) as file:
            torch.save({
                "network": self.network.state_dict(), "average": self.average.model.state_dict(), "step": self.step,
                "optimizer": self.optimizer.state_dict(), "terms": self.terms,
            }, file)  # fmt: skip

    def train(self, pool: list[dict[str, Tensor]]) -> None:
        """The steps that are left of the first part."""
        o, begin, first, errors = self.options, time.perf_counter(), self.step, []
        while self.step < o.steps:
            for group in self.optimizer.param_groups:
                group["lr"] = o.rate * rate(self.step, o.steps)
            shown = batch(pool, o.seed, self.step, o.batch)
            maps = middle(self.network, pictures(shown["pictures"]))
            parts = [(m - shown[name].float()).square().mean() for m, name in zip(maps, STAGES[:3], strict=True)]
            self.optimizer.zero_grad(set_to_none=True)
            torch.stack([w * part for w, part in zip(WEIGHTS, parts, strict=True)]).sum().backward()
            self.optimizer.step()
            self.average.update(self.network, self.step)
            self.step += 1
            errors.append(torch.stack(parts).detach())
            if self.step % o.save_steps == 0 or self.step == o.steps:
                self.save()
                told = " ".join(f"{error:.3f}" for error in torch.stack(errors).mean(0).tolist())
                speed = (self.step - first) * o.batch / (time.perf_counter() - begin)
                print(f"step {self.step}: errors {told}, {speed:.0f} pictures/s", flush=True)
                errors.clear()

    def finish(self, pool: list[dict[str, Tensor]]) -> None:
        """The second part: the last two stages over the averaged rest, from their beginning."""
        o, early = self.options, self.average.model
        late: Any = copy.deepcopy(early).requires_grad_(True).train()
        average = MovingAverage(late, DECAY)
        optimizer = torch.optim.AdamW(grouped(dict(late.blocks[5:].named_parameters())), o.rate, weight_decay=0.02)
        errors = []
        for step in range(o.last_steps):
            for group in optimizer.param_groups:
                group["lr"] = o.rate * rate(step, o.last_steps)
            shown = batch(pool, o.seed + 1, step, o.batch)
            with torch.no_grad():
                x = middle(early, pictures(shown["pictures"]))[-1]
            x = late.blocks[5:](x)
            error = (x - shown[STAGES[3]].float()).square().mean()
            optimizer.zero_grad(set_to_none=True)
            error.backward()
            optimizer.step()
            with torch.no_grad():
                late.bn2(late.conv_head(x))
            average.update(late, step)
            errors.append(error.detach())
            if (step + 1) % 500 == 0:
                print(f"last stages, step {step + 1}: error {torch.stack(errors[-500:]).mean():.3f}", flush=True)
        made = average.model.state_dict().items()
        tensors = {name: value.half() if value.is_floating_point() else value
                   for name, value in made if not name.startswith("classifier.")}  # fmt: skip
        if bad := fault(tensors):
            raise ValueError(f"{bad}: train with a lower --rate")
        with whole_file(o.output) as file:
            file.write(save({name: value.contiguous() for name, value in tensors.items()}, {"format": "pt"}))
        print(o.output)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=14_000)
    parser.add_argument("--last-steps", type=int, default=2500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--save-steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(words)


def main() -> None:
    """Both parts."""
    options = arguments()
    pool = [load_file(path) for path in sorted(options.pool.glob("*-*.safetensors"))]
    if not pool:
        sys.exit(f"distil: there are no chunks in {options.pool}: make some with python -m bench.distil.pictures")
    try:
        leg = Leg(options)
        leg.train(pool)
        leg.finish(pool)
    except ValueError as error:
        sys.exit(f"distil: {error}")


if __name__ == "__main__":
    main()
