"""Two-sample checks for random pictures, after mitsuba's test of its renders: per-pixel z-tests and
Kolmogorov-Smirnov tests, each corrected for the number of tests it makes, and pictures of what was
compared, written when a check fails.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Values = NDArray[np.number] | NDArray[np.bool_]
ALPHA = 1e-3
"""Chance that a check of two equal distributions rejects; the tests' seeds are fixed, so none flickers."""
MIN_HITS = 40
"""A pixel is tested where at least this many of both samples' values differ from the most common one:
below, a mean is no normal variable yet."""
OUTPUT = Path(__file__).parents[2] / "test-output"


def z_test(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """p-values float64 [...] that the means of samples a [n, ...] and b [m, ...] are equal; 1 where untested."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    usual = np.median(np.concatenate([x, y]), axis=0)
    hits = (x != usual).sum(axis=0) + (y != usual).sum(axis=0)
    error = np.sqrt(x.var(axis=0) / len(x) + y.var(axis=0) / len(y))
    difference = np.abs(x.mean(axis=0) - y.mean(axis=0))
    z = np.where(error > 0, difference / np.where(error > 0, error, 1.0), np.where(difference > 0, np.inf, 0.0))
    return np.where(hits >= MIN_HITS, 2 * stats.norm.sf(z), 1.0)


def smallest(p: ArrayLike) -> float:
    """The smallest of k p-values, corrected: the chance that the smallest of k uniform ones is below it (Sidak)."""
    p = np.ravel(p)
    return float(-np.expm1(p.size * np.log1p(-min(float(p.min()), 1 - 1e-16))))


def check_pixels(name: str, ours: Values, reference: Values, alpha: float = ALPHA, output: Path = OUTPUT) -> None:
    """Samples of pictures [n, ..., size, size] have the same mean at every pixel.

    Raises:
        AssertionError: they have not; `output`/name.png shows both means and the p-values.
    """
    p = z_test(ours, reference)
    assert (p < 1).sum() >= 20, f"{name}: only {(p < 1).sum()} pixels vary enough to be tested"
    if smallest(p) < alpha:
        path = plot(output / f"{name}.png", np.mean(ours, axis=0), np.mean(reference, axis=0), p)
        where = tuple(int(i) for i in np.unravel_index(p.argmin(), p.shape))
        raise AssertionError(
            f"{name}: pixel {where} has mean {np.mean(ours, axis=0)[where]:.4g}, reference "
            f"{np.mean(reference, axis=0)[where]:.4g}; p = {smallest(p):.2g} after correction; see {path}"
        )


def check_values(name: str, ours: dict[str, Values], reference: dict[str, Values], alpha: float = ALPHA,
                 output: Path = OUTPUT) -> None:
    """Every named statistic, one number a picture, has the same distribution (Kolmogorov-Smirnov).

    Raises:
        AssertionError: one has not; `output`/name.png shows both distributions.
    """
    assert ours.keys() == reference.keys()
    p = {key: float(stats.ks_2samp(ours[key], reference[key], method="asymp").pvalue) for key in ours}
    worst = min(p, key=lambda key: p[key])
    if smallest(list(p.values())) < alpha:
        path = plot_values(output / f"{name}.png", worst, ours[worst], reference[worst])
        raise AssertionError(
            f"{name}: {worst} differs (mean {np.mean(ours[worst]):.4g}, reference {np.mean(reference[worst]):.4g}); "
            f"p = {smallest(list(p.values())):.2g} after correction; see {path}"
        )


def plot(path: Path, ours: Values, reference: Values, p: ArrayLike) -> Path:
    """Both means and the p-values, side by side; of pictures in several channels, the one that differs most."""
    from matplotlib.figure import Figure

    flat = [np.asarray(v).reshape(-1, *np.shape(v)[-2:]) for v in (ours, reference, p)]
    channel = int(flat[2].min(axis=(1, 2)).argmin())
    figure = Figure(figsize=(12, 4), layout="constrained")
    titles = ("mean of ours", "mean of the reference", "log10 of p-value")
    shown = [flat[0][channel], flat[1][channel], np.log10(np.maximum(flat[2][channel], 1e-30))]
    for axes, title, image in zip(figure.subplots(1, 3), titles, shown, strict=True):
        figure.colorbar(axes.imshow(image), ax=axes)
        axes.set_title(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def plot_values(path: Path, key: str, ours: Values, reference: Values) -> Path:
    """Both cumulative distributions of a statistic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for values, label in ((ours, "ours"), (reference, "reference")):
        axes.ecdf(np.asarray(values), label=label)
    axes.set_xlabel(key)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
