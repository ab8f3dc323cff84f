"""Small pictures that between them need everything a renderer does, and what it means that two renderers agree."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fracgen.draws import Stream
from fracgen.formulas.files import Bank
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.formulas.mandelbulb.bank import VariationBank
from fracgen.recipes.presets import PRESETS
from fracgen.recipes.recipe import Jitter, Recipe
from fracgen.rendering.base import Rendered
from fracgen.rendering.cpu.renderer import CpuRenderer
from tests.fields import Fields
from tests.reference import exact

CODES = CodeBank.sample(60, seed=11, classes=12)
VARIATIONS = VariationBank.from_spec()
JITTERS: tuple[Jitter, ...] = ("none", "scale", "svd", "sval", "fractaldb")


class Renders(Protocol):
    """What the CPU renderer and the kernels on a CPU have in common."""

    def render(self, index: Sequence[int], *, seed: int, epoch: int, stream: int, masks: bool) -> Rendered:
        """As `Renderer.render`."""


@dataclass(frozen=True)
class Case:
    """Samples of a recipe."""

    recipe: Recipe
    index: Sequence[int]
    seed: int = 1
    epoch: int = 0
    stream: int = 0
    bank: Bank = CODES


def _of(name: str, size: int, **changes: object) -> Recipe:
    return dataclasses.replace(PRESETS[name].recipe.at_size(size), **changes)  # type: ignore[arg-type]


def dots(number: int) -> CodeBank:
    """Each map sends everything to a point of its own: a few cells take every point."""
    maps = np.zeros((1, 8, 2, 3), np.float32)
    maps[0, :number, 0, 2] = np.arange(number)
    maps[0, :number, 1, 2] = np.arange(number) % 2
    return CodeBank(maps, np.array([max(2, number)], np.uint8), classes=1)


def nearly_a_dot() -> CodeBank:
    """Almost all points in one cell, the rest on the way to it: the histogram fills after one round."""
    maps = np.zeros((1, 8, 2, 3), np.float32)
    maps[0, 0] = [[0.999, 0.0, 0.5], [0.0, 0.9, 0.5]]
    maps[0, 1] = [[0.01, 0.0, 0.0], [0.0, 0.01, 0.0]]
    return CodeBank(maps, np.array([2], np.uint8), classes=1)


def with_probabilities(linear: list[list[float]], shares: list[float], non_contractive: bool = False) -> CodeBank:
    """One code of maps a, b, c, d, moved to (i, i / 2), with probabilities of its own."""
    maps, p = np.zeros((1, 8, 2, 3), np.float32), np.zeros((1, 8), np.float32)
    for i, numbers in enumerate(linear):
        maps[0, i, :, :2], maps[0, i, :, 2] = np.reshape(numbers, (2, 2)), (i, i / 2)
    p[0, : len(shares)] = shares
    return CodeBank(maps, np.array([len(linear)], np.uint8), 1, p, non_contractive)


LAST = ([2**32 - 1], 2**64 - 1, 2**32 - 1, int(Stream.VALIDATION))
FULL = Recipe("full", size=8, canvas=8, points=400_000, jitter="none", window_scale=(1.5, 2.0), window_shift=0.0,
              stamp=False)  # fmt: skip
"""Counters of 16 bits become full several times, and every point counts."""
OWN = {
    "singular": with_probabilities(
        [[0, 0, 0, 0.16], [0.85, 0.04, -0.04, 0.85], [0.2, -0.26, 0.23, 0.22]], [0.01, 0.85, 0.14]
    ),
    "unnormalised": with_probabilities([[0.5, 0, 0, 0.5], [0.5, 0, 0, 0.5]], [9.0, 1.0]),
    "never": with_probabilities([[0.5, 0, 0, 0.5], [0.1, 0.2, 0, 0.3], [0.3, 0, 0, 0.2]], [0.0, 0.5, 0.5]),
    "not contractive": with_probabilities(
        [[0.2, 1.2, 0, 0.3], [0.5, 0, 0.1, 0.4], [0.1, 0, 0, 0]], [0.7, 0.1, 0.2], non_contractive=True
    ),
}  # fmt: skip
"""Codes with probabilities of their own, which they keep under jitter, too: it changes the determinants that others
would take."""
SOLID, SOLIDS = (PRESETS[name].recipe for name in ("mandelbulb", "multi-mandelbulb"))
FEW = dataclasses.replace(SOLIDS, objects=(2, 3), samples=1, source="bank", blur_probability=1.0)
POWERS = np.arange(2, 25, dtype=np.uint8)
EVERY_POWER = VariationBank(POWERS, np.array([42, 507, 243, 168, 0], np.uint16)[np.arange(len(POWERS)) % 5])
"""Powers 2 to 24 on rules that between them set and clear every bit, one of them without a bounding radius."""
CASES = {
    **{name: Case(_of(name, 32, points=3000), [0, 5, 77])
       for name, preset in PRESETS.items() if preset.recipe.formula == "ifs"},
    "the last of everything": Case(_of("paper", 32, points=3000), *LAST),
    **{f"jitter {jitter}": Case(_of("fractaldb", 16, jitter=jitter, jitter_strength=0.3, points=1500, flips=False),
                                range(12), 3) for jitter in JITTERS},
    **{f"{size} px": Case(_of("paper", size, points=1025), [3, 4], 4) for size in (8, 9, 17, 100)},
    "a crop": Case(_of("paper", 24, canvas=55, points=4000, blur_probability=1.0), [0, 1, 2], 5),
    **{f"white, {objects}": Case(Recipe("white", size=16, canvas=19, points=1500, background="white", objects=objects),
                                 [0, 1, 2], 9) for objects in (None, (2, 3))},
    "sticking out": Case(_of("two-view", 24, object_size=(1.5, 4.0), objects=(1, 3), points=2000), [0, 1], 6),
    "a part of a scene": Case(_of("multi-instance", 24, scene=50, objects=(3, 5), views=2, points=1000), [0, 1, 2], 8),
    "single pixels": Case(_of("multi-instance", 16, object_size=(0.0, 0.2), points=500), [0, 1], 7),
    **{f"full counters, {name}": Case(FULL, [0, 1, 2], 8, bank=bank)
       for name, bank in {"a dot": dots(1), "three dots": dots(3), "nearly a dot": nearly_a_dot()}.items()},
    **{f"own probabilities, {name}, {jitter}": Case(_of("paper", 24, points=5000, jitter=jitter), [0, 1], 9, bank=bank)
       for name, bank in OWN.items() for jitter in JITTERS[:2]},
    "solid": Case(SOLID.at_size(16), [0, 400], bank=VARIATIONS),
    "the last solid": Case(_of("mandelbulb", 17, samples=1), *LAST, VARIATIONS),
    "solid, more rays": Case(
        _of("mandelbulb", 9, canvas=12, background="noise", blur_probability=1.0, samples=3), [7], 2, bank=VARIATIONS),
    "solid on black": Case(_of("mandelbulb", 12, background="black"), [8], 2, bank=VARIATIONS),
    "solids": Case(FEW.at_size(26), [3], 3, bank=VARIATIONS),
    "pairs of solids": Case(dataclasses.replace(FEW, background="noise", views=2).at_size(20), [3], 4, bank=VARIATIONS),
    "a part of a scene of solids": Case(
        _of("multi-mandelbulb", 18, objects=(3, 4), samples=1, background="noise", scene=40), [3, 4], 6,
        bank=VARIATIONS),
    "every power": Case(_of("mandelbulb", 8, samples=1), range(len(POWERS)), 5, bank=EVERY_POWER),
}  # fmt: skip


def check_bytes(case: Case, renderer: Renders | None = None) -> None:
    """Bytes of a renderer and of the slow reference agree, or, of a given one, with the CPU renderer's.

    Raises:
        AssertionError: they do not; the message names the first that differs.
    """
    cpu: Renders = CpuRenderer(case.bank, case.recipe, threads=1)
    key: Fields = {"seed": case.seed, "epoch": case.epoch, "stream": case.stream}
    made = (renderer or cpu).render(case.index, masks=True, **key).numpy()
    expected: dict[str, NDArray[np.integer]]
    found: dict[str, NDArray[np.integer]] = {"codes": made.codes, "masks": made.masks, "images": made.images}
    if renderer is not None:
        theirs = cpu.render(case.index, masks=True, **key).numpy()
        expected = {"codes": theirs.codes, "masks": theirs.masks, "images": theirs.images}
    else:
        samples = zip(*(exact.render_one(case.recipe, case.bank, i, **key) for i in case.index), strict=True)
        expected = {what: np.stack(parts) for what, parts in zip(("images", "codes", "masks"), samples, strict=True)}
    for what, got in found.items():
        wanted = expected[what].reshape(got.shape)
        wrong = np.argwhere(got != wanted)
        first = tuple(wrong[0]) if wrong.size else ()
        assert not wrong.size, f"{what}: {len(wrong)} differ, first at {first}: {got[first]}, not {wanted[first]}"
