"""`elpv`: the installed package's cells, a split by a seed, and what is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from fracgen_eval.datasets import check_files, dataset, elpv
from fracgen_eval.datasets.elpv import Elpv
from fracgen_eval.errors import EvaluationError
from PIL import Image

from tests.command_line import command_line

COUNTS = {"mono": (9, 4), "poly": (6, 3)}


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree like the package's, of a few tiny pictures, in its order: kinds mixed."""
    assert elpv.COUNTS == {"mono": (588, 313), "poly": (920, 402)}
    monkeypatch.setattr(elpv, "COUNTS", COUNTS)
    (tmp_path / "images").mkdir()
    kinds = [
        (kind, probability)
        for kind, counts in COUNTS.items()
        for probability, count in zip(("0.0", "1.0", "0.3333333333333333"), (*counts, 5), strict=True)
        for _ in range(count)
    ]
    lines = []
    for n, (kind, probability) in enumerate(kinds):
        Image.new("L", (4, 4), n % 256).save(tmp_path / "images" / f"cell{n:04d}.png")
        lines.append(f"images/cell{n:04d}.png  {probability:<18} {kind}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.mark.parametrize("name", list(COUNTS))
def test_half_of_the_sound_cells_train_and_none_of_them_is_tested(cells: Path, name: str) -> None:
    category = dataset("elpv").load(cells, name)
    sound, defective = COUNTS[name]
    assert len(category.train) == sound // 2
    assert sum(not s.anomalous for s in category.test) == sound - sound // 2
    assert sum(s.anomalous for s in category.test) == defective
    assert not {s.path for s in category.train} & {s.path for s in category.test}
    assert not category.has_masks
    check_files(category)


def test_the_split_is_the_seeds(cells: Path) -> None:
    first, again, other = (Elpv().load(cells, "mono", seed).train for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_package_that_is_not_whole_is_refused(cells: Path) -> None:
    (cells / "images/cell0000.png").unlink()
    with pytest.raises(EvaluationError, match=r"cell0000.png: listed in .*install elpv-dataset again"):
        Elpv().load(cells, "mono")
    table = cells / "labels.csv"
    table.write_text("\n".join(table.read_text().splitlines()[1:]))
    with pytest.raises(EvaluationError, match="8 sound and 4 defective mono cells instead of 9 and 4"):
        Elpv().load(cells, "mono")
    table.unlink()
    with pytest.raises(EvaluationError, match="install elpv-dataset again"):
        Elpv().load(cells, "poly")


def test_without_the_package_a_line_says_which_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if "elpv" in name else find_spec(name, *a))
    run = ["run", "--dataset", "elpv", "--method", "panda", "--weights", "random", "-o", str(tmp_path / "out")]
    for command in (["data", "elpv"], run):
        said = command_line(capsys)("eval", *command)
        assert said.code == 2
        assert said.out == ""
        assert 'pip install "fracgen[elpv]"' in said.err
        assert len(said.err.splitlines()) == 1
