"""Twins: whose random numbers they take, what differs between two shots of a picture, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fracgen import CodeBank, FractalLoader, Recipe
from fracgen.loading.twin_pictures import damage, grained, line, scattered, shoot, spot
from fracgen.loading.twins import COMMON, EACH, KINDS, TINT, WARP, TwinDraws, normal_tile, twin_draws, uniforms
from tests.fields import Fields

BANK = CodeBank.sample(6, seed=1, classes=3)
RECIPE = Recipe("small", size=32, canvas=32, points=400, mean=(0.2, 0.3, 0.4), std=(0.5, 0.6, 0.7))
TILE = torch.from_numpy(normal_tile())


def loader(**options: object) -> FractalLoader:
    given: Fields = {
        "epoch_size": 20, "batch_size": 8, "prefetch": 0, "threads": 1, "device": "cpu", "twins": True, **options,
    }  # fmt: skip
    return FractalLoader(BANK, given.pop("recipe", RECIPE), **given)


def draws(count: int, **of_damage: object) -> TwinDraws:
    drawn = twin_draws(uniforms(np.arange(count), 0, 0, 0, 2))
    changed = tuple(dataclasses.replace(its, **of_damage) for its in drawn.damage)  # type: ignore[arg-type]
    return dataclasses.replace(drawn, damage=changed)


def test_a_position_is_not_that_of_a_loader_without_twins() -> None:
    with pytest.raises(ValueError, match="twins"):
        loader(twins=False).load_state_dict(loader().state_dict())


@pytest.mark.parametrize("shots", [2, 5])
def test_a_ground_and_its_shots_take_all_their_random_numbers(shots: int) -> None:
    count = COMMON + shots * EACH
    assert not _runs_out(count)
    assert _runs_out(count - 1)
    assert _runs_out(count - shots * EACH - 1)


def _runs_out(columns: int) -> bool:
    try:
        twin_draws(np.full((1, columns), 0.5))
    except (StopIteration, RuntimeError):
        return True
    return False


def test_shape_range_and_form() -> None:
    images, labels, opacity = loader(normalize=False)[0]
    assert images.shape == (8, 2, 3, 32, 32)
    assert images.dtype == torch.float32
    assert labels.shape == (8,)
    assert opacity.shape == (8, 2, 32, 32)
    assert 0 <= images.min() < 0.3
    assert 0.7 < images.max() <= 1
    assert 0 <= opacity.min() <= opacity.max() <= 1
    assert (opacity.flatten(2).amax(2) > 0.5).sum() >= 10  # dust may miss its attractor, spots the picture
    last = loader(normalize=False, channels_last=True, dtype=torch.bfloat16)[0][0]
    assert last.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, images.bfloat16())


def test_normalisation_is_the_recipes() -> None:
    plain, normal = loader(normalize=False)[0][0], loader()[0][0]
    mean, std = (torch.tensor(v)[:, None, None] for v in (RECIPE.mean, RECIPE.std))
    assert torch.allclose(normal * std + mean, plain, atol=1e-6)


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)
def test_damage_changes_a_view_where_its_opacity_says_and_nowhere_else(kind: int) -> None:
    generator = torch.Generator().manual_seed(kind)
    view, ground, other = (torch.rand(16, 3, 48, 48, generator=generator) for _ in range(3))
    dust = (torch.rand(16, 48, 48, generator=generator) < 0.5).float()
    p = draws(16, kind=np.full(16, kind)).damage[1]
    damaged, opacity = damage(view.clone(), ground, other, dust, p, part=slice(0, 16), tile=TILE)
    differs = (damaged != view).any(1)
    assert not differs[opacity == 0].any()
    assert differs[opacity > 0].float().mean() > 0.95
    share = (opacity > 0.5).float().mean((1, 2))
    assert (share < 0.7).all()
    assert (share > 0).sum() >= 12


def test_the_strength_of_a_light_spot_follows_the_contrast_of_its_ground() -> None:
    generator = torch.Generator().manual_seed(0)
    rough = torch.rand(4, 3, 48, 48, generator=generator)
    flat = 0.5 + 0.01 * (rough - 0.5)
    p = draws(4, kind=np.full(4, KINDS.index("spot")), strength=np.full(4, 1.0)).damage[0]
    changes = []
    for view in (flat, rough):
        damaged, opacity = damage(view.clone(), view, view, rough[:, 0], p, part=slice(0, 4), tile=TILE)
        changes.append((damaged - view).amax((1, 2, 3))[opacity.amax((1, 2)) > 0.9])
    # Half of 0.05 where the ground is flat; 0.8 of a uniform number's deviation of 0.29 more where it is not.
    assert torch.allclose(changes[0], torch.full_like(changes[0], 0.025), atol=0.003)
    assert torch.allclose(changes[1], torch.full_like(changes[1], 0.5 * (0.05 + 0.8 * 0.2887)), atol=0.015)


def test_a_round_spot_and_a_straight_line_are_where_they_should_be() -> None:
    one = torch.ones(1, 1, 1)
    even = {"centre": torch.zeros(1, 2), "angle": 0 * one, "size": 0.5 * one, "rough": 0 * one,
            "field": torch.zeros(1, 2, dtype=torch.long)}  # fmt: skip
    disc = spot({**even, "form": one}, 64, TILE)[0]
    assert disc.sum().item() == pytest.approx(np.pi * 16**2, rel=0.01)
    stroke = line({**even, "form": 0 * one, "width": one / 16}, 64, TILE)[0]
    assert stroke.sum().item() == pytest.approx(32 * 4, rel=0.05)
    assert stroke[31:33, 18:46].min() == 1


def test_both_shots_see_the_same_ground() -> None:
    """Where nothing is damaged two shots of a pair are alike, and those of two pairs are not."""
    rough = dataclasses.replace(RECIPE, size=64, canvas=64)
    images, _, opacity = loader(normalize=False, recipe=rough, batch_size=20)[0]
    first, second = ((x - x.mean((1, 2), True)).flatten(1) for x in images.mean(2).unbind(1))
    sound = (opacity < 0.02).all(1).flatten(1)
    alike = _correlation(first * sound, second * sound)
    unlike = _correlation(first * sound, second.roll(1, 0) * sound)
    same = torch.from_numpy(~draws(20).scatter.chosen)
    assert 10 <= same.sum() <= 16
    assert alike[same].median() > 0.5  # on a faint ground light and noise are all there is
    assert alike[~same].abs().median() < 0.3  # two pieces of one texture
    assert unlike.abs().median() < 0.3


def test_two_pieces_of_a_texture_share_their_spectrum_and_not_their_place() -> None:
    generator = torch.Generator().manual_seed(0)
    ground = torch.rand(32, 3, 64, 64, generator=generator)
    ground = torch.nn.functional.avg_pool2d(ground, (1, 5), 1, (0, 2))  # streaks
    p = draws(32).scatter
    p = dataclasses.replace(p, cover=np.full(32, 10.0), radius=np.full(32, 0.2))
    one, two = scattered(ground, p, slice(0, 32), TILE)
    chosen = torch.from_numpy(p.chosen)
    assert 6 <= chosen.sum() <= 15
    assert torch.equal(one[~chosen], ground[~chosen])
    assert torch.equal(two[~chosen], ground[~chosen])
    for shot in (one, two):
        across, down = (shot[chosen].diff(dim=axis).abs().mean((1, 2, 3)) for axis in (3, 2))
        assert (down / across).median() > 1.8
    a, b = ((x[chosen] - x[chosen].mean((2, 3), True)) for x in (one, two))
    assert _correlation(a.flatten(1), b.flatten(1)).abs().max() < 0.3
    assert (a.std((1, 2, 3)) / b.std((1, 2, 3))).log().abs().max() < 0.7


def test_grains_are_of_one_kind_and_others_in_every_shot() -> None:
    """On an even ground a grain has one brightness but at its border, and most pixels are inside of a few."""
    u = uniforms(np.arange(8), 0, 0, 0, 3)
    p = twin_draws(u, 1.0).grains
    p = dataclasses.replace(p, wavy=np.zeros(8), contrast=np.full(8, 0.3), border=np.tile([0.0, 0.1], (8, 1)))
    ground = torch.full((8, 3, 64, 64), 0.4)
    first, second, third = grained([ground] * 3, p, slice(0, 8), TILE)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    for one, other in zip(first, second, strict=True):
        values = one[0].unique(return_counts=True)[1]
        assert 4 <= len(values) <= 600
        assert values.float().mean() > 4
        assert abs(one.mean() - other.mean()) < 0.1
    untouched = twin_draws(u, 0.0).grains
    assert all(shot is ground for shot in grained([ground] * 3, untouched, slice(0, 8), TILE))


def test_a_share_of_grains_leaves_the_other_pairs_as_they_are() -> None:
    chosen = twin_draws(uniforms(np.arange(20), 0, 0, 0, 2), 0.5).grains.chosen
    plain, some = (torch.cat([images for images, *_ in loader(grains=share)]) for share in (0.0, 0.5))
    same = (plain == some).flatten(1).all(1)
    assert 4 <= int(same.sum()) <= 16
    assert same.sum() == (~chosen).sum()
    with pytest.raises(ValueError, match="grains"):
        loader(grains=0.5).load_state_dict(loader().state_dict())


def test_a_texture_is_not_damaged_by_a_piece_of_itself_and_a_tint_is_not_shown_in_grey() -> None:
    drawn = draws(2000)
    kinds = np.stack([its.kind for its in drawn.damage])
    assert not (drawn.scatter.chosen & (kinds == WARP)).any()
    assert (kinds == WARP).any()
    tinted = (kinds == TINT).any(0)
    grey = np.ptp(drawn.colour[:, :, :3], axis=1).max(1) < 1e-9  # all channels take the same of a colour
    assert 0.15 < grey[~tinted].mean() < 0.35
    assert not grey[tinted].any()


def test_damage_counts_as_far_as_it_is_seen() -> None:
    generator = torch.Generator().manual_seed(0)
    own, partner = (torch.rand(8, 3, 48, 48, generator=generator) for _ in range(2))
    mask = torch.zeros(8, 48, 48)
    shown = []
    for strength in (0.0, 0.02, 2.0):
        p = draws(8, kind=np.full(8, KINDS.index("spot")), strength=np.full(8, strength))
        p = dataclasses.replace(p, scatter=dataclasses.replace(p.scatter, chosen=np.zeros(8, bool)))
        shown.append(shoot(own, partner, mask, mask, p, part=slice(0, 8), tile=TILE)[1])
    nothing, faint, plain = shown
    assert nothing.max() == 0
    assert 0 < faint.max() < 0.5
    assert (faint <= plain).all()
    assert (plain.amax((2, 3)) > 0.9).sum() >= 10


def _correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return found


def test_the_tile_is_normal() -> None:
    tile = normal_tile()
    assert abs(tile.mean()) < 0.01
    assert tile.std() == pytest.approx(1, abs=0.01)
    assert (np.abs(tile) > 1.96).mean() == pytest.approx(0.05, abs=0.002)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": torch.uint8}, "twins are numbers"),
        ({"recipe": dataclasses.replace(RECIPE, views=2)}, "use --views 1"),
        ({"shots": 1}, "shots 1 is out of range: use 2 to 64"),
        ({"masks": True}, "drop those"),
        ({"class_maps": True}, "drop those"),
        ({"augment": "crop"}, "drop those"),
    ],
)
def test_what_does_not_fit_is_refused(options: Fields, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loader(**options)
