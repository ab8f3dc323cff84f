"""Runs a pre-training again and again, killing it at named points, and writes down what came of it.

    python killed_runs.py FOLDER

Everything heavy is imported once; each run is a fork of that process from before any thread was
started. Every training step appends a line to FOLDER/NAME.log: step, rank, the samples it was fed.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import timm  # noqa: F401
import torch
import torchvision  # noqa: F401

from fracgen.formulas.formula import make_bank
from fracgen.formulas.ifs import BankSpec
from fracgen.formulas.mandelbulb import VariationSpec
from fracgen.loading.augment import AUGMENTATIONS
from fracgen.recipes.presets import preset
from fracgen.rendering.cpu.renderer import CpuRenderer
from fracgen.support.files import whole_file
from fracgen.training import checkpoint, config, folder, loop, run

KILLS = {
    "in the first step": ("step", 0),
    "in a step": ("step", 4),
    "in a checkpoint": ("write", 4),
    "after a checkpoint, before the old ones are removed": ("written", 4),
    "between epochs, in validation": ("validation", 3),
    "between epochs, in the checkpoint": ("write", 6),
    "in the last step": ("step", 8),
}
CONFIGS = {
    "ifs": config.Config(
        "test", config.QUICK_RECIPE.at_size(32), BankSpec(4, 2), model="mobilenet_v3_small", epochs=3, epoch_size=20,
        batch_size=8, validation_size=8, learning_rate=0.02, augmentation=AUGMENTATIONS["full"], label_smoothing=0.1,
        ema=0.9,
    ),
    "mandelbulb": config.Config(
        "mandelbulb", preset("mandelbulb").recipe.at_size(32), VariationSpec((3, 8), (42, 168)),
        model="mobilenet_v3_small", epochs=3, epoch_size=20, batch_size=8, validation_size=8, learning_rate=0.02,
    ),
    "twins": replace(
        config.CONFIGS["twins"], recipe=config.SCENES_RECIPE.at_size(32), bank=BankSpec(4, 2),
        shots=3, model="mobilenet_v3_small", epochs=3, epoch_size=20, batch_size=8, validation_size=8, ema=0.9,
    ),
}  # fmt: skip
"""Three steps an epoch, the last with a smaller batch, two of whose processes need each other's pictures. `ifs`: a
model with dropout and batch normalisation, and a moving average. `mandelbulb`: the
other formula as its preset has it, but small. `twins`: three shots of every picture, judged by a network's middle."""
CASES = [("ifs", name) for name in KILLS] + [("mandelbulb", "in a step"), ("mandelbulb", "in a checkpoint")]
CASES += [("twins", "in a step"), ("twins", "between epochs, in validation")]
"""Which run is killed where."""


