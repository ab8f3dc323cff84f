"""`CodeBank`: the IFS codes that images are made from, their checks and their file.

The file is safetensors: arrays and a small JSON header, no pickle. A bank knows how its codes form
classes: with C classes of K codes, code c * K + j is code j of class c.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas import files
from fracgen.formulas.files import BankError, Kind
from fracgen.formulas.ifs.sampling import (
    SAMPLER_VERSION,
    largest_singular_values,
    norms_and_determinants,
    sample_codes,
)
from fracgen.recipes.recipe import MAX_MAPS, BankSpec
from fracgen.support.decode import brief

_KINDS = {
    "sizes": Kind("uint8"), "maps": Kind("float32", (MAX_MAPS, 2, 3)), "probabilities": Kind("float32", (MAX_MAPS,))
}  # fmt: skip
_CHUNK = 65_536  # codes sampled or checked together: a bank of millions needs little more memory than itself


@dataclass(frozen=True, eq=False)
class CodeBank:
    """IFS codes and their classes.

    Raises:
        BankError: an array has the wrong shape or type, a value is not finite, a number of maps is
            outside [2, 8], a map does not contract (singular value of 1 or more) and
            `non_contractive` is false, or an orbit of such a code diverges.

    >>> bank = CodeBank.sample(20, seed=0, classes=4)
    >>> len(bank), bank.classes, bank.per_class
    (20, 4, 5)
    >>> bank.maps.shape
    (20, 8, 2, 3)
    """

    maps: NDArray[np.float32]
    """float32 [codes, 8, 2, 3]: x -> m[:, :2] x + m[:, 2], zero beyond each code's own maps."""
    sizes: NDArray[np.uint8]
    """uint8 [codes]: number of maps, 2..8."""
    classes: int
    probabilities: NDArray[np.float32] = field(default=None)  # type: ignore[arg-type]
    """float32 [codes, 8]: of choosing a map; their sum need not be 1. Default: |det A|, normalised."""
    non_contractive: bool = False
    """Admit maps that do not contract, as FractalDB's, when their orbits stay bounded."""
    metadata: dict[str, str] = field(default_factory=dict)
    """What the file's header says of the bank's origin: sampler, seed, ranges."""

    formula: ClassVar[str] = "ifs"

    def __post_init__(self) -> None:
        arrays: dict[str, NDArray[Any]] = {"sizes": self.sizes, "maps": self.maps}
        if self.probabilities is not None:
            arrays["probabilities"] = self.probabilities
        files.check_kinds(
            {name: _KINDS[name] for name in arrays}, {n: (str(a.dtype), a.shape) for n, a in arrays.items()}
        )
        if self.probabilities is None:
            with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused by name below
                object.__setattr__(self, "probabilities", _determinants(self.maps, self.sizes))
        _validate(self)
        for array in (self.maps, self.sizes, self.probabilities):
            array.setflags(write=False)

    @classmethod
    def sample(
        cls, codes: int = 100_000, seed: int = 0, *, classes: int | None = None, maps: tuple[int, int] = (2, MAX_MAPS)
    ) -> CodeBank:
        """Sample a bank as the paper does (section 3; Anderson and Farrell, section 3.2).

        Args:
            codes: how many. Code k is the same for every `codes`.
            seed: integer in [0, 2^64).
            classes: must divide `codes`; default: 1,000, or one per code where 1,000 does not divide.
            maps: smallest and largest number of maps, uniform in between.

        Raises:
            ValueError: an argument is out of range.

        >>> few, many = CodeBank.sample(10, seed=1), CodeBank.sample(1000, seed=1)
        >>> bool((few.maps == many.maps[:10]).all())
        True
        """
        if classes is None:
            classes = 1000 if codes % 1000 == 0 else codes
        return cls.from_spec(BankSpec(codes, classes, maps), seed)

    @classmethod
    def from_spec(cls, spec: BankSpec, seed: int = 0) -> CodeBank:
        """Sample the bank of a specification."""
        maps, sizes = np.empty((spec.codes, MAX_MAPS, 2, 3), np.float32), np.empty(spec.codes, np.uint8)
        for part in _parts(spec.codes):
            maps[part], sizes[part] = sample_codes(seed, part.start, part.stop - part.start, spec.maps)
        metadata = {
            "sampler": "anderson2022", "sampler_version": str(SAMPLER_VERSION), "seed": str(seed),
            "maps": json.dumps(list(spec.maps)),
        }  # fmt: skip
        return cls(maps, sizes, spec.classes, metadata=metadata)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def per_class(self) -> int:
        """Codes a class."""
        return len(self) // self.classes

    @property
    def spec(self) -> BankSpec:
        """A specification of as many codes and classes; imported codes, say, are not its bank's."""
        return BankSpec(len(self), self.classes)

    @cached_property
    def own_probabilities(self) -> NDArray[np.float32] | None:
        """`probabilities` where the bank brings some of its own, as most imported ones do; None where all of them are
        |det A|, normalised. A renderer takes its own as they stand, also for jittered maps, and |det A| of the jittered
        maps where there are none."""
        same = np.array_equal(self.probabilities, _determinants(self.maps, self.sizes))
        return None if same else self.probabilities

    @property
    def contracts(self) -> NDArray[np.bool_]:
        """bool [codes]: whether every map's largest singular value is below 1."""
        return np.concatenate([largest_singular_values(self.maps[k]).max(axis=1) < 1.0 for k in _parts(len(self))])

    @property
    def sigma_factors(self) -> NDArray[np.float64]:
        """float64 [codes]: sum of s1 + 2 s2 over a code's maps (equation 2 of the paper)."""
        norm, det = norms_and_determinants(self.maps)
        total, difference = np.sqrt(norm + 2 * det), np.sqrt(np.maximum(norm - 2 * det, 0.0))
        result: NDArray[np.float64] = (1.5 * total - 0.5 * difference).sum(axis=1)
        return result

    @property
    def sha256(self) -> str:
        """Hex digest of everything that decides a pixel: equal digests, equal images."""
        return files.digest(self.classes, self.maps, self.sizes, self.probabilities)

    def with_classes(self, classes: int) -> CodeBank:
        """The same codes, grouped otherwise. Raises ValueError where they do not divide."""
        BankSpec(len(self), classes)
        return CodeBank(
            self.maps, self.sizes, classes, self.probabilities, self.non_contractive, dict(self.metadata)
        )  # fmt: skip

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bank's file, whole or not at all. Raises OSError where it cannot be written."""
        header = {
            **self.metadata, "classes": str(self.classes), "non_contractive": str(int(self.non_contractive)),
            "sha256": self.sha256,
        }  # fmt: skip
        arrays: dict[str, NDArray[Any]] = {"maps": self.maps, "sizes": self.sizes, "probabilities": self.probabilities}
        files.write(path, arrays, header)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CodeBank:
        """Read a bank's file.

        Raises:
            BankError: it is truncated, no bank, of a later format, or its arrays do not match the
                digest it carries.
            OSError: it cannot be read.
        """
        arrays, header = files.read(path, _KINDS, "a fracgen bank")
        own = ("format", "format_version", "classes", "non_contractive", "sha256")
        metadata = {k: v for k, v in header.items() if k not in own}
        try:
            classes, admit = int(header["classes"]), header["non_contractive"] == "1"
        except (KeyError, ValueError) as error:
            raise BankError(f"{path} has a damaged header ({brief(error)}): make one with `fracgen sample`") from None
        bank = cls(arrays["maps"], arrays["sizes"], classes, arrays["probabilities"], admit, metadata)
        files.check_digest(path, header, bank.sha256)
        return bank


