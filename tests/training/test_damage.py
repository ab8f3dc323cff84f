"""The objective `damage`: what its loss wants, what it looks at, and what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file

from fracgen import FractalLoader, make_bank
from fracgen.formulas.ifs import BankSpec
from fracgen.loading.augment import AUGMENTATIONS
from fracgen.networks import FeatureNetwork, create, stages
from fracgen.training.config import CONFIGS, Config
from fracgen.training.losses import (
    STRIDES,
    damage_loss,
    damage_score,
    distances,
    images_of_pairs,
    objective_of,
    order_loss,
    sound_and_damaged,
)  # fmt: skip
from tests.fields import Fields

from .conftest import train


def planted(times: float, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Feature maps [2, 1, 8, 8]: the second shot is 1 off, and `times` where a quarter of the picture is damaged."""
    damage = torch.zeros(1, 2, size, size)
    damage[:, 1, : size // 2, : size // 2] = 1
    second = torch.ones(1, 1, 8, 8)
    second[..., :4, :4] = times
    return torch.cat((torch.zeros(1, 1, 8, 8), second)), damage


def loss_of(maps: torch.Tensor, damage: torch.Tensor) -> float:
    """Of maps that are looked at alone."""
    return order_loss(distances(maps, damage), damage).item()


def test_the_loss_falls_as_damaged_cells_differ_more_and_is_log_2_where_they_do_not() -> None:
    # Of two shots one has no damage, and so no loss.
    losses = [2 * loss_of(*planted(times)) for times in (0.5, 1.0, 2.0, 8.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[1] == pytest.approx(torch.log(torch.tensor(2.0)).item(), abs=1e-6)
    # Squared distances of 64 and 1, with 5 % of a sound one's added, at temperature 0.5.
    expected = torch.nn.functional.softplus(torch.tensor(1.05 / 64.05).log() / 0.5).item()
    assert losses[3] == pytest.approx(expected, rel=1e-4)


def test_nothing_is_gained_by_the_scale_of_features() -> None:
    maps, damage = planted(2.0)
    assert loss_of(1000 * maps, damage) == pytest.approx(loss_of(maps, damage), rel=1e-5)


def test_the_sound_cell_that_is_furthest_counts_most() -> None:
    """One of squared distance 9 counts 81 times, the 47 others, of 1, once."""
    _, damage = planted(1.0)
    distance = torch.ones(1, 2, 8, 8)
    distance[:, :, :4, :4] = 3
    even = 2 * order_loss(distance, damage).item()
    distance[:, :, 7, 7] = 9
    usual, weight = (47 + 9) / 48, 81 / (47 + 81)
    sound, off = (torch.tensor([9.0, 1.0, 3.0]) + 0.05 * usual).log().split([2, 1])
    expected = torch.nn.functional.softplus((sound - off) / 0.5)
    assert 2 * order_loss(distance, damage).item() == pytest.approx(
        (weight * expected[0] + (1 - weight) * expected[1]).item(), rel=1e-4
    )
    assert even < expected[0]


def test_a_pair_without_damage_has_no_loss_and_a_finite_gradient() -> None:
    maps, nothing = torch.randn(2, 3, 8, 8, requires_grad=True), torch.zeros(1, 2, 32, 32)
    loss = order_loss(distances(maps, nothing), nothing)
    loss.backward()
    assert loss.item() == 0
    assert maps.grad is not None
    assert torch.isfinite(maps.grad).all()
    same, damage = torch.zeros(2, 3, 8, 8, requires_grad=True), planted(1)[1]
    order_loss(distances(same, damage), damage).backward()
    assert same.grad is not None
    assert torch.isfinite(same.grad).all()


def test_cells_that_are_damaged_a_little_do_not_count() -> None:
    damage = torch.zeros(1, 1, 8, 8)
    damage[0, 0, 0, 0], damage[0, 0, 4, 4] = 1, 0.1  # a quarter of a 2 x 2 cell, a fortieth of another
    sound, damaged = (x.reshape(4, 4) for x in sound_and_damaged(damage, 4, 4))
    assert damaged[0, 0] == 0.75
    assert (damaged > 0).sum() == 1
    assert sound[0, 0] == sound[2, 2] == 0
    assert sound.sum() == 14


def test_a_score_is_the_squared_distance_to_the_nearest_sound_patch_of_the_other_shots() -> None:
    maps = torch.randn(9, 8, 5, 7, generator=torch.Generator().manual_seed(0))
    damage = torch.zeros(3, 3, 5, 7)
    damage[:, 1, 2, 3] = 1
    found = distances(maps, damage)
    cells = maps.flatten(2).transpose(1, 2).unflatten(0, (3, 3))  # [shots, B, 35, 8]
    sound = [cells[0], torch.cat((cells[1][:, :17], cells[1][:, 18:]), 1), cells[2]]
    for shot in range(3):
        memory = torch.cat([sound[other] for other in range(3) if other != shot], 1)
        nearest = torch.cdist(cells[shot], memory).amin(2).square().reshape(3, 5, 7)
        torch.testing.assert_close(found[:, shot], nearest, rtol=1e-4, atol=1e-4)
    moved = torch.cat((maps[:3], maps[:3].roll((2, 3), (2, 3))))
    assert distances(moved, torch.zeros(3, 2, 5, 7)).max() < 1e-4


def test_large_maps_are_compared_on_a_coarser_grid() -> None:
    damage = torch.zeros(2, 2, 56, 56)
    assert distances(torch.randn(4, 2, 56, 56), damage).shape == (2, 2, 14, 14)
    assert distances(torch.randn(4, 2, 12, 12), damage).shape == (2, 2, 12, 12)


def test_the_score_is_that_of_the_middle_maps_and_the_loss_is_of_each_map_as_well() -> None:
    first = torch.zeros(2, 128, 8, 8)
    second = torch.ones(2, 128, 8, 8)
    second[0, :, :4, :4], second[1, :, :4, :4] = 2, 0.5
    silent, pairs = torch.zeros(4, 1, 4, 4), torch.cat((first, second))
    damage, outputs = planted(1)[1].expand(2, -1, -1, -1), torch.zeros(4, 1)
    right, wrong = (2 * damage_score(outputs, [silent, pairs, silent, silent], damage)).tolist()
    assert right > 0.9  # cells at the edge see both sides
    assert wrong < 0.1
    without = damage_loss(outputs, [silent, pairs, silent, silent], damage)
    shown = damage_loss(outputs, [pairs, pairs, silent, silent], damage)
    alone = loss_of(pairs, damage) - loss_of(silent, damage)
    assert (shown - without).item() == pytest.approx(0.25 * alone, rel=1e-4)


SMALL: Config = dataclasses.replace(
    CONFIGS["twins"], recipe=CONFIGS["twins"].recipe.at_size(32), bank=BankSpec(20, 20), epochs=1, epoch_size=512,
    batch_size=8, validation_size=64, ema=0.9,
)  # fmt: skip


def test_a_few_steps_learn_a_batch_by_heart() -> None:
    config = SMALL
    bank = make_bank(config.bank, 0)
    images, _, damage = FractalLoader(bank, config.recipe, 8, device="cpu", epoch_size=8, twins=True, threads=1)[0]
    objective, model = objective_of(config, bank), torchvision.models.resnet18(weights=None)
    network = FeatureNetwork(model, stages(model, config.recipe.size, objective.strides))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    strength = damage.amax((1, 2, 3))
    seen = damage.amax((2, 3)).amin(1) > 0.9  # of a shot whose damage cannot be seen no cells can be in order
    assert 3 <= seen.sum() < 8
    outputs, maps = network(images_of_pairs(images))
    assert not objective.score(outputs, maps, damage)[strength < 0.02].any()
    shares = []
    for _ in range(20):
        outputs, maps = network(images_of_pairs(images))
        shares.append(objective.score(outputs, maps, damage)[seen].mean().item())
        loss = objective.loss(outputs, maps, damage)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert 0.4 < shares[0] < 0.8
    assert shares[-1] > 0.97


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augmentation": AUGMENTATIONS["crop"]}, "use --augment none"),
        ({"label_smoothing": 0.1}, "no meaning"),
        ({"recipe": dataclasses.replace(CONFIGS["twins"].recipe, views=2)}, "views"),
    ],
)
def test_what_does_not_fit_is_refused(changes: Fields, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIGS["twins"], **changes)


def test_what_lies_behind_the_last_map_keeps_its_first_weights(tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, epoch_size=16, validation_size=0, model="tf_efficientnet_lite0", ema=0.0)
    run = train(config, tmp_path / "run")
    fresh = create(config.model, 128, 32, config.seed)
    made = load_file(run.export / "model.safetensors")
    for name, value in fresh.named_parameters():
        behind = name.startswith(("conv_head.", "bn2.", "classifier."))
        assert torch.equal(value, made[name]) or not behind, name
        assert not torch.equal(value, made[name]) or behind or value.dim() == 1, name  # a bias may make no difference
    # Features behind it are normalised.
    assert not torch.equal(made["bn2.running_mean"], fresh.get_buffer("bn2.running_mean"))


def test_a_compiled_network_gives_the_same() -> None:
    model = create("resnet18", 5, 64, 0)
    network, images = FeatureNetwork(model, stages(model, 64, STRIDES)).eval(), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        outputs, maps = network(images)
        network.compile(backend="eager", fullgraph=True)
        compiled, theirs = network(images)
    assert torch.equal(outputs, compiled)
    assert all(torch.equal(one, other) for one, other in zip(maps, theirs, strict=True))
