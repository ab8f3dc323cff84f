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
from fracgen.formulas.mandelbulb.bank import VariationBank
from fracgen.order import half_bits, order_keys, permute
from fracgen.recipes.presets import PRESETS
from fracgen.recipes.recipe import Jitter, Recipe
from fracgen.rendering.cpu.renderer import CpuRenderer
from fracgen.rendering.cuda.pipeline import OutputFormat
from tests.kernels.host import WITH_KERNELS, HostBackend, HostRenderer, dots

KB = 1024
VARIATIONS = VariationBank.from_spec()
ONE, MANY = PRESETS["mandelbulb"].recipe, PRESETS["multi-mandelbulb"].recipe
ALL = dataclasses.replace(MANY, views=2, background="noise", source="bank", blur_probability=1.0)


def bank_for(name: str) -> Bank:
    return make_bank(PRESETS[name].bank.few(120), seed=5)


def check(
    host: HostRenderer, index: Sequence[int], *, seed: int = 0, epoch: int = 0, stream: int = Stream.TRAIN
) -> None:
    """Bytes of pictures, masks and codes; on failure, names the first that differs."""
    cpu = CpuRenderer(host.bank, host.recipe)
    ours, cpus = (r.render(index, masks=True, seed=seed, epoch=epoch, stream=stream).numpy() for r in (host, cpu))
    for what in ("codes", "masks", "images"):
        a, b = getattr(ours, what), getattr(cpus, what)
        assert a.shape == b.shape, what
        wrong = np.argwhere(a != b)
        first = tuple(wrong[0]) if wrong.size else ()
        assert not wrong.size, f"{what}: {len(wrong)} differ, first at {first}: kernel {a[first]}, CPU {b[first]}"


@pytest.mark.parametrize("shared_memory", [227, 64])
@pytest.mark.parametrize("name", WITH_KERNELS)
def test_every_recipe_in_shared_and_global_memory(name: str, shared_memory: int, build_folder: Path) -> None:
    recipe = PRESETS[name].recipe
    if recipe.formula == "mandelbulb":
        recipe = recipe.at_size(48)  # rays on fibers are slow; sizes are in `test_variations`
    host = HostRenderer(bank_for(name), recipe, HostBackend(build_folder), shared_memory * KB)
    check(host, [0, 1, 77, 2**32 - 1], seed=11, epoch=3)


@pytest.mark.parametrize("size", [8, 33, 100, 224, 300])
def test_sizes(size: int, build_folder: Path) -> None:
    recipe = dataclasses.replace(PRESETS["paper"].recipe.at_size(size), points=20_000)
    host = HostRenderer(bank_for("paper"), recipe, HostBackend(build_folder))
    check(host, range(6), seed=1)


def test_largest_size_takes_global_memory(build_folder: Path) -> None:
    recipe = dataclasses.replace(PRESETS["paper"].recipe.at_size(1024), points=50_000)
    host = HostRenderer(bank_for("paper"), recipe, HostBackend(build_folder))
    assert host.pipeline.layout.numbers["histogram_global"]
    check(host, [3])


@pytest.mark.parametrize("points", [1, 1023, 1024, 8192, 32 * 1024, 32 * 1024 + 1, 65_536, 97_280, 131_073])
def test_numbers_of_points(points: int, build_folder: Path) -> None:
    recipe = Recipe("points", size=64, canvas=64, points=points)
    check(HostRenderer(bank_for("paper"), recipe, HostBackend(build_folder)), range(3))


@pytest.mark.parametrize("jitter", ["none", "scale", "svd", "sval", "fractaldb"])
def test_jitters(jitter: Jitter, build_folder: Path) -> None:
    recipe = Recipe("jitter", size=32, canvas=32, points=3000, jitter=jitter, jitter_strength=0.4)
    check(HostRenderer(bank_for("paper"), recipe, HostBackend(build_folder)), range(24), seed=2)


@pytest.mark.parametrize("objects", [None, (2, 3)])
def test_a_white_background(objects: tuple[int, int] | None, build_folder: Path) -> None:
    recipe = Recipe("white", size=24, canvas=33, points=3000, background="white", objects=objects)
    check(HostRenderer(bank_for("paper"), recipe, HostBackend(build_folder)), range(6), seed=3)


@pytest.mark.parametrize("size", [48, 60])
def test_a_part_of_a_scene(size: int, build_folder: Path) -> None:
    recipe = dataclasses.replace(
        PRESETS["multi-instance"].recipe.at_size(size), scene=2 * size + 3, objects=(3, 6), views=2, points=3000
    )
    check(HostRenderer(bank_for("multi-instance"), recipe, HostBackend(build_folder)), range(12), seed=5)


