"""Do the promises of `fracgen eval predict` hold? Simulated with PatchCore on `surfaces`, and on `elpv` if installed.

    python -m bench.study.promises                          # 200 draws, prints the table of docs/evaluation.md
    python -m bench.study.promises --draws 20 --data elpv

A draw takes 40 normal pictures of a category to fit on and judges others: 40 of the same kind (exchangeable), the same
with ten defects among them, and 40 good ones of another day (other light, another part of the surface; of `elpv` other
light, the other kind of cell), before and after calibrating on 40 more of that day.
"""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from fracgen_eval import decisions
from fracgen_eval.datasets.elpv import Elpv
from fracgen_eval.datasets.surfaces import PHOTOGRAPHS
from fracgen_eval.datasets.surfaces.defects import DEFECTS
from fracgen_eval.datasets.surfaces.pictures import damaged_picture, normal_picture
from fracgen_eval.images import Geometry
from fracgen_eval.methods import Method, build_method, settings_for
from fracgen_eval.methods.kept import kept_features
from fracgen_eval.methods.patchcore import PatchCore
from fracgen_eval.pictures import read_picture
from fracgen_eval.predict.folds import FOLDS, cross_fit, deal
from fracgen_eval.predict.pictures import looks
from fracgen_eval.predict.shift import LEVEL, Seen, shift
from fracgen_eval.weights.backbones import WeightsSpec, load_weights
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

SIDE, NORMAL, JUDGED, DEFECTIVE, RATE = 64, 40, 40, 10, 0.05
POOL = 160
"""Pictures of a kind from which a draw takes its own."""
LIGHT, LAMP = (0.5, 1.6), (1.1, 1.0, 0.8)
"""Of the other day: gain from left to right, and of red, green and blue."""


@dataclass(frozen=True)
class Pool:
    """Pictures of a category, uint8 [N, 3, side, side]: normal ones, defects, and good ones of other days by name."""

    normal: torch.Tensor
    defects: torch.Tensor
    others: dict[str, torch.Tensor]


class Outcome(NamedTuple):
    """What became of one set of judged pictures."""

    condition: str
    flagged: float
    """Share of the good ones."""
    warned: bool
    calibrated: float = math.nan
    """Share of the good ones after calibrating."""
    found: float = math.nan
    """Share of the defects that were flagged."""


def surfaces_pools() -> Iterator[tuple[str, Pool]]:
    """The categories of `surfaces`."""
    for number, (name, photograph) in enumerate(PHOTOGRAPHS.items()):
        normal = [normal_picture(name, photograph.train, [7, number, 0, n]) for n in range(POOL)]
        other = [normal_picture(name, photograph.test, [7, number, 1, n]) for n in range(2 * JUDGED)]
        kinds = list(DEFECTS)
        bad = [damaged_picture(name, kinds[n % 7], [7, number, 2, n], 2.0)[0] for n in range(JUDGED)]
        yield name, _pool(normal, bad, {"other place": other})


def elpv_pools() -> Iterator[tuple[str, Pool]]:
    """The two kinds of cells of `elpv`."""
    source = Elpv()
    root = source.own_root(Path())
    pictures: dict[str, tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]] = {}
    for name in source.categories(root):
        category = source.load(root, name)
        good = [s.path for s in (*category.train, *category.test) if not s.anomalous][: 2 * POOL]
        bad = [s.path for s in category.test if s.anomalous][: 4 * JUDGED]
        pictures[name] = [read_picture(path) for path in good], [read_picture(path) for path in bad]
    for name, other in (("mono", "poly"), ("poly", "mono")):
        yield name, _pool(*pictures[name], {"other kind of cell": pictures[other][0][: 2 * JUDGED]})


def _pool(
    normal: list[NDArray[np.uint8]], bad: list[NDArray[np.uint8]], others: dict[str, list[NDArray[np.uint8]]]
) -> Pool:
    import torch

    def seen(pictures: list[NDArray[np.uint8]]) -> torch.Tensor:
        geometry = Geometry(SIDE)
        return torch.from_numpy(np.stack([geometry.fit(p) for p in pictures])).permute(0, 3, 1, 2).contiguous()

    images = seen(normal)
    slope = torch.linspace(*LIGHT, SIDE) * torch.tensor(LAMP)[:, None, None]
    lit = (images.float() * slope).round().clamp(0, 255).to(torch.uint8)
    return Pool(images, seen(bad), {"other light": lit} | {name: seen(of) for name, of in others.items()})


