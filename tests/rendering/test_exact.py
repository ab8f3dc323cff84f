"""The CPU renderer against the slow reference of `tests/reference`: every byte."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from fracgen.draws import philox4x32
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.recipes.presets import PRESETS, preset
from fracgen.recipes.recipe import Jitter
from fracgen.rendering import make_renderer
from fracgen.rendering.cpu import arithmetic
from fracgen.rendering.cpu.renderer import CpuRenderer
from fracgen.rendering.records import ObjectField
from tests.reference import code
from tests.reference.arithmetic import Draws, fma
from tests.reference.cases import CASES, CODES, JITTERS, OWN, Case, check_bytes
from tests.reference.samples import Ours

KNOWN_ANSWERS = [
    # The published answers of Random123's philox4x32 for 7 and 10 rounds.
    (7, (0, 0, 0, 0), (0, 0), (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)),
    (7, (2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662)),
    (7, (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0x4DFCCABA, 0x190A87F0, 0xC47362BA, 0xB6B5242A)),
    (10, (0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
]  # fmt: skip


@pytest.mark.parametrize(("rounds", "counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(
    rounds: int, counter: tuple[int, ...], key: tuple[int, int], answer: tuple[int, ...]
) -> None:
    assert tuple(int(word) for word in philox4x32(counter, key, rounds)) == answer


@pytest.mark.parametrize("name", CASES)
def test_every_byte_is_the_references(name: str) -> None:
    check_bytes(CASES[name])


def test_what_lies_outside_of_the_image_is_not_drawn() -> None:
    recipe = dataclasses.replace(preset("multi-formula").recipe.at_size(64), points=500)
    made = CpuRenderer(CODES, recipe, threads=1).render(range(400), masks=True).numpy()
    drawn, empty = made.codes >= 0, made.masks.reshape(400, -1).max(axis=1) == 0
    assert 3.6 < drawn.sum(axis=1).mean() < 4.2  # of 7 in the scene
    assert empty[~drawn.any(axis=1)].all()
    assert 0 < (~drawn.any(axis=1)).mean() < 0.05


def test_a_pair_has_one_stamp() -> None:
    """One point a view at the same place in it: the marks are each other's under the flips, and cover the stamp."""
    maps = np.zeros((1, 8, 2, 3), np.float32)
    bank = CodeBank(maps, np.array([2], np.uint8), classes=1)
    recipe = dataclasses.replace(
        preset("two-view").recipe.at_size(8), canvas=9, object_size=(1.125, 1.125), jitter="none", points=1,
        background="black", color="gray", blur_probability=0.0,
    )  # fmt: skip
    ours = Ours(bank, recipe, 60, 0)
    ours.density()
    drawn = ours.attractors.density[:, :, 0].reshape(60, 2, 9, 9) > 0
    flips = ours.space.objects[:, :, 0, ObjectField.FLIPS]
    for pair, (first, second) in zip(drawn, flips, strict=True):
        assert np.array_equal(_unflipped(pair[0], first), _unflipped(pair[1], second))
    assert len({drawn[k, 0].tobytes() for k in range(60)}) > 30  # of 511 stamps
    assert len(np.unique(flips)) == 8


def _unflipped(image: NDArray[np.bool_], flips: int) -> NDArray[np.bool_]:
    image = image.T if flips & 1 else image
    image = image[::-1] if flips & 2 else image
    return image[:, ::-1] if flips & 4 else image


@pytest.mark.parametrize("name", OWN)
def test_probabilities_of_ones_own_are_seen(name: str) -> None:
    bank, recipe = OWN[name], CASES["own probabilities, singular, none"].recipe
    derived = CodeBank(bank.maps, bank.sizes, bank.classes, None, bank.non_contractive)  # type: ignore[arg-type]
    images = [make_renderer(b, recipe, "cpu", threads=1).render([0]).numpy().images for b in (bank, derived)]
    assert not np.array_equal(images[0], images[1])


@pytest.mark.parametrize("mode", JITTERS[1:])
def test_tables_of_many_codes(mode: Jitter) -> None:
    """Choice, jitter with its rejected tries and the choice table, for 400 samples of a bank near the edge
    of contraction; drawing them all would take minutes."""
    maps = CODES.maps.copy()
    maps[::2, :, :, :2] *= (0.999 / np.linalg.svd(maps[::2, :, :, :2])[1].max(axis=(1, 2)))[:, None, None, None]
    bank = CodeBank(maps, CODES.sizes, 12)
    recipe = dataclasses.replace(preset("paper").recipe.at_size(8), jitter=mode, jitter_strength=0.4)
    tables = Ours(bank, recipe, 400, 21).scout().attractors.tables
    u = np.arange(65536).reshape(8, 8192)
    for i in range(400):
        draws = Draws(21, 0, i)
        k = code.choose(recipe, bank, draws, 0)
        jittered = code.jitter(recipe, bank.maps[k, : bank.sizes[k]].reshape(-1, 6), draws, 0)
        table = tables[i, 0, 0]
        assert np.array_equal(table[:6, : len(jittered)].T, np.array(jittered, np.float32)[:, [0, 1, 3, 4, 2, 5]]), i
        entry = table[6, :8].view(np.int32)[:, None]
        chosen = np.where(u << 8 <= entry, u >> 13, entry & 7)
        assert np.array_equal(chosen, code.choice(code.shares(code.weights(jittered, None)))), i


def test_fused_multiply_add() -> None:
    """Both sides' fma against exact fractions, on sums that lie just beside the middle of two floats, where
    rounding to double first would go wrong."""
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal(3000).astype(np.float32) for _ in range(3))
    # The product is 2^-24 - 2^-56: half a float's last place beside 1, less what no double beside 1 can show.
    a[:200], b[:200] = 2.0**-12 * (1 - 2.0**-16), 2.0**-12 * (1 + 2.0**-16)
    b[100:200] *= -1
    c[:200] = 1 + 2.0**-23 * np.arange(1, 201)
    fused: Any = arithmetic.fma  # takes one argument more than mypy can know: the typing context
    compiled: Any = njit(lambda a, b, c: fused(a, b, c))
    emulated = fma(a, b, c)
    plain = (a.astype(np.float64) * b + c).astype(np.float32)
    assert (plain != emulated).any(), "no case here tells a fused multiply-add from a double one"
    for i in range(len(a)):
        total = Fraction(float(a[i])) * Fraction(float(b[i])) + Fraction(float(c[i]))
        near = np.float32(float(total))
        choices = [near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))]
        even = [int(np.float32(v).view(np.int32)) & 1 for v in choices]
        best = min(zip(choices, even, strict=True), key=lambda v: (abs(Fraction(float(v[0])) - total), v[1]))[0]
        assert emulated[i] == best, (a[i], b[i], c[i])
        assert compiled(a[i], b[i], c[i]) == best, (a[i], b[i], c[i])


@pytest.mark.study
def test_presets_at_their_own_size() -> None:
    for each in PRESETS.values():
        if each.recipe.formula == "ifs":
            check_bytes(Case(each.recipe, [17], 10))
