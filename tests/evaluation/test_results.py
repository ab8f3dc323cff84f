"""Results' files: what earlier versions wrote is read alike, and what nobody wrote is refused by name, as are settings
and fitted models that were altered."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.result import CellResult, Failure, Measurement, Threshold
from fracgen_eval.grid.results import CELLS, read_result, read_results, result_path, write_result
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

from tests.fields import Fields
from tests.malformed import altered, altered_bytes, altered_text, check_refusal, few

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
def test_a_file_of_the_first_version_is_read_and_written_alike(table: dict[str, object], tmp_path: Path) -> None:
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
    "aupro is 1.5, out of [0, 1]": ("metrics", "aupro", 1.5),
    "out of [0, 1]": ("by_defect", "crack", {"aupro": -0.1}),
    "images[0].score is None instead of a number": ("images", 0, {"path": "a", "defect": "b", "score": None}),
    "method is missing": (None, "cell", {}),
    "category is '' instead of a name": ("cell", "category", ""),
}


@pytest.mark.parametrize("message", BAD)
def test_a_value_that_is_none_is_named(message: str, tmp_path: Path) -> None:
    part, key, value = BAD[message]
    table = copy.deepcopy(DONE)
    (table if part is None else table[part])[key] = value  # type: ignore[index]
    path = result_path(tmp_path, Cell.from_json(CELL))
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(table))
    ((_, error),) = read_results(tmp_path)
    assert isinstance(error, EvaluationError)
    assert message in str(error)
    assert len(str(error).splitlines()) == 1


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


USUAL: Fields = DONE | {"cell": CELL | dict.fromkeys(("layers", "shots", "limit"))}


@given(altered(USUAL))
@settings(few, max_examples=12)
def test_a_report_of_an_altered_result_and_a_whole_one(tmp_path: Path, table: object) -> None:
    folder = tmp_path / CELLS
    folder.mkdir(exist_ok=True)
    (folder / "whole.json").write_text(json.dumps(USUAL | {"cell": USUAL["cell"] | {"category": "wood"}}))
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
def test_settings(tmp_path: Path, file: tuple[str, bytes]) -> None:
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
def test_fitted_models(tmp_path: Path, about: str) -> None:
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
def test_filters_of_other_types(tmp_path: Path, tensors: dict[str, torch.Tensor], says: str) -> None:
    save_file(tensors, tmp_path / "filters.safetensors")
    with pytest.raises(EvaluationError, match=says) as caught:
        read_filters(tmp_path / "filters.safetensors")
    check_refusal(caught.value)
