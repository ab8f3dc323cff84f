"""The kernels of Mandelbulb variations, run on a CPU, against the CPU renderer; `test_compile.py` compiles
them for GPUs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fracgen.draws import Stream
from fracgen.formulas.mandelbulb.bank import VariationBank
from fracgen.recipes.presets import preset
from fracgen.rendering.cpu.renderer import CpuRenderer
from tests.kernels.host import HostBackend, HostRenderer

BANK = VariationBank.from_spec()
ONE, MANY = preset("mandelbulb").recipe, preset("multi-mandelbulb").recipe


def check(
    recipe: Any, index: Any, folder: Path, bank: Any = BANK, order: Any = 0, sanitize: Any = False, **key: Any
) -> None:
    """Bytes of pictures, masks and codes; on failure, names the first that differs."""
    ours = HostRenderer(bank, recipe, HostBackend(folder, order, sanitize)).render(index, masks=True, **key).numpy()
    cpu = CpuRenderer(bank, recipe).render(index, masks=True, **key).numpy()
    for what in ("codes", "masks", "images"):
        a, b = getattr(ours, what), getattr(cpu, what)
        assert a.shape == b.shape, what
        wrong = np.argwhere(a != b)
        assert not wrong.size, f"{what}: {len(wrong)} differ, first at {wrong[0].tolist()}"


def test_two_hundred_classes(build_folder: Path) -> None:
    recipe = dataclasses.replace(ONE, samples=1).at_size(24)
    check(recipe, range(210), build_folder, seed=2**40 + 3, epoch=7, stream=Stream.VALIDATION)


@pytest.mark.parametrize("size", [8, 33, 100])
def test_sizes(size: int, build_folder: Path) -> None:
    check(ONE.at_size(size), [5, 600], build_folder, seed=1)


def test_backgrounds_blur_crop_and_more_rays(build_folder: Path) -> None:
    recipe = dataclasses.replace(ONE, background="noise", blur_probability=1.0, samples=3)
    check(dataclasses.replace(recipe, size=20, canvas=27), range(4), build_folder, seed=2)
    check(dataclasses.replace(ONE, background="black").at_size(21), range(4), build_folder, seed=2)


def test_pairs_and_objects_of_any_class(build_folder: Path) -> None:
    recipe = dataclasses.replace(MANY, views=2, background="noise", source="bank", blur_probability=1.0)
    check(recipe.at_size(30), range(3), build_folder, seed=3)


def test_a_part_of_a_scene(build_folder: Path) -> None:
    recipe = dataclasses.replace(MANY, background="noise", views=2)
    check(dataclasses.replace(recipe.at_size(30), scene=64), range(5), build_folder, seed=6)


def test_every_power(build_folder: Path) -> None:
    powers = np.arange(2, 25, dtype=np.uint8)
    bank = VariationBank(powers, np.array([42, 507, 243, 168, 0], np.uint16)[np.arange(len(powers)) % 5])
    check(ONE.at_size(12), range(len(powers)), build_folder, bank, seed=4)


@pytest.mark.parametrize("order", [1, 2])
def test_order_of_threads_does_not_matter(order: Any, build_folder: Path) -> None:
    check(ONE.at_size(24), [9], build_folder, order=order)


def test_undefined_behaviour_sanitizer(build_folder: Path) -> None:
    """Aborts the process on signed overflow, bad shifts and the like, so reaching the end is passing."""
    check(ONE.at_size(24), range(3), build_folder, sanitize=True)
    check(dataclasses.replace(MANY, background="noise").at_size(24), range(2), build_folder, sanitize=True)


@pytest.mark.study
@pytest.mark.parametrize("size", [8, 16, 48, 96])
def test_every_class_at_sizes(size: int, build_folder: Path) -> None:
    check(ONE.at_size(size), range(1037 if size < 48 else 210), build_folder, seed=size)


@pytest.mark.study
def test_large_sizes(build_folder: Path) -> None:
    for size in (256, 512):
        check(ONE.at_size(size), range(0, 1037, 100), build_folder, seed=size)
    check(MANY.at_size(256), range(20), build_folder, seed=9)
