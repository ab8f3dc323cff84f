"""Bytes to floats, by table."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fracgen import preset
from fracgen.rendering import normalize

RECIPE = dataclasses.replace(preset("paper").recipe, mean=(0.2, 0.485, 0.7), std=(0.5, 0.229, 0.31))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_entry_is_the_nearest_number(dtype: torch.dtype) -> None:
    entries = normalize.table(RECIPE, dtype)
    exact = (np.arange(256) / 255 - np.array(RECIPE.mean)[:, None]) / np.array(RECIPE.std)[:, None]
    bits = torch.int32 if dtype == torch.float32 else torch.int16
    error = np.abs(entries.double().numpy() - exact)
    for step in (-1, 1):  # no neighbour is nearer; one of 0 is no number
        neighbour = (entries.view(bits) + step).view(dtype).double().numpy()
        assert not (error > np.abs(neighbour - exact)).any()


def test_rounding_once_differs_from_rounding_twice() -> None:
    just_above_a_tie = 1 + 2.0**-8 + 2.0**-40  # float32 drops the last term and leaves a tie for bfloat16
    assert normalize.round_to_bits(np.array([just_above_a_tie]), 8)[0] == 1 + 2.0**-7
    assert torch.tensor([just_above_a_tie], dtype=torch.float64).float().bfloat16().item() == 1.0


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", [(4, 3, 8, 8), (2, 2, 3, 8, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_images_are_looked_up_channel_by_channel(
    shape: tuple[int, ...], channels_last: bool, dtype: torch.dtype
) -> None:
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    entries = normalize.table(RECIPE, dtype)
    out = normalize.convert(images, entries, channels_last=channels_last)
    assert out.dtype == dtype
    assert out.shape == images.shape
    assert out.stride()[-3] == (1 if channels_last else 64)
    for channel in range(3):
        assert torch.equal(out[..., channel, :, :], entries[channel][images[..., channel, :, :].int()])


def test_without_normalisation_bytes_become_shares_of_255() -> None:
    entries = normalize.table(RECIPE, torch.float32, normalize=False)
    assert torch.equal(entries, (torch.arange(256, dtype=torch.float64) / 255).float().expand(3, 256))


def test_other_types_are_refused() -> None:
    with pytest.raises(ValueError, match=r"dtype int8 is not one that images have: use uint8, float32, float16"):
        normalize.table(RECIPE, torch.int8)
