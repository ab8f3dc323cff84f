"""Chunks of pictures with the teacher's components of them: uint8 [2048, 3, 96, 96], float16 [2048, C, H, W] a stage.

Half of a chunk are shots of `twins`, a quarter blends of two of them in other contrasts and colours, a quarter
1/f noise, half of it with a shot in it. What the teacher says of them is computed, so any picture will do, and the
more kinds there are, the better the student's statistics suit photographs. About 80 kB a picture.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor
from torchvision.models.feature_extraction import create_feature_extractor

import fracgen
from bench.distil import SIDE, STAGES, WIDTHS
from fracgen.formulas.formula import make_bank
from fracgen.support.files import whole_file
from fracgen.training.config import named_config
from fracgen.training.losses import images_of_pairs

CHUNK, PAIRS = 2048, 32
FIRST = 12
"""Batches of seed 0 that the components are made of; they are in no chunk."""


class Teacher:
    """The package's ResNet-18, and what its stages make of pictures."""

    def __init__(self) -> None:
        self._stages = create_feature_extractor(fracgen.pretrained("resnet18"), list(STAGES))

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> list[Tensor]:
        """Feature maps of its stages, of pictures [B, 3, H, W] in -1 to 1."""
        maps = self._stages(pictures)
        return [maps[name] for name in STAGES]


class Pictures:
    """An endless, seeded row of batches, float32 [64, 3, 96, 96] in -1 to 1."""

    def __init__(self, seed: int) -> None:
        twins = named_config("twins")
        self._shots = iter(fracgen.FractalLoader(
            make_bank(twins.bank, twins.bank_seed), twins.recipe, PAIRS, device="cpu", seed=seed, epoch_size=1_000_000,
            twins=True, prefetch=0,
        ))  # fmt: skip
        self._generator = torch.Generator().manual_seed(1000 + seed)

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield self._batch()

    def _batch(self) -> Tensor:
        shots = images_of_pairs(next(self._shots)[0]).contiguous()
        shots = shots[self._order(len(shots))]
        others, n = shots[self._order(len(shots))], len(shots) // 4
        share = self._uniform(n)
        blends = share * shots[:n] + (1 - share) * others[:n].flip(3)
        contrast = 0.4 + 1.4 * self._uniform(n)
        level = blends.mean((2, 3), keepdim=True)
        blends = ((blends - level) * contrast + level)[:, self._order(3)]
        noise = self._noise(n)
        strength = (self._uniform(n) < 0.5).float() * self._uniform(n)
        noise = noise + strength * (shots[n : 2 * n] - shots[n : 2 * n].mean((2, 3), keepdim=True))
        return torch.cat((shots[2 * n :], blends.clamp(-1, 1), noise.clamp(-1, 1)))

    def _noise(self, n: int) -> Tensor:
        """1/f^a noise, a from 0 to 2.2, stretched along an axis, from grey to colourful."""
        spectrum = torch.fft.rfft2(torch.randn(n, 3, SIDE, SIDE, generator=self._generator))
        down, across = torch.fft.fftfreq(SIDE)[:, None], torch.fft.rfftfreq(SIDE)[None]
        stretch = 2 ** (3 * self._uniform(n, 1, 1) - 1.5)
        radius = ((down * stretch) ** 2 + across**2).sqrt().clamp_min(1 / SIDE)
        exponent = 2.2 * self._uniform(n, 1, 1)
        x = torch.fft.irfft2(spectrum * (radius**-exponent)[:, None], s=(SIDE, SIDE))
        grey = self._uniform(n)
        x = grey * x.mean(1, keepdim=True) + (1 - grey) * x
        x = x / x.std((1, 2, 3), keepdim=True)
        made: Tensor = (0.1 + 0.6 * self._uniform(n)) * x + (self._uniform(n, 3, 1, 1) - 0.5)
        return made

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*(shape if len(shape) > 1 else (*shape, 1, 1, 1)), generator=self._generator)

    def _order(self, n: int) -> Tensor:
        return torch.randperm(n, generator=self._generator)


def components(teacher: Teacher, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Of batches of pictures: for every stage its mean [C] and the axes [C, K] of its K strongest principal components,
    scaled so that a component's variance is 1 in the mean over components: distances keep but for a factor a stage.
    """
    rows: list[list[Tensor]] = [[] for _ in STAGES]
    for pictures in batches:
        for row, maps in zip(rows, teacher(pictures), strict=True):
            row.append(maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1]))
    found = {}
    for name, row, width in zip(STAGES, rows, WIDTHS, strict=True):
        x = torch.cat(row)
        mean = x.mean(0)
        covariance = (x - mean).T @ (x - mean) / len(x)
        variances, axes = torch.linalg.eigh(covariance.double())
        variances, axes = variances.flip(0)[:width], axes.flip(1)[:, :width]
        print(f"{name}: {width} components hold {float(variances.sum() / covariance.trace()):.1%} of the variance")
        found[f"{name}.mean"] = mean
        found[f"{name}.axes"] = axes.float().contiguous() * float((width / variances.sum()) ** 0.5)
    return found


def main() -> None:
    """Write a seed's chunks; before them the components, unless they are there. Equal commands write equal bytes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chunks", type=int, default=14)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    teacher = Teacher()
    basis = options.output / "components.safetensors"
    if not basis.is_file():
        _write(components(teacher, islice(Pictures(0), FIRST)), basis)
    pictures = islice(Pictures(options.seed), FIRST if options.seed == 0 else 0, None)
    axes = load_file(basis)
    begin = time.perf_counter()
    for number in range(options.chunks):
        chunk: dict[str, list[Tensor]] = {"pictures": [], **{name: [] for name in STAGES}}
        for _ in range(CHUNK // (2 * PAIRS)):
            shown = (next(pictures) * 127.5 + 127.5).round().clamp(0, 255).byte()
            chunk["pictures"].append(shown)
            for name, maps in zip(STAGES, teacher(shown.float() / 127.5 - 1), strict=True):
                centred = maps - axes[f"{name}.mean"][:, None, None]
                chunk[name].append(torch.einsum("bchw,ck->bkhw", centred, axes[f"{name}.axes"]).half())
        _write({name: torch.cat(parts) for name, parts in chunk.items()},
               options.output / f"{options.seed}-{number:03}.safetensors")  # fmt: skip
        print(f"chunk {number}: {CHUNK * (number + 1) / (time.perf_counter() - begin):.0f} pictures/s", flush=True)


def _write(tensors: dict[str, Tensor], path: Path) -> None:
    with whole_file(path) as file:
        file.write(save({name: tensor.contiguous() for name, tensor in tensors.items()}))


if __name__ == "__main__":
    main()