def simulate(pools: dict[str, Pool], draws: int, build: Callable[[], Method], seed: int = 0) -> Iterator[Outcome]:
    """Outcomes of all conditions; draws take the categories in turn."""
    names = list(pools)
    for draw in range(draws):
        pool, rng = pools[names[draw % len(names)]], np.random.default_rng([seed, draw])
        order = rng.permutation(len(pool.normal))
        same = pool.normal[order[NORMAL : NORMAL + JUDGED]]
        method, own = _fitted(build, pool.normal[order[:NORMAL]], draw)
        bad = pool.defects[rng.permutation(len(pool.defects))[:DEFECTIVE]]
        yield _outcome("exchangeable", method, own, same)
        yield _outcome("exchangeable, 10 of 40 with defects", method, own, same[DEFECTIVE:], bad)
        for name, pictures in pool.others.items():
            # The same surface in other light is never a picture of the training in other light.
            left = order[NORMAL:] if len(pictures) == len(order) else rng.permutation(len(pictures))
            some = pictures[rng.permutation(left)[: 2 * JUDGED]]
            calibration = Seen(method.predict(some[JUDGED:]).scores, looks(some[JUDGED:]))
            after = _outcome(name, method, calibration, some[:JUDGED])
            yield _outcome(name, method, own, some[:JUDGED])._replace(calibrated=after.flagged)


def _fitted(build: Callable[[], Method], images: torch.Tensor, seed: int) -> tuple[Method, Seen]:
    """The model that is kept, and what is known of the normal pictures, as `fit_model` does it."""
    fold_of, scores = deal(len(images), FOLDS, seed), np.empty(len(images))

    def keep(method: Method, fold: int) -> None:
        scores[fold_of == fold] = method.predict(images[fold_of == fold]).scores

    return cross_fit(build, images, fold_of, keep), Seen(scores, looks(images))


def _outcome(
    condition: str, method: Method, own: Seen, good: torch.Tensor, bad: torch.Tensor | None = None
) -> Outcome:
    import torch

    images = good if bad is None else torch.cat([good, bad])
    scores = method.predict(images).scores
    flags = decisions.flagged(decisions.p_values(scores, own.scores), len(own.scores), RATE)
    warned = shift(Seen(scores, looks(images)), own)[0] <= LEVEL
    found = math.nan if bad is None else flags[len(good) :].mean()
    return Outcome(condition, flags[: len(good)].mean(), warned, found=found)


def table(outcomes: Iterable[Outcome]) -> str:
    """Markdown."""
    heads = ("judged pictures", "good ones flagged", "after calibrating", "defects flagged", "warned")
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|---|---|"]
    for name, part in pd.DataFrame(outcomes).groupby("condition", sort=False):
        lines.append(_line(name, part))
        if part.calibrated.notna().any() and len(worse := part[part.flagged > 0.2]):
            lines.append(_line("of these, where more than 0.2 were flagged", worse))
    return "\n".join(lines)


def _line(name: str, part: pd.DataFrame) -> str:
    means = (part[column].mean() for column in ("flagged", "calibrated", "found"))
    cells = ["" if math.isnan(mean) else f"{mean:.3f}" for mean in means]
    return f"| {name} | {' | '.join(cells)} | {part.warned.sum()} of {len(part)} |"


@contextlib.contextmanager
def patchcore() -> Iterator[Callable[[], Method]]:
    """Makes PatchCore with the package's ResNet-18, which computes features of a picture once."""
    weights = load_weights(WeightsSpec.parse("fractal.twins_1"), "resnet18")  # as the tables of docs/own-pictures.md
    settings = settings_for("patchcore", overrides={"image_size": SIDE})
    first = build_method("patchcore", weights, settings)
    assert isinstance(first, PatchCore)

    def build() -> Method:
        method = build_method("patchcore", weights, settings)
        assert isinstance(method, PatchCore)
        vars(method.network)["forward"] = first.network.forward
        return method

    with kept_features(first.network):
        yield build


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--data", choices=["surfaces", "elpv"], default="surfaces")
    options = parser.parse_args()
    pools = dict(surfaces_pools() if options.data == "surfaces" else elpv_pools())
    with patchcore() as build:
        print(table(simulate(pools, options.draws, build)))


if __name__ == "__main__":
    main()
