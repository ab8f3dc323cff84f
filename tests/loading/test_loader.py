"""Batches: the same for any number of ranks, any position at once, threads that go when they are done."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import re
import resource
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from fracgen import CodeBank, FractalDataset, FractalLoader, preset, render
from fracgen.draws import Stream
from fracgen.loading.share import Share
from fracgen.rendering import normalize
from tests.fields import Fields

BANK = CodeBank.sample(6, seed=3, classes=3)
RECIPE = dataclasses.replace(preset("paper").recipe.at_size(16), points=500)
PAIRS = dataclasses.replace(preset("two-view").recipe.at_size(16), points=500)
SEVERAL = dataclasses.replace(preset("multi-instance").recipe.at_size(16), points=500)


def loader(**changes: object) -> FractalLoader:
    options: Fields = {
        "recipe": RECIPE, "batch_size": 8, "device": "cpu", "seed": 7, "epoch_size": 20, "threads": 1,
        "dtype": torch.uint8, **changes,
    }  # fmt: skip
    return FractalLoader(BANK, **options)


def loader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("fracgen-loader")]


def same(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("prefetch", [0, 1, 3, 9])
def test_an_epoch_holds_every_sample_once_and_keeps_the_last_batch(prefetch: int) -> None:
    made = loader(prefetch=prefetch)
    batches = list(made)
    assert [len(images) for images, _ in batches] == [8, 8, 4]
    assert len(made) == 3
    shown = torch.cat([images for images, _ in batches])
    order = np.concatenate([loader().indices(b) for b in range(3)])
    assert sorted(order) == list(range(20))
    assert torch.equal(shown, render(BANK, RECIPE, order, seed=7, device="cpu"))
    assert torch.equal(torch.cat([labels for _, labels in batches]), torch.from_numpy(order.astype(np.int64) % 3))


KINDS: dict[str, Fields] = {
    "plain": {}, "cropped": {"augment": "crop", "class_maps": True, "dtype": torch.float32},
    "augmented": {"augment": "full", "class_maps": True, "dtype": torch.float32},
    "twins": {"twins": True, "dtype": torch.float32},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world", [2, 4])
def test_ranks_together_see_what_one_rank_sees(world: int, kind: str) -> None:
    ranks = [loader(rank=rank, world_size=world, **KINDS[kind]) for rank in range(world)]
    for batch, whole in enumerate(loader(**KINDS[kind])):
        for rank, own in enumerate(ranks):
            assert same(own[batch], [part[rank::world] for part in whole])


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_does_not_depend_on_what_was_shown_before(kind: str) -> None:
    first, second = loader(prefetch=0, **KINDS[kind]), loader(prefetch=2, **KINDS[kind])
    shown = [batch for epoch in range(2) for batch in list(first)]
    second.load_state_dict({**second.state_dict(), "epoch": 1, "batch": 1})
    assert all(same(a, b) for a, b in zip(shown[4:], second, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"world_size": 3}, r"world_size 3 does not divide every batch .*8 images, the last 4.* use 2 ranks, or a "
                            r"batch of 9 and an epoch of 21 images"),
        ({"world_size": 8}, r"use 4 ranks, or an epoch of 16 images|use 4 ranks, or an epoch of 24 images"),
        ({"world_size": 5}, r"use 4 ranks, or a batch of 10"),
        ({"batch_size": 21}, r"batch_size 21 is out of range: use a whole number from 1 to 20"),
        ({"rank": 2, "world_size": 2}, r"rank 2 of world_size 2 is out of range"),
        ({"prefetch": -1}, r"prefetch -1 is out of range"),
        ({"seed": -1}, r"seed -1 is out of range"),
        ({"recipe": "papre"}, r"unknown recipe 'papre'"),
        ({"device": "tpu"}, r"unknown device 'tpu'"),
        ({"dtype": torch.int32}, r"dtype int32 is not one that images have"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_with_a_remedy(changes: Fields, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loader(**changes)


@pytest.mark.parametrize(("batch", "epoch", "world"), [(8, 20, 3), (8, 20, 5), (7, 7, 2), (512, 1_000_000, 48)])
def test_the_sizes_proposed_are_accepted(batch: int, epoch: int, world: int) -> None:
    with pytest.raises(ValueError, match="does not divide") as caught:
        Share(epoch, batch, 0, world)
    said = str(caught.value).split("use ")[1]
    ranks = int(re.findall(r"(\d+) ranks", said)[0])
    other_batch = int((re.findall(r"a batch of (\d+)", said) or [batch])[0])
    other_epoch = int((re.findall(r"an epoch of (\d+)", said) or [epoch])[0])
    assert len(Share(epoch, batch, 0, ranks)) > 0
    assert len(Share(other_epoch, other_batch, 0, world)) > 0


def test_epochs_differ_and_repeat() -> None:
    made = loader()
    first = list(made)
    assert made.epoch == 1  # fresh images without a call of set_epoch
    second = list(made)
    assert not same(first[0], second[0])
    made.set_epoch(0)
    assert all(same(a, b) for a, b in zip(made, first, strict=True))


def test_random_access_is_what_iteration_shows() -> None:
    made, shown = loader(), list(loader())
    assert all(same(made[b], shown[b]) for b in (2, 0, 1))
    assert same(made[-1], shown[2])
    for missing in (3, -4):
        with pytest.raises(IndexError, match="an epoch has batches 0 to 2"):
            made[missing]


@pytest.mark.parametrize("taken", [1, 2, 3, 4])
@pytest.mark.parametrize("world", [1, 2])
def test_a_saved_position_continues_on_any_number_of_ranks(taken: int, world: int) -> None:
    made = loader(prefetch=2)
    everything = list(itertools.islice((batch for _ in range(3) for batch in made), 9))
    made = loader(prefetch=2)
    for _ in zip(range(taken), (batch for _ in range(3) for batch in made), strict=False):
        state = made.state_dict()
    assert all(isinstance(value, (int, str)) for value in state.values())
    rest = []
    for rank in range(world):
        other = loader(rank=rank, world_size=world)
        other.load_state_dict(state)
        rest.append([batch for _ in range(3 - taken // 3) for batch in other])
    assert len(rest[0]) == 9 - taken
    for b, (images, _) in enumerate(everything[taken:]):
        for rank in range(world):
            assert torch.equal(rest[rank][b][0], images[rank::world])


def test_breaking_off_begins_the_epoch_again() -> None:
    made = loader()
    first = next(iter(made))
    assert made.position == (0, 1)
    assert same(next(iter(made)), first)


def test_set_epoch_to_the_loaded_epoch_keeps_the_loaded_position() -> None:
    made, other = loader(), loader()
    made.set_epoch(5)
    next(iter(made))
    other.load_state_dict(made.state_dict())
    other.set_epoch(5)
    assert len(list(other)) == 2
    other.load_state_dict(made.state_dict())
    other.set_epoch(6)
    assert len(list(other)) == 3


@pytest.mark.parametrize(
    "changes",
    [{"seed": 8}, {"batch_size": 4}, {"epoch_size": 24}, {"recipe": RECIPE.at_size(8)}, {"stream": Stream.VALIDATION}],
)
def test_a_position_in_other_data_is_refused(changes: Fields) -> None:
    with pytest.raises(ValueError, match="a position continues only the data it was saved in"):
        loader(**changes).load_state_dict(loader().state_dict())


def test_a_position_with_another_bank_is_refused() -> None:
    other = FractalLoader(CodeBank.sample(6, seed=4, classes=3), RECIPE, 8, device="cpu", seed=7, epoch_size=20)
    with pytest.raises(ValueError, match=r"the loader's state has bank '.*', this loader has"):
        other.load_state_dict(loader().state_dict())


def test_going_to_a_position_renders_nothing_before_it() -> None:
    made = loader(epoch_size=1_000_000, prefetch=0)
    made.load_state_dict({**made.state_dict(), "epoch": 99, "batch": 124_000})
    next(iter(made))
    assert made.meter.batches == 1


def test_validation_shows_the_same_classes_in_other_pictures_every_epoch_again() -> None:
    made = loader(stream=Stream.VALIDATION)
    shown = list(made)
    assert all(same(a, b) for a, b in zip(made, shown, strict=True))
    trained = {image.numpy().tobytes() for epoch in range(3) for image in render(
        BANK, RECIPE, range(20), seed=7, epoch=epoch, device="cpu")}  # fmt: skip
    assert not trained & {image.numpy().tobytes() for images, _ in shown for image in images}
    assert torch.cat([labels for _, labels in shown]).bincount().tolist() == [7, 7, 6]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_types_layouts_and_normalization(dtype: torch.dtype, channels_last: bool) -> None:
    raw, _ = loader()[0]
    images, _ = loader(dtype=str(dtype).removeprefix("torch."), channels_last=channels_last)[0]
    assert images.dtype == dtype
    assert images.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    assert torch.equal(images, normalize.convert(raw, normalize.table(RECIPE, dtype)))
    plain, _ = loader(dtype=dtype, normalize=False)[0]
    assert torch.equal(plain, normalize.convert(raw, normalize.table(RECIPE, dtype, normalize=False)))
    laid, _ = loader(channels_last=True)[0]
    assert laid.stride()[1] == 1
    assert torch.equal(laid, raw)


def test_several_labels_an_image() -> None:
    made = loader(recipe=SEVERAL, epoch_size=60, batch_size=60)
    _, labels = made[0]
    codes = made._renderer.render(made.indices(0), seed=7).codes
    for present, drawn in zip(labels, codes, strict=True):
        assert set(present.nonzero()[:, 0].tolist()) == {int(code) // 2 for code in drawn if code >= 0}
    assert labels.dtype == torch.float32
    assert labels.shape == (60, 3)
    assert 1 < labels.sum(1).mean() < 3


def test_pairs() -> None:
    images, labels = loader(recipe=PAIRS, dtype=torch.float32)[0]
    assert images.shape == (8, 2, 3, 16, 16)
    assert labels.shape == (8,)
    assert not torch.equal(images[:, 0], images[:, 1])


def test_masks_come_along() -> None:
    images, labels, masks = loader(masks=True)[0]
    assert masks.shape == (8, 16, 16)
    assert masks.dtype == torch.uint8
    assert set(masks.unique().tolist()) == {0, 1}
    assert same((images, labels), loader()[0])


def test_breaking_off_leaves_no_thread_behind() -> None:
    for images, _ in loader(prefetch=3):
        assert len(images) == 8
        assert loader_threads()
        break
    gc.collect()
    assert not loader_threads()


def test_no_more_is_rendered_ahead_than_asked_for() -> None:
    made = loader(prefetch=2, epoch_size=80)
    batches = iter(made)
    next(batches)
    deadline = time.monotonic() + 20
    while made.meter.batches < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert made.meter.batches == 3
    assert made.meter.images == 24
    batches.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_error_is_raised_at_the_batch_it_concerns(prefetch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = loader(prefetch=prefetch)
    whole = made._make

    def make(epoch: int, batches: range) -> object:
        if 1 in batches:
            raise RuntimeError("the disk is on fire")
        return whole(epoch, batches)

    monkeypatch.setattr(made, "_make", make)
    batches = iter(made)
    assert len(next(batches)[0]) == 8
    with pytest.raises(RuntimeError, match="the disk is on fire"):
        next(batches)
    assert not loader_threads()


def test_dataset_holds_the_loader_s_images() -> None:
    data = FractalDataset(BANK, RECIPE, seed=7, epoch_size=20, dtype=torch.uint8)
    made = loader()
    images, labels = made[0]
    for image, label, index in zip(images, labels, made.indices(0), strict=True):
        assert torch.equal(data[int(index)][0], image)
        assert data[int(index)][1] == label
    assert len(data) == 20
    data.set_epoch(1)
    assert not torch.equal(data[0][0], render(BANK, RECIPE, [0], seed=7, device="cpu")[0])
    with pytest.raises(IndexError, match="samples 0 to 19"):
        data[20]
    assert torch.equal(made.dataset[int(made.indices(0)[0])][0], images[0])
    assert (made.batch_size, len(made.dataset)) == (8, 20)
    halved = FractalDataset(BANK, RECIPE, seed=7, epoch_size=20, dtype="uint8", transform=lambda image: image[:, :8])
    assert halved[0][0].shape == (3, 8, 16)


def test_dataset_of_several_labels_an_image() -> None:
    data, made = FractalDataset(BANK, SEVERAL, seed=7, epoch_size=20, dtype="uint8"), loader(recipe=SEVERAL)
    for row, index in enumerate(made.indices(0)):
        image, label = data[int(index)]
        assert same([image, torch.as_tensor(label)], [tensor[row] for tensor in made[0]])


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_dataset_in_a_plain_data_loader_with_workers(context: str) -> None:
    data = FractalDataset(BANK, RECIPE, seed=7, epoch_size=20)
    data[0]  # has rendered before its workers are made
    plain = list(torch.utils.data.DataLoader(data, batch_size=8))
    worked = list(torch.utils.data.DataLoader(
        data, batch_size=8, num_workers=1, multiprocessing_context=context))  # fmt: skip
    assert [len(images) for images, _ in plain] == [8, 8, 4]
    assert all(same(a, b) for a, b in zip(plain, worked, strict=True))


@pytest.mark.study
def test_memory_stays_flat_over_ten_thousand_batches() -> None:
    made = loader(epoch_size=8 * 10_000, dtype=torch.float32, prefetch=2)
    peaks = []
    for batch, _ in enumerate(made):
        if batch % 1000 == 999:
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print("peak resident MB after every 1,000 batches:", [round(peak, 1) for peak in peaks])
    assert len(peaks) == 10
    assert peaks[-1] - peaks[0] < 8
