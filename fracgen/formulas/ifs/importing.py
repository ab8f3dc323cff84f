"""Import the codes of other projects: Anderson and Farrell's pickles and FractalDB's CSV folders.

A pickle is a program. Here it is read by an unpickler that knows a few names of NumPy's and refuses
every other before anything is run; what comes out is checked as any bank is.
"""

from __future__ import annotations

import csv
import io
import os
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas.files import BankError
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.recipes.recipe import MAX_CODES, MAX_MAPS
from fracgen.support.decode import read_bytes

MAX_PICKLE_BYTES = 1 << 30
MAX_CSV_BYTES = 1 << 16
CLUTTER = ("@eaDir", "__MACOSX")
"""Folders that systems make beside people's own, as they make all whose name begins with a dot."""

_RECONSTRUCT = np.empty(0).__reduce__()[0]
_SCALAR = np.float64(0).__reduce__()[0]


def _frombuffer(data: Any, kind: Any, shape: Any, order: Any) -> Any:
    return np.frombuffer(data, kind).reshape(shape, order=order)


def _encode(text: str, encoding: str) -> bytes:
    return text.encode("latin1")  # how old pickles spell bytes


_CORES = ("numpy.core", "numpy._core")  # NumPy 1 and 2
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
    **{(f"{core}.multiarray", "_reconstruct"): _RECONSTRUCT for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _SCALAR for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _frombuffer for core in _CORES},
}
"""All that a pickle of arrays, numbers and plain containers needs. Python functions are our own, so
that a pickle cannot reach into NumPy's."""


class Listed(NamedTuple):
    """The files of codes in a folder, and how many others there are."""

    files: list[Path]
    hidden: int
    """Files whose name begins with a dot, or that lie in folders of that kind or of `CLUTTER`."""
    others: int
    """Files of other kinds."""


def import_codes(
    path: str | os.PathLike[str], *, classes: int | None = None, non_contractive: bool = False
) -> CodeBank:
    """A bank from a pickle file or a folder of CSV files.

    Args:
        path: a `.pkl` of Anderson and Farrell's `ifs.py`, or a folder of FractalDB's CSV files, whose probabilities are
            kept.
        classes: must divide the number of codes; default: one per code.
        non_contractive: admit maps that do not contract, as most of FractalDB's.

    Raises:
        BankError: the file is not of that format, asks for anything but arrays, or holds no valid code.
        OSError: it cannot be read.
    """
    source = Path(path)
    if not source.exists():
        raise FileNotFoundError(f"nothing is at {source}: name a pickle file or a folder of CSV files")
    if source.is_dir():
        maps, sizes, probabilities = read_fractaldb(source)
    else:
        maps, sizes, probabilities = *read_pickle(source), None
    return CodeBank(
        maps, sizes, len(sizes) if classes is None else classes,
        probabilities,  # type: ignore[arg-type]
        non_contractive, {"imported_from": source.name},
    )  # fmt: skip


def read_pickle(path: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Maps [K, 8, 2, 3] and their numbers [K] from {'params': [{'system': array [N, 2, 3]}, ...]}."""
    content = read_bytes(path, MAX_PICKLE_BYTES)
    try:
        data = _Unpickler(io.BytesIO(content)).load()
    except BankError as error:
        raise BankError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle raises anything
        raise BankError(f"{path} is not a readable pickle ({type(error).__name__}: {error})") from None
    params = data.get("params") if isinstance(data, dict) else None
    if not isinstance(params, list) or not all(isinstance(p, dict) and "system" in p for p in params):
        raise BankError(f"{path} holds no {{'params': [{{'system': array}}, ...]}}: it was not made by ifs.py")
    return _stacked([_system(p["system"], f"{path}, code {k}") for k, p in enumerate(params)], str(path))


class _Unpickler(pickle.Unpickler):
    """Admits the reconstruction of NumPy arrays, and nothing else that has a name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ADMITTED:
            return _ADMITTED[module, name]
        raise BankError(f"this pickle asks for {module}.{name}, which no file of codes needs: refused")

    def persistent_load(self, pid: Any) -> Any:
        raise BankError("this pickle asks for objects from outside of itself: refused")


def list_fractaldb(folder: Path) -> Listed:
    """The CSV files in a folder and its sub-folders, sorted by name; hidden ones are no codes."""
    files, hidden, others = [], 0, 0
    for path in (Path(place, name) for place, _, names in os.walk(folder) for name in names):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") or part in CLUTTER for part in parts):
            hidden += 1
        elif path.suffix.lower() == ".csv":
            files.append(path)
        else:
            others += 1
    return Listed(sorted(files, key=lambda p: (p.stem + ".csv", p)), hidden, others)


def read_fractaldb(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float32]]:
    """Maps, their numbers and probabilities [K, 8] from the files of `list_fractaldb`.

    One file is one code; a row is one map: a, b, c, d, e, f, p of x' = a x + b y + e,
    y' = c x + d y + f, chosen with probability p.
    """
    files = list_fractaldb(folder).files
    if not files:
        raise BankError(f"{folder} holds no CSV file: name FractalDB's folder of codes, one CSV file a category")
    systems, chances = [], np.zeros((len(files), MAX_MAPS), np.float32)
    for k, path in enumerate(files):
        rows = _rows(path)
        systems.append(_system(rows[:, [0, 1, 4, 2, 3, 5]].reshape(-1, 2, 3), str(path)))
        chances[k, : len(rows)] = rows[:, 6]
    maps, sizes = _stacked(systems, str(folder))
    return maps, sizes, chances


def _rows(path: Path) -> NDArray[np.float64]:
    content = read_bytes(path, MAX_CSV_BYTES)
    try:
        lines = io.StringIO(content.decode("utf-8-sig"), newline="")  # a byte order mark is Excel's
        rows = [[float(cell) for cell in row] for row in csv.reader(lines) if row]
    except (ValueError, csv.Error) as error:
        raise BankError(f"{path} is not a table of numbers ({error})") from None
    if not rows or any(len(row) != 7 for row in rows):
        raise BankError(f"{path} does not hold rows of the seven numbers a, b, c, d, e, f, p")
    if not 2 <= len(rows) <= MAX_MAPS:
        raise BankError(f"{path} has {len(rows)} maps: a code needs 2 to {MAX_MAPS}")
    return np.array(rows)


def _system(value: Any, where: str) -> NDArray[np.float32]:
    if not isinstance(value, np.ndarray) or value.ndim != 3 or value.shape[1:] != (2, 3) or value.dtype.kind != "f":
        found = f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
        raise BankError(f"{where} is {found}: expected floating point numbers [maps, 2, 3]")
    if not 2 <= len(value) <= MAX_MAPS:
        raise BankError(f"{where} has {len(value)} maps: a code needs 2 to {MAX_MAPS}")
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, which the bank refuses by name
        return value.astype(np.float32)


def _stacked(systems: list[NDArray[np.float32]], where: str) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    if not 1 <= len(systems) <= MAX_CODES:
        raise BankError(f"{where} holds {len(systems):,} codes: a bank has 1 to {MAX_CODES:,}")
    maps = np.zeros((len(systems), MAX_MAPS, 2, 3), np.float32)
    for k, system in enumerate(systems):
        maps[k, : len(system)] = system
    return maps, np.array([len(system) for system in systems], np.uint8)
