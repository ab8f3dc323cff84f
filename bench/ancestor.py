"""Our own Numba port of the ancestor's algorithm: Anderson and Farrell, "Improving Fractal Pre-training"
(WACV 2022), section 3 and their public generator's default recipe.

It serves twice, as one implementation, because what makes it right for statistics does not change
what it costs:

* statistics (`tests/rendering/test_statistics.py`): the distribution that fracgen's pictures must
  have. The generator's defects are left out: rows and columns 0 are as wide as the others, the
  stamp is never empty, the blur has the probability it is given, nothing is cached or cast out of
  range.
* timing (`bench/render_cpu.py`): the generator's cost structure. Double precision, one orbit, a
  random double and a linear search of cumulative probabilities per point, an array of all
  coordinates, a pass for the extent, nine tests and increments per point for a full stamp, and
  diamond-square noise point by point with branches for the edges.

It lives in bench/ because the benchmark must run from a checkout without the tests. Images are
uint8 [size, size, 3]; randomness is NumPy's and Numba's generators, as there: seeded, but not
fracgen's contract.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fracgen.recipes.recipe import Recipe

Floats: TypeAlias = NDArray[np.float64]
Bytes: TypeAlias = NDArray[np.uint8]
Line: TypeAlias = tuple[float, float]
"""Scale and shift."""


@njit(cache=True)
def seed_numba(seed: int) -> None:
    """Seed the generator of compiled code, which is not NumPy's."""
    np.random.seed(seed)


@njit(cache=True)
def iterate(system: Floats, points: int) -> Floats:
    """The chaos game: one orbit from the fixed point of map 0; float64 [points, 2]. system: [N, 2, 3]."""
    det = system[:, 0, 0] * system[:, 1, 1] - system[:, 0, 1] * system[:, 1, 0]
    weight = np.abs(det)
    if weight.sum() == 0:
        weight[:] = 1.0
    edges = np.cumsum(weight / weight.sum())
    m = system[0]
    scale = 1.0 / (1.0 + det[0] - m[0, 0] - m[1, 1])
    x = scale * ((1.0 - m[1, 1]) * m[0, 2] + m[0, 1] * m[1, 2])
    y = scale * ((1.0 - m[0, 0]) * m[1, 2] + m[1, 0] * m[0, 2])
    result = np.empty((points, 2))
    for i in range(points):
        u = np.random.rand()
        k = 0
        while k < len(edges) - 1 and u >= edges[k]:
            k += 1
        a, b, e, c, d, f = system[k].ravel()
        x, y = a * x + b * y + e, c * x + d * y + f
        result[i] = x, y
        if not np.isfinite(x) or not np.isfinite(y):
            break
    return result


@njit(cache=True)
def extent(coordinates: Floats) -> Floats:
    """Smallest x and y, largest x and y: float64 [4]."""
    box = np.array([np.inf, np.inf, -np.inf, -np.inf])
    for i in range(len(coordinates)):
        x, y = coordinates[i]
        if x < box[0]:
            box[0] = x
        if y < box[1]:
            box[1] = y
        if x > box[2]:
            box[2] = x
        if y > box[3]:
            box[3] = y
    return box


@njit(cache=True)
def graded(coordinates: Floats, size: int, window: Floats, taps: NDArray[np.int64]) -> Floats:
    """Counts divided by the largest, float64 [size, size]: every point marks the cells `taps` [K, 2] about it."""
    image = np.zeros((size, size))
    span_x, span_y = window[2] - window[0], window[3] - window[1]
    scale_x = (size - 1) / (span_x if span_x > 0 else 1.0)
    scale_y = (size - 1) / (span_y if span_y > 0 else 1.0)
    low_x, low_y = window[0], window[1]
    for i in range(len(coordinates)):
        row = np.int64(np.floor((coordinates[i, 0] - low_x) * scale_x))
        column = np.int64(np.floor((coordinates[i, 1] - low_y) * scale_y))
        for k in range(len(taps)):
            r = row + taps[k, 0] - 1
            c = column + taps[k, 1] - 1
            if r >= 0 and r < size and c >= 0 and c < size:
                image[r, c] += 1.0
    largest = image.max()
    if largest > 0:
        image /= largest
    return image


