"""The renderer of a source tree: this checkout's, another commit's or another folder's.

The model itself imports nothing of fracgen. A worker process imports it from the tree that it is told,
so that the kernels and the code that launches them are always of one version.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import operator
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

_NAMES = {
    "CodeBank": "fracgen.formulas.ifs.bank:CodeBank fracgen.bank:CodeBank",
    "BankSpec": "fracgen.recipes.recipe:BankSpec fracgen.recipe:BankSpec",
    "PRESETS": "fracgen.recipes.presets:PRESETS fracgen.presets:PRESETS",
    "seed_key": "fracgen.draws:seed_key",
    "make_bank": "fracgen.formulas.banks:make_bank",
    "make_pipeline": "fracgen.rendering.cuda.formulas:make_pipeline fracgen.rendering.cuda.pipeline:KernelPipeline "
    "fracgen.renderer.kernels:KernelPipeline",
    "OutputFormat": "fracgen.rendering.cuda.pipeline:OutputFormat fracgen.renderer.kernels:OutputFormat",
    "Layout": "fracgen.rendering.cuda.layout:Layout fracgen.renderer.layout:Layout",
    "compile_kernel": "fracgen.rendering.cuda.nvrtc:compile_kernel fracgen.renderer.nvrtc:compile_kernel",
    "Parameters": "fracgen.rendering.parameters:Parameters fracgen.renderer.plan:Plan",
    "SCENE_FIELDS": "fracgen.rendering.records:SCENE_FIELDS fracgen.renderer.plan:IMAGE_FIELDS",
    "BLUR": "fracgen.rendering.records:SceneField.BLUR fracgen.renderer.plan:BLUR",
    "OBJECTS": "fracgen.rendering.records:SceneField.OBJECTS fracgen.renderer.plan:OBJECTS",
    "CpuRenderer": "fracgen.rendering.cpu.renderer:CpuRenderer fracgen.renderer.cpu:CpuRenderer",
}
"""What the model uses of a tree, and where trees have it, newest first."""

SCENES = ("scenes", "images")
"""What the pipeline calls its buffer of scene records, newest first."""


class Renderer(SimpleNamespace):
    """The names of `_NAMES`, imported when first asked for."""

    def __getattr__(self, name: str) -> Any:
        for place in _NAMES.get(name, "").split():
            module, _, path = place.partition(":")
            with contextlib.suppress(ModuleNotFoundError, AttributeError):
                value = operator.attrgetter(path)(importlib.import_module(module))
                setattr(self, name, value)
                return value
        raise AttributeError(f"this source tree has no {name} where the model looks for it: {_NAMES.get(name)}")


def renderer_of(folder: Path) -> Renderer:
    """Import fracgen from a folder; once a process."""
    assert "fracgen" not in sys.modules, "fracgen was imported already"
    sys.path.insert(0, str(folder))
    found = importlib.import_module("fracgen")
    assert Path(str(found.__file__)).is_relative_to(folder), f"fracgen came from {found.__file__}"
    renderer = Renderer()
    compiler = sys.modules[renderer.compile_kernel.__module__]
    compiler.OPTIONS = (*compiler.OPTIONS, "-lineinfo")  # the same code, with the lines that it was made from
    return renderer


@contextlib.contextmanager
def source_tree(which: str | None) -> Iterator[Path]:
    """The folder of a source tree.

    Args:
        which: a folder that holds `fracgen` and `kernels`, a commit of this repository, or None for
            this checkout as it is.

    Raises:
        ValueError: it is neither.
    """
    if which is None:
        yield ROOT
        return
    if (Path(which) / "fracgen").is_dir():
        yield Path(which).resolve()
        return
    command = ["git", "-C", str(ROOT), "archive", which, "fracgen", "kernels"]
    archive = subprocess.run(command, capture_output=True)
    if archive.returncode:
        why = archive.stderr.decode().strip().splitlines() or [""]
        raise ValueError(f"{which!r} is neither a folder with fracgen in it nor a commit ({why[-1]})")
    with tempfile.TemporaryDirectory(prefix="fracgen-tree-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            tar.extractall(folder, filter="data")
        yield Path(folder)
