"""Trainings that were stopped and resumed end in the bits, and write the metrics, that an uninterrupted one once did.

    uv run python -m tests.training.test_same_bits    records them for this machine and release of torch

Sums of float32 are rounded as a processor's vectors and a release's kernels split them, so that what was recorded holds
for those alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fracgen.formulas.ifs import BankSpec
from fracgen.loading.augment import AUGMENTATIONS
from fracgen.recipes.presets import preset
from fracgen.recipes.recipe import Recipe
from fracgen.training.config import CONFIGS, Config
from fracgen.training.folder import RunFolder
from tests.fields import Fields

from .conftest import TINY, train

RECORDED = Path(__file__).with_name("same_bits.json")
UNTRAINED = {"damage": ("fc.",), "damage, timm": ("conv_head.", "bn2.", "classifier.")}
"""Layers behind the last feature map that the objective looks at."""


def small(name: str) -> Recipe:
    """A preset's recipe at 32 px, of few points."""
    return dataclasses.replace(preset(name).recipe.at_size(32), points=500)


BASE = dataclasses.replace(TINY, epochs=2)
TWINS = dataclasses.replace(
    CONFIGS["twins"], recipe=CONFIGS["twins"].recipe.at_size(32), bank=BankSpec(4, 2), shots=3, epochs=2,
    epoch_size=20, batch_size=8, validation_size=8, ema=0.9,
)  # fmt: skip
CASES: dict[str, tuple[Config, Fields]] = {
    "class": (
        dataclasses.replace(
            BASE, recipe=small("paper"), model="mobilenet_v3_small", augmentation=AUGMENTATIONS["full"],
            label_smoothing=0.1, ema=0.9,
        ),
        {},
    ),
    "several": (
        dataclasses.replace(
            BASE, recipe=small("multi-instance"), optimizer="adamw", learning_rate=1e-3, schedule="cosine", seed=3,
            pictures=12, validation_size=0,
        ),
        {"precision": "bfloat16", "channels_last": True},
    ),
    "pairs": (
        dataclasses.replace(
            BASE, recipe=small("two-view"), model="mobilenet_v3_small", augmentation=AUGMENTATIONS["unmixed"],
            optimizer="adamw", learning_rate=1e-3, weight_decay=0.05,
        ),
        {"precision": "float32", "channels_last": False},
    ),
    "damage": (TWINS, {"precision": "float32", "channels_last": True}),
    "damage, timm": (
        dataclasses.replace(
            TWINS, model="tf_efficientnet_lite0", optimizer="sgd", ema=0.0, recipe=TWINS.recipe.at_size(64),
        ),
        {"precision": "bfloat16", "channels_last": True},
    ),
}  # fmt: skip
"""Two epochs of three steps, the last with a smaller batch, and where they are computed."""


def machine() -> str:
    """What decides how sums are rounded."""
    told = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines())
    told = {name.strip(): value.strip() for name, value in told.items()}
    processor = " ".join(told.get(name, "?") for name in ("vendor_id", "cpu family", "model"))
    return f"{processor}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"


def outcome(run: RunFolder, case: str) -> Fields:
    """SHA-256 of the exported tensors that are trained; the metrics but for times."""
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(run.export / "model.safetensors").items()):
        if not name.startswith(UNTRAINED.get(case, ())):
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode() + tensor.numpy().tobytes())
    rows = [",".join(line.split(",")[:7]) for line in run.metrics.read_text().splitlines()]
    return {"sha256": digest.hexdigest(), "metrics": rows}


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("case", CASES)
def test_stopped_and_resumed_it_ends_as_it_did_uninterrupted(case: str, tmp_path: Path) -> None:
    recorded = json.loads(RECORDED.read_text()).get(machine(), {}).get(case)
    if recorded is None:
        pytest.skip(f"nothing was recorded of {case} for {machine()}: python -m tests.training.test_same_bits does")
    config, where = CASES[case]
    train(config, tmp_path / "run", log_steps=1, max_steps=4, **where)
    run = train(config, tmp_path / "run", log_steps=1, resume="auto", **where)
    assert outcome(run, case) == recorded


def main() -> None:
    """Record uninterrupted runs for this machine."""
    torch.set_num_threads(1)
    recorded = json.loads(RECORDED.read_text()) if RECORDED.is_file() else {}
    with tempfile.TemporaryDirectory() as base:
        recorded[machine()] = {
            case: outcome(train(config, Path(base) / case, log_steps=1, **where), case)
            for case, (config, where) in CASES.items()
        }
    RECORDED.write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
