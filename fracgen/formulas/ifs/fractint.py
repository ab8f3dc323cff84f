"""FRACTINT's `.ifs` files: several codes by name, seven numbers a map.

    fern { ; a comment
      .85  .04 -.04 .85 0 1.6 .85
      ...
    }

A map is a b c d e f p of x' = a x + b y + e, y' = c x + d y + f, chosen with probability p.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas.files import BankError
from fracgen.formulas.ifs import MAX_MAPS
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.formulas.ifs.importing import Found, listed, maps_of
from fracgen.support.decode import brief, read_bytes


def read_ifs(path: Path) -> Found:
    """The two-dimensional codes of 2 to 8 maps; others are left out by name, and so is an entry named `comment`."""
    text = re.sub(";[^\n]*", "", read_bytes(path).decode("latin-1"))  # DOS's alphabet: a byte a letter
    *entries, rest = text.split("}")
    if not entries or rest.strip("\x1a \t\r\n"):  # the first ended files under DOS
        raise BankError(f"{path} is no file of FRACTINT's codes: expected `name {{ rows of seven numbers }}`")
    systems, chances, left_out = [], [], []
    for entry in entries:
        head, brace, body = entry.partition("{")
        name = brief(" ".join(head.split()))
        if name.lower() == "comment":
            continue
        if "(3d)" in name.lower():
            left_out.append(name)
            continue
        rows = _rows(body) if brace else None
        if rows is None:
            raise BankError(f"{path}, entry {name!r} does not hold rows of the seven numbers a, b, c, d, e, f, p")
        if not 2 <= len(rows) <= MAX_MAPS:
            left_out.append(f"{name} (maps: {len(rows)})")
            continue
        systems.append(maps_of(rows))
        chances.append(_chances(rows[:, 6]))
    return Found(systems, chances, listed(left_out))


def _rows(body: str) -> NDArray[np.float64] | None:
    """The maps [N, 7] of an entry, whose lines mean nothing; None where they are no such numbers."""
    try:
        return np.array(body.split(), np.float64).reshape(-1, 7)
    except ValueError:
        return None


def _chances(stored: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities as FRACTINT takes them: the first map at which their sum passes a number of [0, 1], or the last."""
    sums = np.minimum(np.cumsum(stored), 1)
    sums[-1] = 1
    return np.diff(sums, prepend=0)


def write_ifs(bank: CodeBank, codes: list[int]) -> Iterator[str]:
    """The text of a file, a code after the other."""
    for code in codes:
        rows = bank.rows(code).astype(np.float32)  # whose shortest decimals are the same numbers again
        yield f"code_{code} {{\n" + "".join(f"  {' '.join(map(str, row))}\n" for row in rows) + "}\n"
