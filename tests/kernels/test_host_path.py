"""The CUDA renderer and the loader's CUDA side, on a machine with two GPUs that is not there: see `pretend`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fracgen import FractalLoader
from fracgen.draws import Stream
from fracgen.formulas.files import Bank
from fracgen.formulas.formula import make_bank
from fracgen.formulas.ifs import BankSpec
from fracgen.loading import prefetch
from fracgen.order import labels_of, order_keys, permute
from fracgen.recipes.presets import PRESETS
from fracgen.recipes.recipe import Recipe
from fracgen.rendering.cpu.renderer import CpuRenderer
from fracgen.rendering.cuda.renderer import CudaRenderer
from fracgen.rendering.normalize import convert, table
from fracgen.support.errors import DeviceError
from tests.fields import Fields
from tests.kernels.host import WITH_KERNELS
from tests.kernels.pretend import Machine, switched_on

INDEX = np.array([0, 5, 2**32 - 1, 77, 5], np.uint32)
KEY: Key = {"seed": 2**63 + 5, "epoch": 3, "stream": Stream.VALIDATION}
TYPES = (torch.uint8, torch.float32, torch.float16, torch.bfloat16)


class Key(TypedDict):
    """Which pictures."""

    seed: int
    epoch: int
    stream: Stream


@pytest.fixture
def machine(build_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    with switched_on(build_folder, monkeypatch) as machine:
        yield machine


def small(name: str, size: int = 32) -> Recipe:
    return dataclasses.replace(PRESETS[name].recipe.at_size(size), points=3000)


def bank_of(name: str) -> Bank:
    spec = PRESETS[name].bank.few(40)
    return make_bank(dataclasses.replace(spec, classes=8) if isinstance(spec, BankSpec) else spec, seed=1)


def on_host(tensor: torch.Tensor) -> NDArray[np.generic]:
    array: NDArray[np.generic] = tensor.cpu().contiguous().numpy()
    return array


def formats(odd: int) -> list[tuple[torch.dtype, bool]]:
    """Half of all types in either order of axes: every type, and either order for half of them."""
    return [(dtype, bool((number + odd) % 2)) for number, dtype in enumerate(TYPES)]


HALVES = [
    pytest.param(name, half, marks=() if half == number % 2 else pytest.mark.study)
    for number, name in enumerate(WITH_KERNELS)
    for half in (0, 1)
]
"""Recipes and halves of the formats: neighbours are alike, such as `paper` and `anderson2022`, and by default they
share them."""


@pytest.mark.parametrize(("name", "half"), HALVES)
def test_every_recipe_type_and_memory_format(name: str, half: int, machine: Machine) -> None:
    bank, recipe = bank_of(name), small(name)
    gpu = CudaRenderer(bank, recipe, "cuda:1")
    expected = CpuRenderer(bank, recipe).render(INDEX, masks=True, **KEY).numpy()
    for dtype, channels_last in formats(half):
        made = gpu.render(INDEX, masks=True, dtype=dtype, channels_last=channels_last, **KEY)
        assert made.images.device == torch.device("cuda:1")
        images = torch.from_numpy(expected.images)
        if dtype != torch.uint8:
            images = convert(images, table(recipe, dtype), channels_last=channels_last)
        assert torch.equal(made.images.cpu(), images), (dtype, channels_last)
        assert np.array_equal(on_host(made.masks), expected.masks)
        assert np.array_equal(on_host(made.codes), expected.codes)


def test_a_batch_in_parts(machine: Machine) -> None:
    bank, recipe = bank_of("multi-instance"), small("multi-instance")
    gpu = CudaRenderer(bank, recipe)
    whole, launches = gpu.render(INDEX, masks=True, **KEY), len(machine.launches)
    gpu.pipeline.chunk = 2
    parts = gpu.render(INDEX, masks=True, **KEY)
    assert len(machine.launches) - launches == 3 * 4
    for a, b in ((whole.images, parts.images), (whole.masks, parts.masks), (whole.codes, parts.codes)):
        assert np.array_equal(on_host(a), on_host(b))


def test_streams_in_any_order(machine: Machine) -> None:
    """Three streams render in turn; what each made is whole once it is waited for, whichever is first."""
    bank, recipe = bank_of("paper"), small("paper")
    gpu = CudaRenderer(bank, recipe)
    streams = [torch.cuda.Stream() for _ in range(3)]
    made = {}
    for turn, number in enumerate((0, 2, 1, 2, 0, 1)):
        with torch.cuda.stream(streams[number]):
            # The first float batch makes a table of values, on a stream that is not the home stream.
            made[turn, number] = gpu.render([turn], dtype=torch.bfloat16, **KEY).images
    home = gpu.render([0], dtype=torch.bfloat16, **KEY).images
    expected = convert(CpuRenderer(bank, recipe).render(range(6), **KEY).images, table(recipe, torch.bfloat16))
    for turn, number in reversed(made):
        with torch.cuda.stream(streams[number]):
            assert torch.equal(made[turn, number].cpu(), expected[turn : turn + 1])
    assert torch.equal(home.cpu(), expected[:1])


def test_order_is_the_cpus(machine: Machine) -> None:
    bank, recipe = bank_of("paper"), small("paper")
    for renderer in (CudaRenderer(bank, recipe), CpuRenderer(bank, recipe)):
        for first, count, size, stride in ((10, 20, 1000, 2), (0, 0, 5, 1), (2**32 - 9, 9, 2**32, 1)):
            indices, labels = renderer.order(first, count, size, seed=3, epoch=2, stride=stride)
            expected = permute(np.arange(count) * stride + first, size, order_keys(3, 2))
            assert np.array_equal(np.asarray(torch.as_tensor(indices).cpu()).view(np.uint32), expected)
            assert np.array_equal(np.asarray(torch.as_tensor(labels).cpu()), labels_of(expected, 8))
        for positions, message in (((5, 6, 10, 1), "position 10 is past the end"), ((0, 1, 0, 1), "make no sense")):
            with pytest.raises(ValueError, match=message):
                renderer.order(*positions[:3], stride=positions[3])


def test_too_little_memory(machine: Machine) -> None:
    gpu = CudaRenderer(bank_of("paper"), small("paper"))
    machine.free = 1 << 20
    with pytest.raises(DeviceError, match=r"out of memory: 1 of 2 MiB are free, .* use a batch of \d+ or"):
        gpu.render(range(1000))


LOADERS: list[Fields] = [
    {"batch_size": 8},
    {"batch_size": 8, "prefetch": 0},
    {"batch_size": 4, "prefetch": 3, "dtype": torch.bfloat16, "channels_last": True},
    {"batch_size": 8, "dtype": torch.float32, "normalize": False, "channels_last": True},
    {"batch_size": 8, "rank": 1, "world_size": 2, "masks": True},
    {"batch_size": 20, "recipe": "multi-instance", "masks": True},
    {"batch_size": 8, "recipe": "two-view"},
]


def pair_of_loaders(epoch_size: int = 28, **options: object) -> tuple[FractalLoader, FractalLoader]:
    """The same loader on the pretended device and on the CPU."""
    given: Fields = {"dtype": torch.uint8, "seed": 7, "epoch_size": epoch_size, **options}
    name = given.pop("recipe", "paper")
    made = [FractalLoader(bank_of(name), small(name), device=where, **given) for where in ("cuda:1", "cpu")]
    return made[0], made[1]


@pytest.mark.parametrize("together", [1, 16, 512])
@pytest.mark.parametrize("options", LOADERS, ids=str)
def test_the_loader_hands_over_what_the_cpu_makes(
    options: Fields, together: int, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fracgen.loading.loader.IMAGES_TOGETHER", together)
    gpu, cpu = pair_of_loaders(**options)
    kept = [list(gpu), list(gpu)]  # two epochs; nothing is read before all are handed over
    for epoch in kept:
        for ours, theirs in zip(epoch, cpu, strict=True):
            assert len(ours) == len(theirs)
            for a, b in zip(ours, theirs, strict=True):
                assert a.device == torch.device("cuda:1")
                assert a.stride() == b.stride()
                assert torch.equal(a.cpu(), b)


def test_the_loader_is_resumed_in_the_middle_of_what_was_rendered_together(machine: Machine) -> None:
    gpu, cpu = pair_of_loaders(batch_size=4)
    batches = iter(gpu)
    seen = [next(batches) for _ in range(3)]
    state = gpu.state_dict()
    assert state["batch"] == 3
    gpu.load_state_dict(state)
    seen += list(gpu)
    for ours, theirs in zip(seen, cpu, strict=True):
        assert torch.equal(ours[0].cpu(), theirs[0])


def test_the_host_computes_no_order_and_copies_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, _ = pair_of_loaders(batch_size=8)
    batches = iter(gpu)
    next(batches)  # the epoch's round keys are derived once

    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError("work on the host for every batch")

    monkeypatch.setattr(torch, "from_numpy", fail)
    monkeypatch.setattr("fracgen.loading.loader.permute", fail)
    monkeypatch.setattr("fracgen.rendering.cuda.renderer.order_keys", fail)
    assert len(list(batches)) == 3


@pytest.mark.parametrize(("ahead", "together"), [(1, 1), (2, 1), (1, 4), (3, 2)])
def test_the_host_does_not_run_away(ahead: int, together: int, machine: Machine) -> None:
    """A caller that queues work and never waits is held up once it is behind by what may pile up."""
    work: list[torch.cuda.Event] = []
    made: list[int] = []

    def make(batches: range) -> list[tuple[torch.Tensor, ...]]:
        made.extend(batches)
        return [(torch.zeros(1, device="cuda"),) for _ in batches]

    batches = prefetch.on_side_stream(make, range(40), ahead, prefetch.Meter(), torch.device("cuda:0"), together)
    unfinished = []
    for number, _ in enumerate(batches):
        machine.stream().queue.append(lambda: None)  # a training step that nobody waits for
        event = torch.cuda.Event()
        event.record()
        work.append(event)
        unfinished.append(sum(not event.query() for event in work))
        assert len(made) <= number + 1 + ahead + together
    assert number == 39
    assert max(unfinished) <= max(ahead, together) + 1
    assert machine.waits >= 30


def test_without_the_back_pressure_it_would_run_away(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test before this one can fail: the same caller without waits is forty steps behind."""
    monkeypatch.setattr("tests.kernels.pretend.Event.synchronize", lambda self: None)
    with pytest.raises(AssertionError):
        test_the_host_does_not_run_away(1, 1, machine)


def test_memory_of_another_stream_is_noticed(machine: Machine) -> None:
    """So is, by the machine of these tests, what `_guard` and the hand-over prevent."""
    gpu = CudaRenderer(bank_of("paper"), small("paper"))
    gpu._guard = lambda current: None  # type: ignore[method-assign]
    with torch.cuda.stream(torch.cuda.Stream()), pytest.raises(AssertionError, match="without record_stream"):
        gpu.render([0])


def test_a_missing_wait_is_noticed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.kernels.pretend.Stream.wait_event", lambda self, event: None)
    gpu, cpu = pair_of_loaders(batch_size=8)
    assert not torch.equal(next(iter(gpu))[0].cpu(), next(iter(cpu))[0])