def die() -> None:
    """What a power cut does, as far as a process can tell."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str, at: int) -> None:
    """Make this process die at a point of its run."""
    if point == "step":
        inner_step = loop.Run._take_step

        def take_step(self: loop.Run, network: torch.nn.Module, batch: Sequence[torch.Tensor]) -> torch.Tensor:
            if self.step == at:
                self.optimizer.step = die  # type: ignore[method-assign, assignment]
            return inner_step(self, network, batch)

        loop.Run._take_step = take_step  # type: ignore[method-assign]
    elif point == "validation":
        inner_validate = loop.Run._validate

        def validate(self: loop.Run, judged: torch.nn.Module, network: torch.nn.Module) -> None:
            if self.step == at:
                vars(loop)["images_of_pairs"] = lambda images: die()
            inner_validate(self, judged, network)

        loop.Run._validate = validate  # type: ignore[method-assign]
    elif point == "write":
        inner_file = whole_file

        class Half:
            def __init__(self, file: IO[bytes]) -> None:
                self.file = file

            def write(self, data: bytes) -> None:
                if len(data) > 1000:
                    self.file.write(data[: len(data) // 2])
                    self.file.flush()
                    die()
                self.file.write(data)

        class WholeFile:
            def __init__(self, path: Path) -> None:
                self.due, self.inner = path.name == f"step-{at:09d}.ckpt", inner_file(path)

            def __enter__(self) -> IO[bytes] | Half:
                file = self.inner.__enter__()
                return Half(file) if self.due else file

            def __exit__(self, *error: object) -> bool | None:
                return self.inner.__exit__(*error)  # type: ignore[arg-type]

        checkpoint.whole_file = WholeFile  # type: ignore[attr-defined, assignment]
    elif point == "written":
        inner_sync = checkpoint._sync_folder

        def sync(folder: Path) -> None:
            inner_sync(folder)
            if checkpoint.steps_in(folder)[-1] == at:
                die()

        checkpoint._sync_folder = sync


def log_samples(path: Path) -> None:
    """Let every step write down what it was fed."""
    inner = loop.Run._take_step

    def take_step(self: loop.Run, network: torch.nn.Module, batch: Sequence[torch.Tensor]) -> torch.Tensor:
        samples = self.training.indices(self.step % len(self.training)).tolist()
        assert len(samples) == len(batch[0])
        with path.open("a") as file:
            line = [self.step, self.fabric.global_rank, samples, float(batch[0].double().sum())]
            file.write(json.dumps(line) + "\n")
        return inner(self, network, batch)

    loop.Run._take_step = take_step  # type: ignore[method-assign]


def fork(
    name: str, formula: str, path: Path, *, resume: str | None = None, kill: tuple[str, int] | None = None,
    ranks: int = 1, max_steps: int | None = None,
) -> list[int]:  # fmt: skip
    """One run on so many processes: their exit statuses, negative for a signal."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    pids = []
    for rank in range(ranks):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                if ranks > 1:  # what torchrun tells its processes
                    os.environ |= {
                        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "GROUP_RANK": "0",
                        "LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
                        "TORCHELASTIC_RUN_ID": "test",
                    }  # fmt: skip
                sys.stderr = (path.parent / f"{path.name}.{name}.{rank}.err").open("w")
                log_samples(path.parent / f"{path.name}.{name}.log")
                if kill:
                    arm(*kill)
                where = folder.RunFolder(path)
                told = config.Machine("cpu", checkpoint_steps=2, log_steps=1, max_steps=max_steps)
                wanted = where.read_config()[0] if resume and where.begun else CONFIGS[formula]
                run.prepare(wanted, where, told, resume=resume).train()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        pids.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def outcome(path: Path) -> dict[str, object]:
    """Digest of the weights of a run's newest checkpoint, the step it was taken at, and the rows of its metrics."""
    state = checkpoint.newest(path / "checkpoints")[0]
    digest = hashlib.sha256()
    for part in (state["model"], state["average"], *state["optimizer"]["state"].values()):
        for value in (part or {}).values():  # None where nothing is averaged
            digest.update(value.contiguous().numpy().tobytes() if torch.is_tensor(value) else repr(value).encode())
    columns = [line.split(",")[:7] for line in (path / "metrics.csv").read_text().splitlines()]
    left = sorted(entry.name for entry in (path / "checkpoints").iterdir())
    return {"sha256": digest.hexdigest(), "step": state["step"], "metrics": columns, "left": left}


def main(base: Path) -> None:
    """All runs; results.json says how they went."""
    for own in CONFIGS.values():  # what renders is loaded here once, on this thread
        CpuRenderer(make_bank(own.bank, own.bank_seed), own.recipe, threads=1).render([0])
    assert threading.active_count() == 1
    results: dict[str, dict[str, object]] = {}
    for formula in CONFIGS:
        path = base / formula
        results[formula] = {"codes": fork("run", formula, path), **outcome(path)}
    for number, (formula, name) in enumerate(CASES):
        path = base / f"kill{number}"
        killed = fork("killed", formula, path, kill=KILLS[name])
        resumed = fork("resumed", formula, path, resume="auto")
        results[f"{formula} {name}"] = {"folder": path.name, "killed": killed, "codes": resumed, **outcome(path)}
    for formula, first, second in (("ifs", 1, 2), ("ifs", 2, 1), ("twins", 2, 1)):
        path = base / f"{formula}{first}{second}"
        codes = fork("first", formula, path, ranks=first, max_steps=4)
        codes += fork("second", formula, path, ranks=second, resume="auto")
        results[f"{formula} {first} to {second}"] = {"folder": path.name, "codes": codes, **outcome(path)}
    (base / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
