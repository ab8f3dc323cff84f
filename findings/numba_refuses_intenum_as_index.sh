#!/usr/bin/env bash
# Numba 0.67.0: a member of an IntEnum is a number in arithmetic and comparisons, but not as an index of an array, though
# it is one in Python and NumPy. Compilation ends in a TypingError about getitem. Numba 0.68.1 takes it.
# Seen: sum 11 in both; index refused by 0.67.0, 30 in 0.68.1. Expected: 11 and 30 in both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > index.py <<'P'
import sys
from enum import IntEnum

import numba
import numpy as np


class Column(IntEnum):
    FIRST = 0
    THIRD = 2


@numba.njit
def arithmetic():
    return Column.THIRD + 9


@numba.njit
def indexed(values):
    return values[Column.THIRD]


try:
    found = str(indexed(np.array([10, 20, 30])))
except numba.TypingError as error:
    found = "refused" if "getitem" in str(error) else str(error)
print("Numba", numba.__version__, "sum", arithmetic(), "index", found)
assert arithmetic() == 11 and found == sys.argv[1]
P
for expected in "0.67.0 refused" "0.68.1 30"; do
    read -r version answer <<< "$expected"
    python3 -m venv "$version"
    "$version/bin/pip" install -q "numba==$version" numpy==2.3.4
    "$version/bin/python" index.py "$answer"
done
