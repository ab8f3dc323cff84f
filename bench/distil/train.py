"""Train a student of the package's ResNet-18, in steps that go on where they were stopped.

    python -m bench.distil.train vit_tiny_patch16_224 -o vit.safetensors --pool POOL

Pictures and targets are written to the pool when they are first needed, and shown again some times. What is written
is the average of the weights, in half precision. Matrices are trained by Muon (Jordan et al., 2024), scaled as AdamW's
steps are (Liu et al., 2025), all else by AdamW.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from bench.distil.pictures import Pictures
from bench.distil.students import STUDENTS, Student
from fracgen.support.files import whole_file
from fracgen.training.loop import MovingAverage
from fracgen.weights import fault, load_plain

CHUNK = 16
"""Batches of a file of the pool."""
LEAST = 64
"""Rows and columns of a matrix for Muon; vectors and small kernels are AdamW's."""


class Muon(torch.optim.Optimizer):
    """Nesterov's momentum, made orthogonal by five Newton-Schulz steps, in float32: torch's own computes in bfloat16,
    which processors without such instructions are 30 times slower at.
    """

    def __init__(self, parameters: list[nn.Parameter], rate: float) -> None:
        super().__init__(parameters, {"lr": rate, "momentum": 0.95, "weight_decay": 0.02})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one."""
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                mean = state.setdefault("momentum", torch.zeros_like(p)).lerp_(p.grad, 1 - group["momentum"])
                x = p.grad.lerp(mean, group["momentum"]).flatten(1)
                wide = x.shape[0] <= x.shape[1]
                x = (x if wide else x.T) / (x.norm() + 1e-7)
                for _ in range(5):
                    square = x @ x.T
                    x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
                scale = 0.2 * max(x.shape) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_((x if wide else x.T).reshape(p.shape), alpha=-group["lr"] * scale)


def rate(step: int, steps: int) -> float:
    """Share of the learning rate: a short warm-up, then 1, then down to 0 in the last 35 %."""
    return min(1.0, (step + 1) / min(100, steps / 20), (1 - step / steps) / 0.35)


class Pool:
    """Batches with their targets, by step. Every batch is a function of (seed, step)."""

    def __init__(self, student: Student, pictures: Pictures, folder: Path) -> None:
        self._student, self._pictures, self._folder = student, pictures, folder
        self._chunks: list[dict[str, Tensor]] = []

    def batch(self, step: int) -> tuple[Tensor, list[Tensor]]:
        """Of a step: pictures and targets; of a pool's, places of one chunk that exists at that step, at random."""
        if self._student.reuse == 1:
            shown = self._student.pictures(self._pictures, step)
            return shown, self._student.targets(shown)
        draw = random.Random(f"{self._pictures.seed} {step}")
        number = draw.randrange(1 + step // (CHUNK * self._student.reuse))
        while len(self._chunks) <= number:
            self._chunks.append(self._chunk(len(self._chunks)))
        chunk, kind = self._chunks[number], step % 2
        names = sorted(name for name in chunk if name.startswith(f"{kind}."))
        total = len(chunk[names[0]])
        index = torch.tensor([draw.randrange(total) for _ in range(total * 2 // CHUNK)])
        shown, *targets = (chunk[name][index] for name in names)
        return shown.float() / 127.5 - 1, [target.float() for target in targets]

    def _chunk(self, number: int) -> dict[str, Tensor]:
        path = self._folder / f"{self._pictures.seed}-{number:04}.safetensors"
        if not path.is_file():
            parts: dict[str, list[Tensor]] = {}
            for place in range(CHUNK * number, CHUNK * (number + 1)):
                shown = (self._student.pictures(self._pictures, place) * 127.5 + 127.5).round().clamp(0, 255).byte()
                targets = self._student.targets(shown.float() / 127.5 - 1)
                for key, tensor in enumerate((shown, *(target.half() for target in targets))):
                    parts.setdefault(f"{place % 2}.{key}", []).append(tensor)
            self._folder.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as file:
                file.write(save({name: torch.cat(tensors).contiguous() for name, tensors in parts.items()}))
        return load_file(path)


class Training:
    """A student, its average and optimisers, at a step; kept in one file."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.path = options, options.output.with_suffix(".state")
        pictures = Pictures(options.seed)
        self.student = STUDENTS[options.student](pictures, options.seed)
        self.pool = Pool(self.student, pictures, options.pool)
        self.trained = nn.ModuleList((self.student.network.train(), self.student.heads))
        self.average = MovingAverage(self.student.network, options.average)
        matrices = [p for p in self.trained.parameters() if p.dim() > 1 and min(p.flatten(1).shape) >= LEAST]
        known = {id(p) for p in matrices}
        others = [p for p in self.trained.parameters() if id(p) not in known]
        self.optimizers = (Muon(matrices, options.rate), torch.optim.AdamW(others, options.rate, weight_decay=0.0))
        self.step = 0
        self.terms = {name: getattr(options, name) for name in ("student", "rate", "average", "seed")}
        if self.path.is_file():
            self._load()

    def _parts(self) -> Iterator[tuple[str, nn.Module | torch.optim.Optimizer]]:
        yield from zip(("trained", "average", "muon", "adamw"), (self.trained, self.average.model, *self.optimizers),
                       strict=True)  # fmt: skip

    def _load(self) -> None:
        with self.path.open("rb") as file:
            state = load_plain(file, self.path)
        if state["terms"] != self.terms:
            raise ValueError(f"{self.path} has {state['terms']}, not {self.terms}: name another --output")
        for name, part in self._parts():
            part.load_state_dict(state[name])
        self.step = state["step"]

    def save(self) -> None:
        """Replace the state and the weights."""
        state = {name: part.state_dict() for name, part in self._parts()}
        with whole_file(self.path) as file:
            torch.save(state | {"step": self.step, "terms": self.terms}, file)
        made = self.average.model.state_dict().items()
        tensors = {name: value.half().contiguous() if value.is_floating_point() else value
                   for name, value in made if not name.startswith("classifier.")}  # fmt: skip
        if bad := fault(tensors):
            raise ValueError(f"{bad}: train with a lower --rate")
        with whole_file(self.options.output) as file:
            file.write(save(tensors, {"format": "pt"}))

    def train(self) -> None:
        """The steps that are left."""
        o, weights, begin = self.options, torch.tensor(list(self.student.parts.values())), time.perf_counter()
        errors: list[Tensor] = []
        while self.step < o.steps:
            for optimizer in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = o.rate * rate(self.step, o.steps)
                optimizer.zero_grad(set_to_none=True)
            parts = self.student.errors(*self.pool.batch(self.step))
            (parts * weights).sum().backward()
            for optimizer in self.optimizers:
                optimizer.step()
            self.average.update(self.student.network, self.step)
            self.step += 1
            errors.append(parts.detach())
            if self.step % o.log_steps == 0 or self.step == o.steps:
                means = torch.stack(errors).mean(0).tolist()
                told = ", ".join(f"{name} {mean:.3f}" for name, mean in zip(self.student.parts, means, strict=True))
                spent = (time.perf_counter() - begin) / len(errors)
                print(f"step {self.step}: variance not learnt: {told}; {spent:.2f} s a step", flush=True)
                errors, begin = [], time.perf_counter()
            if self.step % o.save_steps == 0 or self.step == o.steps:
                self.save()


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("student", choices=STUDENTS)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--pool", type=Path, required=True, help="Folder of pictures and targets.")
    parser.add_argument("--steps", type=int, default=3000, help="May change when the training goes on.")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--average", type=float, default=0.995, help="Decay of the average of the weights.")
    parser.add_argument("--log-steps", type=int, default=25)
    parser.add_argument("--save-steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(words)


def main() -> None:
    """Train, or go on."""
    try:
        Training(arguments()).train()
    except ValueError as error:
        sys.exit(f"distil: {error}")


if __name__ == "__main__":
    main()
