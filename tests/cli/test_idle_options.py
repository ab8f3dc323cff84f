"""Options that would do nothing, and networks that cannot serve: one line, exit code 2, nothing written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

REFUSED = {
    "maps of image-level methods": ("run --method panda,cutpaste --weights random --maps", "--maps: whole images"),
    "map size of image-level methods": ("run --method panda --weights random --map-size original", "--map-size: whole"),
    "layers of image-level methods": ("run --method panda --weights random --layers layer2", "--method does not name"),
    "seed of a data set that is there": ("data mvtec --root ../there --seed 3", "--seed: a dataset that is there"),
    "strength of a folder": ("data surfaces --root ../there --strength 2", "--strength: a dataset that is there"),
    "layers of a kept model": (
        "predict ../there/a.png --load ../there/a.png --layers layer1 --seed 1", "--layers, --seed: the kept model",
    ),
    "layers to predict with PANDA": (
        "predict ../there/a.png --train ../there --method panda --layers layer2", "the layers of panda cannot",
    ),
    "unknown network": ("run --method padim --weights random --model resnet19", "did you mean resnet18"),
    "network without that layer": (
        "run --method padim --weights random --model convnext_atto --layers layer9", "has no layer 'layer9'",
    ),
    "network without stages": ("run --method rd --weights random --model mixer_s16_224", "has no layer 'layer1'"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(REFUSED))
def test_it_is_refused_in_one_line(fracgen: Any, case: str) -> None:
    arguments, says = REFUSED[case]
    there = Path("../there")
    there.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8)).save(there / "a.png")
    ran = fracgen("eval", *arguments.split())
    assert ran.code == 2, ran.err
    assert ran.out == ""
    lines = [line for line in ran.err.splitlines() if "no NVIDIA driver" not in line]
    assert len(lines) == 1, ran.err
    assert says in lines[0]
    assert os.listdir() == []
