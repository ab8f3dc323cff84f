"""What can be told from names alone is told at once: before anything heavy is imported, in less than a second."""

import json
import resource
import subprocess
import sys

import pytest

HEAVY = {"torch", "torchvision", "timm", "anomalib", "lightning", "sklearn", "skimage", "matplotlib", "scipy.ndimage"}
CODE = """
import json, sys
from fracgen.cli import run
code = run(sys.argv[1:])
print(json.dumps([code, sorted(m for m in sys.modules if m in %r)]))
"""
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


@pytest.mark.parametrize("message", CASES)
def test_a_refusal_imports_nothing_heavy_and_takes_less_than_a_second(message, tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", CODE % HEAVY, *CASES[message]], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert json.loads(done.stdout) == [2, []]
    assert not list(tmp_path.iterdir())
    # Of the processor: others may keep it busy.
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 1, f"{seconds:.2f} s"
