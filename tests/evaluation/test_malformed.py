"""Results, settings and fitted models that were altered are refused in a line, or are good ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.results import CELLS, read_result
from fracgen_eval.methods.settings import read_overrides
from fracgen_eval.predict.model import FORMAT, FittedModel
from fracgen_eval.report.by_defect import defect_tables
from fracgen_eval.report.filters import read_filters
from fracgen_eval.report.gather import gather
from fracgen_eval.report.page import Content, render
from fracgen_eval.report.tables import make_tables
from fracgen_eval.report.text import to_csv, to_latex, to_markdown
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from tests.malformed import altered, altered_bytes, altered_text, check_refusal, few

CELL = {
    "method": "patchcore", "dataset": "mvtec", "category": "tile", "weights": "fractal", "weights_digest": "0123",
    "model": "resnet18", "seed": 3, "settings": {"image_size": 256, "coreset": 0.1, "layers": ["layer2", "layer3"]},
    "data_digest": "abc", "layers": None, "shots": None, "limit": None, "input_norm": "checkpoint",
}  # fmt: skip
DONE = {
    "schema": "fracgen-eval-cell/1", "cell": CELL, "status": "done",
    "metrics": {"image_auroc": 0.75, "pixel_auroc": 0.5, "aupro": 0.25},
    "by_defect": {"crack": {"image_auroc": 1.0}}, "replicates": {"image_auroc": [0.5, 0.6]},
    "weights": {"name": "fractal", "source": "w.safetensors", "mean": [0.5, 0.5, 0.5]},
    "beside": {"steps=0": {"image_auroc": 0.5}}, "mask_threshold": {"value": 1.5, "rule": "best"},
    "maps": "maps/m.npz", "side": 224, "images": [{"path": "test/crack/000.png", "defect": "crack", "score": 2.5}],
    "wall_s": 3.0, "versions": {"torch": "2.10"}, "finished": "2026-01-01T00:00:00+00:00",
}  # fmt: skip
FAILED = {
    "schema": "fracgen-eval-cell/1", "cell": CELL, "status": "failed", "error": {"type": "RuntimeError"},
}  # fmt: skip


@given(st.sampled_from([DONE, FAILED]).flatmap(altered_text))
@few
def test_results(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(text)
    try:
        result = read_result(path)
    except EvaluationError as error:
        check_refusal(error)
    else:
        assert Cell.from_json(result.cell.to_json()) == result.cell


@given(altered(DONE))
@settings(few, max_examples=12)
def test_a_report_of_an_altered_result_and_a_whole_one(tmp_path: Path, table: Any) -> None:
    folder = tmp_path / CELLS
    folder.mkdir(exist_ok=True)
    (folder / "whole.json").write_text(json.dumps(DONE | {"cell": CELL | {"category": "wood"}}))
    (folder / "altered.json").write_text(json.dumps(table))
    results = gather(tmp_path)
    assert len(results.cells) + len(results.problems) >= 2
    tables = make_tables(results, {})
    for write in (to_csv, to_latex, to_markdown):
        assert all(write(table) for table in tables)
    content = Content(tables=tables, by_defect=defect_tables(results), compared=[], charts=[], sheets=[], galleries=[])
    page = render(results, content, [])
    assert "wood" in page


SETTINGS = {"patchcore": {"coreset": 0.01, "layers": ["layer2"], "image_size": 128}, "panda": {"variant": "dn2"}}
TOML = b'[patchcore]\ncoreset = 0.01\nlayers = ["layer2"]\nimage_size = 128\n[panda]\nvariant = "dn2"\n'


@given(st.tuples(st.just("json"), altered_text(SETTINGS)) | st.tuples(st.just("toml"), altered_bytes(TOML)))
@few
def test_settings(tmp_path: Path, file: Any) -> None:
    suffix, text = file
    path = tmp_path / f"own.{suffix}"
    path.write_bytes(text)
    try:
        read_overrides(path)
    except EvaluationError as error:
        check_refusal(error)


ABOUT = {
    "method": "patchcore", "settings": {"image_size": 64, "layers": ["layer2", "layer3"]}, "seed": 0, "layers": None,
    "weights": {"name": "random", "source": "random", "model": "resnet18", "mean": [0.5] * 3, "std": [0.5] * 3,
                "norm": "network"},
    "tiled": False, "own": {"digests": ["0123"], "map_range": [0.1, 0.2]},
}  # fmt: skip


@given(altered(ABOUT).map(json.dumps))
@settings(few, max_examples=25)
def test_fitted_models(tmp_path: Path, about: Any) -> None:
    path = tmp_path / "kept.safetensors"
    tensors = {"memory_bank": torch.zeros(2, 3), "own.scores": torch.zeros(1), "own.looks": torch.zeros(1, 12)}
    path.write_bytes(save(tensors, {"format": FORMAT, "about": about}))
    with pytest.raises(EvaluationError) as caught:  # the network's tensors are missing
        FittedModel.load(path)
    check_refusal(caught.value)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"conv": torch.zeros(8, 3, 3, 3, dtype=torch.bfloat16)}, r"conv is BF16 \[8, 3, 3, 3\]"),
        ({"conv": torch.zeros(8, 3, 3, 3).to(torch.float8_e5m2)}, "conv is F8_E5M2"),
        ({"conv": torch.tensor(1.0)}, r"conv is F32 \[\]"),
        ({"conv": torch.zeros(8, 1, 3, 3)}, r"conv is F32 \[8, 1, 3, 3\]"),
        ({"conv": torch.zeros(1, 3, 2000, 2000)}, r"conv is F32 \[1, 3, 2000, 2000\]"),
        ({"conv": torch.full((8, 3, 3, 3), float("nan"))}, "not finite"),
        ({"a": torch.zeros(8, 3, 3, 3), "b": torch.zeros(8, 3, 3, 3)}, "no first layer"),
    ],
)
def test_filters_of_other_types(tmp_path: Path, tensors: Any, says: Any) -> None:
    save_file(tensors, tmp_path / "filters.safetensors")
    with pytest.raises(EvaluationError, match=says) as caught:
        read_filters(tmp_path / "filters.safetensors")
    check_refusal(caught.value)
