"""The CPU renderer against the slow reference of `tests/reference`: every byte."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fracgen.bank import CodeBank
from fracgen.draws import Stream, philox4x32
from fracgen.presets import PRESETS, preset
from fracgen.recipe import Recipe
from fracgen.renderer import make_renderer
from tests.reference import exact

BANK = CodeBank.sample(60, seed=11, classes=12)

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


def assert_same(recipe: Recipe, bank: CodeBank, index: list[int], seed: int, epoch: int = 0, stream: int = 0) -> None:
    """Rendered and reference bytes agree; the message names the first pixel that differs."""
    found = make_renderer(bank, recipe, "cpu", threads=1).render(
        index, seed=seed, epoch=epoch, stream=stream, masks=True
    )
    size, views = recipe.size, recipe.views
    images = found.images.reshape(len(index), views, 3, size, size)
    masks = found.masks.reshape(len(index), views, size, size)
    for row, i in enumerate(index):
        image, codes, mask = exact.render_one(recipe, bank, i, seed=seed, epoch=epoch, stream=stream)
        assert found.codes[row].tolist() == codes.tolist()
        for what, got, expected in (("image", images[row], image), ("mask", masks[row], mask)):
            wrong = np.argwhere(got != expected)
            assert not len(wrong), (
                f"{recipe.name}: {what} of sample {i} (seed {seed}, epoch {epoch}) differs in {len(wrong)} bytes, "
                f"first at {wrong[0].tolist()}: {got[tuple(wrong[0])]}, not {expected[tuple(wrong[0])]}"
            )


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name: str) -> None:
    recipe = dataclasses.replace(preset(name).recipe.at_size(32), points=3000)
    assert_same(recipe, BANK, [0, 5, 77], seed=1)
    assert_same(recipe, BANK, [2**32 - 1], seed=2**64 - 1, epoch=2**32 - 1, stream=Stream.VALIDATION)


@pytest.mark.parametrize("mode", ["none", "scale", "svd", "sval", "fractaldb"])
def test_jitter_modes(mode: str) -> None:
    """Twelve codes a mode: enough that some tries are rejected and every kind of change is made."""
    recipe = dataclasses.replace(
        preset("fractaldb").recipe.at_size(16), jitter=mode, jitter_strength=0.3, points=1500, flips=False
    )  # fmt: skip
    assert_same(recipe, BANK, list(range(12)), seed=3)


@pytest.mark.parametrize("size", [8, 9, 17, 100])
def test_sizes(size: int) -> None:
    """Sizes that are no power of two, no multiple of anything, and the smallest."""
    assert_same(dataclasses.replace(preset("paper").recipe.at_size(size), points=1025), BANK, [3, 4], seed=4)


def test_a_crop_smaller_than_its_canvas() -> None:
    recipe = dataclasses.replace(preset("paper").recipe.at_size(24), canvas=55, points=4000, blur_probability=1.0)
    assert_same(recipe, BANK, [0, 1, 2], seed=5)


def test_attractors_that_stick_out_of_the_picture() -> None:
    recipe = dataclasses.replace(
        preset("two-view").recipe.at_size(24), object_size=(1.5, 4.0), objects=(1, 3), points=2000
    )  # fmt: skip
    assert_same(recipe, BANK, [0, 1], seed=6)


def test_attractors_of_a_single_pixel() -> None:
    recipe = dataclasses.replace(preset("multi-instance").recipe.at_size(16), object_size=(0.0, 0.2), points=500)
    assert_same(recipe, BANK, [0, 1], seed=7)


def _dot_bank() -> CodeBank:
    """Both maps send everything to one point, so that one cell takes every point."""
    maps = np.zeros((1, 8, 2, 3), np.float32)
    maps[0, :2, :, 2] = 0.25
    return CodeBank(maps, np.array([2], np.uint8), classes=1)


def _nearly_a_dot_bank() -> CodeBank:
    """Almost all points in one cell, the rest on the way to it: the histogram fills after one round."""
    maps = np.zeros((1, 8, 2, 3), np.float32)
    maps[0, 0] = [[0.999, 0.0, 0.5], [0.0, 0.9, 0.5]]
    maps[0, 1] = [[0.01, 0.0, 0.0], [0.0, 0.01, 0.0]]
    return CodeBank(maps, np.array([2], np.uint8), classes=1)


@pytest.mark.parametrize("make", [_dot_bank, _nearly_a_dot_bank])
def test_drawing_stops_when_a_cell_is_full(make: object) -> None:
    """The picture is that of the points drawn until then: the 16-bit counters never carry over."""
    recipe = dataclasses.replace(preset("paper").recipe.at_size(8), points=140_000, window_scale=(1.0, 4.0))
    assert_same(recipe, make(), [0], seed=8)  # type: ignore[operator]


def test_codes_that_do_not_contract_keep_their_stored_probabilities() -> None:
    maps = np.zeros((1, 8, 2, 3), np.float32)
    maps[0, 0] = [[0.2, 1.2, 0.1], [0.0, 0.3, 0.4]]
    maps[0, 1] = [[0.5, 0.0, -0.3], [0.1, 0.4, 0.2]]
    maps[0, 2] = [[0.1, 0.0, 0.9], [0.0, 0.0, -0.5]]
    p = np.zeros((1, 8), np.float32)
    p[0, :3] = 0.7, 0.1, 0.2
    bank = CodeBank(maps, np.array([3], np.uint8), 1, p, non_contractive=True)
    assert_same(dataclasses.replace(preset("paper").recipe.at_size(24), points=5000), bank, [0, 1], seed=9)


@pytest.mark.study
def test_presets_at_their_own_size() -> None:
    for name in PRESETS:
        assert_same(preset(name).recipe, BANK, [17], seed=10)
