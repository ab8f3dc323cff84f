"""How the CPU renderer is compiled: `inner` functions are inlined into a few cached `stage`s."""

# mypy: ignore-errors
from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path

from numba import njit

from fracgen.support.files import PACKAGE

# Wrappers that let Python call a function cost more compilation than most of these functions.
inner = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


SOURCES = (
    "draws.py", "order.py", "formulas", "recipes", "rendering", "support/decode.py", "support/errors.py",
    "support/files.py", "support/options.py",
)  # fmt: skip
"""Files and folders of the package that hold all that a stage may inline, and what that imports."""


def stamp(package: Path = PACKAGE) -> str:
    """Digest of every source file that a stage may inline, and of the vector width if one is forced."""
    digest = hashlib.sha256(os.environ.get("FRACGEN_LANES", "").encode())
    for place in (package / name for name in SOURCES):
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.read_bytes())
    return digest.hexdigest()


STAGES = {}
"""The compiled stages by name."""


def stage(function):
    """Compile on first call, keep the binary on disk, release the interpreter lock while it runs.

    Numba reuses a binary while the file of its function is unchanged, and does not look at the
    files of what was inlined into it. So the stamp it compares is made to cover all of them.
    """
    compiled = njit(error_model="numpy", nogil=True, cache=True, no_cfunc_wrapper=True)(function)
    index = compiled._cache._cache_file
    index._source_stamp, index._load_index = stamp(), partial(_load, index._load_index)
    STAGES[function.__name__.removesuffix("_stage")] = compiled
    return compiled


def cold(name: str) -> bool:
    """Whether a stage has to be compiled."""
    compiled = STAGES[name]
    return not compiled.signatures and not compiled._cache._cache_file._load_index()


def _load(load):
    """The binaries that there are. Their list pickles the types of arguments, and an older fracgen's may be gone."""
    try:
        return load()
    except Exception:
        return {}
