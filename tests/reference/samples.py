"""Samples of what the renderer and the ancestor's algorithm draw, stage by stage, for statistical tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.ancestor import Ancestor, extent, iterate
from fracgen.draws import seed_key
from fracgen.formulas.ifs.attractor import attractor_stage
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.formulas.ifs.scout import scout_stage
from fracgen.formulas.ifs.stages import Attractors, IfsStages
from fracgen.recipes.recipe import Recipe
from fracgen.rendering.cpu.backdrop import backdrop_stage
from fracgen.rendering.cpu.noise import noise_stage
from fracgen.rendering.cpu.renderer import CpuRenderer
from fracgen.rendering.records import Samples

Bytes = NDArray[np.uint8]
Doubles = NDArray[np.float64]
SETTLE = 1000
"""Points after which an orbit has forgotten its start."""


class Ours:
    """The stages of the CPU renderer, run on n samples one after the other, a fault planted between if asked for."""

    def __init__(self, bank: CodeBank, recipe: Recipe, n: int, seed: int) -> None:
        self.renderer = CpuRenderer(bank, recipe, threads=1)
        self.bank, self.recipe, self.n = bank, recipe, n
        assert isinstance(self.renderer.stages, IfsStages)
        self.stages = self.renderer.stages
        self.space = self.stages.space(n)
        assert isinstance(self.space.shapes, Attractors)
        self.attractors = self.space.shapes
        low, high = (np.uint32(word) for word in seed_key(seed))
        self.samples = Samples(low, high, np.arange(n, dtype=np.uint32), np.uint32(0), np.uint32(0))

    def scout(self) -> Ours:
        """Objects, tables, starts and windows."""
        scout_stage(self.renderer.parameters, self.stages.codes, self.samples, self.space, 0, self.n)
        return self

    def windows(self) -> Doubles:
        """Windows float64 [n, 4]: smallest x and y, extent in x and y. Call after `scout`, without flips."""
        per_unit, offset = (self.attractors.windows[:, 0, 0, k::2].astype(np.float64) for k in (0, 1))
        span = (self.recipe.canvas - 1) / per_unit
        return np.concatenate([(0.5 - offset) / per_unit, span], axis=1)

    def density(self, box: Doubles | None = None, fault: Callable[[Attractors], None] | None = None) -> Bytes:
        """Densities uint8 [n, canvas, canvas], in the window `box` (smallest x and y, largest x and y) where
        one is given; `fault` changes what the scouts found."""
        self.scout()
        if box is not None:
            per_unit = (self.recipe.canvas - 1) / (box[2:] - box[:2])
            windows = self.attractors.windows
            windows[..., 0::2], windows[..., 1::2] = per_unit, 0.5 - box[:2] * per_unit
        if fault:
            fault(self.attractors)
        attractor_stage(self.renderer.parameters, self.samples, self.space, 0, self.n)
        return self.attractors.density[:, 0, 0].reshape(self.n, self.recipe.canvas, -1)

    def noise(self) -> Doubles:
        """Noise float64 [n, size, size]."""
        self.scout()
        noise_stage(self.renderer.parameters, self.samples, self.space, 0, self.n)
        return self.space.noise[:, 0, :, : self.recipe.size] / 2048.0 - 2.25

    def background(self) -> Bytes:
        """Pictures uint8 [n, 3, size, size] without any attractor."""
        self.noise()
        size = self.recipe.size
        images = np.empty((self.n, 1, 3, size, size), np.uint8)
        backdrop_stage(self.renderer.parameters, self.space, 0, self.n, images)
        return images[:, 0]


class Theirs:
    """The ancestor's algorithm on the codes that `Ours` draws: sample i has code i modulo the bank's length."""

    def __init__(self, bank: CodeBank, recipe: Recipe, n: int, seed: int) -> None:
        assert bank.classes == len(bank)
        self.systems = [bank.maps[k, : bank.sizes[k]].astype(np.float64) for k in range(len(bank))]
        self.bank, self.recipe, self.n = bank, recipe, n
        self.generator = Ancestor(recipe, seed)

    def _coordinates(self, i: int) -> Doubles:
        system = self.generator.jitter(self.systems[i % len(self.systems)])
        points: Doubles = iterate(system, self.recipe.points)
        return points

    def windows(self) -> Doubles:
        """As `Ours.windows`."""
        found = np.array([self.generator.window(extent(self._coordinates(i))) for i in range(self.n)])
        found[:, 2:] -= found[:, :2]
        return found

    def density(self, box: Doubles | None = None) -> Bytes:
        """As `Ours.density`: densities rounded up to bytes.

        In a given window the orbit's first points are left out: they remember the fixed point it
        starts from, which is a point of the attractor but may be one that it hardly ever visits.
        """
        g, result = self.generator, np.empty((self.n, self.recipe.size, self.recipe.size), np.uint8)
        for i in range(self.n):
            if box is None:
                points = self._coordinates(i)
                window = g.window(extent(points))
            else:
                points, window = iterate(self.systems[i % len(self.systems)], SETTLE + self.recipe.points)[SETTLE:], box
            result[i] = np.ceil(g.flip(g.density(points, window)) * 255 - 1e-9)
        return result

    def noise(self) -> Doubles:
        """As `Ours.noise`."""
        size = self.recipe.size
        return np.stack([self.generator.noise()[:size, :size] for _ in range(self.n)])

    def background(self) -> Bytes:
        """As `Ours.background`."""
        return np.stack([self.generator.background() for _ in range(self.n)]).transpose(0, 3, 1, 2)

    def pictures(self) -> Bytes:
        """Whole pictures uint8 [n, 3, size, size]."""
        images = [self.generator(self.systems[i % len(self.systems)]) for i in range(self.n)]
        return np.stack(images).transpose(0, 3, 1, 2)


def hsv(pixels: Bytes) -> Doubles:
    """HSV float64 [n, 3] (hue in [0, 180), others 0..255) of RGB bytes [n, 3]."""
    rgb = np.asarray(pixels, np.float64)
    value, low = rgb.max(axis=1), rgb.min(axis=1)
    span = np.maximum(value - low, 1e-9)
    r, g, b = rgb.T
    sector = np.where(value == r, (g - b) / span, np.where(value == g, 2 + (b - r) / span, 4 + (r - g) / span))
    return np.stack([sector * 30 % 180, 255 * (value - low) / np.maximum(value, 1e-9), value], 1)
