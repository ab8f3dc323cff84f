"""`CodeBank`: the IFS codes that images are made from, and their checks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas.files import Array, Bank, BankError, Kind
from fracgen.formulas.ifs import MAX_MAPS, BankSpec
from fracgen.formulas.ifs.records import Codes
from fracgen.formulas.ifs.sampling import (
    SAMPLER_VERSION,
    largest_singular_values,
    norms_and_determinants,
    sample_codes,
)
from fracgen.recipes.recipe import Spec
from fracgen.support.decode import JsonValue

_COLUMNS = ("a", "b", "c", "d", "e", "f", "s1", "s2", "p")
_CHUNK = 65_536  # codes sampled or checked together: a bank of millions needs little more memory than itself


@dataclass(frozen=True, eq=False, repr=False)
class CodeBank(Bank):
    """IFS codes and their classes.

    Raises:
        BankError: an array has the wrong shape or type, a value is not finite, a number of maps is
            outside [2, 8], a map does not contract (singular value of 1 or more) and
            `non_contractive` is false, or an orbit of such a code diverges.

    >>> bank = CodeBank.sample(20, seed=0, classes=4)
    >>> len(bank), bank.classes, bank.per_class
    (20, 4, 5)
    >>> bank, bank.maps.shape
    (CodeBank(codes=20, classes=4), (20, 8, 2, 3))
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
    what: ClassVar[str] = "a fracgen bank"
    kinds: ClassVar[dict[str, Kind]] = {
        "maps": Kind("float32", (MAX_MAPS, 2, 3)), "sizes": Kind("uint8"), "probabilities": Kind("float32", (MAX_MAPS,))
    }  # fmt: skip

    def __post_init__(self) -> None:
        if self.probabilities is None:
            object.__setattr__(self, "probabilities", np.zeros((*self.sizes.shape[:1], MAX_MAPS), np.float32))
            self.check_kinds()
            with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused by name below
                object.__setattr__(self, "probabilities", _determinants(self.maps, self.sizes))
        self.check_kinds()
        _validate(self)

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
    def from_spec(cls, spec: Spec, seed: int = 0) -> CodeBank:
        """Sample the bank of a `BankSpec`."""
        assert isinstance(spec, BankSpec)
        maps, sizes = np.empty((spec.codes, MAX_MAPS, 2, 3), np.float32), np.empty(spec.codes, np.uint8)
        for part in _parts(spec.codes):
            maps[part], sizes[part] = sample_codes(seed, part.start, part.stop - part.start, spec.maps)
        metadata = {
            "sampler": "anderson2022", "sampler_version": str(SAMPLER_VERSION), "seed": str(seed),
            "maps": json.dumps(list(spec.maps)),
        }  # fmt: skip
        return cls(maps, sizes, spec.classes, metadata=metadata)

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

    def with_classes(self, classes: int) -> CodeBank:
        """The same codes, grouped otherwise. Raises ValueError where they do not divide."""
        BankSpec(len(self), classes)
        return CodeBank(
            self.maps, self.sizes, classes, self.probabilities, self.non_contractive, dict(self.metadata)
        )  # fmt: skip

    def codes(self) -> Codes:
        """See `Bank.codes`."""
        own = self.own_probabilities
        return Codes(
            self.maps.reshape(len(self), MAX_MAPS, 6), self.sizes,
            np.empty((0, MAX_MAPS), np.float32) if own is None else own, self.classes, self.per_class,
        )  # fmt: skip

    def identity(self) -> object:
        """See `Bank.identity`."""
        return self.classes

    def header(self) -> dict[str, str]:
        """See `Bank.header`."""
        return {"classes": str(self.classes), "non_contractive": str(int(self.non_contractive))}

    @classmethod
    def from_file(cls, arrays: Mapping[str, Array], header: dict[str, str]) -> CodeBank:
        """See `Bank.from_file`."""
        classes, admit = int(header.pop("classes")), header.pop("non_contractive") == "1"
        return cls(**arrays, classes=classes, non_contractive=admit, metadata=header)  # type: ignore[arg-type]

    def rows(self, code: int) -> NDArray[np.float64]:
        """The maps of a code [N, 7]: a, b, c, d, e, f of x' = a x + b y + e, y' = c x + d y + f, and the probability of
        choosing it; these sum to 1."""
        size = int(self.sizes[code])
        shares = self.probabilities[code, :size].astype(np.float64)
        return np.column_stack([self.maps[code, :size].reshape(-1, 6)[:, [0, 1, 3, 4, 2, 5]], shares / shares.sum()])

    def describe_code(self, code: int) -> dict[str, JsonValue]:
        """One code: its maps, their singular values and the probabilities of choosing them."""
        rows: list[JsonValue] = []
        for row in self.rows(code):
            values = (*row[:6], *np.linalg.svd(row[:4].reshape(2, 2), compute_uv=False), row[6])
            rows.append({name: float(value) for name, value in zip(_COLUMNS, values, strict=True)})
        return {
            "code": code, "class": code // self.per_class, "sigma_factor": float(self.sigma_factors[code]),
            "maps": rows,
        }  # fmt: skip

    def code_lines(self, code: int) -> list[str]:
        """One code, for a terminal."""
        table = self.describe_code(code)
        rows = cast("list[dict[str, float]]", table["maps"])
        return [
            f"code {code}  class {table['class']}  sigma factor {table['sigma_factor']:.4f}",
            "  " + " ".join(f"{name:>8}" for name in _COLUMNS),
            *("  " + " ".join(f"{row[name]:8.4f}" for name in _COLUMNS) for row in rows),
        ]

    def describe(self) -> dict[str, JsonValue]:
        """What the bank holds: codes, classes, maps, sigma factors, singular values, hash."""
        sizes, counts = np.unique(self.sizes, return_counts=True)
        singular = np.linalg.svd(self.maps[..., :2].astype(np.float64), compute_uv=False)
        largest = singular[np.arange(MAX_MAPS) < self.sizes[:, None]][:, 0]
        return {
            "codes": len(self), "classes": self.classes, "codes_a_class": self.per_class,
            "codes_by_maps": {str(n): int(c) for n, c in zip(sizes, counts, strict=True)},
            "sigma_factor": [float(self.sigma_factors.min()), float(self.sigma_factors.max())],
            "largest_singular_value": [float(largest.min()), float(largest.max())],
            "not_contractive": int((~self.contracts).sum()),
            "probabilities": "|det A|" if self.own_probabilities is None else "its own",
            "origin": dict(self.metadata), "sha256": self.sha256,
        }  # fmt: skip


