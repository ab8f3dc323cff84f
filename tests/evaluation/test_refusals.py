"""What can be told from names alone is told at once: before anything heavy is imported, for little more than what
a command line costs."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "torchvision", "timm", "anomalib", "lightning", "sklearn", "skimage", "matplotlib", "scipy.ndimage"}
CODE = """
import json, sys
from fracgen.cli import run
code = run(sys.argv[1:])
print(json.dumps([code, sorted(m for m in sys.modules if m in %r)]))
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
    "no pictures (.png": ["eval", "predict", __file__, "--train", "."],
    "where is visa? give its folder": ["eval", "data", "visa"],
}


def python(code: str, *arguments: str, folder: Path) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run code in a fresh Python: what it did, and its seconds of processor time (others may keep it busy)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("message", CASES)
def test_a_refusal_imports_nothing_heavy_and_costs_little(message, tmp_path):
    ratios = []
    for _ in range(3):
        least, least_s = python(LEAST, "name", folder=tmp_path)
        assert least.returncode == 2, least.stderr
        done, seconds = python(CODE % HEAVY, *CASES[message], folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert json.loads(done.stdout) == [2, []]
        assert not list(tmp_path.iterdir())
        ratios.append(seconds / least_s)
        if ratios[-1] < RATIO:
            return
    pytest.fail(f"{ratios} times what the least command line takes")