def _parts(codes: int) -> list[slice]:
    return [slice(first, min(first + _CHUNK, codes)) for first in range(0, codes, _CHUNK)]


def _determinants(maps: NDArray[np.float32], sizes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities |det A|, uniform where all determinants are zero."""
    result = np.empty((len(sizes), MAX_MAPS), np.float32)
    for part in _parts(len(sizes)):
        det = norms_and_determinants(maps[part])[1]
        used = np.arange(MAX_MAPS) < sizes[part, None]
        det = np.where(det.sum(axis=1, keepdims=True) > 0, det, used)
        result[part] = det / det.sum(axis=1, keepdims=True)
    return result


def _validate(bank: CodeBank) -> None:
    maps, sizes, p = bank.maps, bank.sizes, bank.probabilities
    _refuse(
        (sizes < 2) | (sizes > MAX_MAPS),
        lambda k: f"code {k} has {sizes[k]} maps: a code needs 2 to {MAX_MAPS}",
    )
    _refuse(
        ~np.isfinite(maps).all(axis=(1, 2, 3)),
        lambda k: f"code {k}, map {np.argwhere(~np.isfinite(maps[k]))[0][0]} holds "
        f"{maps[k][~np.isfinite(maps[k])][0]}: every number must be finite",
    )
    with np.errstate(over="ignore", invalid="ignore"):  # a sum that is not finite is refused here
        total = np.where(np.arange(MAX_MAPS) < sizes[:, None], p, np.float32(0)).sum(axis=1)
    _refuse(
        ~(np.isfinite(total) & (p >= 0).all(axis=1) & (total > 0)),
        lambda k: f"code {k} has probabilities {p[k].tolist()}: they must be finite, not negative, not all zero",
    )
    BankSpec(len(sizes), bank.classes)
    expanding = ~bank.contracts
    if bank.non_contractive:
        diverging = _diverging(maps, sizes, p, expanding)
        _refuse(diverging, lambda k: f"code {k} diverges: its orbit leaves every bound, so it has no attractor")
        return

    def expands(k: int) -> str:
        largest = largest_singular_values(maps[k : k + 1])[0]
        return (
            f"code {k}, map {largest.argmax()} has singular value {largest.max():.6g}: it must be "
            "below 1, or admit such codes with non_contractive=True (--non-contractive)"
        )

    _refuse(expanding, expands)


def _refuse(bad: Any, message: Any) -> None:
    where = np.flatnonzero(bad)
    if where.size:
        more = f" (and {where.size - 1} more codes)" if where.size > 1 else ""
        raise BankError(message(int(where[0])) + more)


def _diverging(
    maps: NDArray[np.float32], sizes: NDArray[np.uint8], p: NDArray[np.float32], suspects: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which of the suspects' orbits leave [-1e6, 1e6] within 2,000 steps."""
    result = np.zeros(len(sizes), bool)
    which = np.flatnonzero(suspects)
    if not which.size:
        return result
    rng = np.random.default_rng(0)  # any seed shows the divergence of a code that diverges
    edges = np.cumsum(p[which], axis=1, dtype=np.float64)
    point = np.zeros((which.size, 2))
    rows = np.arange(which.size)
    for _ in range(2000):
        u = rng.random((which.size, 1)) * edges[:, -1:]
        m = maps[which][rows, np.minimum((u >= edges).sum(axis=1), sizes[which] - 1)].astype(np.float64)
        point = np.clip((m[..., :2] @ point[..., None])[..., 0] + m[..., 2], -1e9, 1e9)
        result[which] |= np.abs(point).max(axis=1) > 1e6
    return result
