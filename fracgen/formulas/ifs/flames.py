"""flam3's flames whose transforms are all linear: these are IFS codes.

A `<flame>` has an `<xform>` for each map: `coefs` are the columns of its matrix and its vector, times the weight of the
variation `linear`; `post` is a map that follows it; it is chosen in proportion to its `weight`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas.files import BankError
from fracgen.formulas.ifs import MAX_MAPS
from fracgen.formulas.ifs.bank import CodeBank, orbits
from fracgen.formulas.ifs.importing import Found, listed
from fracgen.support.decode import brief, read_bytes

_NO_VARIATIONS = {
    "weight", "color", "color_speed", "symmetry", "animate", "name", "var_color", "coefs", "post", "linear", "opacity",
    "plotmode", "chaos",
}  # fmt: skip
"""Attributes of a transform; all others are variations, or say something to one."""
_SIDE = 512
"""Of the pictures that a written flame asks for, in pixels."""


class _Foreign(Exception):
    """What a flame has and a code cannot have."""


class _Flame:
    """A flame that is being read."""

    def __init__(self, attributes: dict[str, str]) -> None:
        self.name = brief(attributes.get("name", "a flame without a name"))
        self.weights: dict[bytes, float] = {}
        """Of the maps, by their bytes: equal ones are one map."""
        self.foreign = "soloxform" if _numbers(attributes, "soloxform", "-1") >= [0] else ""

    def add(self, tag: str, attributes: dict[str, str]) -> None:
        """Take one of the flame's elements."""
        if tag == "symmetry":
            for turned in _symmetry(int(attributes.get("kind", "1"))):
                self._count(turned, 1.0)
        elif tag == "xform":
            self._count(_map(attributes), _numbers(attributes, "weight", "0")[0])
        elif tag in ("finalxform", "motion"):
            raise _Foreign(tag)

    def _count(self, system: NDArray[np.float64], weight: float) -> None:
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, which the bank refuses by name
            key = (system.astype(np.float32) + np.float32(0)).tobytes()  # -0 is 0
        self.weights[key] = self.weights.get(key, 0.0) + weight

    def code(self) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Maps [N, 2, 3] and weights [N]."""
        chosen = {key: weight for key, weight in self.weights.items() if weight != 0}
        if not 2 <= len(chosen) <= MAX_MAPS:
            raise _Foreign(f"maps: {len(chosen)}")
        return np.frombuffer(b"".join(chosen), np.float32).reshape(-1, 2, 3), np.array(list(chosen.values()))


class _Reader:
    """Collects the linear flames of a document, and the names of others."""

    def __init__(self) -> None:
        self.systems: list[NDArray[np.float32]] = []
        self.weights: list[NDArray[np.float64]] = []
        self.left_out: list[str] = []
        self.path: list[str] = []
        self.flame: _Flame | None = None

    def parse(self, text: bytes) -> None:
        """Raises ValueError or expat.ExpatError where it is damaged."""
        parser = expat.ParserCreate()
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.StartDoctypeDeclHandler = _refuse  # entities stand in one
        parser.Parse(text, True)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.path.append(tag)
        if self.flame is None:
            self.flame = _Flame(attributes) if tag == "flame" else None
        elif not self.flame.foreign and self.path[-2] in ("flame", "xform"):
            try:
                self.flame.add(tag, attributes)
            except _Foreign as error:
                self.flame.foreign = str(error)

    def _end(self, tag: str) -> None:
        self.path.pop()
        if self.flame is None or tag != "flame":
            return
        try:
            if self.flame.foreign:
                raise _Foreign(self.flame.foreign)
            system, weights = self.flame.code()
            self.systems.append(system)
            self.weights.append(weights)
        except _Foreign as error:
            self.left_out.append(f"{self.flame.name} ({error})")
        self.flame = None


def read_flames(path: Path) -> Found:
    """The linear flames of a file, with their symmetries' maps; others are left out by name."""
    reader = _Reader()
    try:
        reader.parse(read_bytes(path))
    except (ValueError, expat.ExpatError) as error:
        where = f", {reader.flame.name!r}" if reader.flame else ""
        raise BankError(f"{path}{where} is no readable flame ({brief(error)})") from None
    return Found(reader.systems, reader.weights, listed(reader.left_out))


