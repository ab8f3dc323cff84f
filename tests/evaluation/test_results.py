"""Results' files: what earlier versions wrote is read alike, and what nobody wrote is refused by name."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.result import CellResult, Failure, Measurement, Threshold
from fracgen_eval.grid.results import read_result, read_results, result_path, write_result

CELL = {
    "method": "patchcore", "dataset": "mvtec", "category": "tile", "weights": "fractal",
    "weights_digest": "0123456789abcdef", "model": "resnet18", "seed": 3, "protocol": "paper",
    "settings": {"image_size": 256, "coreset": 0.1, "layers": ["layer2", "layer3"]}, "data_digest": "abcdef012345",
    "layers": ["layer1", "layer2"], "shots": 4, "limit": "small", "input_norm": "imagenet", "map_size": "original",
}  # fmt: skip
DIGEST = "69f94d0ea105"
"""As the first version of the file named this cell: files of old folders must be found again."""
DONE = {
    "schema": "fracgen-eval-cell/1", "cell": CELL | {"digest": DIGEST}, "status": "done",
    "metrics": {"image_auroc": 0.75, "pixel_auroc": 0.5, "aupro": 0.25},
    "by_defect": {"crack": {"image_auroc": 1.0, "pixel_auroc": 0.5, "aupro": 0.25}},
    "weights": {"name": "fractal", "source": "w.safetensors", "mean": [0.5, 0.5, 0.5], "metadata": {}},
    "beside": {"steps=0": {"image_auroc": 0.5}}, "aupro_definition": "official MVTec AD",
    "mask_threshold": {"value": 1.5, "rule": "best pixel F1 on the test set"}, "fit": {"epochs": 1},
    "maps": "maps/m.npz", "train_images": 11, "held_out_images": 1, "side": 224,
    "images": [{"path": "test/crack/000.png", "defect": "crack", "score": 2.5}],
    "fit_s": 1.5, "predict_s": 0.5, "metrics_s": 0.25, "wall_s": 3.0, "peak_memory_mb": 900, "peak_gpu_memory_mb": 100,
    "device": "cuda", "versions": {"torch": "2.10"}, "machine": "Linux", "finished": "2026-01-01T00:00:00+00:00",
}  # fmt: skip
FAILED = {
    "schema": "fracgen-eval-cell/1", "cell": CELL | {"digest": DIGEST}, "status": "failed",
    "error": {"type": "RuntimeError", "message": "no", "traceback": "Traceback"}, "wall_s": 3.0,
    "peak_memory_mb": 900, "device": "cpu", "versions": {"torch": "2.10"}, "machine": "Linux",
    "finished": "2026-01-01T00:00:00+00:00",
}  # fmt: skip


@pytest.mark.parametrize("table", [DONE, FAILED], ids=["done", "failed"])
def test_a_file_of_the_first_version_is_read_and_written_alike(table: Any, tmp_path: Path) -> None:
    result = CellResult.from_json(table)
    written = json.loads(json.dumps(result.to_json()))
    assert {key: written[key] for key in table} == table
    assert not any(written[key] for key in set(written) - set(table)), "what the file did not say is empty"
    assert read_result(write_result(tmp_path, result)) == result
    assert isinstance(result.outcome, Measurement if table is DONE else Failure)


def test_a_cells_digest_and_path_are_those_of_the_first_version() -> None:
    cell = Cell.from_json(CELL)
    assert cell.digest == DIGEST
    assert cell.path == f"mvtec/tile/patchcore/fractal-resnet18-seed3-layers12-shots4-paper-limitsmall-{DIGEST}"


def test_what_a_file_does_not_say_is_as_it_is_by_default() -> None:
    few = {"schema": DONE["schema"], "cell": CELL, "status": "done", "metrics": {"image_auroc": 0.75}}
    outcome = CellResult.from_json(few).outcome
    assert isinstance(outcome, Measurement)
    assert outcome.judged.maps is None
    assert outcome.scores.by_defect == {}
    whole = CellResult.from_json(DONE).outcome
    assert isinstance(whole, Measurement)
    assert whole.judged.mask_threshold == Threshold(1.5, "best pixel F1 on the test set")


BAD = {
    "metrics.aupro is 'x' instead of a number": ("metrics", "aupro", "x"),
    "aupro is 1.5, out of [0, 1]": ("metrics", "aupro", 1.5),
    "metrics.aupro is True instead of a number": ("metrics", "aupro", True),
    "out of [0, 1]": ("by_defect", "crack", {"aupro": -0.1}),
    "mask_threshold.value is '1' instead of a number": ("mask_threshold", "value", "1"),
    "images[0].score is None instead of a number": ("images", 0, {"path": "a", "defect": "b", "score": None}),
    "images[0].defect is missing": ("images", 0, {"path": "a", "score": 1.0}),
    "side is 1.5 instead of a whole number": (None, "side", 1.5),
    "wall_s is [] instead of a number": (None, "wall_s", []),
    "cell is 3 instead of a table": (None, "cell", 3),
    "method is missing": (None, "cell", {}),
    "category is '' instead of a name": ("cell", "category", ""),
    "seed is 0.5 instead of a whole number": ("cell", "seed", 0.5),
    "layers[0] is 1 instead of a text": ("cell", "layers", [1]),
    "input_norm is 'none' instead of 'checkpoint' or 'imagenet'": ("cell", "input_norm", "none"),
    "settings is [] instead of a table": ("cell", "settings", []),
}


@pytest.mark.parametrize("message", BAD)
def test_a_value_that_is_none_is_named(message: str, tmp_path: Path) -> None:
    part, key, value = BAD[message]
    table: Any = copy.deepcopy(DONE)
    (table if part is None else table[part])[key] = value
    path = result_path(tmp_path, Cell.from_json(CELL))
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(table))
    ((_, error),) = read_results(tmp_path)
    assert isinstance(error, EvaluationError)
    assert message in str(error)
    assert len(str(error).splitlines()) == 1
