"""Folders as people and their systems leave them: clutter, lots in sub-folders, files of other kinds."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fracgen_eval.datasets import check_files, dataset
from fracgen_eval.datasets.base import Category
from fracgen_eval.datasets.listing import folders_in, images_in, left_out
from fracgen_eval.datasets.published import PUBLISHED
from fracgen_eval.datasets.trees import Tree, load_tree
from fracgen_eval.errors import EvaluationError
from hypothesis import given, settings
from hypothesis import strategies as st

from fracgen.cli import run
from tests.evaluation.image_files import flat

CLUTTER = [".ipynb_checkpoints", "@eaDir", "__MACOSX", "Thumbs.db", ".DS_Store", "desktop.ini", "._000.png", ".x.png",
           "$RECYCLE.BIN", "@thumb.jpg"]  # fmt: skip


def category(root: Path, lots: Sequence[str] = ()) -> Path:
    """Twelve normal pictures, of which some lie in lots; three good test pictures, three with defects and masks."""
    for n in range(12):
        flat(root / "train/good" / (lots[n] if n < len(lots) else "") / f"{n:03}.png")
    for n in range(3):
        flat(root / "test/good" / f"{n}.png")
        flat(root / "test/dent" / f"{n}.png")
        flat(root / "ground_truth/dent" / f"{n}_mask.png", 255)
    return root


def counts(category: Category) -> tuple[int, int, int]:
    defects = sum(s.anomalous for s in category.test)
    return len(category.train), len(category.test) - defects, defects


@settings(max_examples=40)
@given(st.data())
def test_every_file_is_a_picture_or_is_counted(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.mktemp("tree")
    names = st.sampled_from(["a.png", "b.JPG", "c.Tiff", "notes.txt", "d.gif", "e.png.bak", "noext", *CLUTTER[3:]])
    places = st.sampled_from(["", "lot1", "lot1/inner", "lot2", *CLUTTER[:3]])
    files = data.draw(st.sets(st.tuples(places, names), max_size=14))
    clutter, deeper, other, pictures = set(), 0, 0, []
    for place, name in files:
        path = root / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if place in CLUTTER or name in CLUTTER:
            clutter.add(root / place if place in CLUTTER else path)
        elif path.suffix.lower() not in (".png", ".jpg", ".tiff"):
            other += 1
        elif place:
            deeper += 1
        else:
            pictures.append(path)
        if not path.exists():
            path.touch()
    assert images_in(root) == sorted(pictures)
    assert {p.name for p in folders_in(root)} == {p.split("/")[0] for p, _ in files if p and p not in CLUTTER}
    said = left_out(root, [root], images_in(root))
    told = {word: int(number) for number, word in re.findall(r"(\d+) (picture|file of|files of|hidden)", said)}
    assert told.get("picture", 0) == deeper
    assert told.get("file of", 0) + told.get("files of", 0) == other
    assert told.get("hidden", 0) == len(clutter)


@pytest.mark.parametrize("name", CLUTTER)
def test_clutter_is_no_category_no_defect_no_picture_and_no_mask(name: str, tmp_path: Path) -> None:
    root = category(tmp_path / "mine")
    for place in ("", "train", "train/good", "test", "test/dent", "ground_truth", "ground_truth/dent"):
        if "." in name[1:]:
            (root / place / name).write_bytes(b"whatever")
        else:
            flat(root / place / name / "000.png")
    flat(tmp_path / name.split(".")[0] / "train" / "good" / "000.png") if name == "__MACOSX" else None
    found = dataset("folder").load(tmp_path, *dataset("folder").categories(tmp_path))
    check_files(found)
    assert counts(found) == (12, 3, 3)
    assert found.left_out.startswith("6 hidden files or folders (")


def test_published_trees_are_readable_among_clutter_and_say_so(tmp_path: Path) -> None:
    for n in range(3):
        flat(tmp_path / "train/ok" / f"{n}.png")
        flat(tmp_path / "test/ok" / f"{n}.png")
        flat(tmp_path / "test/ko" / f"{n}.png")
        flat(tmp_path / "ground_truth/ko" / f"{n}.png", 255)
    for name in (*CLUTTER[3:8], "readme.txt"):
        (tmp_path / "ground_truth/ko" / name).write_bytes(b"whatever")
    tree = Tree("train/ok", "test/ok", {"ko": ("test/ko", "ground_truth/ko")})
    found = load_tree(tmp_path, tree, "btad", "01", "CC BY-SA")
    assert counts(found) == (3, 3, 3)
    assert found.left_out == (
        "1 file of another kind (ground_truth/ko/readme.txt), "
        "5 hidden files or folders (ground_truth/ko/.DS_Store, ...)"
    )
    flat(tmp_path / "ground_truth/ko" / "9.png", 255)
    with pytest.raises(EvaluationError, match=r"9\.png: the mask of no test image"):
        load_tree(tmp_path, tree, "btad", "01", "CC BY-SA")


def test_masks_that_lie_among_the_test_pictures_are_counted_once(tmp_path: Path) -> None:
    """MVTec AD 2 has them below test_public."""
    for part in ("train/good", "validation/good", "test_public/good", "test_public/bad"):
        flat(tmp_path / part / "0.png")
    flat(tmp_path / "test_public/ground_truth/bad/0_mask.png", 255)
    (tmp_path / "test_public/ground_truth/bad/notes.txt").touch()
    (tree,) = (source.tree for source in PUBLISHED if source.name == "mvtec-ad2")
    found = load_tree(tmp_path, tree, "mvtec-ad2", "can", "CC BY")
    assert found.left_out == "1 file of another kind (test_public/ground_truth/bad/notes.txt)"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda r: category(r, ["lot2"] * 6), "6 pictures (train/good/lot2/000.png, ...)"),
        (lambda r: category(r, ["a/b", "c"]), "2 pictures (train/good/a/b/000.png, ...)"),
        (lambda r: flat(category(r) / "train/bad/0.png"), "1 picture (train/bad/0.png)"),
        (lambda r: flat(category(r) / "test/0.png"), "1 picture (test/0.png)"),
        (lambda r: flat(category(r) / "ground_truth/dent/9_mask.png"), "1 picture (ground_truth/dent/9_mask.png)"),
        (lambda r: (category(r) / "test/dent/0.heic").touch(), "1 file of another kind (test/dent/0.heic)"),
        (lambda r: (category(r) / "test/dent/gone.png").symlink_to("nowhere.png"), "1 picture (test/dent/gone.png)"),
        (lambda r: os.mkfifo(category(r) / "train/good/pipe.png"), "1 picture (train/good/pipe.png)"),
        (lambda r: flat(category(r) / "train/good/album.png/0.png"), "1 picture (train/good/album.png/0.png)"),
        (lambda r: (category(r) / "train/good/round").symlink_to(r / "train"), ""),
    ],
)  # fmt: skip
def test_what_a_category_leaves_out_is_told(
    make: Callable[[Path], object], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "mine")
    found = dataset("folder").load(tmp_path / "mine", "mine")
    assert found.left_out == said
    assert run(["eval", "data", "folder", "--root", str(tmp_path / "mine")]) == 0
    printed = capsys.readouterr()
    assert printed.err == (f"fracgen: mine: left out {said}\n" if said else "")
    train, good, defects = counts(found)
    assert printed.out.split() == ["mine", str(train), "train", str(good), "good", str(defects), "with", "defects"]


def test_where_all_pictures_lie_deeper_the_refusal_says_where(tmp_path: Path) -> None:
    category(tmp_path / "mine", ["lot2"] * 12)
    with pytest.raises(EvaluationError, match=r"no training images; left out 12 pictures \(train/good/lot2/000\.png"):
        dataset("folder").load(tmp_path / "mine", "mine")
