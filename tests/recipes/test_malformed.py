"""Recipes, presets and configurations that were altered are refused in a line, or are good ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fracgen import PRESETS, Preset, Recipe
from fracgen.cli.options import read_preset
from fracgen.recipes.recipe import Spec
from fracgen.rendering.parameters import Parameters
from fracgen.training.config import CONFIGS, Config
from fracgen.training.folder import RunFolder
from tests.malformed import altered, altered_text, check_refusal, few

FILES = [v for preset in PRESETS.values() for v in (preset.to_json(), preset.recipe.to_json())]
CONFIGURATIONS = [CONFIGS[name].to_json() for name in ("paper", "mandelbulb", "ofdb")]


@given(st.sampled_from(FILES).flatmap(altered_text))
@few
def test_files(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(text)
    try:
        preset = read_preset(str(path))
    except ValueError as error:
        check_refusal(error)
    else:
        assert Preset.from_json(json.loads(json.dumps(preset.to_json()))) == preset
        Parameters.of(preset.recipe)


@given(st.sampled_from(CONFIGURATIONS).flatmap(altered))
@few
def test_configurations(table: Any) -> None:
    try:
        config = Config.from_json(table)
    except ValueError as error:
        check_refusal(error)
    else:
        assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config


RUN = {
    "format": "fracgen-pretraining", "format_version": 1, "bank_sha256": "ab",
    "arithmetic": {"device": "cpu", "precision": "float32", "channels_last": True}, "config": CONFIGURATIONS[0],
}  # fmt: skip


@given(altered_text(RUN))
@few
def test_runs(tmp_path: Path, text: bytes) -> None:
    folder = RunFolder(tmp_path)
    folder.config.write_bytes(text)
    try:
        folder.read_config()
    except ValueError as error:
        check_refusal(error)
    else:
        how = folder.read_arithmetic()
        assert how is None or how.precision == "float32"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": None}, r"recipe\.size is None instead of a whole number"),
        ({"size": 10**400}, "size 1000"),
        ({"objects": 3}, r"recipe\.objects is 3 instead of a list"),
        ({"objects": [1, 2, 3]}, r"recipe\.objects is \[1, 2, 3\] instead of a list of 2"),
        ({"mean": [0.5, 0.5]}, r"recipe\.mean is \[0\.5, 0\.5\] instead of a list of 3"),
        ({"stamp": "no"}, r"recipe\.stamp is 'no' instead of true or false"),
        ({"window_scale": {"low": 1}}, r"recipe\.window_scale is \{'low': 1\} instead of a list"),
        ({"jitter": ["scale"]}, r"recipe\.jitter is \['scale'\] instead of 'none' or 'scale'"),
        ({"name": 3}, r"recipe\.name is 3 instead of a text"),
    ],
)
def test_a_value_of_another_type_is_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Recipe.from_json({"name": "mine", "size": 64, **change})


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"codes": 100_000_000, "classes": 1}, "codes 100000000 is out of range: use a whole number from 1 to 1000"),
        ({"maps": 4}, r"bank specification\.maps is 4 instead of a list"),
        ({"powers": None}, r"bank specification\.powers is None instead of a list"),
        ({"powers": [8], "rules": [[42]]}, r"bank specification\.rules\[0\] is \[42\] instead of a whole number"),
        ([], r"bank specification is \[\] instead of a table"),
    ],
)
def test_a_bad_bank_specification(spec: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Spec.from_json(spec)
