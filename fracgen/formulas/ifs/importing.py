"""Import the codes of other projects: Anderson and Farrell's pickles and FractalDB's CSV folders.

A pickle is a program. Here it is read by an unpickler that knows a few names of NumPy's, takes notes of its own in
their place, and refuses every other before anything is run; what comes out is checked as any bank is.
"""

from __future__ import annotations

import csv
import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas.files import MAX_CODES, BankError
from fracgen.formulas.ifs import MAX_MAPS
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.support.decode import brief, read_bytes
from fracgen.support.kinds import files_below

MAX_PICKLE_BYTES = 1 << 30
MAX_CSV_BYTES = 1 << 16

class _Type:
    """What a pickle says of a dtype: `dtype(name, ...)`, then a state whose second part is the order of bytes."""

    def __init__(self, name: Any, *_: Any) -> None:
        self.name, self.order = str(name), "="

    def __setstate__(self, state: Any) -> None:
        self.order = str(state[1])


class _Array:
    """What a pickle says of an array. NumPy's own would obey a damaged state, and may not survive that."""

    shape: Any = ()
    kind: Any = None
    data: Any = b""
    fortran: Any = False

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.kind, self.fortran, self.data = state

    @classmethod
    def of(cls, data: Any, kind: Any, shape: Any, order: Any) -> _Array:
        """As NumPy's `_frombuffer` is called."""
        array = cls()
        array.shape, array.kind, array.fortran, array.data = shape, kind, order == "F", data
        return array

    def described(self) -> str:
        """Type and shape, for people."""
        names = {"f2": "float16", "f4": "float32", "f8": "float64"}
        name = self.kind.name if isinstance(self.kind, _Type) else "?"
        return brief(f"{names.get(name, name)} {list(self.shape) if isinstance(self.shape, tuple) else '?'}")

    def values(self) -> NDArray[np.floating[Any]] | None:
        """The numbers, None where it has no floating point numbers or not as many as its shape says."""
        kind, shape = self.kind, self.shape
        known = isinstance(kind, _Type) and kind.name in ("f2", "f4", "f8") and kind.order in ("<", ">", "=", "|")
        if not known or not isinstance(shape, tuple) or not isinstance(self.data, (bytes, bytearray)):
            return None
        values: NDArray[np.floating[Any]] = np.frombuffer(self.data, np.dtype(f"{kind.order}{kind.name}"))
        return values.reshape(shape, order="F" if self.fortran else "C")


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _scalar(*_: Any) -> None:
    """Numbers that stand beside the codes are not read."""


def _encode(text: str, encoding: str) -> bytes:
    return text.encode("latin1")  # how old pickles spell bytes


_CORES = ("numpy.core", "numpy._core")  # NumPy 1 and 2
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    **{(f"{core}.multiarray", "_reconstruct"): _reconstruct for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _scalar for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _Array.of for core in _CORES},
}
"""All that a pickle of arrays, numbers and plain containers needs, in our own words: it reaches nothing of NumPy's."""


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
        raise BankError(f"{path} is not a readable pickle ({type(error).__name__}: {brief(error)})") from None
    params = data.get("params") if isinstance(data, dict) else None
    if not isinstance(params, list) or not all(isinstance(p, dict) and "system" in p for p in params):
        raise BankError(f"{path} holds no {{'params': [{{'system': array}}, ...]}}: it was not made by ifs.py")
    return _stacked([_unpickled(p["system"], f"{path}, code {k}") for k, p in enumerate(params)], str(path))


def _unpickled(value: Any, where: str) -> NDArray[np.float32]:
    try:
        values = value.values() if isinstance(value, _Array) else None
    except ValueError as error:  # of NumPy's: data that does not fill the shape
        raise BankError(f"{where} is {value.described()}: {brief(error)}") from None
    if values is None:
        found = value.described() if isinstance(value, _Array) else type(value).__name__
        raise BankError(f"{where} is {found}: expected floating point numbers [maps, 2, 3]")
    return _system(values, where)


class _Unpickler(pickle.Unpickler):
    """Admits the reconstruction of NumPy arrays, and nothing else that has a name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ADMITTED:
            return _ADMITTED[module, name]
        raise BankError(f"this pickle asks for {brief(module)}.{brief(name)}, which no file of codes needs: refused")

    def persistent_load(self, pid: Any) -> Any:
        raise BankError("this pickle asks for objects from outside of itself: refused")


def list_fractaldb(folder: Path) -> tuple[list[Path], str]:
    """The CSV files in a folder and its sub-folders, sorted by name; and what is left out, counted, for people."""
    found, hidden = files_below(folder)
    files = sorted((p for p in found if p.suffix.lower() == ".csv"), key=lambda p: (f"{p.stem}.csv", p))
    others = len(found) - len(files)
    counts = (("hidden file or folder", "hidden files or folders", len(hidden)),
              ("file of another kind", "files of other kinds", others))  # fmt: skip
    return files, ", ".join(f"{n:,} {one if n == 1 else many}" for one, many, n in counts if n)


def read_fractaldb(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float32]]:
    """Maps, their numbers and probabilities [K, 8] from the files of `list_fractaldb`.

    One file is one code; a row is one map: a, b, c, d, e, f, p of x' = a x + b y + e,
    y' = c x + d y + f, chosen with probability p.
    """
    files, _ = list_fractaldb(folder)
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
        raise BankError(f"{path} is not a table of numbers ({brief(error)})") from None
    if not rows or any(len(row) != 7 for row in rows):
        raise BankError(f"{path} does not hold rows of the seven numbers a, b, c, d, e, f, p")
    if not 2 <= len(rows) <= MAX_MAPS:
        raise BankError(f"{path} has {len(rows)} maps: a code needs 2 to {MAX_MAPS}")
    return np.array(rows)


def _system(value: NDArray[np.floating[Any]], where: str) -> NDArray[np.float32]:
    if value.ndim != 3 or value.shape[1:] != (2, 3):
        found = f"{value.dtype.name} {list(value.shape)}"
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
