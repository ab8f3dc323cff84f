"""Objectives, schedule and a step's random numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from fracgen.recipes.presets import preset as recipe_preset
from fracgen.training import checkpoint
from fracgen.training.module import step_seed
from fracgen.training.objective import images_of_pairs, objective_of, pair_correct, pair_loss
from fracgen.training.schedule import one_cycle

from .conftest import TINY, train


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize(("steps", "warm_up"), [(200, 0.1), (195_400, 0.1), (1000, 0.3)])
def test_schedule_is_the_usual_one_cycle(steps: int, warm_up: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], 0.1)
    usual = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps, pct_start=warm_up)
    for step in range(min(steps - 1, 2000)):
        assert 0.1 * one_cycle(step, steps, warm_up) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        usual.step()


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11])
@pytest.mark.parametrize("warm_up", [0.0, 0.1, 0.5])
def test_schedule_of_short_runs_is_finite_and_ends_low(steps: int, warm_up: float) -> None:
    rates = [one_cycle(step, steps, warm_up) for step in range(steps + 2)]
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[-1] == pytest.approx(4e-6)


def test_pairs_are_told_from_others() -> None:
    first = torch.eye(8, 16)
    aligned, shuffled = torch.cat((first, first)), torch.cat((first, first.roll(1, 0)))
    labels = torch.arange(8)
    assert pair_loss(aligned, labels) < 0.1 < pair_loss(shuffled, labels)
    assert pair_correct(aligned, labels).tolist() == [True] * 8
    assert pair_correct(shuffled, labels).tolist() == [False] * 8


def test_pairs_are_laid_out_first_views_first() -> None:
    images = torch.arange(2 * 2 * 3).view(2, 2, 3, 1, 1)
    assert images_of_pairs(images)[:, 0, 0, 0].tolist() == [0, 6, 3, 9]
    assert images_of_pairs(images[:, 0]) is not None
    assert torch.equal(images_of_pairs(images[:, 0]), images[:, 0])


def test_several_classes_count_where_the_top_one_is_present() -> None:
    objective = objective_of(recipe_preset("multi-instance").recipe, 3)
    logits, present = torch.tensor([[2.0, 1, 0], [0, 1, 2]]), torch.tensor([[1.0, 0, 1], [1, 1, 0]])
    assert objective.correct(logits, present).tolist() == [True, False]
    assert objective.loss(logits, present) > objective.loss(10 * (present - 0.5), present)


@pytest.mark.parametrize("name", ["multi-instance", "two-view"])
def test_other_objectives_train(name: str, tmp_path: Path) -> None:
    recipe = dataclasses.replace(recipe_preset(name).recipe.at_size(32), points=500)
    config = dataclasses.replace(TINY, recipe=recipe, model="mobilenet_v3_small")
    run = train(config, tmp_path / "run", log_steps=1)
    state = checkpoint.newest(run.checkpoints)[0]
    assert state["step"] == 3
    assert 0 <= state["validation"]["accuracy"] <= 1


def test_every_step_and_rank_has_its_own_random_numbers() -> None:
    seeds = {step_seed(seed, step, rank) for seed in (0, 1) for step in range(50) for rank in range(4)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**64 for seed in seeds)
