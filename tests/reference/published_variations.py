"""Mandelbulb variations as Chiche et al.'s shader marches them (RistoranteRist/MandelbulbVariationsGenerator), in
NumPy: sines and cosines, 100 iterations, steps of exactly the estimated distance, gradients by central
differences, shadow rays to the end. The scene is drawn by our numbers, so that pictures can be compared."""

from __future__ import annotations

import numpy as np

from fracgen.formulas.mandelbulb.bank import VariationBank
from fracgen.recipes.recipe import Recipe
from tests.reference import mandelbulb
from tests.reference.arithmetic import Draws
from tests.reference.samples import Bytes, Doubles

LAMP = np.array([-10.0, 10.0, 10.0])[:, None]
FAR = 1e4
"""Rays this far out are gone for good."""


def distance(power: int, rule: int, c: Doubles) -> tuple[Doubles, Doubles]:
    """Estimated distances [n] and orbit traps [3, n] of points [3, n], in double."""
    z, dr, r = c.copy(), np.ones(c.shape[1]), np.linalg.norm(c, axis=0)
    traps = np.full((3, c.shape[1]), 1e20)
    for _ in range(100):
        on = np.flatnonzero(r <= 4)
        if not len(on):
            break
        here = z[:, on]
        angles = np.arctan2(here[1], here[0]), np.arccos(np.clip(here[2] / np.maximum(r[on], 1e-30), -1, 1))
        grown = r[on] ** power
        axes = []
        for shift in (6, 3, 0):
            angle = power * angles[rule >> shift + 1 & 1]
            part = np.sin(angle) if rule >> shift + 2 & 1 else np.cos(angle)
            axes.append(-part if rule >> shift & 1 else part)
        dr[on] = np.minimum(grown * power * dr[on] + 1, 1e300)
        z[:, on] = grown * np.array(axes) + c[:, on]
        r[on] = np.linalg.norm(z[:, on], axis=0)
        sizes = np.array([np.abs(z[2, on]), np.abs(z[:, on]).sum(0) / 1.5, r[on]])
        traps[:, on] = np.minimum(traps[:, on], sizes)
    return 0.5 * np.log(np.maximum(r, 1e-300)) * r / dr, traps


def march(
    power: int, rule: int, origin: Doubles, way: Doubles, threshold: float, steps: int
) -> tuple[Doubles, Doubles]:
    """Places along rays and the traps there."""
    at, traps, on = np.zeros(way.shape[1]), np.zeros((3, way.shape[1])), np.arange(way.shape[1])
    for _ in range(steps):
        found, traps[:, on] = distance(power, rule, origin[:, on] + at[on] * way[:, on])
        going = found > threshold
        at[on[going]] += found[going]
        on = on[going & (at[on] < FAR)]
        if not len(on):
            break
    return at, traps


def gradient(power: int, rule: int, point: Doubles, step: float = 1e-3) -> Doubles:
    """Unit vectors of central differences."""
    sides = [step * np.eye(3)[:, k : k + 1] for k in range(3)]
    result = np.array([distance(power, rule, point + s)[0] - distance(power, rule, point - s)[0] for s in sides])
    unit: Doubles = result / np.maximum(np.linalg.norm(result, axis=0), 1e-300)
    return unit


def render(recipe: Recipe, bank: VariationBank, index: int, *, seed: int) -> tuple[Bytes, Bytes]:
    """The picture of a single solid on white, one ray a pixel: uint8 [3, size, size] and its mask [size, size]."""
    size, power, rule = recipe.size, int(bank.powers[index]), int(bank.rules[index])
    view = mandelbulb.draw_view(Draws(seed, 0, index), 0, 0)
    forward, up, side = (np.array(axis, np.float64)[:, None] for axis in (view.forward, view.up, view.side))
    line = (np.arange(size) + 0.5) / size - 0.5
    u, w = (x.ravel() for x in np.meshgrid(line, -line))
    way = side * u + up * w + forward
    way /= np.linalg.norm(way, axis=0)
    origin = -2.5 * forward * np.ones_like(u)
    at, traps = march(power, rule, origin, way, 1e-3, 1000)
    hits = at < 10
    point = (origin + at * way)[:, hits]
    lamp = LAMP - point
    lamp /= np.linalg.norm(lamp, axis=0)
    normal = gradient(power, rule, point)
    diffuse = 0.9 * np.maximum(-(lamp * normal).sum(axis=0), 0)
    shares = np.clip(np.array([traps[0, hits], traps[1, hits] ** 10, traps[2, hits] ** 10]), 0, 1)
    colour = np.array(view.colours, np.float64).T @ shares * (diffuse + 0.3) * (point**2).sum(axis=0)
    colour += 0.2 * (march(power, rule, point + normal * 1e-5, lamp, 1e-4, 10_000)[0] >= FAR)
    image = np.ones((3, size * size))
    image[:, hits] = np.clip(colour, 0, 1)
    return np.rint(255 * image).astype(np.uint8).reshape(3, size, size), hits.astype(np.uint8).reshape(size, size)