@njit(cache=True)
def diamond_square(levels: int, decay: float) -> Floats:
    """Noise on a lattice of 2^levels + 1 that wraps at its edges, random corners: float64."""
    side = 2**levels + 1
    a = np.zeros((side, side))
    for r in (0, side - 1):
        for c in (0, side - 1):
            a[r, c] = np.random.rand()
    for level in range(1, levels + 1):
        amplitude = 0.5 * np.exp(decay * (1 - level))
        step = side // 2**level
        for i in range(1, 2**level, 2):
            for j in range(1, 2**level, 2):
                r, c = i * step, j * step
                up, down = a[r - step], a[r + step]
                mean = 0.25 * (up[c - step] + up[c + step] + down[c - step] + down[c + step])
                a[r, c] = mean + np.random.uniform(-amplitude, amplitude)
        for i in range(2**level + 1):
            r = i * step
            up = r - step if r > 0 else side - 1 - step
            down = r + step if r < side - 1 else step
            for j in range(1 - i % 2, 2**level + 1, 2):
                c = j * step
                left = c - step if c > 0 else side - 1 - step
                right = c + step if c < side - 1 else step
                mean = 0.25 * (a[up, c] + a[r, left] + a[r, right] + a[down, c])
                a[r, c] = mean + np.random.uniform(-amplitude, amplitude)
    return a


@njit(cache=True)
def hsv_to_rgb(image: Bytes) -> None:
    """8-bit HSV (2 degrees a step of hue, wrapping) to RGB bytes, rounded down as OpenCV does, in place:
    uint8 [size, size, 3]."""
    six, one, small = np.float32(6.0), np.float32(1.0), np.float32(1e-4)  # so much for float's rounding
    for r in range(image.shape[0]):
        for c in range(image.shape[1]):
            h = np.float32(image[r, c, 0]) * np.float32(1 / 30)
            v = np.float32(image[r, c, 2])
            dark = v * np.float32(image[r, c, 1]) * np.float32(1 / 255)
            for k in range(3):
                t = np.float32(5 - 2 * k) + h
                t = t - six if t >= six else t
                t = t - six if t >= six else t
                image[r, c, k] = np.uint8(v - dark * max(np.float32(0.0), min(t, np.float32(4.0) - t, one)) + small)


@njit(cache=True)
def colour_attractor(density: Floats, hue: float, saturation: int, value: int) -> Bytes:
    """HSV of densities [0, 1]: hue byte 255 density + hue, modulo 256; zero stays black."""
    image = np.zeros((*density.shape, 3), np.uint8)
    for r in range(density.shape[0]):
        for c in range(density.shape[1]):
            if density[r, c] > 0:
                image[r, c, 0] = np.uint8(int(density[r, c] * 255 + hue) & 255)
                image[r, c, 1] = saturation
                image[r, c, 2] = value
    return image


@njit(cache=True)
def colour_background(noise: Floats, size: int, hue: Line, saturation: Line, value: Line) -> Bytes:
    """HSV of noise; hue, saturation and value are (scale, shift) in bytes, the latter two clamped."""
    image = np.empty((size, size, 3), np.uint8)
    for r in range(size):
        for c in range(size):
            x = noise[r, c]
            image[r, c, 0] = np.uint8(int(np.floor(x * hue[0] + hue[1])) & 255)
            image[r, c, 1] = np.uint8(min(max(x * saturation[0] + saturation[1], 0.0), 255.0))
            image[r, c, 2] = np.uint8(min(max(x * value[0] + value[1], 0.0), 255.0))
    return image


@njit(cache=True)
def composite(attractor: Bytes, background: Bytes) -> None:
    """Overwrite the background where the attractor is not black."""
    for r in range(len(background)):
        for c in range(len(background)):
            if attractor[r, c, 0] != 0 or attractor[r, c, 1] != 0 or attractor[r, c, 2] != 0:
                background[r, c] = attractor[r, c]


@njit(cache=True)
def blur(image: Bytes, sigma: float) -> Bytes:
    """3x3 Gaussian, borders reflected without repeating the edge."""
    size = len(image)
    outer = np.float32(np.exp(-0.5 / (sigma * sigma)))
    outer = outer / (np.float32(1.0) + np.float32(2.0) * outer)
    middle = np.float32(1.0) - np.float32(2.0) * outer
    rows = np.empty(image.shape, np.float32)
    result = np.empty_like(image)
    for r in range(size):
        for c in range(size):
            before, after = abs(c - 1), c + 1 if c + 1 < size else size - 2
            for k in range(3):
                total = np.float32(image[r, before, k]) + np.float32(image[r, after, k])
                rows[r, c, k] = outer * total + middle * np.float32(image[r, c, k])
    for r in range(size):
        above, under = abs(r - 1), r + 1 if r + 1 < size else size - 2
        for c in range(size):
            for k in range(3):
                total = rows[above, c, k] + rows[under, c, k]
                result[r, c, k] = np.uint8(outer * total + middle * rows[r, c, k] + np.float32(0.5))
    return result


