"""What was judged, to look at: one HTML file that needs no network, with a CSV and a JSON beside it."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from fracgen.support.files import remove_parts, whole_file
from fracgen_eval.datasets.base import GOOD
from fracgen_eval.datasets.defects import NOTE, kind_and_strength
from fracgen_eval.pictures import read_picture
from fracgen_eval.predict.heatmaps import heatmap_paths, overlaid, scale, write_heatmap
from fracgen_eval.predict.pictures import Map, Picture

PAGE, TABLE, RECORD = "report.html", "judged.csv", "judged.json"
SHOWN = 480
"""Longer side in pixels of the pictures in the page."""


@dataclass(frozen=True)
class Row:
    """One judged picture."""

    path: str
    score: float
    p_value: float | None
    """None where no normal pictures were kept back."""
    flagged: bool | None
    heatmap: str | None = None
    """File, where heatmaps were written."""

    @property
    def state(self) -> str:
        """`flagged`, `good`, or `none` where there is no decision."""
        return "none" if self.flagged is None else "flagged" if self.flagged else "good"


@dataclass(frozen=True)
class Verdict:
    """All that was judged, highest scores first, and what the decisions are worth."""

    rows: tuple[Row, ...]
    about: str
    """What judged them."""
    promise: str
    """How often a normal picture is flagged."""
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    normal_scores: tuple[float, ...]
    """Of the normal pictures that they were compared with."""


@dataclass(frozen=True)
class Strengths:
    """How many pictures with defects that `fracgen eval data defects` drew were flagged, by kind and strength."""

    columns: tuple[str, ...]
    """Strengths, rising."""
    rows: tuple[tuple[str, tuple[str, ...], str], ...]
    """Kind, `3 of 4` for each strength, and the least strength from which on half of them are flagged."""
    good: str
    """`1 of 20` good pictures flagged."""

    @classmethod
    def of(cls, judged: Sequence[tuple[Path, bool | None]]) -> Strengths | None:
        """From pictures and decisions; None where they are not of such a dataset, or not decided on."""
        counts: dict[tuple[str, float], list[bool]] = {}
        for path, flagged in judged:
            folder = path.resolve().parent
            known = kind_and_strength(folder.name) if (folder.parents[1] / NOTE).is_file() else None
            if flagged is None or known is None:
                return None
            counts.setdefault(known, []).append(flagged)
        good = counts.pop((GOOD, 0.0), [])
        if not counts:
            return None
        strengths = sorted({strength for _, strength in counts})
        rows = []
        for kind in sorted({kind for kind, _ in counts}):
            found = [counts.get((kind, strength), []) for strength in strengths]
            missed = [n for n, flags in enumerate(found) if 2 * sum(flags) < len(flags)]
            first = strengths[missed[-1] + 1 :] if missed else strengths
            rows.append((kind, tuple(map(_of, found)), f"{first[0]:g}" if first else "none of these"))
        return cls(tuple(f"{s:g}" for s in strengths), tuple(rows), _of(good))


def _of(flags: Sequence[bool]) -> str:
    return f"{sum(flags)} of {len(flags)}" if flags else "none"


def write_results(
    verdict: Verdict, maps: dict[str, Map], normal: tuple[float, float] | None, method: str, folder: Path
) -> Verdict:
    """Write page, CSV, JSON and heatmaps.

    Args:
        verdict: what was judged.
        maps: of each picture by its path; empty from methods that judge whole images.
        normal: the median and a high quantile of normal pictures' maps.
        method: its name, for the heatmaps' file names.
        folder: made where it is not there.

    Returns:
        The same with the names of the heatmaps.

    Raises:
        OSError: something cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_parts(folder, "**/.*")
    paths = [Path(row.path) for row in verdict.rows]
    span = scale(normal, list(maps.values())) if maps else (0.0, 1.0)
    rows, cards = [], []
    for row, file in zip(verdict.rows, heatmap_paths(paths, method, folder), strict=True):
        picture, heat = read_picture(Path(row.path)), maps.get(row.path)
        if heat is not None:
            write_heatmap(picture, heat, span, file)
        rows.append(dataclasses.replace(row, heatmap=None if heat is None else str(file)))
        cards.append(_card(row, file, folder, picture, None if heat is None else (heat, span)))
    verdict = dataclasses.replace(verdict, rows=tuple(rows))
    for name, content in ((PAGE, _page(verdict, cards)), (TABLE, _csv(rows)), (RECORD, _json(verdict))):
        with whole_file(folder / name) as written:
            written.write(content.encode())
    return verdict


def _card(
    row: Row, file: Path, folder: Path, picture: Picture, heat: tuple[Map, tuple[float, float]] | None
) -> dict[str, object]:
    """A picture as the page's template shows it."""
    small = _reduced(picture)
    verdict = {"flagged": "flagged", "good": "not flagged", "none": "no decision"}[row.state]
    return {
        "name": (file.parent / Path(row.path).name).relative_to(folder).as_posix(), "state": row.state,
        "verdict": verdict, "score": row.score, "p": row.p_value, "width": small.shape[1], "height": small.shape[0],
        "picture": _webp(small), "heat": None if heat is None else _webp(overlaid(small, *heat)),
    }  # fmt: skip


def _page(verdict: Verdict, cards: Sequence[dict[str, object]]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("fracgen_eval") / "predict" / "page.html.j2").read_text())
    return template.render(
        rows=cards, flagged=sum(bool(row.flagged) for row in verdict.rows), about=verdict.about,
        notes=[verdict.promise, *verdict.notes], warnings=verdict.warnings, plot=_plot(verdict),
        strengths=Strengths.of([(Path(row.path), row.flagged) for row in verdict.rows]),
    )  # fmt: skip


def _plot(verdict: Verdict) -> dict[str, object] | None:
    """Where scores lie on a line of 960 px."""
    if not verdict.normal_scores:
        return None
    ours = [row.score for row in verdict.rows]
    low, high = min(*ours, *verdict.normal_scores), max(*ours, *verdict.normal_scores)
    place = {s: round(30 + 940 * (s - low) / max(high - low, 1e-12), 1) for s in (*ours, *verdict.normal_scores)}
    return {
        "normal": [place[score] for score in verdict.normal_scores],
        "judged": [(place[row.score], row.flagged) for row in verdict.rows],
    }  # fmt: skip


def _csv(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    write.writerow([field.name for field in dataclasses.fields(Row)])
    write.writerows(["" if value is None else value for value in dataclasses.astuple(row)] for row in rows)
    return out.getvalue()


def _json(verdict: Verdict) -> str:
    return json.dumps(dataclasses.asdict(verdict), indent=1) + "\n"


def _reduced(picture: Picture) -> Picture:
    from PIL import Image

    factor = SHOWN / max(picture.shape[:2])
    if factor >= 1:
        return picture
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def _webp(pixels: Picture) -> str:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="WEBP", quality=82)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
