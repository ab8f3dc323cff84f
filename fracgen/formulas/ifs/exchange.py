"""Codes of other projects: which formats they come in and go out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fracgen.formulas.files import MAX_CODES, BankError
from fracgen.formulas.ifs import MAX_MAPS
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.formulas.ifs.flames import read_flames, write_flames
from fracgen.formulas.ifs.fractint import read_ifs, write_ifs
from fracgen.formulas.ifs.importing import Found, read_fractaldb, read_pickle
from fracgen.support.files import whole_file


class Format(NamedTuple):
    """A format of files of codes."""

    read: Callable[[Path], Found]
    ends: tuple[str, ...] = ()
    """How names of its files end."""
    write: Callable[[CodeBank, list[int]], Iterator[str]] | None = None


FORMATS = {
    "pickle": Format(read_pickle),
    "fractaldb": Format(read_fractaldb),
    "ifs": Format(read_ifs, (".ifs",), write_ifs),
    "flame": Format(read_flames, (".flame", ".flam3", ".xml"), write_flames),
}
"""Anderson and Farrell's pickles, of any other name; FractalDB's folders; FRACTINT's codes; flam3's flames."""


def import_codes(
    path: str | os.PathLike[str], *, classes: int | None = None, non_contractive: bool = False
) -> CodeBank:
    """A bank of another project's codes, with the probabilities that these bring.

    Args:
        path: a `.pkl` of Anderson and Farrell's `ifs.py`, a folder of FractalDB's CSV files, FRACTINT's `.ifs`, or
            flam3's `.flame`, `.flam3` or `.xml`.
        classes: must divide the number of codes; default: one per code.
        non_contractive: admit maps that do not contract, as most of FractalDB's.

    Raises:
        BankError: the file is not of its format, a pickle asks for anything but arrays, no code is left, or one is
            not valid.
        OSError: it cannot be read.
    """
    source = Path(path)
    if not source.exists():
        raise FileNotFoundError(f"nothing is at {source}: name a file of codes or a folder of CSV files")
    by_name = next((f for f in FORMATS.values() if source.name.lower().endswith(f.ends)), FORMATS["pickle"])
    found = (FORMATS["fractaldb"] if source.is_dir() else by_name).read(source)
    codes = len(found.systems)
    if not 1 <= codes <= MAX_CODES:
        without = f" (left out: {found.left_out})" if found.left_out else ""
        raise BankError(f"{source} holds {codes:,} codes: a bank has 1 to {MAX_CODES:,}{without}")
    maps, chances = np.zeros((codes, MAX_MAPS, 2, 3), np.float32), np.zeros((codes, MAX_MAPS), np.float32)
    for k, system in enumerate(found.systems):
        maps[k, : len(system)] = system
    with np.errstate(over="ignore"):  # the bank refuses by name what does not fit
        for k, own in enumerate(found.chances or ()):
            chances[k, : len(own)] = own
    return CodeBank(
        maps, np.array([len(system) for system in found.systems], np.uint8), codes if classes is None else classes,
        None if found.chances is None else chances,  # type: ignore[arg-type]
        non_contractive, {"imported_from": source.name} | ({"left_out": found.left_out} if found.left_out else {}),
    )  # fmt: skip


def export_codes(
    bank: CodeBank, path: str | os.PathLike[str], format: str, codes: Sequence[int] | None = None
) -> None:
    """Write codes for another program, whole or not at all.

    Args:
        bank: the codes.
        path: the file.
        format: `flame`, for flam3 and its relatives, or `ifs`, for FRACTINT.
        codes: which; default: all.

    Raises:
        ValueError: there is no such format or code.
        OSError: it cannot be written.
    """
    written = {name: f.write for name, f in FORMATS.items() if f.write is not None}
    if format not in written:
        raise ValueError(f"unknown format {format!r}: use one of {', '.join(written)}")
    chosen = list(range(len(bank)) if codes is None else codes)
    if outside := [code for code in chosen if not 0 <= code < len(bank)]:
        raise ValueError(f"there is no code {outside[0]}: the bank holds codes 0 to {len(bank) - 1}")
    with whole_file(path) as file:
        for piece in written[format](bank, chosen):
            file.write(piece.encode())