@pytest.mark.parametrize("order", [1, 2])
def test_order_of_threads_does_not_matter(order: int, build_folder: Path) -> None:
    recipe = dataclasses.replace(PRESETS["multi-instance"].recipe.at_size(96), points=20_000)
    check(HostRenderer(bank_for("multi-instance"), recipe, HostBackend(build_folder, order)), range(3))
    check(HostRenderer(VARIATIONS, ONE.at_size(24), HostBackend(build_folder, order)), [9])


@pytest.mark.parametrize("threads", [
    {"attractor": 256, "noise": 128, "compose": 64},
    {"attractor": 512, "noise": 1024, "compose": 512},
])  # fmt: skip
def test_block_size_does_not_matter(threads: dict[str, int], build_folder: Path) -> None:
    recipe = dataclasses.replace(PRESETS["paper"].recipe.at_size(80), points=40_000)
    check(HostRenderer(bank_for("paper"), recipe, HostBackend(build_folder), **threads), range(3))


def test_many_codes(build_folder: Path) -> None:
    """Breadth: 300 codes of 2 to 8 maps, small pictures, the validation stream, a seed above 32 bits."""
    bank = CodeBank.sample(300, seed=9, classes=300)
    recipe = Recipe("small", size=32, canvas=32, points=4096)
    check(HostRenderer(bank, recipe, HostBackend(build_folder)), range(300), seed=2**40 + 3, stream=Stream.VALIDATION)


@pytest.mark.parametrize("shared_memory", [227, 3])
def test_counters_that_become_full(shared_memory: int, build_folder: Path) -> None:
    """Several times, in shared and in global memory; canvases of a multiple of four pixels and of others."""
    for size, points in ((40, 150_000), (41, 700_001)):
        recipe = Recipe("dots", size=size, canvas=size, points=points, jitter="none")
        check(HostRenderer(dots(), recipe, HostBackend(build_folder), shared_memory * KB), range(6))


def test_probabilities_of_their_own(build_folder: Path) -> None:
    bank = CodeBank.sample(8, seed=9, classes=8)
    own = np.roll(bank.probabilities, 3, axis=0) + np.float32(0.05)
    recipe = Recipe("own", size=32, canvas=32, points=3000)
    check(HostRenderer(CodeBank(bank.maps, bank.sizes, 8, own), recipe, HostBackend(build_folder)), range(16))


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
        *((ONE.at_size(size), [5, 600]) for size in (8, 33, 100)),
        (dataclasses.replace(ONE, background="noise", blur_probability=1.0, samples=3, size=20, canvas=27), range(4)),
        (dataclasses.replace(ONE, background="black").at_size(21), range(4)),
        (ALL.at_size(30), range(3)),
        (dataclasses.replace(ALL.at_size(30), scene=64), range(5)),
        (dataclasses.replace(ONE, samples=1).at_size(24), range(210)),
        pytest.param(ONE.at_size(8), range(1037), marks=pytest.mark.study),
        pytest.param(ONE.at_size(16), range(1037), marks=pytest.mark.study),
        pytest.param(ONE.at_size(96), range(210), marks=pytest.mark.study),
        pytest.param(ONE.at_size(512), range(0, 1037, 100), marks=pytest.mark.study),
        pytest.param(MANY.at_size(256), range(20), marks=pytest.mark.study),
    ],
)
def test_variations(recipe: Recipe, index: Sequence[int], build_folder: Path) -> None:
    """Sizes, backgrounds, blur, crop, rays, pairs, objects of any class, a part of a scene, many classes."""
    host = HostRenderer(VARIATIONS, recipe, HostBackend(build_folder))
    check(host, index, seed=2**40 + 3, epoch=7, stream=Stream.VALIDATION)


def test_every_power(build_folder: Path) -> None:
    powers = np.arange(2, 25, dtype=np.uint8)
    bank = VariationBank(powers, np.array([42, 507, 243, 168, 0], np.uint16)[np.arange(len(powers)) % 5])
    check(HostRenderer(bank, ONE.at_size(12), HostBackend(build_folder)), range(len(powers)), seed=4)


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
    for name in ("paper", "multi-formula"):
        recipe = dataclasses.replace(PRESETS[name].recipe.at_size(64), points=10_000)
        check(HostRenderer(bank_for(name), recipe, HostBackend(build_folder, sanitize=True)), range(4))
    for recipe in (ONE.at_size(24), dataclasses.replace(MANY, background="noise").at_size(24)):
        check(HostRenderer(VARIATIONS, recipe, HostBackend(build_folder, sanitize=True)), range(3))
