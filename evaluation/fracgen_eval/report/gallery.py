"""Fig. 7: pictures, ground truth, anomaly maps and predicted masks, the best and the worst cases of a method.

A case's quality is the pixel AUROC within its picture, for the last of the weights: those under study.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.result import CellResult, Judged, Measurement
from fracgen_eval.images import Geometry
from fracgen_eval.metrics import count_pixels, pixel_auroc, predicted_mask
from fracgen_eval.report.drawing import Tile
from fracgen_eval.report.gather import Condition, Results
from fracgen_eval.report.tables import in_order

CASES = 2
"""Best and worst cases of each method."""
TILE, GAP = 128, 6
"""Side of a tile in pixels, and what lies between two."""


@dataclass(frozen=True)
class Case:
    """One test picture under several weights."""

    title: str
    kind: str
    """`best` or `worst`."""
    picture: Tile | None
    truth: Tile
    judged: list[tuple[str, Tile, Tile | None, float]]
    """Weights, anomaly map, predicted mask, pixel AUROC in the picture (percent)."""


@dataclass(frozen=True)
class Gallery:
    """The cases of one method."""

    condition: Condition
    column: str
    cases: list[Case]


class Row(Protocol):
    """A cell in the table of results."""

    path: str
    category: str
    weights: str
    dataset: str
    result: CellResult


@dataclass(frozen=True)
class _Kept:
    """The maps that a cell kept, checked."""

    cell: Row
    maps: NDArray[np.floating]
    """[N, side, side] as kept: float32, by earlier versions float16."""
    masks: NDArray[np.bool_]
    places: dict[str, int]
    """Where a test picture is among the maps, by its path."""

    def quality(self, path: str) -> float:
        """Pixel AUROC within a picture, percent."""
        n = self.places[path]
        return 100 * pixel_auroc(count_pixels([self.maps[n]], [self.masks[n]]))

    def shown(self, path: str) -> tuple[str, Tile, Tile | None, float]:
        """Weights, map, predicted mask and quality of a picture."""
        scores, threshold = self.maps[self.places[path]], _judged(self.cell).mask_threshold
        low, high = np.quantile(self.maps.astype(np.float32), [0.02, 0.9995])
        mask = None if threshold is None else _grey(predicted_mask(scores, threshold.value))
        return self.cell.weights, _colours((scores - low) / max(float(high - low), 1e-12)), mask, self.quality(path)


def galleries(results: Results, roots: dict[str, Path]) -> tuple[list[Gallery], list[str]]:
    """Galleries of all methods whose maps were kept, and what went wrong.

    Args:
        results: the folder's cells.
        roots: folder of each dataset's pictures; `surfaces` is found by itself below the folder.
    """
    finder = _Finder(results.folder, {"surfaces": results.folder / "data" / "surfaces"} | roots, results.weights())
    out: list[Gallery] = []
    for condition, cells in results.by_condition():
        here = cells[cells.plain & cells.done & (cells.network == 0)]
        kept = [cell for cell in here.itertuples() if _judged(cell).maps]
        for column in in_order(cell.column for cell in kept):
            seed = min(cell.seed for cell in kept if cell.column == column)
            if cases := finder.cases([cell for cell in kept if (cell.column, cell.seed) == (column, seed)]):
                out.append(Gallery(condition, column, cases))
    return out, list(dict.fromkeys(finder.problems))


def sheet(gallery: Gallery) -> Tile:
    """A gallery as one picture: a row per case, columns as on the page, both named."""
    from PIL import Image, ImageDraw, ImageFont

    names = list(dict.fromkeys(name for case in gallery.cases for name, *_ in case.judged))
    heads = ["picture", "ground truth", *(f"{name}: {what}" for name in names for what in ("map", "mask"))]
    step, line = TILE + GAP, 18
    page = Image.new("RGB", (GAP + step * len(heads), line + (line + step) * len(gallery.cases)), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for n, head in enumerate(heads):
        while font.getlength(head) > TILE:
            head = head[:-2] + "…" if len(head) > 2 else ""
        draw.text((GAP + n * step, 2), head, "black", font)
    for row, case in enumerate(gallery.cases):
        top = line + row * (line + step)
        draw.text((GAP, top + 2), f"{case.kind}: {case.title}", "black", font)
        judged = {name: (heat, mask) for name, heat, mask, _ in case.judged}
        tiles = [case.picture, case.truth, *(t for name in names for t in judged.get(name, (None, None)))]
        for n, pixels in enumerate(tiles):
            place = (GAP + n * step, top + line)
            if pixels is None:
                draw.rectangle((*place, place[0] + TILE - 1, place[1] + TILE - 1), "lightgrey")
            else:
                page.paste(Image.fromarray(pixels), place)
    return np.asarray(page)


@dataclass
class _Finder:
    """Finds the cases of a method; what cannot be shown is a line of `problems`, and the report goes on."""

    folder: Path
    roots: dict[str, Path]
    order: list[str]
    """Names of weights."""
    problems: list[str] = field(default_factory=list)

    def cases(self, cells: list[Row]) -> list[Case]:
        """Best and worst cases. One category's maps are in memory at a time: those of a whole grid are gigabytes."""
        groups: dict[str, list[Row]] = {}
        for cell in sorted(cells, key=lambda cell: (cell.category, self.order.index(cell.weights))):
            groups.setdefault(cell.category, []).append(cell)
        ranked: list[tuple[float, str, str]] = []  # quality, category, path
        for category, several in groups.items():
            with self.noting(several[-1]):
                last = self.read(several[-1])
                some = [path for path, n in last.places.items() if last.masks[n].any() and not last.masks[n].all()]
                ranked += [(last.quality(path), category, path) for path in some]
        ranked.sort(key=lambda r: (-r[0], r[1], r[2]))
        best = _spread(ranked)
        worst = [r for r in _spread(ranked[::-1]) if r not in best]
        out: list[Case] = []
        for kind, chosen in (("best", best), ("worst", worst)):
            for _, category, path in chosen:
                kept = []
                for cell in groups[category]:
                    with self.noting(cell):
                        kept.append(self.read(cell))
                with self.noting(groups[category][-1]):
                    out.append(self.case(kind, kept, path))
        return out

    @contextmanager
    def noting(self, cell: Row) -> Iterator[None]:
        """An error in a kept file becomes a line of the problems."""
        try:
            yield
        except Exception as error:  # NumPy and zlib raise anything for an archive that is damaged
            self.problems.append(f"{cell.path}: its maps cannot be shown ({type(error).__name__}: {error})")

    def read(self, cell: Row) -> _Kept:
        """What a cell kept. Raises EvaluationError, and what NumPy raises for damaged files."""
        path, images = _inside(self.folder, str(_judged(cell).maps)), _judged(cell).images
        with np.load(path, allow_pickle=False) as file:
            maps = file["maps"]
            if "masks" not in file:
                raise EvaluationError("there is no ground truth to compare with")
            masks = file["masks"].astype(bool)
        if maps.ndim != 3 or masks.shape != maps.shape or len(maps) != len(images):
            raise EvaluationError(f"maps {list(maps.shape)} and masks {list(masks.shape)} do not fit together")
        if not np.isfinite(maps).all():
            raise EvaluationError("maps hold numbers that are not finite")
        return _Kept(cell, maps, masks, {image.path: n for n, image in enumerate(images)})

    def case(self, kind: str, kept: list[_Kept], path: str) -> Case:
        """A picture under all weights."""
        last = kept[-1]
        n = last.places[path]
        title = f"{last.cell.category}: {_judged(last.cell).images[n].defect} ({path})"
        shown = [one.shown(path) for one in kept if path in one.places]
        return Case(title, kind, self.picture(last.cell, path), _grey(last.masks[n]), shown)

    def picture(self, cell: Row, name: str) -> Tile | None:
        """The test picture as the method saw it."""
        root, remedy = self.roots.get(cell.dataset), f"give --root {cell.dataset}=FOLDER"
        if root is None or not root.is_dir():
            self.problems.append(f"pictures of {cell.dataset} are not where the report looks: {remedy}")
            return None
        try:
            for place in (f"{cell.category}/{name}", f"1cls/{cell.category}/{name}", name):
                path = _inside(root, place)
                if path.is_file():
                    size, side = int(cell.result.cell.method.settings.get("image_size", 256)), _judged(cell).side
                    if side is None:
                        raise EvaluationError("the side of its maps is not recorded")
                    return _small(Geometry(size, side if side != size else None).image(path))
            self.problems.append(f"{name} of {cell.dataset}/{cell.category} is not below {root}: {remedy}")
        except EvaluationError as error:
            self.problems.append(f"{cell.path}: {error}")
        return None


def _judged(cell: Row) -> Judged:
    assert isinstance(cell.result.outcome, Measurement)
    return cell.result.outcome.judged


def _spread(ranked: list[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """The first of each category, then others, up to `CASES`."""
    firsts = [r for n, r in enumerate(ranked) if r[1] not in {other[1] for other in ranked[:n]}]
    return (firsts + [r for r in ranked if r not in firsts])[:CASES]


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise EvaluationError(f"{name!r} leads out of {folder.name}/")
    return path


def _colours(share: NDArray[np.float32]) -> Tile:
    from matplotlib import colormaps

    return _small(np.rint(colormaps["inferno"](np.clip(share, 0, 1))[..., :3] * 255).astype(np.uint8))


def _grey(mask: NDArray[np.bool_]) -> Tile:
    return _small(np.repeat((mask * np.uint8(255))[..., None], 3, axis=2).astype(np.uint8))


def _small(pixels: Tile) -> Tile:
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize((TILE, TILE), Image.Resampling.BILINEAR))
