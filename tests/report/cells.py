"""Cells as an evaluation leaves them, without running one."""

from fracgen_eval.grid.results import Cell, write_result
from fracgen_eval.methods import settings_for

KEPT = ("maps", "images", "side", "mask_threshold", "wall_s", "device", "beside")


def add(out, method="patchcore", category="brick", weights="random", seed=0, value=0.9, status="done", **more):
    extra = {k: more.pop(k) for k in KEPT if k in more}
    settings = more.pop("settings", settings_for(method))
    fields = {"dataset": "textures", "model": "resnet18", "protocol": "honest"}
    fields |= {"weights_digest": weights, "data_digest": "d"} | more
    fields |= {"method": method, "category": category, "weights": weights, "seed": seed, "settings": settings}
    cell = Cell(**fields)
    result = {"status": status, "finished": f"2026-01-0{seed + 1}T00:00:00+00:00"} | extra
    if status == "done":
        result |= {"metrics": {"image_auroc": value, "pixel_auroc": value, "aupro": value / 2},
                   "aupro_definition": "official MVTec AD"}  # fmt: skip
    else:
        result |= {"error": {"type": "RuntimeError", "message": "<b>it broke</b>", "traceback": "Traceback: line 1"}}
    write_result(out, cell, result)
    return cell
