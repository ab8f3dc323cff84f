"""Fig. 7: pictures, ground truth, anomaly maps and predicted masks, the best and the worst cases of a method.

A case's quality is the pixel AUROC within its picture, for the last of the weights: those under study.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.result import Judged, Measurement
from fracgen_eval.images import Geometry
from fracgen_eval.metrics import count_pixels, pixel_auroc, predicted_mask
from fracgen_eval.report.drawing import Tile
from fracgen_eval.report.gather import Condition, Results
from fracgen_eval.report.tables import in_order

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

    from fracgen_eval.grid.result import CellResult

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
class _KeptMaps:
    """What a cell kept, checked."""

    cell: Row
    maps: NDArray[np.floating]
    """As kept: float32, by earlier versions float16."""
    masks: NDArray[np.bool_]
    places: dict[str, int]
    """Where a test picture is among the maps, by its path."""
    defects: dict[str, str]


Rank = tuple[float, str, str]
"""Quality of a case, its category, its picture's path."""


def galleries(results: Results, roots: dict[str, Path]) -> tuple[list[Gallery], list[str]]:
    """Galleries of all methods whose maps were kept, and what went wrong.

    Args:
        results: the folder's cells.
        roots: folder of each dataset's pictures; `surfaces` is found by itself below the folder.
    """
    out: list[Gallery] = []
    problems: list[str] = []
    roots = {"surfaces": results.folder / "data" / "surfaces"} | roots
    for condition, cells in results.by_condition():
        here = cells[cells.plain & cells.done & (cells.network == 0)]
        kept = [cell for cell in here.itertuples() if _judged(cell).maps]
        for column in in_order(cell.column for cell in kept):
            mine = [cell for cell in kept if cell.column == column]
            first = [cell for cell in mine if cell.seed == min(cell.seed for cell in mine)]
            if cases := _cases(first, results, roots.get(condition.dataset), problems):
                out.append(Gallery(condition, column, cases))
    return out, list(dict.fromkeys(problems))


