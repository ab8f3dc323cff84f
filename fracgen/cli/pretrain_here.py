"""What `fracgen pretrain` does in one process."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fracgen.formulas.files import Bank
    from fracgen.training.config import Config, Machine
    from fracgen.training.folder import RunFolder

OF_CONFIG = (
    "model", "seed", "epochs", "epoch_size", "batch_size", "validation_size", "optimizer", "learning_rate",
    "weight_decay", "pictures", "objective", "schedule", "label_smoothing", "warm_up", "ema",
)  # fmt: skip
OF_MACHINE = (
    "device", "devices", "num_nodes", "precision", "channels_last", "compile", "deterministic", "prefetch", "max_steps",
    "checkpoint_steps", "checkpoint_minutes", "log_steps",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `fracgen pretrain`. No file is read yet; None stands for an option that was not given."""

    preset: str | None
    output: Path | None
    resume: str | None
    bank: Path | None
    initial_weights: str | None
    size: int | None
    views: int | None
    augment: str | None
    changes: dict[str, Any]
    """Fields of `Config` that were given."""
    machine: Machine

    @classmethod
    def of(cls, params: dict[str, Any]) -> Options:
        """From the command's parameters by name. Raises ValueError where one of the machine's is out of range."""
        from fracgen.training.config import Machine

        own = {field.name: params[field.name] for field in dataclasses.fields(cls) if field.name in params}
        machine = Machine(loggers=tuple(params["logger"] or ()), **{name: params[name] for name in OF_MACHINE})
        changes = {name: params[name] for name in OF_CONFIG if params[name] is not None}
        return cls(**own, changes=changes, machine=machine)


def train_here(options: Options) -> int:
    """Train in this process; the exit code."""
    from fracgen.support.terminal import working
    from fracgen.training.loop import StopSignals
    from fracgen.training.run import prepare

    with StopSignals() as stop:  # from here on: starting takes a while, too
        asked = what_is_asked(options)
        run = prepare(
            asked.config, asked.folder, options.machine, bank=asked.codes, initial=asked.initial,
            resume=options.resume, stop=stop,
        )  # fmt: skip
        with working():
            run.train()
    if stop.received is not None and not run.finished:
        return 128 + stop.received
    if run.fabric.is_global_zero:
        print(asked.folder.path)
    return 0


@dataclass(frozen=True)
class Asked:
    """A pre-training that the options ask for; nothing is written yet."""

    config: Config
    folder: RunFolder
    codes: Bank | None
    initial: Path | None


def what_is_asked(options: Options) -> Asked:
    """Read the files that the options name, and those of a run that is resumed.

    Raises:
        ValueError: an option is out of range, they contradict each other or the run that is resumed.
        OSError: a file cannot be read.
    """
    from fracgen.formulas.formula import load_bank
    from fracgen.loading.augment import augmentation
    from fracgen.training.config import named_config
    from fracgen.training.folder import RunFolder
    from fracgen.training.run import resolve

    o, changes = options, dict(options.changes)
    if o.augment is not None:
        changes["augmentation"] = None if o.augment == "none" else augmentation(o.augment)
    codes = None if o.bank is None else load_bank(o.bank)
    if codes is not None:
        changes["bank"] = codes.spec
    base = named_config(o.preset or "paper")
    model = changes.get("model", base.model)
    default = Path("runs") / f"{base.preset}-{model}-{changes.get('seed', 0)}".replace("/", "-")
    folder = RunFolder(o.output or default)
    initial = None
    if o.initial_weights is not None:
        initial, changes["initial"] = first_weights(o.initial_weights, model, folder, o.resume)
    if o.size is not None or o.views is not None:
        resumed = o.preset is None and folder.resumes(o.resume)
        recipe = (folder.read_config()[0] if resumed else base).recipe
        recipe = recipe if o.size is None else recipe.at_size(o.size)
        changes["recipe"] = recipe if o.views is None else dataclasses.replace(recipe, views=o.views)
    return Asked(resolve(o.preset, changes, folder, o.resume), folder, codes, initial)


def first_weights(name: str, model: str, folder: RunFolder, resume: str | None) -> tuple[Path | None, str]:
    """The file of the weights to begin with and its SHA-256; no file where it is gone and a run continues without.

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
