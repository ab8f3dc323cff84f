"""The objective `codes`: what its loss wants, what is near what, and what it refuses."""

from __future__ import annotations

import dataclasses
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch

from fracgen import CodeBank
from fracgen.formulas.formula import make_bank
from fracgen.formulas.ifs import BankSpec
from fracgen.training import checkpoint
from fracgen.training.config import CONFIGS
from fracgen.training.losses import MARGIN, code_loss, code_score, coordinates, objective_of
from tests.fields import Fields

from .conftest import train

CODES = dataclasses.replace(CONFIGS["quick"], bank=BankSpec(40, 40), objective="codes")


def test_the_loss_is_that_of_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    features, codes = (torch.randn(6, width, generator=generator) for width in (4, 3))
    unit = torch.nn.functional.normalize(features)
    near = torch.cdist(unit, unit)
    code = torch.cdist(codes, codes)
    wrong = [
        near[i, j] - near[i, k] + MARGIN * (code[i, k] - code[i, j])
        for i in range(6) for j in range(6) for k in range(6) if i != j and code[i, k] > code[i, j]
    ]  # fmt: skip
    expected = torch.stack([w for w in wrong if w > 0]).mean()
    assert code_loss(features, codes).item() == pytest.approx(expected.item(), rel=1e-4)


def test_features_that_lie_as_their_codes_do_are_right_and_others_are_not() -> None:
    angle = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.4])
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    assert code_score(circle, angle[:, None]).min() == 1
    assert code_score(circle[[0, 4, 1, 3, 2]], angle[:, None]).mean() < 0.7
    assert code_loss(circle, 0.1 * angle[:, None]) == 0


def test_equal_features_have_a_finite_gradient() -> None:
    features = torch.ones(4, 3, requires_grad=True)
    code_loss(features, torch.arange(4.0)[:, None]).backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


def test_the_order_of_a_codes_maps_does_not_matter_and_codes_are_1_apart() -> None:
    bank = CodeBank.sample(200, seed=3)
    at = coordinates(bank)
    assert at.shape == (200, 48)
    assert float(torch.pdist(torch.from_numpy(at)).mean()) == pytest.approx(1, abs=0.02)
    size = int(bank.sizes[0])
    for order in list(permutations(range(size)))[:6]:
        maps, likely = bank.maps.copy(), bank.probabilities.copy()
        maps[0, :size], likely[0, :size] = maps[0, list(order)], likely[0, list(order)]
        other = CodeBank(maps, bank.sizes, bank.classes, likely)
        np.testing.assert_allclose(coordinates(other), at, rtol=1e-5, atol=1e-6)


def test_training_learns_which_codes_are_near(tmp_path: Path) -> None:
    config = dataclasses.replace(
        CODES, recipe=CODES.recipe.at_size(32), epochs=2, epoch_size=640, batch_size=32, validation_size=64
    )
    run = train(config, tmp_path / "run")
    validation = checkpoint.newest(run.checkpoints)[0]["validation"]
    assert validation["accuracy"] > 0.55


def test_beside_the_class_both_count() -> None:
    config = dataclasses.replace(CODES, objective="class", code_weight=2.0)
    bank = make_bank(config.bank, 0)
    both, alone = objective_of(config, bank), objective_of(dataclasses.replace(config, code_weight=0.0), bank)
    generator = torch.Generator().manual_seed(0)
    logits, maps = torch.randn(8, 40, generator=generator), [torch.randn(8, 16, 2, 2, generator=generator)]
    labels = torch.arange(8)
    apart = code_loss(maps[0].mean((2, 3)), torch.from_numpy(coordinates(bank))[labels])
    assert apart > 0
    torch.testing.assert_close(both.loss(logits, maps, labels), alone.loss(logits, [], labels) + 2 * apart)
    assert both.reads_outputs
    assert both.outputs == alone.outputs == 40


@pytest.mark.parametrize("spec", [BankSpec(40, 20), CONFIGS["mandelbulb"].bank], ids=["a class of two", "no maps"])
def test_codes_that_say_nothing_are_refused(spec: BankSpec) -> None:
    with pytest.raises(ValueError, match="needs IFS codes, one a class"):
        coordinates(make_bank(spec, 0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "damage", "code_weight": 1.0}, "code_weight 1 has no meaning"),
        ({"augmentation": CONFIGS["ofdb"].augmentation}, "a mixed picture has no code"),
        ({"shots": 4}, "shots 4 has no meaning"),
    ],
)
def test_what_does_not_fit_is_refused(changes: Fields, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CODES, **changes)
