"""A small finished run that several tests look at."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fracgen.formulas.ifs import BankSpec
from fracgen.training.config import QUICK_RECIPE, Config, Machine
from fracgen.training.folder import RunFolder

TINY = Config(
    "tiny", dataclasses.replace(QUICK_RECIPE.at_size(32), points=500, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)),
    BankSpec(4, 2), model="resnet18", epochs=1, epoch_size=20, batch_size=8, validation_size=8, optimizer="sgd",
    learning_rate=0.02,
)  # fmt: skip


def train(config: Config, path: Path, resume: str | None = None, **machine: object) -> RunFolder:
    """A run in this process."""
    from fracgen.training.run import prepare

    folder = RunFolder(path)
    prepare(config, folder, Machine("cpu", **machine), resume=resume).train()  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A ResNet-18 after three steps."""
    return train(TINY, tmp_path_factory.mktemp("finished") / "run", log_steps=1, checkpoint_steps=1)
