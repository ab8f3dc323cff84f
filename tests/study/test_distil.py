"""How the package's smaller networks were made: pictures, the components that are learnt, trainings that go on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import fracgen
from bench.distil import last_block, students, train
from bench.distil.pictures import SIDE, Pictures
from bench.distil.students import STUDENTS, Student, basis


@pytest.fixture(scope="module")
def pool() -> Pictures:
    return Pictures(3)


def test_pictures_are_seeded_by_number_and_stay_in_the_networks_range(pool: Pictures) -> None:
    some = pool[5]
    assert torch.equal(Pictures(3)[5], some)
    assert not torch.equal(pool[6], some)
    assert some.shape == (64, 3, SIDE, SIDE)
    assert some.amin() >= -1
    assert some.amax() <= 1
    assert (some.std((1, 2, 3)) > 0.005).all()
    mosaics = pool.mosaics(5)
    assert mosaics.shape == (16, 3, 2 * SIDE, 2 * SIDE)
    assert torch.equal(mosaics.flatten().sort()[0], some.flatten().sort()[0])


def test_components_keep_the_distances_between_patches() -> None:
    draws = torch.Generator().manual_seed(0)
    maps = torch.einsum("bchw,cd->bdhw", torch.randn(8, 6, 8, 8, generator=draws), torch.randn(6, 64, generator=draws))
    maps = maps + 0.05 * torch.randn(maps.shape, generator=draws)
    for seed in (None, 1):
        mean, axes = basis([maps], 12, seed=seed)
        patches = maps.permute(0, 2, 3, 1).flatten(0, 2)[:300]
        made = (patches - mean) @ axes
        assert torch.corrcoef(torch.stack((torch.pdist(patches), torch.pdist(made))))[0, 1] > 0.999
        assert made.var(0).mean() == pytest.approx(1, rel=0.1)
    assert (made.var(0) > 0.1).all()  # turned, no component is weak


@pytest.mark.parametrize("name", STUDENTS)
def test_students_give_what_they_learn_where_they_learn_it(
    name: str, pool: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(students, "first", lambda pool: [pool[0][:8]])
    student = STUDENTS[name](pool, 0)
    for number in (0, 1):
        shown = student.pictures(pool, number)[:2]
        errors = student.errors(shown, student.targets(shown))
        assert len(errors) == len(student.parts)
        assert ((errors > 0.3) & (errors < 30)).all()  # 1 is no better than the mean
    errors.sum().backward()
    unused = [key for key, p in student.network.named_parameters() if p.grad is None]
    assert all(key.startswith(("conv_head", "bn2", "classifier")) for key in unused), unused


class Small(Student):
    """Learns the mean over a picture's cells of 32 px."""

    reuse = 2
    parts: ClassVar = {"mean": 1.0}

    def __init__(self, pool: Pictures, seed: int) -> None:
        torch.manual_seed(seed)
        self.network = nn.Sequential(nn.AvgPool2d(32), nn.Conv2d(3, 64, 1), nn.Conv2d(64, 64, 1), nn.Conv2d(64, 3, 1))

    def targets(self, pictures: Tensor) -> list[Tensor]:
        """The picture, small."""
        return [nn.functional.avg_pool2d(pictures, 32)]

    def errors(self, pictures: Tensor, targets: list[Tensor]) -> Tensor:
        """Of all channels."""
        return torch.stack([(self.network(pictures) - targets[0]).square().mean()])


def test_a_killed_training_ends_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STUDENTS, "small", Small)
    monkeypatch.setattr(train, "CHUNK", 2)

    def training(name: str, rate: str = "2e-3") -> train.Training:
        words = ["small", "-o", str(tmp_path / f"{name}.safetensors"), "--pool", str(tmp_path / name), "--rate", rate]
        return train.Training(train.arguments([*words, "--steps", "6", "--save-steps", "2"]))

    whole = training("whole")
    whole.train()
    assert len(list((tmp_path / "whole").iterdir())) == 2
    draw = train.Pool.batch

    def stopping(pool: train.Pool, step: int) -> tuple[Tensor, list[Tensor]]:
        if step == 5:
            raise KeyboardInterrupt
        return draw(pool, step)

    with monkeypatch.context() as patch:
        patch.setattr(train.Pool, "batch", stopping)
        with pytest.raises(KeyboardInterrupt):
            training("killed").train()
    second = training("killed")
    assert second.step == 4
    second.train()
    with pytest.raises(ValueError, match=r"'rate': 0\.002.* name another --output"):
        training("killed", "1e-3")
    one, other = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "killed"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_muon_takes_steps_of_one_size_in_all_directions() -> None:
    weight = nn.Parameter(torch.zeros(64, 96))
    optimizer = train.Muon([weight], 0.1)
    weight.grad = torch.randn(64, 96, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    values = torch.linalg.svdvals(weight.detach()) / (0.1 * 0.2 * 96**0.5)
    assert ((values > 0.6) & (values < 1.3)).all()


def test_the_last_block_in_eight_bits_loads_strictly_and_makes_nearly_the_same(
    pool: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half, small, some = tmp_path / "half.safetensors", tmp_path / "small.safetensors", pool[0]
    network = fracgen.pretrained("resnet18")
    with torch.no_grad():
        for name in last_block.NAMES:
            network.get_parameter(name).normal_(0, 0.04, generator=torch.Generator().manual_seed(0))
    before = network(some)
    save_file({name: value.half() if value.is_floating_point() else value for name, value in
               network.state_dict().items()}, half)  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["", str(half), "-o", str(small)])
    last_block.main()
    network.load_state_dict(load_file(small), strict=True)
    assert half.stat().st_size - small.stat().st_size > 4_700_000
    off = (network(some) - before).norm() / before.norm()
    assert 0 < off < 0.02
