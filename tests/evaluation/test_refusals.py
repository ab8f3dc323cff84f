"""What can be told from names alone is told at once: before anything heavy is imported, for little more than what
a command line costs."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "torchvision", "timm", "anomalib", "lightning", "sklearn", "skimage", "matplotlib", "scipy.ndimage"}
CODE = """
import json, os, sys, time
from fracgen.cli import run
def refused(arguments):
    start = time.process_time()
    code = run(arguments)
    print("end", file=sys.stderr)
    imported = sorted(m for m in sys.modules if m in %r)
    return [code, imported, os.listdir("."), time.process_time() - start]
print(json.dumps([refused(arguments) for arguments in json.loads(sys.argv[1])]))
"""
LEAST = """
import pathlib, typing
import numpy, rich.console, typer
app = typer.Typer()
@app.command()
def command(name: str, out: typing.Annotated[pathlib.Path, typer.Option()] = pathlib.Path("out")) -> None:
    raise typer.Exit(2)
app()
"""
"""What no refusal can do without: a command line of Typer with an option, Rich and NumPy; the command exits with 2."""
RATIO = 1.5
"""Of a refusal's processor time to that of `LEAST`: about 1 as it is (0.9 to 1.3 on a busy machine)."""
RUN = ["eval", "run", "--weights", "random", "--method", "panda"]
CASES = {
    "where is folder? give its folder with --root": [*RUN, "--dataset", "folder"],
    "nowhere: no such folder": [*RUN, "--dataset", "mvtec", "--root", "nowhere"],
    "unknown dataset 'mvtek'": [*RUN, "--dataset", "mvtek"],
    "unknown category of surfaces 'gravle'": [*RUN, "--category", "gravle"],
    "unknown method 'pandas'": [*RUN, "--method", "pandas"],
    "unknown protocol 'papre'": [*RUN, "--protocol", "papre"],
    "unknown weights 'imagnet'": [*RUN, "--weights", "imagnet"],
    "weights 'random' are given twice": [*RUN, "--weights", "random"],
    "nowhere.safetensors: no such weights file": [*RUN, "--weights", "mine=nowhere.safetensors"],
    "device 'gpu' is unknown": [*RUN, "--device", "gpu"],
    "seeds (4294967296,) are out of range": [*RUN, "--seeds", "4294967296"],
    "nowhere.png: no such picture": ["eval", "predict", "nowhere.png", "--train", "x"],
    "nowhere: no such folder of normal pictures": ["eval", "predict", __file__, "--train", "nowhere"],
    "nowhere: no such fitted model": ["eval", "predict", __file__, "--load", "nowhere"],
    "cannot be read as an image (none of PNG": ["eval", "predict", __file__, "--train", "."],
    "where is visa? give its folder": ["eval", "data", "visa"],
}


Refused = tuple[str, tuple[int, list[str], list[str], float]]
"""What was said; exit code, heavy modules imported so far, files left, seconds."""


def python(code: str, *arguments: str, folder: Path) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run code in a fresh Python: what it did, and its seconds of processor time (others may keep it busy)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def least(folder: Path) -> float:
    """Seconds of the least command line."""
    done, seconds = python(LEAST, "name", folder=folder)
    assert done.returncode == 2, done.stderr
    return seconds


@pytest.fixture(scope="module")
def allowed(tmp_path_factory: pytest.TempPathFactory) -> float:
    """What a refusal may take once all is imported."""
    return (RATIO - 1) * least(tmp_path_factory.mktemp("least"))


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Refused]:
    """Every refusal in one process: message -> exit code, heavy modules imported so far, files left, its seconds."""
    folder = tmp_path_factory.mktemp("refused")
    done, _ = python(CODE % HEAVY, json.dumps(list(CASES.values())), folder=folder)
    assert done.returncode == 0, done.stderr
    said = done.stderr.split("end\n")[:-1]
    return dict(zip(CASES, zip(said, json.loads(done.stdout), strict=True), strict=True))


@pytest.mark.parametrize("message", CASES)
def test_a_refusal_imports_nothing_heavy_and_costs_little(
    message: str, refused: dict[str, Refused], allowed: float
) -> None:
    said, (code, heavy, files, seconds) = refused[message]
    assert message in said
    assert len(said.splitlines()) == 1
    assert (code, heavy, files) == (2, [], [])
    if message != next(iter(CASES)):  # the first imports what all of them need
        assert seconds < allowed


@pytest.mark.parametrize("message", [next(iter(CASES)), "nowhere: no such fitted model"])
def test_a_process_that_only_refuses_costs_little(message: str, tmp_path: Path) -> None:
    ratios = []
    for _ in range(3):
        done, seconds = python(CODE % HEAVY, json.dumps([CASES[message]]), folder=tmp_path)
        assert message in done.stderr
        ratios.append(seconds / least(tmp_path))
        if ratios[-1] < RATIO:
            return
    pytest.fail(f"{ratios} times what the least command line takes")
