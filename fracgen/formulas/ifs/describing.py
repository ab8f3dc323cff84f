"""IFS codes and banks in JSON types and lines of text, for those who look at them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fracgen.formulas.ifs.bank import CodeBank

_COLUMNS = ("a", "b", "c", "d", "e", "f", "s1", "s2", "p")


def describe_code(bank: CodeBank, code: int) -> dict[str, Any]:
    """One code: its maps, their singular values and the probabilities of choosing them."""
    rows, size = [], int(bank.sizes[code])
    shares = bank.probabilities[code, :size].astype(np.float64)
    for m, p in zip(bank.maps[code, :size], shares / shares.sum(), strict=True):
        s1, s2 = np.linalg.svd(m[:, :2].astype(np.float64), compute_uv=False)
        values = (m[0, 0], m[0, 1], m[1, 0], m[1, 1], m[0, 2], m[1, 2], s1, s2, p)
        rows.append({name: float(value) for name, value in zip(_COLUMNS, values, strict=True)})
    return {
        "code": code, "class": code // bank.per_class, "sigma_factor": float(bank.sigma_factors[code]),
        "maps": rows,
    }  # fmt: skip


def code_lines(code: dict[str, Any]) -> list[str]:
    """A described code for a terminal."""
    lines = [
        f"code {code['code']}  class {code['class']}  sigma factor {code['sigma_factor']:.4f}",
        "  " + " ".join(f"{name:>8}" for name in _COLUMNS),
    ]
    return lines + ["  " + " ".join(f"{row[name]:8.4f}" for name in _COLUMNS) for row in code["maps"]]


def describe_bank(bank: CodeBank) -> dict[str, Any]:
    """What a bank holds: codes, classes, maps, sigma factors, singular values, hash."""
    sizes, counts = np.unique(bank.sizes, return_counts=True)
    singular = np.linalg.svd(bank.maps[..., :2].astype(np.float64), compute_uv=False)
    used = np.arange(bank.maps.shape[1]) < bank.sizes[:, None]
    return {
        "codes": len(bank), "classes": bank.classes, "codes_a_class": bank.per_class,
        "codes_by_maps": {str(n): int(c) for n, c in zip(sizes, counts, strict=True)},
        "sigma_factor": [float(bank.sigma_factors.min()), float(bank.sigma_factors.max())],
        "largest_singular_value": [float(singular[used][:, 0].min()), float(singular[used][:, 0].max())],
        "not_contractive": int((~bank.contracts).sum()),
        "probabilities": "|det A|" if bank.own_probabilities is None else "its own",
        "origin": dict(bank.metadata), "sha256": bank.sha256,
    }  # fmt: skip
