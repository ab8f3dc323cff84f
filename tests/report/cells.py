"""Cells as an evaluation leaves them, without running one."""

from __future__ import annotations

import json
from pathlib import Path

from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.results import result_path
from fracgen_eval.methods import settings_for

from tests.fields import Fields

KEPT = ("maps", "images", "side", "mask_threshold", "wall_s", "device", "beside", "by_defect", "replicates")


def add(
    out: Path, method: str = "patchcore", category: str = "brick", weights: str = "random", seed: int = 0,
    value: float = 0.9, status: str = "done", **more: object,
) -> Cell:  # fmt: skip
    extra = {k: more.pop(k) for k in KEPT if k in more}
    metrics = more.pop("metrics", None)
    settings = more.pop("settings", settings_for(method))
    fields: Fields = {"dataset": "surfaces", "model": "resnet18", "protocol": "honest"}
    fields |= {"weights_digest": weights, "data_digest": "d"} | more
    fields |= {"method": method, "category": category, "weights": weights, "seed": seed, "settings": settings}
    cell = Cell.from_json(fields)
    result: Fields = {
        "schema": "fracgen-eval-cell/1", "cell": cell.to_json() | {"digest": cell.digest}, "status": status,
        "finished": f"2026-01-0{seed + 1}T00:00:00+00:00", **extra,
    }  # fmt: skip
    if status == "done":
        usual = {"image_auroc": value, "pixel_auroc": value, "aupro": value / 2}
        result |= {"metrics": usual if metrics is None else metrics, "aupro_definition": "official MVTec AD"}
    else:
        result |= {"error": {"type": "RuntimeError", "message": "<b>it broke</b>", "traceback": "Traceback: line 1"}}
    path = result_path(out, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result))
    return cell