class Ancestor:
    """The generator of a recipe: one attractor, coloured, on noise; jitter `scale` or none.

    Its steps are methods so that each can be timed and tested; calling it makes a picture.
    """

    def __init__(self, recipe: Recipe, seed: int = 0) -> None:
        known = recipe.objects is None and recipe.canvas == recipe.size and recipe.color == "hsv"
        assert known, "the port draws one coloured attractor on its picture"
        assert recipe.jitter in ("scale", "none"), recipe.jitter
        self.recipe = recipe
        self.rng = np.random.default_rng(seed)
        seed_numba(seed)

    def jitter(self, system: Floats) -> Floats:
        """One map scaled by U(0.8, 1.1); up to four tries that keep every singular value at 1 or less."""
        for _ in range(4 if self.recipe.jitter == "scale" else 0):
            varied = system.copy()
            varied[self.rng.integers(0, len(system))] *= self.rng.uniform(0.8, 1.1)
            if np.linalg.svd(varied[:, :, :2], compute_uv=False).max() <= 1:
                return varied
        return system

    def window(self, box: Floats) -> Floats:
        """The random window over an extent: [smallest x, smallest y, largest x, largest y]."""
        size, centre = box[2:] - box[:2], (box[2:] + box[:2]) / 2
        shift = self.recipe.window_shift
        centre = centre + size * self.rng.uniform(-shift, shift, 2)
        half = size * self.rng.uniform(*self.recipe.window_scale, 2) / 2
        return np.concatenate([centre - half, centre + half])

    def density(self, coordinates: Floats, window: Floats) -> Floats:
        """Stamped densities in [0, 1]."""
        taps = np.array([[1, 1]])
        if self.recipe.stamp:
            bits = self.rng.integers(1, 512)
            taps = np.stack(np.divmod(np.flatnonzero(bits >> np.arange(9) & 1), 3), 1)
        return graded(coordinates, self.recipe.size, window, taps)

    def flip(self, image: Floats) -> Floats:
        """Transposed, flipped up-down and left-right, each with probability 1/2."""
        if self.recipe.flips:
            image = image.T if self.rng.random() < 0.5 else image
            image = image[::-1] if self.rng.random() < 0.5 else image
            image = image[:, ::-1] if self.rng.random() < 0.5 else image
        return np.ascontiguousarray(image)

    def colour(self, density: Floats) -> Bytes:
        """RGB of an attractor."""
        u = self.rng.random(3)
        image = colour_attractor(density, u[0] * 255, int((0.3 + 0.7 * u[1]) * 255), int((0.5 + 0.5 * u[2]) * 255))
        hsv_to_rgb(image)
        return image

    def noise(self) -> Floats:
        """Noise for a background, at least [size, size]."""
        return diamond_square((self.recipe.size - 1).bit_length(), self.rng.uniform(0.4, 0.8))

    def background(self) -> Bytes:
        """RGB of a background."""
        size, rng = self.recipe.size, self.rng
        if self.recipe.background == "black":
            return np.zeros((size, size, 3), np.uint8)
        hue = (rng.uniform(0.25, 1.0) * 255, rng.random() * 255)
        saturation = (rng.uniform(0.1, 0.3) * 255, rng.uniform(0.4, 0.6) * 255)
        value = (rng.uniform(0.3, 0.6) * 255, rng.uniform(0.4, 0.6) * 255)
        image = colour_background(self.noise(), size, hue, saturation, value)
        hsv_to_rgb(image)
        return image

    def finish(self, density: Floats, background: Bytes) -> Bytes:
        """Colour, overwrite, blur."""
        composite(self.colour(density), background)
        if self.rng.random() < self.recipe.blur_probability:
            background = blur(background, self.rng.uniform(*self.recipe.blur_sigma))
        return background

    def __call__(self, system: Floats) -> Bytes:
        """A picture of a code float64 [N, 2, 3]: uint8 [size, size, 3]."""
        coordinates = iterate(self.jitter(system), self.recipe.points)
        density = self.density(coordinates, self.window(extent(coordinates)))
        return self.finish(self.flip(density), self.background())
