"""How the package's EfficientNet-Lite0 was made: its pictures, the components it learns, and legs that go on."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import fracgen
from bench.distil import SIDE, STAGES, WIDTHS, last_block, train
from bench.distil.pictures import Pictures, Teacher, components


@pytest.fixture(scope="module")
def some() -> list[torch.Tensor]:
    return list(islice(iter(Pictures(3)), 2))


def test_pictures_are_seeded_and_stay_in_the_networks_range(some: list[torch.Tensor]) -> None:
    again = next(iter(Pictures(3)))
    assert torch.equal(again, some[0])
    assert not torch.equal(some[0], some[1])
    for pictures in some:
        assert pictures.shape == (64, 3, SIDE, SIDE)
        assert pictures.amin() >= -1
        assert pictures.amax() <= 1
        assert (pictures.std((1, 2, 3)) > 0.005).all()


def test_components_keep_the_distances_between_patches(some: list[torch.Tensor]) -> None:
    teacher = Teacher()
    found = components(teacher, some)
    for name, width, maps in zip(STAGES, WIDTHS, teacher(some[0]), strict=True):
        patches = maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])[::7][:300]
        made = (patches - found[f"{name}.mean"]) @ found[f"{name}.axes"]
        assert made.shape[1] == width
        before, after = torch.pdist(patches), torch.pdist(made)
        assert torch.corrcoef(torch.stack((before, after)))[0, 1] > 0.95


def test_a_killed_leg_ends_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    sides = (SIDE // 4, SIDE // 8, SIDE // 16, SIDE // 32)
    pool = [{
        "pictures": torch.randint(0, 256, (8, 3, SIDE, SIDE), generator=generator).byte(),
        **{name: torch.randn(8, width, side, side, generator=generator).half()
           for name, width, side in zip(STAGES, WIDTHS, sides, strict=True)},
    } for _ in range(2)]  # fmt: skip
    words = ["--steps", "5", "--last-steps", "2", "--batch", "4", "--save-steps", "2"]

    def leg(name: str) -> train.Leg:
        return train.Leg(train.arguments(["pool", "-o", str(tmp_path / f"{name}.safetensors"), *words]))

    whole = leg("whole")
    whole.train(pool)
    whole.finish(pool)
    draw = train.batch

    def stopping(pool: list[dict[str, torch.Tensor]], seed: int, step: int, size: int) -> dict[str, torch.Tensor]:
        if step == 3:
            raise KeyboardInterrupt
        return draw(pool, seed, step, size)

    monkeypatch.setattr(train, "batch", stopping)
    with pytest.raises(KeyboardInterrupt):
        leg("killed").train(pool)
    monkeypatch.setattr(train, "batch", draw)
    second = leg("killed")
    assert second.step == 2
    second.train(pool)
    second.finish(pool)
    words[1] = "6"
    with pytest.raises(ValueError, match=r"'steps': 5.* name another --output"):
        leg("killed")
    one, other = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "killed"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_last_block_in_eight_bits_loads_strictly_and_makes_nearly_the_same(
    some: list[torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half, small = tmp_path / "half.safetensors", tmp_path / "small.safetensors"
    network = fracgen.pretrained("resnet18")
    with torch.no_grad():
        for name in last_block.NAMES:
            network.get_parameter(name).normal_(0, 0.04, generator=torch.Generator().manual_seed(0))
    before = network(some[0])
    save_file({name: value.half() if value.is_floating_point() else value for name, value in
               network.state_dict().items()}, half)  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["", str(half), "-o", str(small)])
    last_block.main()
    network.load_state_dict(load_file(small), strict=True)
    assert half.stat().st_size - small.stat().st_size > 4_700_000
    off = (network(some[0]) - before).norm() / before.norm()
    assert 0 < off < 0.02
