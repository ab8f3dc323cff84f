"""Read the codes of Anderson and Farrell's pickles and of FractalDB's CSV folders.

A pickle is a program. Here it is read by an unpickler that knows a few names of NumPy's, takes notes of its own in
their place, and refuses every other before anything is run; what comes out is checked as any bank is.
"""

from __future__ import annotations

import csv
import io
import pickle
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas.files import BankError
from fracgen.formulas.ifs import MAX_MAPS
from fracgen.support.decode import Unchecked, brief, read_bytes
from fracgen.support.kinds import files_below

MAX_PICKLE_BYTES = 1 << 30
MAX_CSV_BYTES = 1 << 16


class Found(NamedTuple):
    """What a file of codes holds."""

    systems: list[NDArray[np.float32]]
    """float32 [maps, 2, 3] each."""
    chances: list[NDArray[np.float64]] | None = None
    """Probabilities [maps] of each; None: |det A|."""
    left_out: str = ""
    """What of the file is no code here, for people."""


class _Type:
    """What a pickle says of a dtype: `dtype(name, ...)`, then a state whose second part is the order of bytes."""

    def __init__(self, name: object, *_: object) -> None:
        self.name, self.order = str(name), "="

    def __setstate__(self, state: Unchecked) -> None:
        self.order = str(state[1])


class _Array:
    """What a pickle says of an array. NumPy's own would obey a damaged state, and may not survive that."""

    shape: object = ()
    kind: object = None
    data: object = b""
    fortran: object = False

    def __setstate__(self, state: Unchecked) -> None:
        _, self.shape, self.kind, self.fortran, self.data = state

    @classmethod
    def of(cls, data: object, kind: object, shape: object, order: object) -> _Array:
        """As NumPy's `_frombuffer` is called."""
        array = cls()
        array.shape, array.kind, array.fortran, array.data = shape, kind, order == "F", data
        return array

    def described(self) -> str:
        """Type and shape, for people."""
        names = {"f2": "float16", "f4": "float32", "f8": "float64"}
        name = self.kind.name if isinstance(self.kind, _Type) else "?"
        return brief(f"{names.get(name, name)} {list(self.shape) if isinstance(self.shape, tuple) else '?'}")

    def values(self) -> NDArray[np.floating] | None:
        """The numbers, None where it has no floating point numbers or not as many as its shape says."""
        kind, shape = self.kind, self.shape
        if not isinstance(kind, _Type) or kind.name not in ("f2", "f4", "f8") or kind.order not in ("<", ">", "=", "|"):
            return None
        if not isinstance(shape, tuple) or not isinstance(self.data, (bytes, bytearray)):
            return None
        values: NDArray[np.floating] = np.frombuffer(self.data, np.dtype(f"{kind.order}{kind.name}"))
        return values.reshape(shape, order="F" if self.fortran else "C")


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _scalar(*_: object) -> None:
    """Numbers that stand beside the codes are not read."""


def _encode(text: str, encoding: str) -> bytes:
    return text.encode("latin1")  # how old pickles spell bytes


_CORES = ("numpy.core", "numpy._core")  # NumPy 1 and 2
_ADMITTED: dict[tuple[str, str], object] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    **{(f"{core}.multiarray", "_reconstruct"): _reconstruct for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _scalar for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _Array.of for core in _CORES},
}
"""All that a pickle of arrays, numbers and plain containers needs, in our own words: it reaches nothing of NumPy's."""


def read_pickle(path: Path) -> Found:
    """The codes of {'params': [{'system': array [N, 2, 3]}, ...]}."""
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
    return Found([_unpickled(p["system"], f"{path}, code {k}") for k, p in enumerate(params)])


def _unpickled(value: object, where: str) -> NDArray[np.float32]:
    found = value.described() if isinstance(value, _Array) else type(value).__name__
    try:
        values = value.values() if isinstance(value, _Array) else None
    except ValueError as error:  # of NumPy's: data that does not fill the shape
        raise BankError(f"{where} is {found}: {brief(error)}") from None
    if values is None:
        raise BankError(f"{where} is {found}: expected floating point numbers [maps, 2, 3]")
    return _system(values, where)


class _Unpickler(pickle.Unpickler):
    """Admits the reconstruction of NumPy arrays, and nothing else that has a name."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in _ADMITTED:
            return _ADMITTED[module, name]
        raise BankError(f"this pickle asks for {brief(module)}.{brief(name)}, which no file of codes needs: refused")

    def persistent_load(self, pid: object) -> object:
        raise BankError("this pickle asks for objects from outside of itself: refused")


def list_fractaldb(folder: Path) -> tuple[list[Path], str]:
    """The CSV files in a folder and its sub-folders, sorted by name; and what is left out, counted, for people."""
    found, hidden = files_below(folder)
    files = sorted((p for p in found if p.suffix.lower() == ".csv"), key=lambda p: (f"{p.stem}.csv", p))
    others = len(found) - len(files)
    counts = (("hidden file or folder", "hidden files or folders", len(hidden)),
              ("file of another kind", "files of other kinds", others))  # fmt: skip
    return files, ", ".join(f"{n:,} {one if n == 1 else many}" for one, many, n in counts if n)


def read_fractaldb(folder: Path) -> Found:
    """The codes of the files of `list_fractaldb`.

    One file is one code; a row is one map: a, b, c, d, e, f, p of x' = a x + b y + e,
    y' = c x + d y + f, chosen with probability p.
    """
    files, left_out = list_fractaldb(folder)
    if not files:
        raise BankError(f"{folder} holds no CSV file: name FractalDB's folder of codes, one CSV file a category")
    rows = [_rows(path) for path in files]
    return Found([maps_of(r) for r in rows], [r[:, 6] for r in rows], left_out)


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


def listed(names: list[str]) -> str:
    """What was left out, for people."""
    return brief(", ".join(names[:12]) + (f" and {len(names) - 12:,} more" if len(names) > 12 else ""), 1000)


def maps_of(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    """The maps [N, 2, 3] of rows that begin with a, b, c, d, e, f, as FractalDB and FRACTINT write them."""
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, which the bank refuses by name
        return rows[:, [0, 1, 4, 2, 3, 5]].reshape(-1, 2, 3).astype(np.float32)


def _system(value: NDArray[np.floating], where: str) -> NDArray[np.float32]:
    if value.ndim != 3 or value.shape[1:] != (2, 3):
        found = f"{value.dtype.name} {list(value.shape)}"
        raise BankError(f"{where} is {found}: expected floating point numbers [maps, 2, 3]")
    if not 2 <= len(value) <= MAX_MAPS:
        raise BankError(f"{where} has {len(value)} maps: a code needs 2 to {MAX_MAPS}")
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, which the bank refuses by name
        return value.astype(np.float32)
