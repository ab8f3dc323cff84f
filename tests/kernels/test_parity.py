"""The kernels' own sources, run on a CPU, against the CPU renderer: not one byte may differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fracgen.draws import Stream
from fracgen.formulas.files import Bank
from fracgen.formulas.formula import make_bank
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.order import half_bits, order_keys, permute
from fracgen.recipes.presets import PRESETS
from fracgen.recipes.recipe import Recipe
from fracgen.rendering.cpu.renderer import CpuRenderer
from fracgen.rendering.cuda.pipeline import OutputFormat
from tests.kernels.host import WITH_KERNELS, HostBackend, HostRenderer, dots
from tests.reference.cases import CASES, SOLID, SOLIDS, VARIATIONS, Case, check_bytes

KB = 1024
ALL = dataclasses.replace(SOLIDS, views=2, background="noise", source="bank", blur_probability=1.0)


def bank_for(name: str) -> Bank:
    return make_bank(PRESETS[name].bank.few(120), seed=5)


def check(case: Case, backend: HostBackend, shared_memory: int = 227 * KB, **threads: int) -> None:
    check_bytes(case, HostRenderer(case.bank, case.recipe, backend, shared_memory, **threads))


@pytest.mark.parametrize("name", [name for name in CASES if name not in WITH_KERNELS])
def test_small_pictures_of_everything(name: str, build_folder: Path) -> None:
    check(CASES[name], HostBackend(build_folder))


@pytest.mark.parametrize("shared_memory", [227, 64])
@pytest.mark.parametrize("name", WITH_KERNELS)
def test_every_recipe_in_shared_and_global_memory(name: str, shared_memory: int, build_folder: Path) -> None:
    recipe = PRESETS[name].recipe
    if recipe.formula == "mandelbulb":
        recipe = recipe.at_size(48)  # rays on fibers are slow; sizes are in `test_variations`
    case = Case(recipe, [0, 1, 77, 2**32 - 1], 11, 3, bank=bank_for(name))
    check(case, HostBackend(build_folder), shared_memory * KB)


@pytest.mark.parametrize("size", [33, 224, 300])
def test_sizes(size: int, build_folder: Path) -> None:
    recipe = dataclasses.replace(PRESETS["paper"].recipe.at_size(size), points=20_000)
    check(Case(recipe, range(6), bank=bank_for("paper")), HostBackend(build_folder))


def test_largest_size_takes_global_memory(build_folder: Path) -> None:
    recipe = dataclasses.replace(PRESETS["paper"].recipe.at_size(1024), points=50_000)
    host = HostRenderer(bank_for("paper"), recipe, HostBackend(build_folder))
    assert host.pipeline.layout.numbers["histogram_global"]
    check_bytes(Case(recipe, [3], bank=host.bank), host)


@pytest.mark.parametrize("points", [1, 1023, 1024, 8192, 32 * 1024, 32 * 1024 + 1, 65_536, 97_280, 131_073])
def test_numbers_of_points(points: int, build_folder: Path) -> None:
    recipe = Recipe("points", size=64, canvas=64, points=points)
    check(Case(recipe, range(3), bank=bank_for("paper")), HostBackend(build_folder))


@pytest.mark.parametrize("order", [1, 2])
def test_order_of_threads_does_not_matter(order: int, build_folder: Path) -> None:
    recipe = dataclasses.replace(PRESETS["multi-instance"].recipe.at_size(96), points=20_000)
    check(Case(recipe, range(3), bank=bank_for("multi-instance")), HostBackend(build_folder, order))
    check(Case(SOLID.at_size(24), [9], bank=VARIATIONS), HostBackend(build_folder, order))


@pytest.mark.parametrize("threads", [
    {"attractor": 256, "noise": 128, "compose": 64},
    {"attractor": 512, "noise": 1024, "compose": 512},
])  # fmt: skip
def test_block_size_does_not_matter(threads: dict[str, int], build_folder: Path) -> None:
    recipe = dataclasses.replace(PRESETS["paper"].recipe.at_size(80), points=40_000)
    check(Case(recipe, range(3), bank=bank_for("paper")), HostBackend(build_folder), **threads)


def test_many_codes(build_folder: Path) -> None:
    """Breadth: 300 codes of 2 to 8 maps, small pictures, the validation stream, a seed above 32 bits."""
    bank = CodeBank.sample(300, seed=9, classes=300)
    recipe = Recipe("small", size=32, canvas=32, points=4096)
    check(Case(recipe, range(300), 2**40 + 3, stream=Stream.VALIDATION, bank=bank), HostBackend(build_folder))


@pytest.mark.parametrize("shared_memory", [227, 3])
def test_counters_that_become_full(shared_memory: int, build_folder: Path) -> None:
    """Several times, in shared and in global memory; canvases of a multiple of four pixels and of others."""
    for size, points in ((40, 150_000), (41, 700_001)):
        recipe = Recipe("dots", size=size, canvas=size, points=points, jitter="none")
        check(Case(recipe, range(6), bank=dots()), HostBackend(build_folder), shared_memory * KB)


def test_chunks_and_batches_do_not_matter(build_folder: Path) -> None:
    recipe = Recipe("small", size=32, canvas=32, points=2000)
    host = HostRenderer(bank_for("paper"), recipe, HostBackend(build_folder))
    whole = host.render(range(7)).numpy().images
    host.pipeline.chunk = 3
    assert np.array_equal(host.render(range(7)).numpy().images, whole)
    assert np.array_equal(host.render([5, 2, 2]).numpy().images, whole[[5, 2, 2]])


def test_an_empty_batch(build_folder: Path) -> None:
    host = HostRenderer(bank_for("paper"), Recipe("small", size=32, canvas=32), HostBackend(build_folder))
    assert host.render([]).numpy().images.shape == (0, 3, 32, 32)


@pytest.mark.parametrize(
    ("recipe", "index"),
    [
        (SOLID.at_size(33), [5, 600]),
        (SOLID.at_size(100), [5, 600]),
        (dataclasses.replace(ALL.at_size(30), scene=64), range(5)),
        (dataclasses.replace(SOLID, samples=1).at_size(24), range(210)),
        pytest.param(SOLID.at_size(8), range(1037), marks=pytest.mark.study),
        pytest.param(SOLID.at_size(16), range(1037), marks=pytest.mark.study),
        pytest.param(SOLID.at_size(96), range(210), marks=pytest.mark.study),
        pytest.param(SOLID.at_size(512), range(0, 1037, 100), marks=pytest.mark.study),
        pytest.param(SOLIDS.at_size(256), range(20), marks=pytest.mark.study),
    ],
)
def test_larger_solids_and_many_classes(recipe: Recipe, index: Sequence[int], build_folder: Path) -> None:
    check(Case(recipe, index, 2**40 + 3, 7, Stream.VALIDATION, VARIATIONS), HostBackend(build_folder))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("element_bytes", [1, 2, 4])
def test_output_formats(element_bytes: int, channels_last: bool, build_folder: Path) -> None:
    """Every type is a table look-up of the byte, in either order of axes."""
    recipe = Recipe("small", size=32, canvas=32, points=2000)
    host = HostRenderer(bank_for("paper"), recipe, HostBackend(build_folder))
    dtype = {1: np.uint8, 2: np.uint16, 4: np.uint32}[element_bytes]
    values = (np.arange(3)[:, None] * 1000 + np.arange(256)[None] * 7).astype(dtype)
    out = host.render(range(3), form=OutputFormat(element_bytes, channels_last), values=values).numpy().images
    bytes_ = CpuRenderer(host.bank, recipe).render(range(3)).numpy().images
    expected = bytes_ if element_bytes == 1 else np.stack([values[c][bytes_[:, c]] for c in range(3)], 1)
    assert np.array_equal(np.moveaxis(out, -1, 1) if channels_last else out, expected)


@pytest.mark.parametrize(("size", "classes"), [(1, 1), (7, 3), (1000, 10), (65_537, 100), (1_000_000, 1000)])
def test_order(size: int, classes: int, build_folder: Path) -> None:
    bank = CodeBank.sample(classes, classes=classes)
    host = HostRenderer(bank, Recipe("small", size=8, canvas=8, points=1), HostBackend(build_folder))
    count = min(size, 500)
    keys = order_keys(seed=3, epoch=4)
    indices, labels = np.zeros(count, np.uint32), np.zeros(count, np.int64)
    stride = max(1, size // count)
    host.pipeline.backend.launch(
        host.pipeline.function("order", OutputFormat()), (-(-count // 256), 1), 256, 0, np.uint64(0),
        np.uint32(stride), np.uint32(count), np.uint64(size), np.uint32(half_bits(size)), *keys, np.uint32(classes),
        indices, labels,
    )  # fmt: skip
    expected = permute(np.arange(count) * stride, size, keys)
    assert np.array_equal(indices, expected)
    assert np.array_equal(labels, expected % classes)


def test_undefined_behaviour_sanitizer(build_folder: Path) -> None:
    """Aborts the process on signed overflow, bad shifts and the like, so reaching the end is passing."""
    backend = HostBackend(build_folder, sanitize=True)
    for name in ("paper", "multi-formula"):
        recipe = dataclasses.replace(PRESETS[name].recipe.at_size(64), points=10_000)
        check(Case(recipe, range(4), bank=bank_for(name)), backend)
    for recipe in (SOLID.at_size(24), dataclasses.replace(SOLIDS, background="noise").at_size(24)):
        check(Case(recipe, range(3), bank=VARIATIONS), backend)
