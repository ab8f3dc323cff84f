"""Options that would do nothing, and networks that cannot serve: one line, exit code 2, nothing written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fracgen_eval.methods import settings_for
from PIL import Image

from tests.command_line import Command

SETTINGS: dict[str, dict[str, dict[str, object]]] = {
    "dn2.json": {"panda": {"lr": 0.1}},
    "fisher.json": {"panda": {"variant": "early", "ewc_lambda": 10}},
    "ewc.json": {"panda": {"variant": "ewc"}},
    "original.json": {"cutpaste": {"original": True, "steps": 5}},
    "untouched.json": {"cutpaste": {"steps": 0, "lr": 0.1}},
    "paper.json": {"stfpm": {"most_epochs": 5}},
    "honest.json": {"stfpm": {"epochs": 5}},
    "layers.json": {"padim": {"layers": ["layer1"]}},
}
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
    "training of PANDA as it is": (
        "run --method panda --weights random --settings ../there/dn2.json",
        "panda.lr = 0.1 does nothing here, it is read with variant 'early': leave it out",
    ),
    "Fisher information": (
        "run --method panda --weights random --settings ../there/fisher.json", "panda.ewc_lambda = 10 does nothing",
    ),
    "a variant that is gone": (
        "run --method panda --weights random --settings ../there/ewc.json", "is gone: use 'early' or 'dn2'",
    ),
    "steps of CutPaste as it was": (
        "run --method cutpaste --weights random --settings ../there/original.json", "read with original = false",
    ),
    "training of untouched features": (
        "run --method cutpaste --weights random --settings ../there/untouched.json", "read with steps above 0",
    ),
    "epochs of the other protocol": (
        "run --method stfpm --weights random --settings ../there/paper.json", "read with protocol 'paper'",
    ),
    "epochs of this protocol's other": (
        "run --method stfpm --weights random --protocol paper --settings ../there/honest.json",
        "read with protocol 'honest'",
    ),
    "layers twice": (
        "run --method padim --weights random --layers layer2 --settings ../there/layers.json",
        "read with no --layers beside it",
    ),
    "layers twice to predict": (
        "predict ../there/a.png --train ../there --method padim --layers layer2 --settings ../there/layers.json",
        "read with no --layers beside it",
    ),
    "settings of another method": (
        "predict ../there/a.png --train ../there --settings ../there/dn2.json", "has no settings of patchcore",
    ),
    "folds of a kept model": ("predict ../there/a.png --load ../there/a.png --folds 3", "--folds: the kept model"),
    "good pictures of another dataset": ("data surfaces ../there", "only defects take a folder of good pictures"),
    "defects of nothing": ("data defects", "whose defects? name a folder of good pictures"),
    "seeds that are none": ("run --method panda --weights random --seeds a", "not whole numbers"),
    "a shard that is none": ("run --method panda --weights random --shard 3/3", "not of the form i/n"),
    "results of nothing": ("list nowhere", "no such result folder"),
    "a picture without a model": ("predict nowhere.png", "give either --train"),
    "unknown network": ("run --method padim --weights random --model resnet19", "did you mean resnet18"),
    "network without that layer": (
        "run --method padim --weights random --model convnext_atto --layers layer9", "has no layer 'layer9'",
    ),
    "network without a pyramid": (
        "run --method rd --weights random --model mixer_s16_224", "mixer_s16_224 takes no images of 256 x 256 px",
    ),
}  # fmt: skip


OTHERS = {
    "seed of codes that are there": ("render bank.safetensors --bank-seed 1", "--bank-seed: the codes are those of"),
    "tar files of a sheet": ("render --per-file 10 --wds-member npy", "--wds-member, --per-file: format sheet writes"),
    "tar files of a pipe": ("render --format wds -o - --per-file 10", "--per-file: a pipe gets one tar file"),
    "seed of variations": ("sample --recipe mandelbulb --seed 1", "--seed: these codes are every combination"),
    "pictures beside the paper's numbers": ("report --paper --root mvtec=x", "--root: --paper reports the published"),
}
COMMANDS = [(f"eval {arguments}", says) for arguments, says in REFUSED.values()] + list(OTHERS.values())


@pytest.mark.parametrize(("arguments", "says"), COMMANDS, ids=[*REFUSED, *OTHERS])
def test_it_is_refused_in_one_line(fracgen: Command, arguments: str, says: str) -> None:
    there = Path("../there")
    there.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8)).save(there / "a.png")
    for name, settings in SETTINGS.items():
        (there / name).write_text(json.dumps(settings))
    ran = fracgen(*arguments.split())
    assert ran.code == 2, ran.err
    assert ran.out == ""
    lines = [line for line in ran.err.splitlines() if "no NVIDIA driver" not in line]
    assert len(lines) == 1, ran.err
    assert says in lines[0]
    assert os.listdir() == []


def test_settings_that_are_read_are_taken() -> None:
    settings_for("panda", overrides={"variant": "early", "lr": 0.1, "max_steps": 2, "k": 3})
    settings_for("cutpaste", overrides={"original": True, "lr": 0.1})
    settings_for("cutpaste", overrides={"steps": 0})
    settings_for("stfpm", overrides={"epochs": 5, "layers": ["layer1"]})
    settings_for("stfpm", overrides={"most_epochs": 5, "patience": 1}, protocol="paper")