def _parts(codes: int) -> list[slice]:
    return [slice(first, min(first + _CHUNK, codes)) for first in range(0, codes, _CHUNK)]


def _determinants(maps: NDArray[np.float32], sizes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities |det A|, uniform where all determinants are zero: the same bits on every machine."""
    result = np.empty((len(sizes), MAX_MAPS), np.float32)
    for part in _parts(len(sizes)):
        det = norms_and_determinants(maps[part])[1]
        used = np.arange(MAX_MAPS) < sizes[part, None]
        det = np.where(det.any(axis=1, keepdims=True), det, used)
        pairs = det[:, 0::2] + det[:, 1::2]  # sums in a given order: NumPy's own may be another one day
        fours = pairs[:, 0::2] + pairs[:, 1::2]
        result[part] = det / (fours[:, :1] + fours[:, 1:])
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


def _refuse(bad: NDArray[np.bool_] | np.bool_, message: Callable[[int], str]) -> None:
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
    for point in orbits(maps[which], sizes[which], p[which], 2000 if which.size else 0):
        result[which] |= np.abs(point).max(axis=1) > 1e6
    return result


def orbits(
    maps: NDArray[np.float32], sizes: NDArray[np.uint8], p: NDArray[np.float32], steps: int
) -> Iterator[NDArray[np.float64]]:
    """The points [K, 2] of an orbit of each of K codes, step by step, from the origin; within [-1e9, 1e9]."""
    rng = np.random.default_rng(0)  # for what any seed shows: divergence, and where an attractor lies
    edges = np.cumsum(p, axis=1, dtype=np.float64)
    point, rows = np.zeros((len(sizes), 2)), np.arange(len(sizes))
    for _ in range(steps):
        u = rng.random((len(sizes), 1)) * edges[:, -1:]
        m = maps[rows, np.minimum((u >= edges).sum(axis=1), sizes - 1)].astype(np.float64)
        point = np.clip((m[..., :2] @ point[..., None])[..., 0] + m[..., 2], -1e9, 1e9)
        yield point
