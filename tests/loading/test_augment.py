"""Augmentation: whose random numbers it takes, what it does to a picture and to its label, and what it refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fracgen import CodeBank, FractalLoader, Recipe
from fracgen.draws import Purpose, Stream
from fracgen.loading import twins
from fracgen.loading.augment import (
    AUGMENTATIONS,
    UNIFORMS,
    Augmentation,
    Partners,
    alterations,
    augmentation,
    uniforms,
)
from fracgen.loading.augment_pictures import alter, inside, mix
from tests.fields import Fields
from tests.reference.arithmetic import Draws

BANK = CodeBank.sample(6, seed=1, classes=3)
RECIPE = Recipe("small", size=24, canvas=24, points=400, mean=(0.2, 0.3, 0.4), std=(0.5, 0.6, 0.7))

ROUNDED = 2e-5
"""Coordinates are float32 numbers of up to 24 pixels: off by 24 * 2^-24 at most, a few times, times a step of 1."""


def loader(augment: Augmentation | str | None, recipe: Recipe = RECIPE, **options: object) -> FractalLoader:
    given: Fields = {"epoch_size": 20, "batch_size": 8, "prefetch": 0, "threads": 1, **options}
    return FractalLoader(BANK, recipe, device="cpu", augment=augment, **given)


def pictures(count: int = 16) -> torch.Tensor:
    numbers = np.random.default_rng(0).integers(0, 256, (count, 3, 24, 24), dtype=np.uint8)
    return torch.from_numpy(numbers)


def altered(x: torch.Tensor, **changes: object) -> torch.Tensor:
    fields: Fields = dict(changes)
    p = alterations(Augmentation(**fields), uniforms(np.arange(len(x)), 0, 0, 0))
    return alter(x, p, torch.zeros(3), torch.ones(3))


def extreme(x: torch.Tensor, end: float, **changes: object) -> torch.Tensor:
    """Altered with every random number at one end: 0 for the least of each range, 1 for the most."""
    fields: Fields = dict(changes)
    p = alterations(Augmentation(**fields), np.full((len(x), UNIFORMS), end))
    return alter(x, p, torch.zeros(3), torch.ones(3))


@pytest.mark.parametrize(
    ("drawn", "purpose"), [(uniforms, Purpose.AUGMENT), (partial(twins.uniforms, shots=3), Purpose.TWINS)]
)
@given(*[st.integers(0, 2**32 - 1)] * 2, st.sampled_from(Stream), st.lists(st.integers(0, 2**32 - 1), min_size=1))
@settings(max_examples=25)
def test_random_numbers_are_those_of_their_purpose_and_place(
    drawn: Callable[..., NDArray[np.float64]], purpose: Purpose, seed: int, epoch: int, stream: Stream,
    places: list[int],
) -> None:  # fmt: skip
    """As `fracgen.draws` says, word by word: so those of other epochs, seeds, streams and purposes differ."""
    numbers = drawn(np.array(places), seed, epoch, stream)
    number = np.arange(numbers.shape[1] // 4, dtype=np.uint64)
    for place, row in zip(places, numbers, strict=True):
        words = Draws(seed, epoch, place, stream).words(purpose, number)
        assert np.array_equal(row, np.stack(words, -1).ravel() / 2**32)


def test_the_second_view_has_numbers_of_its_own() -> None:
    assert not np.isclose(uniforms(np.arange(4), 0, 0, 0), uniforms(np.arange(4), 0, 0, 0, 1)).any()


def test_no_augmentation_is_the_picture_itself() -> None:
    plain, through = loader(None)[0], loader("none")[0]
    assert torch.allclose(plain[0], through[0], atol=1e-6)
    assert torch.equal(plain[1], through[1])


def test_flips() -> None:
    x = pictures()
    assert torch.allclose(altered(x, flip=1.0), x.flip(-1) / 255, atol=ROUNDED)
    assert torch.allclose(altered(x, flip_vertical=1.0), x.flip(-2) / 255, atol=ROUNDED)


def test_a_crop_shows_a_part_of_the_picture() -> None:
    ramp = torch.arange(24, dtype=torch.uint8)[None, None, None] * 10 + torch.zeros(500, 3, 24, 1, dtype=torch.uint8)
    shown = altered(ramp, crop=(0.25, 0.25))[:, 0]
    spans = (shown[:, 0, -1] - shown[:, 0, 0]) * 255 / 10
    # Half a side between pixels' centres; at the edge, half a pixel less, for want of a neighbour.
    assert spans.max() < 11.5 + 1e-3
    assert spans.min() > 11.0 - 1e-3
    assert shown.min() < 2 / 255
    assert shown.max() > 228 / 255  # crops reach either edge


def test_colours() -> None:
    x = pictures()
    assert torch.allclose(altered(x, invert=1.0), 1 - x / 255, atol=ROUNDED)
    grey = altered(x, gray=1.0)
    assert torch.allclose(grey[:, 0], grey[:, 1], atol=ROUNDED)
    assert torch.allclose(grey[:, 0], (x / 255 * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1), atol=1e-5)
    flat = torch.full((64, 3, 8, 8), 100, dtype=torch.uint8)
    assert torch.allclose(altered(flat, hue=0.5, saturation=1.0), flat / 255, atol=1e-5)  # grey has no hue
    brighter = altered(flat, brightness=0.4)[:, 0, 0, 0] / (100 / 255)
    assert brighter.min() > 0.6 - 1e-5
    assert brighter.max() < 1.4 + 1e-5
    assert brighter.max() - brighter.min() > 0.6
    ends = torch.tensor([0, 255], dtype=torch.uint8).expand(64, 3, 8, 2).contiguous()
    assert torch.allclose(altered(ends, tone=1.0), ends / 255, atol=1e-6)  # black and white stay
    assert set(altered(ends, solarize=1.0).unique().tolist()) == {0.0}


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_a_quarter_turn_either_way(end: float) -> None:
    x = pictures()
    turned = extreme(x, end, rotation=90.0)
    ways = [(turned - x.rot90(k, (2, 3)) / 255).abs().max() < ROUNDED for k in (1, -1)]
    assert ways == [end == 1.0, end == 0.0]


def test_a_stretched_crop_is_wider_than_high() -> None:
    ramp = torch.arange(24, dtype=torch.uint8).expand(2, 3, 24, 24) * 10
    tall = ramp.transpose(2, 3).contiguous()
    spans = [float(shown[0, 0].max() - shown[0, 0].min()) * 25.5 for shown in
             (extreme(x, 0.0, crop=(0.25, 0.25), aspect=(4.0, 4.0)) for x in (ramp, tall))]  # fmt: skip
    assert spans[0] > 3.5 * spans[1]  # the whole width, a quarter of the height


@pytest.mark.parametrize(("end", "factor"), [(0.0, 0.6), (1.0, 1.4)])
def test_contrast_and_saturation_stretch_about_their_greys(end: float, factor: float) -> None:
    x = 90 + pictures() // 4
    middle, grey = torch.tensor(0.5), (x / 255 * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, True)
    assert torch.allclose(extreme(x, end, contrast=0.4), middle + factor * (x / 255 - middle), atol=ROUNDED)
    assert torch.allclose(extreme(x, end, saturation=0.4), grey + factor * (x / 255 - grey), atol=ROUNDED)


def test_a_third_of_a_turn_in_hue_makes_red_green_or_blue() -> None:
    red = torch.tensor([255, 0, 0], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 8, 8).contiguous()
    for end, channel in ((1.0, 1), (0.0, 2)):
        turned = extreme(red, end, hue=1 / 3)
        luminance = 0.299
        assert turned.argmax(1).unique().tolist() == [channel]
        others = [c for c in range(3) if c != channel]
        assert torch.allclose(turned[:, channel], torch.tensor(luminance + 0.701), atol=ROUNDED)
        assert torch.allclose(turned[:, others], torch.tensor(0.0), atol=ROUNDED)


def test_blur_keeps_the_mean_and_flattens() -> None:
    x = pictures()
    soft = altered(x, blur=1.0, blur_sigma=(1.0, 1.0))
    assert torch.allclose(soft.mean(), (x / 255).mean(), atol=2e-3)
    assert soft.std() < 0.5 * (x / 255).std()
    flat = torch.full((4, 3, 24, 24), 77, dtype=torch.uint8)
    assert torch.allclose(altered(flat, blur=1.0), flat / 255, atol=1e-6)


def test_erasing_puts_one_colour_into_a_box() -> None:
    x = pictures(64)
    erased = altered(x, erase=1.0, erase_area=(0.1, 0.2))
    changed = (erased - x / 255).abs().amax(1) > 1e-6
    share = changed.float().mean((1, 2))
    assert 0.04 < share.min() < share.max() < 0.25
    for picture, where in zip(erased, changed, strict=True):
        rows, columns = torch.where(where)
        box = picture[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert (box == box[:, :1, :1]).all()


@pytest.mark.parametrize("way", ["mixup", "cutmix", "blend"])
def test_mixing_gives_each_label_the_weight_of_its_picture(way: str) -> None:
    x, masks = pictures().float(), (pictures()[:, 0] > 99).to(torch.uint8)
    who = Partners.of(np.arange(16), 0, 16, mixes=True)
    changes: Fields = {way: 1.0}
    p = alterations(Augmentation(**changes), uniforms(np.arange(16), 0, 0, 0))
    mixed, weights, shown = mix(x, masks if way == "blend" else None, who, p, dtype=torch.float32, channels_last=False)
    assert torch.allclose(shown.mean((1, 2, 3)), weights, atol=1e-6)
    partner = x.roll(-8, 0)
    if way == "mixup":
        assert torch.allclose(mixed, partner + shown * (x - partner), atol=1e-3)  # of values up to 255
        assert (weights >= 0.5).all()
    else:
        assert torch.equal(mixed, torch.where(shown > 0, x, partner))
    if way == "cutmix":
        assert (weights > 0.4).all()
    if way == "blend":
        assert torch.equal(shown[:, 0], masks.roll(-4, 0).float())


def test_labels_of_mixed_batches_add_up_to_one() -> None:
    images, labels = loader("full")[0]
    assert labels.shape == (8, 3)
    assert torch.allclose(labels.sum(1), torch.ones(8))
    assert (labels >= 0).all()
    assert images.shape == (8, 3, 24, 24)
    assert images.dtype == torch.float32


def test_each_way_of_mixing_is_as_frequent_as_it_should_be() -> None:
    p = alterations(AUGMENTATIONS["full"], uniforms(np.arange(20_000), 3, 0, 0))
    shares = [float((p.mix == way).mean()) for way in range(4)]
    assert shares == pytest.approx([0.2, 0.25, 0.3, 0.25], abs=0.015)  # five standard deviations


def test_maps_of_classes_go_where_their_pictures_go() -> None:
    plain, flipped = loader(None, class_maps=True)[0], loader(Augmentation(flip=1.0), class_maps=True)[0]
    assert torch.equal(plain[2].flip(-1), flipped[2])
    covered = torch.where(plain[2] > 0, plain[2] - 1, plain[1][:, None, None])
    assert torch.equal(covered, plain[1][:, None, None].expand_as(covered))
    mixed = loader(Augmentation(cutmix=1.0), class_maps=True)[0]
    present = [set(picture.unique().tolist()) - {0} for picture in mixed[2]]
    assert any(len(classes) == 2 for classes in present)


def test_pairs_are_altered_apart() -> None:
    recipe = dataclasses.replace(RECIPE, views=2)
    images, labels = loader(Augmentation(brightness=1.0), recipe)[0]
    assert images.shape == (8, 2, 3, 24, 24)
    assert labels.dtype == torch.int64
    plain = loader(None, recipe)[0][0]
    assert not torch.allclose(images[:, 0], plain[:, 0])
    whole = loader(Augmentation(brightness=1.0), recipe, rank=1, world_size=2)[0][0]
    assert torch.equal(whole, images[1::2])


@pytest.mark.parametrize("masked", [False, True])
def test_a_pool_shows_the_same_pictures_every_epoch(masked: bool) -> None:
    few = loader(None, pictures=6, class_maps=masked)
    seen: dict[bytes, int] = {}
    for _ in range(2):
        for images, labels, *_ in few:
            for image, label in zip(images, labels.tolist(), strict=True):
                assert seen.setdefault(image.numpy().tobytes(), label) == label
    assert len(seen) == 6
    first = loader(None, epoch_size=6, batch_size=6)[0][0]  # the pool is epoch 0's first pictures
    assert {image.numpy().tobytes() for image in first} == set(seen)


def test_half_precision_and_channels_last() -> None:
    plain, half = loader("full")[0][0], loader("full", dtype=torch.bfloat16, channels_last=True)[0][0]
    assert half.dtype == torch.bfloat16
    assert half.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(plain.bfloat16(), half.contiguous())


def test_a_box_covers_its_area() -> None:
    box = torch.tensor([[0.25, 0.5, 0.75, 1.0]])
    assert inside(box, (24, 24)).sum() == 12 * 12


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: augmentation("fulll"), "unknown augmentation 'fulll': use one of none, crop, full, unmixed"),
        (lambda: Augmentation(crop=(0.5, 0.2)), r"crop \(0.5, 0.2\) is not an interval"),
        (lambda: Augmentation(hue=0.7), "hue 0.7 is out of range: use a number from 0 to 0.5"),
        (lambda: Augmentation(blur=float("nan")), "blur nan is out of range"),
        (lambda: Augmentation(mixup=0.6, cutmix=0.6), "add up to more than 1"),
        (lambda: Augmentation.from_json({"crops": 1}), "unknown field 'crops' in augmentation"),
        (lambda: loader("full", dataclasses.replace(RECIPE, views=2)), "has 2 views, and pairs are not mixed"),
        (lambda: loader("full", dtype=torch.uint8), "augmented pictures are numbers"),
        (lambda: loader("full", masks=True), "ask for class_maps"),
        (lambda: loader("full").load_state_dict(loader("crop").state_dict()), "the loader's state has augmentation"),
        (lambda: loader(None).load_state_dict(loader("crop").state_dict()), "this loader has None"),
        (lambda: loader(None).load_state_dict(loader(None, pictures=6).state_dict()), "state has pictures 6"),
        (lambda: loader(None, pictures=21), "pictures 21 is out of range: use 1 to the epoch's 20"),
        (lambda: loader(None, dataclasses.replace(RECIPE, objects=(1, 2), source="bank"), class_maps=True),
         "maps of classes need one picture of one class"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(make: Callable[[], object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()
