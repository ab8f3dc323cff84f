"""Fig. 7: pictures, ground truth, anomaly maps and predicted masks, the best and the worst cases of a method.

A case's quality is the pixel AUROC within its picture, for the last of the weights: those under study.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.errors import EvaluationError
from fracgen_eval.images import Geometry
from fracgen_eval.metrics import auroc
from fracgen_eval.report.gather import Condition, Entry, Gathered
from fracgen_eval.report.tables import in_order

CASES = 2
"""Best and worst cases of each method."""
TILE, GAP = 128, 6
"""Side of a tile in pixels, and what lies between two."""
Tile = NDArray[np.uint8]


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


@dataclass(frozen=True)
class _Judged:
    entry: Entry
    maps: NDArray[Any]
    masks: NDArray[np.bool_]


def galleries(found: Gathered, roots: dict[str, Path]) -> tuple[list[Gallery], list[str]]:
    """Galleries of all methods whose maps were kept, and what went wrong.

    Args:
        found: the folder's cells.
        roots: folder of each dataset's pictures; `textures` is found by itself below the folder.
    """
    out: list[Gallery] = []
    problems: list[str] = []
    roots = {"textures": found.folder / "data" / "textures"} | roots
    for condition in found.conditions():
        here = [e for e in found.entries if e.condition == condition and e.done and e.plain and e.result.get("maps")]
        seed = min((e.seed for e in here), default=0)
        for column in in_order(e.column for e in here):
            mine = [e for e in here if e.column == column and e.seed == seed]
            cases = _cases(mine, found, roots.get(condition.dataset), problems)
            if cases:
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


def _fitting(text: str, font: Any) -> str:
    """As much of a text as stands above one tile."""
    while font.getlength(text) > TILE:
        text = text[:-2] + "…" if len(text) > 2 else ""
    return text


def _cases(entries: list[Entry], found: Gathered, root: Path | None, problems: list[str]) -> list[Case]:
    weights = [w for w in found.weights() if any(e.weights == w for e in entries)]
    ranked: list[tuple[float, str, int]] = []
    judged: dict[str, dict[str, _Judged]] = {}
    for category in sorted({e.category for e in entries}):
        here: dict[str, _Judged] = {}
        for e in (e for e in entries if e.category == category):
            try:
                here[e.weights] = _read(found.folder, e)
            except (EvaluationError, OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
                problems.append(f"{e.path}: its maps cannot be shown ({error})")
        if weights[-1] not in here or len({j.maps.shape for j in here.values()}) > 1:
            continue
        judged[category] = here
        last = here[weights[-1]]
        for n, mask in enumerate(last.masks):
            if mask.any() and not mask.all():
                ranked.append((_quality(last, n), category, n))
    ranked.sort(key=lambda r: (-r[0], r[1], r[2]))
    best = _spread(ranked, CASES)
    worst = [r for r in _spread(ranked[::-1], CASES) if r not in best]
    return [
        _case(kind, judged[category], category, n, weights, root, problems)
        for kind, chosen in (("best", best), ("worst", worst))
        for _, category, n in chosen
    ]


def _spread(ranked: list[tuple[float, str, int]], count: int) -> list[tuple[float, str, int]]:
    """The first of each category, then others, up to a count."""
    firsts = [r for n, r in enumerate(ranked) if r[1] not in {other[1] for other in ranked[:n]}]
    return (firsts + [r for r in ranked if r not in firsts])[:count]


def _read(folder: Path, entry: Entry) -> _Judged:
    path = _inside(folder, entry.result["maps"])
    with np.load(path, allow_pickle=False) as file:
        maps = file["maps"].astype(np.float32)
        if "masks" not in file:
            raise EvaluationError("there is no ground truth to compare with")
        masks = file["masks"]
    if maps.ndim != 3 or masks.shape != maps.shape or len(maps) != len(entry.result["images"]):
        raise EvaluationError(f"maps {list(maps.shape)} and masks {list(masks.shape)} do not fit together")
    return _Judged(entry, maps, masks.astype(bool))


def _quality(judged: _Judged, n: int) -> float:
    """Pixel AUROC within a picture, percent."""
    value = auroc(judged.masks[n].ravel().tolist(), judged.maps[n].ravel())
    return 100 * float(value if value is not None else 0)


def _case(
    kind: str, judged: dict[str, _Judged], category: str, n: int, weights: list[str], root: Path | None,
    problems: list[str],
) -> Case:  # fmt: skip
    last = judged[weights[-1]]
    image = last.entry.result["images"][n]
    shown = []
    for name in weights:
        if name in judged:
            one = judged[name]
            low, high = np.quantile(one.maps, [0.02, 0.9995])
            heat = _colours((one.maps[n] - low) / max(float(high - low), 1e-12))
            threshold = (one.entry.result.get("mask_threshold") or {}).get("value")
            mask = None if threshold is None else _grey(one.maps[n] > float(threshold))
            shown.append((name, heat, mask, _quality(one, n)))
    picture = _picture(last.entry, image, root, problems)
    return Case(f"{category}: {image['defect']} ({image['path']})", kind, picture, _grey(last.masks[n]), shown)


def _picture(entry: Entry, image: dict[str, Any], root: Path | None, problems: list[str]) -> Tile | None:
    dataset = entry.condition.dataset
    if root is None or not root.is_dir():
        problems.append(f"pictures of {dataset} are not where the report looks: give --root {dataset}=FOLDER")
        return None
    for base in (root / entry.category, root / "1cls" / entry.category, root):
        try:
            path = _inside(base, image["path"])
        except EvaluationError as error:
            problems.append(f"{entry.path}: {error}")
            return None
        if path.is_file():
            size, side = int(entry.result["cell"]["settings"].get("image_size", 256)), int(entry.result["side"])
            try:
                return _small(Geometry(size, side if side != size else None).image(path))
            except EvaluationError as error:
                problems.append(str(error))
                return None
    problems.append(f"{image['path']} of {dataset}/{entry.category} is not below {root}: give --root {dataset}=FOLDER")
    return None


def _inside(folder: Path, name: Any) -> Path:
    path = folder / str(name)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise EvaluationError(f"{str(name)!r} leads out of {folder.name}/")
    return path


def _colours(share: NDArray[np.float32]) -> Tile:
    from matplotlib import colormaps

    return _small(np.rint(colormaps["inferno"](np.clip(share, 0, 1))[..., :3] * 255).astype(np.uint8))


def _grey(mask: NDArray[np.bool_]) -> Tile:
    return _small(np.repeat((mask * np.uint8(255))[..., None], 3, axis=2).astype(np.uint8))


def _small(pixels: Tile) -> Tile:
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize((TILE, TILE), Image.Resampling.BILINEAR))