def _refuse(*_: object) -> NoReturn:
    raise ValueError("it declares a document type, which no flame needs")


def _map(attributes: dict[str, str]) -> NDArray[np.float64]:
    """The map [2, 3] of a transform."""
    for name, value in attributes.items():
        if name not in _NO_VARIATIONS and (value.strip("0. ") or name in ("var", "var1")):  # the last two: by number
            raise _Foreign(f"variation {brief(name)}")
    if _numbers(attributes, "opacity", "1") != [1] or attributes.get("plotmode") == "off":
        raise _Foreign("opacity")
    if set(_numbers(attributes, "chaos", "1")) != {1}:
        raise _Foreign("chaos")
    first, post = (np.array(_numbers(attributes, n, "1 0 0 1 0 0", 6)).reshape(3, 2).T for n in ("coefs", "post"))
    with np.errstate(over="ignore", invalid="ignore"):  # the bank refuses by name what is not finite
        system: NDArray[np.float64] = post[:, :2] @ (first * _numbers(attributes, "linear", "0")[0])
        system[:, 2] += post[:, 2]
    return system


def _numbers(attributes: dict[str, str], name: str, default: str, count: int = 1) -> list[float]:
    """The numbers of an attribute, so many or more."""
    values = [float(value) for value in attributes.get(name, default).split()]
    if len(values) < count:
        raise ValueError(f"{name} has {len(values)} numbers, not {count}")
    return values


def _symmetry(kind: int) -> Iterator[NDArray[np.float64]]:
    """The maps [2, 3] that a symmetry adds: turns by parts of a circle, and a reflection where it is negative."""
    if kind == 0 or abs(kind) > MAX_MAPS:  # flam3 draws a random one for 0
        raise _Foreign(f"symmetry {kind}")
    if kind < 0:
        yield np.array([[-1.0, 0, 0], [0, 1, 0]])
    for k in range(1, abs(kind)):
        c, s = (round(f(2 * math.pi * k / abs(kind)), 6) for f in (math.cos, math.sin))  # as flam3 rounds them
        yield np.array([[c, -s, 0], [s, c, 0]])


def write_flames(bank: CodeBank, codes: list[int]) -> Iterator[str]:
    """The text of a file, a code after the other, each with a view of its attractor."""
    low, high = _extents(bank, codes)
    scales = 0.9 * _SIDE / np.maximum((high - low).max(axis=1), 1e-9)
    yield "<flames>\n"
    for code, (x, y), scale in zip(codes, (low + high) / 2, scales, strict=True):
        yield (
            f'<flame name="code-{code}" size="{_SIDE} {_SIDE}" center="{x:.6g} {y:.6g}" scale="{scale:.6g}"'
            ' supersample="1" quality="100" background="0 0 0" brightness="4" gamma="4">\n'
            '  <color index="0" rgb="255 255 255"/>\n'
        )
        for row in bank.rows(code).astype(np.float32):  # whose shortest decimals are the same numbers again
            a, b, c, d, e, f, p = map(str, row)
            yield f'  <xform weight="{p}" color="0" linear="1" coefs="{a} {c} {b} {d} {e} {f}"/>\n'
        yield "</flame>\n"
    yield "</flames>\n"


def _extents(bank: CodeBank, codes: list[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest and largest coordinates [K, 2] of the codes' attractors."""
    low, high = np.full((len(codes), 2), np.inf), np.full((len(codes), 2), -np.inf)
    for first in range(0, len(codes), 4096):
        these = slice(first, first + 4096)
        chosen = np.array(codes[these])
        points = orbits(bank.maps[chosen], bank.sizes[chosen], bank.probabilities[chosen], 2000)
        for step, point in enumerate(points):
            if step >= 64:
                np.minimum(low[these], point, out=low[these])
                np.maximum(high[these], point, out=high[these])
    return low, high
