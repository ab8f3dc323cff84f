"""A run's folder: its layout, and how a run is started and resumed.

    config.json        what is trained, the bank's hash, the format's version
    bank.safetensors   the codes
    environment.json   versions and hardware, one entry for every start
    log.txt            messages, with times
    metrics.csv        a row every `log_steps` steps, and one for every validation
    checkpoints/       the newest, and the one before it
    export/            weights for timm and torchvision, with their card
"""

from __future__ import annotations

import csv
import io
import json
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fracgen.formulas.files import Bank, BankError
from fracgen.formulas.formula import load_bank
from fracgen.support.decode import JsonValue, read_json
from fracgen.support.files import naming, remove_parts, whole_file
from fracgen.support.provenance import processors, versions
from fracgen.support.terminal import say
from fracgen.training import checkpoint
from fracgen.training.config import Config

if TYPE_CHECKING:
    from fracgen.training.arithmetic import Arithmetic

FORMAT = "fracgen-pretraining"
FORMAT_VERSION = 1
COLUMNS = (
    "step", "epoch", "images", "learning_rate", "loss", "validation_loss", "validation_accuracy",
    "images_per_second", "rendering_share", "seconds",
)  # fmt: skip


class RunFolder:
    """The folder of one run, and the names of what is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config, self.bank = path / "config.json", path / "bank.safetensors"
        self.environment, self.log, self.metrics = path / "environment.json", path / "log.txt", path / "metrics.csv"
        self.checkpoints, self.export = path / "checkpoints", path / "export"

    @property
    def begun(self) -> bool:
        """Whether a run was begun here: it has a checkpoint, or had one.

        The first is written before the first step, which writes the first row of metrics.csv. A run that was killed
        before lost nothing.
        """
        return self.config.is_file() and (self.metrics.is_file() or bool(checkpoint.steps_in(self.checkpoints)))

    def resumes(self, resume: str | None) -> bool:
        """Whether `--resume` goes on with a run: a path always does, "auto" where a run was begun here."""
        return resume is not None and (resume != "auto" or self.begun)

    def begin(self, config: Config, bank: Bank, how: Arithmetic) -> None:
        """Create the folder's contents, in the place of those of a start that was killed.

        Raises:
            FileExistsError: it holds a run that was begun, or files that belong to none.
            OSError: it cannot be written.
        """
        if self.begun:
            raise FileExistsError(
                f"{self.path} already holds a run: continue it with --resume auto, or name another --output"
            )
        if self.path.exists():
            for folder in (self.path, self.checkpoints):
                remove_parts(folder)
            own = {self.config, self.bank, self.environment, self.log, self.checkpoints}
            if not self.path.is_dir() or set(self.path.iterdir()) - own:
                raise FileExistsError(f"{self.path} already holds something else: name another --output")
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        bank.save(self.bank)
        head = {"format": FORMAT, "format_version": FORMAT_VERSION, "bank_sha256": bank.sha256}
        write_json(self.config, {**head, "arithmetic": how.to_json(), "config": config.to_json()})

    def read_config(self) -> tuple[Config, str]:
        """The configuration and the bank's SHA-256.

        Raises:
            ValueError: config.json is damaged, or of another format.
            OSError: it cannot be read.
        """
        if not self.config.is_file():
            raise FileNotFoundError(f"no run at {self.path}: begin one with fracgen pretrain --output {self.path}")
        try:
            data = read_json(self.config)
            known = data.get("format") == FORMAT and data.get("format_version") == FORMAT_VERSION
            config, sha256 = (Config.from_json(data["config"]), str(data["bank_sha256"])) if known else (None, "")
        except (KeyError, ValueError) as error:
            raise ValueError(f"{self.config} is damaged, edited or of another release: {error}") from None
        if config is None:
            raise ValueError(f"{self.config} is not a run of this version of fracgen: use the release that began it")
        return config, sha256

    def read_arithmetic(self) -> Arithmetic | None:
        """What the run was begun in, where its configuration, which `read_config` has found whole, says so."""
        from fracgen.training.arithmetic import Arithmetic

        try:
            return Arithmetic.from_json(read_json(self.config).get("arithmetic"))
        except ValueError:
            return None

    def read_bank(self, sha256: str) -> Bank:
        """The run's own codes.

        Raises:
            BankError: they are missing, damaged, or not those the run was begun with.
        """
        if not self.bank.is_file():
            raise BankError(f"the run's bank {self.bank} is missing: restore it, its SHA-256 is {sha256}")
        bank = load_bank(self.bank)
        if bank.sha256 != sha256:
            raise BankError(
                f"{self.bank} has SHA-256 {bank.sha256[:16]}..., the run was begun with {sha256[:16]}...: restore that"
            )
        return bank

    def read_checkpoint(self, which: str, config: Config, bank: Bank) -> tuple[checkpoint.State, Path, list[str]]:
        """A checkpoint of this run: "auto" for the newest whole one, or a path.

        Returns:
            The state, where it was, and why newer ones were passed over.

        Raises:
            CheckpointError: it is damaged, no checkpoint, or of another run.
            OSError: it cannot be read.
        """
        passed: list[str] = []
        if which == "auto":
            state, path, passed = checkpoint.newest(self.checkpoints)
        else:
            path = Path(which)
            state = checkpoint.load(path)
        if differences := config.differences(Config.from_json(state["config"])):
            raise checkpoint.CheckpointError(
                f"{path} is of another run (config.json's value, its value): {'; '.join(differences[:3])}"
            )
        if state["bank_sha256"] != bank.sha256:
            raise checkpoint.CheckpointError(f"{path} was trained on another bank, {state['bank_sha256'][:16]}...")
        return state, path, passed

    def starts(self) -> list[dict[str, JsonValue]]:
        """Versions and hardware of every start, from environment.json. Raises ValueError where it is damaged."""
        known: list[dict[str, JsonValue]] = read_json(self.environment, list) if self.environment.is_file() else []
        return known

    def add_environment(self, extra: Mapping[str, object]) -> None:
        """Add this start to environment.json."""
        write_json(self.environment, [*self.starts(), {**environment(), **extra}])

    def say(self, line: str) -> None:
        """A line on stderr and, with the time, in log.txt."""
        say(line)
        if self.path.is_dir():
            with naming(self.log), self.log.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    def forget_after(self, step: int) -> None:
        """Drop rows of metrics.csv that a resumed run will write again."""
        if not self.metrics.is_file():
            return
        whole = self.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
        lines = [line for line in whole if line.endswith("\n")]  # a full disk leaves part of the last
        rows = [row for row in csv.DictReader(lines) if (row["step"] or "").isdigit() and int(row["step"]) <= step]
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        with whole_file(self.metrics) as out:
            out.write(text.getvalue().encode())

    def add_metrics(self, row: Mapping[str, object]) -> None:
        """Add a row to metrics.csv; columns it lacks stay empty."""
        new = not self.metrics.is_file()
        with naming(self.metrics), self.metrics.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if new:
                writer.writeheader()
            writer.writerow(row)


def write_json(path: Path, data: object) -> None:
    """Write JSON, whole or not at all."""
    with whole_file(path) as file:
        file.write(json.dumps(data, indent=2).encode() + b"\n")


def environment() -> dict[str, object]:
    """Versions and hardware of this process."""
    import torch
    import torchvision

    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **versions("fracgen", "torch", "torchvision", "numpy"),
        "torch": torch.__version__, "torchvision": torchvision.__version__,  # with their builds, such as +cu132
        "cuda": torch.version.cuda,
        "machine": platform.machine(), "system": platform.system(), "cpus": processors(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "command": sys.argv[1:],
    }  # fmt: skip
