"""Pictures that students and teacher see: shots of `twins`, blends of them, and noise.

Half of a batch are shots, a quarter blends of two of them in other contrasts and colours, a quarter 1/f noise, half of
it with a shot in it. What the teacher says of them is computed, so any picture will do, and the more kinds there are,
the better the student's statistics suit photographs.
"""

from __future__ import annotations

import torch
from torch import Tensor

import fracgen
from fracgen.formulas.formula import make_bank
from fracgen.training.config import named_config
from fracgen.training.losses import images_of_pairs

SIDE = 96
"""Pixels."""
BATCH = 64
"""Pictures."""


class Pictures:
    """Batches by number, each a function of (seed, number): float32 [64, 3, 96, 96] in -1 to 1."""

    def __init__(self, seed: int) -> None:
        twins = named_config("twins")
        self.seed = seed
        self._shots = fracgen.FractalLoader(
            make_bank(twins.bank, twins.bank_seed), twins.recipe, BATCH // 2, device="cpu", seed=seed,
            epoch_size=10_000_000, twins=True, prefetch=0, threads=1,
        )  # fmt: skip

    def __getitem__(self, number: int) -> Tensor:
        self._generator = torch.Generator().manual_seed((self.seed << 32) + number)
        shots = images_of_pairs(self._shots[number][0]).contiguous()
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

    def mosaics(self, number: int) -> Tensor:
        """The pictures of a batch in fours, their seams anywhere: float32 [16, 3, 192, 192] in -1 to 1."""
        shown = self[number]
        shown = shown[self._order(BATCH)].unflatten(0, (BATCH // 4, 2, 2))
        shown = shown.permute(0, 3, 1, 4, 2, 5).reshape(-1, 3, 2 * SIDE, 2 * SIDE)
        shifts = torch.randint(2 * SIDE, (len(shown), 2), generator=self._generator).tolist()
        return torch.stack([picture.roll(shift, (1, 2)) for picture, shift in zip(shown, shifts, strict=True)])

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