def sheet(gallery: Gallery) -> Tile:
    """A gallery as one picture: a row per case, columns as on the page, both named."""
    from PIL import Image, ImageDraw, ImageFont

    names = list(dict.fromkeys(name for case in gallery.cases for name, *_ in case.judged))
    heads = ["picture", "ground truth", *(f"{name}: {what}" for name in names for what in ("map", "mask"))]
    step, line = TILE + GAP, 18
    page = Image.new("RGB", (GAP + step * len(heads), line + (line + step) * len(gallery.cases)), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for n, head in enumerate(heads):
        draw.text((GAP + n * step, 2), _fitting(head, font), "black", font)
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


def _judged(cell: Row) -> Judged:
    assert isinstance(cell.result.outcome, Measurement)
    return cell.result.outcome.judged


def _fitting(text: str, font: FreeTypeFont | ImageFont) -> str:
    """As much of a text as stands above one tile."""
    while font.getlength(text) > TILE:
        text = text[:-2] + "…" if len(text) > 2 else ""
    return text


def _cases(cells: list[Row], results: Results, root: Path | None, problems: list[str]) -> list[Case]:
    """Best and worst cases. One category's maps are in memory at a time: those of a whole grid are gigabytes."""
    order = results.weights()
    of_category = {
        category: sorted((c for c in cells if c.category == category), key=lambda c: order.index(c.weights))
        for category in sorted({c.category for c in cells})
    }
    ranked: list[Rank] = []
    for category, several in of_category.items():
        with _problems_noted(several[-1], problems):
            last = _read(results.folder, several[-1])
            ranked += [
                (_quality(last, path), category, path)
                for path, n in last.places.items()
                if last.masks[n].any() and not last.masks[n].all()
            ]
    ranked.sort(key=lambda r: (-r[0], r[1], r[2]))
    best = _spread(ranked, CASES)
    worst = [r for r in _spread(ranked[::-1], CASES) if r not in best]
    cases = []
    for kind, chosen in (("best", best), ("worst", worst)):
        for _, category, path in chosen:
            judged = []
            for cell in of_category[category]:
                with _problems_noted(cell, problems):
                    judged.append(_read(results.folder, cell))
            with _problems_noted(of_category[category][-1], problems):
                cases.append(_case(kind, judged, path, root, problems))
    return cases


@contextmanager
def _problems_noted(cell: Row, problems: list[str]) -> Iterator[None]:
    """An error in a kept file becomes a line of the problems, and the report goes on."""
    try:
        yield
    except Exception as error:  # NumPy and zlib raise anything for an archive that is damaged
        problems.append(f"{cell.path}: its maps cannot be shown ({type(error).__name__}: {error})")


def _spread(ranked: list[Rank], count: int) -> list[Rank]:
    """The first of each category, then others, up to a count."""
    firsts = [r for n, r in enumerate(ranked) if r[1] not in {other[1] for other in ranked[:n]}]
    return (firsts + [r for r in ranked if r not in firsts])[:count]


def _read(folder: Path, cell: Row) -> _KeptMaps:
    path, images = _inside(folder, str(_judged(cell).maps)), _judged(cell).images
    with np.load(path, allow_pickle=False) as file:
        maps = file["maps"]
        if "masks" not in file:
            raise EvaluationError("there is no ground truth to compare with")
        masks = file["masks"].astype(bool)
    if maps.ndim != 3 or masks.shape != maps.shape or len(maps) != len(images):
        raise EvaluationError(f"maps {list(maps.shape)} and masks {list(masks.shape)} do not fit together")
    if not np.isfinite(maps).all():
        raise EvaluationError("maps hold numbers that are not finite")
    places = {image.path: n for n, image in enumerate(images)}
    return _KeptMaps(cell, maps, masks, places, {image.path: image.defect for image in images})


def _quality(judged: _KeptMaps, path: str) -> float:
    """Pixel AUROC within a picture, percent."""
    n = judged.places[path]
    return 100 * pixel_auroc(count_pixels([judged.maps[n]], [judged.masks[n]]))


def _case(kind: str, judged: list[_KeptMaps], path: str, root: Path | None, problems: list[str]) -> Case:
    last, shown = judged[-1], []
    for one in judged:
        if path not in one.places:
            continue
        n = one.places[path]
        low, high = np.quantile(one.maps.astype(np.float32), [0.02, 0.9995])
        heat = _colours((one.maps[n] - low) / max(float(high - low), 1e-12))
        threshold = _judged(one.cell).mask_threshold
        mask = None if threshold is None else _grey(predicted_mask(one.maps[n], threshold.value))
        shown.append((one.cell.weights, heat, mask, _quality(one, path)))
    title = f"{last.cell.category}: {last.defects[path]} ({path})"
    picture = _picture(last.cell, path, root, problems)
    return Case(title, kind, picture, _grey(last.masks[last.places[path]]), shown)


def _picture(cell: Row, name: str, root: Path | None, problems: list[str]) -> Tile | None:
    if root is None or not root.is_dir():
        problems.append(f"pictures of {cell.dataset} are not where the report looks: give --root {cell.dataset}=FOLDER")
        return None
    try:
        for place in (f"{cell.category}/{name}", f"1cls/{cell.category}/{name}", name):
            path = _inside(root, place)
            if path.is_file():
                size, side = int(cell.result.cell.method.settings.get("image_size", 256)), _judged(cell).side
                if side is None:
                    raise EvaluationError("the side of its maps is not recorded")
                return _small(Geometry(size, side if side != size else None).image(path))
    except EvaluationError as error:
        problems.append(f"{cell.path}: {error}")
        return None
    problems.append(
        f"{name} of {cell.dataset}/{cell.category} is not below {root}: give --root {cell.dataset}=FOLDER"
    )
    return None


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
