"""What `fracgen pretrain` does in one process."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fracgen.formulas.banks import Bank
    from fracgen.training.config import Config, Machine
    from fracgen.training.folder import RunFolder

OF_CONFIG = (
    "model", "seed", "epochs", "epoch_size", "batch_size", "validation_size", "optimizer", "learning_rate",
    "weight_decay", "pictures", "objective", "schedule", "label_smoothing", "warm_up", "ema",
)  # fmt: skip
OF_MACHINE = (
    "devices", "num_nodes", "precision", "channels_last", "compile", "deterministic", "prefetch", "max_steps",
    "checkpoint_steps", "checkpoint_minutes", "log_steps",
)  # fmt: skip


def train_here(given: SimpleNamespace) -> int:
    """Train in this process; the exit code.

    Args:
        given: the options of `pretrain` by name.
    """
    from fracgen.support.terminal import working
    from fracgen.training.run import prepare
    from fracgen.training.stopping import StopSignals

    with StopSignals() as stop:  # from here on: starting takes a while, too
        asked = what_is_asked(given)
        run = prepare(
            asked.config, asked.folder, asked.machine, bank=asked.codes, initial=asked.initial, resume=given.resume,
            stop=stop,
        )  # fmt: skip
        with working():
            run.train()
    if stop.received is not None and not run.finished:
        return 128 + stop.received
    if run.fabric.is_global_zero:
        print(asked.folder.path)
    return 0


@dataclass
class Asked:
    """A pre-training as the options say it; nothing is written yet."""

    config: Config
    machine: Machine
    folder: RunFolder
    codes: Bank | None
    initial: Path | None


def what_is_asked(given: SimpleNamespace) -> Asked:
    """Read the options.

    Raises:
        ValueError: one is out of range, they contradict each other or the run that is resumed.
        OSError: a file cannot be read.
    """
    from fracgen.formulas.banks import load_bank
    from fracgen.loading.augment import augmentation
    from fracgen.training.config import Machine, named_config
    from fracgen.training.folder import RunFolder
    from fracgen.training.run import resolve

    changes: dict[str, Any] = {n: getattr(given, n) for n in OF_CONFIG if getattr(given, n) is not None}
    if given.augment is not None:
        changes["augmentation"] = None if given.augment == "none" else augmentation(given.augment)
    codes = None if given.bank is None else load_bank(given.bank)
    if codes is not None:
        changes["bank"] = codes.spec
    machine = Machine(
        given.device, loggers=tuple(given.logger or ()), **{name: getattr(given, name) for name in OF_MACHINE}
    )
    base = named_config(given.preset or "paper")
    default = Path("runs") / f"{base.preset}-{given.model or base.model}-{given.seed or 0}".replace("/", "-")
    folder = RunFolder(given.output or default)
    initial = None
    if given.initial_weights is not None:
        initial, changes["initial"] = first_weights(
            given.initial_weights, given.model or base.model, folder, given.resume
        )
    if given.size is not None or given.views is not None:
        resumed = given.preset is None and folder.resumes(given.resume)
        recipe = (folder.read_config()[0] if resumed else base).recipe
        recipe = recipe if given.size is None else recipe.at_size(given.size)
        changes["recipe"] = recipe if given.views is None else dataclasses.replace(recipe, views=given.views)
    return Asked(resolve(given.preset, changes, folder, given.resume), machine, folder, codes, initial)


def first_weights(name: str, model: str, folder: RunFolder, resume: str | None) -> tuple[Path | None, str]:
    """The file of the weights to begin with and its SHA-256; no file where it is gone and a run goes on without.

    Raises:
        ValueError: the package has none of this model.
        FileNotFoundError: there is no such file, and no run that began with it.
    """
    from fracgen.training.initial import digest, initial_file

    try:
        path = initial_file(name, model)
    except FileNotFoundError:
        known = folder.read_config()[0].initial if folder.resumes(resume) else None
        if known is None:
            raise
        return None, known
    return path, digest(path)


def require_training() -> None:
    """Refuse with the remedy where Lightning is not installed. Raises ValueError."""
    from importlib.util import find_spec

    if find_spec("lightning") is None:
        raise ValueError("Lightning is not installed: install fracgen[train]")
