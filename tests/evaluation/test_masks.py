"""Masks: which one is a picture's, and what in it is a defect."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from fracgen_eval.datasets import check_files
from fracgen_eval.datasets.base import Category, Sample
from fracgen_eval.datasets.listing import match_masks
from fracgen_eval.datasets.trees import MVTEC, Tree, load_tree
from fracgen_eval.errors import EvaluationError
from fracgen_eval.images import Geometry
from fracgen_eval.pictures import read_mask
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.evaluation.image_files import save, tiff
from tests.fields import Fields

QUICK = settings(max_examples=60)
BOXES = st.lists(st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(3, 20)] * 2), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("masks")


def drawn(boxes: Sequence[tuple[int, ...]], value: int = 255) -> NDArray[np.uint8]:
    mask = np.zeros((64, 64), np.uint8)
    for top, left, height, width in boxes:
        mask[top : top + height, left : left + width] = value
    return mask


@QUICK
@given(BOXES, st.integers(1, 255), st.sampled_from([".png", ".bmp", ".tif"]))
def test_in_a_lossless_mask_everything_but_black_is_a_defect(
    place: Path, boxes: Sequence[tuple[int, ...]], value: int, suffix: str
) -> None:
    mask = drawn(boxes, value)
    assert np.array_equal(read_mask(save(place / f"a{suffix}", mask)), mask)


@QUICK
@given(BOXES, st.sampled_from([60, 75, 90, 95, 100]), st.booleans(), st.sampled_from(["jpg", "png", "tif", "webp"]))
def test_what_lossy_compression_leaves_is_no_defect(
    place: Path, boxes: Sequence[tuple[int, ...]], quality: int, colour: bool, kept_as: str
) -> None:
    """Nor in a PNG to which somebody converted a JPEG."""
    mask = drawn(boxes)
    stored = np.stack([mask] * 3, -1) if colour else mask
    path = place / f"a.{kept_as}"
    if kept_as == "png":
        stream = io.BytesIO()
        Image.fromarray(stored).save(stream, "JPEG", quality=quality)
        with Image.open(stream) as image:
            image.save(path)
    else:
        more: Fields = {"compression": "jpeg"} if kept_as == "tif" else {}
        save(path, stored, quality=quality, **more)
    if quality == 100 and kept_as == "png":  # now and then 1 beside 255 is all that is left, which is refused
        left = set(np.unique(np.asarray(Image.open(path))).tolist())
        if len(left) > 2 and left - {1, 2, 3} == {0, 255}:
            with pytest.raises(EvaluationError, match="could be numbers of defect classes"):
                read_mask(path)
            return
    read = read_mask(path)
    wrong = np.count_nonzero((read > 0) != (mask > 0))
    assert wrong <= (0 if quality >= 75 and kept_as != "webp" else 0.05 * np.count_nonzero(mask))


def test_numbers_of_classes_count_in_every_width(tmp_path: Path) -> None:
    classes = np.arange(64, dtype=np.uint8).reshape(8, 8) % 9
    kinds: dict[str, Callable[[Path], object]] = {
        "8.png": lambda p: save(p, classes),
        "16.png": lambda p: save(p, classes.astype(np.uint16)),
        "16.tif": lambda p: tiff(p, classes.astype(np.uint16) * 300, 16),
        "32.tif": lambda p: save(p, classes.astype(np.int32)),
        "signed.tif": lambda p: tiff(p, (-classes.astype(np.int16)), 16, sample_format=2),
        "blue.png": lambda p: save(p, np.stack([classes * 0, classes * 0, classes], -1)),
        "1.png": lambda p: Image.fromarray(classes > 0).save(p),
    }
    for name, make in kinds.items():
        make(tmp_path / name)
        assert np.array_equal(read_mask(tmp_path / name) > 0, classes > 0), name
    palette = Image.fromarray(classes).convert("P")
    palette.putpalette([0, 0, 0] + [90, 0, 200] * 20)
    palette.save(tmp_path / "palette.png")
    assert np.array_equal(read_mask(tmp_path / "palette.png") > 0, classes > 0)
    assert np.array_equal(read_mask(tmp_path / "8.png", exact=True), classes)


def test_paint_on_a_transparent_ground_is_a_defect_and_the_ground_is_not(tmp_path: Path) -> None:
    painted = drawn([(5, 9, 20, 7)])
    layers = np.stack([np.full_like(painted, 255), painted * 0, painted * 0, painted], -1)
    assert np.array_equal(read_mask(save(tmp_path / "a.png", layers)), painted)


def test_shades_at_the_edges_count_from_half_on(tmp_path: Path) -> None:
    ramp = np.repeat(np.clip(np.arange(64) * 12 - 292, 0, 255).astype(np.uint8)[None], 64, 0)
    assert np.array_equal(read_mask(save(tmp_path / "a.png", ramp)) > 0, ramp >= 128)
    deep = ramp.astype(np.uint16) * 257
    assert np.array_equal(read_mask(save(tmp_path / "b.png", deep)) > 0, ramp >= 128)
    few = np.repeat(np.array([0] * 30 + [9, 127, 128, 250] + [255] * 30, np.uint8)[None], 64, 0)
    assert np.array_equal(read_mask(save(tmp_path / "c.png", few)) > 0, few >= 128)


def unclear_masks() -> dict[str, tuple[NDArray[np.uint8], str]]:
    labels = np.zeros((64, 64), np.uint8)
    labels[:60, :60] = np.arange(60)[:, None] * 4 + 1
    rng = np.random.default_rng(0)
    return {
        "classes.jpg": (drawn([(5, 5, 20, 20)], 3), "not clearly black and white"),
        "labels.png": (labels, "60 grey levels, and not clearly|61 grey levels, and not clearly"),
        "photo.png": (rng.integers(60, 120, (64, 64), np.uint8), "a picture in the place of the mask"),
        "bright.png": (rng.integers(190, 256, (64, 64), np.uint8), "a picture in the place of the mask"),
        "product.jpg": (np.where(drawn([(20, 20, 20, 20)]) > 0, 128, 255).astype(np.uint8), "a picture in the place"),
        "void.png": (drawn([(18, 18, 13, 13)]) - drawn([(20, 20, 9, 9)], 254), "values such as 1 beside 255"),
    }  # fmt: skip


@pytest.mark.parametrize("name", unclear_masks())
def test_what_is_not_clearly_a_mask_is_refused(name: str, tmp_path: Path) -> None:
    array, message = unclear_masks()[name]
    path = save(tmp_path / name, array)
    with pytest.raises(EvaluationError, match=message) as caught:
        read_mask(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_where_values_have_a_meaning_lossy_masks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="in a lossy format do not tell kinds of defects apart"):
        read_mask(save(tmp_path / "a.jpg", drawn([(5, 5, 20, 20)])), exact=True)


STEMS = st.lists(st.from_regex(r"[aA][0-9]?(_mask)?", fullmatch=True), min_size=1, max_size=4, unique=True)
ENDS = st.sampled_from([".png", ".PNG", ".Jpg", ".bmp"])


@QUICK
@given(st.data())
def test_every_picture_finds_the_mask_that_was_made_for_it(place: Path, data: st.DataObject) -> None:
    """Whatever the other pictures are called, with one spelling of masks in a folder."""
    stems = data.draw(STEMS)
    spell: Callable[[str], str] = str
    if data.draw(st.booleans()):
        stems = list({stem.casefold(): stem for stem in stems}.values())
        ways: list[Callable[[str], str]] = [str.upper, str.lower, str]
        spell = data.draw(st.sampled_from(ways))  # capitals may differ
    images = [place / f"{stem}{data.draw(ENDS)}" for stem in stems]
    folder = place / f"truth{data.draw(st.integers(0, 10**9))}"
    folder.mkdir(exist_ok=True)
    for left in folder.iterdir():
        left.unlink()
    own = {image: folder / f"{spell(image.stem + '_mask')}{data.draw(ENDS)}" for image in images}
    for mask in own.values():
        mask.touch()
    (folder / ".a_mask.png").touch()
    (folder / "a_mask.txt").touch()
    assert match_masks(images, folder) == own


@pytest.mark.parametrize(
    ("masks", "found"),
    [
        (["a_mask.png", "a.png"], "a_mask.png"),
        (["a_mask.bmp", "a.png"], "a_mask.bmp"),
        (["a.TIFF"], "a.TIFF"),
        (["A_MASK.PNG", "a.bmp"], "a.bmp"),
        (["A_MASK.PNG"], "A_MASK.PNG"),
        (["a_mask.bmp", "a_mask.png"], "a_mask.png"),
        (["a_mask.bmp", "a_mask.tif"], "could be a_mask.bmp or a_mask.tif"),
        (["a.bmp", "a.tif"], "could be a.bmp or a.tif"),
        (["A.bmp", "A_Mask.tif", "A_mask.tif"], "could be A_Mask.tif or A_mask.tif"),
        (["b_mask.png", "a2.png", ".a_mask.png", "@a_mask.png", "a_mask.txt"], None),
    ],
)
def test_the_exact_name_comes_first_and_two_of_a_kind_are_refused(
    masks: list[str], found: str | None, tmp_path: Path
) -> None:
    for name in masks:
        (tmp_path / name).touch()
    image = tmp_path / "a.png"
    if found is not None and found.startswith("could"):
        with pytest.raises(EvaluationError, match=found):
            match_masks([image], tmp_path)
    else:
        assert match_masks([image], tmp_path) == ({} if found is None else {image: tmp_path / found})


def small_category(root: Path, names: list[str], masks: list[str]) -> Path:
    for part, stems in {"train/good": ["0.png"], "test/good": ["0.png"], "test/dent": names}.items():
        (root / part).mkdir(parents=True)
        for name in stems:
            save(root / part / name, np.full((64, 64), 90, np.uint8))
    (root / "ground_truth/dent").mkdir(parents=True)
    for name in masks:
        save(root / "ground_truth/dent" / name, drawn([(3, 4, 5, 6)]))
    return root


@pytest.mark.parametrize(
    ("names", "masks"),
    [(["part.png", "part.jpg"], ["part_mask.png"]), (["part.png", "Part.png"], ["part_mask.png"]),
     (["part.png", "part_mask.png"], ["part_mask.png"])],
)  # fmt: skip
def test_two_pictures_never_share_a_mask(names: list[str], masks: list[str], tmp_path: Path) -> None:
    small_category(tmp_path, names, masks)
    with pytest.raises(EvaluationError, match=r"the mask of both .* and .*: give each picture its own"):
        load_tree(tmp_path, MVTEC, "folder", "mine")
    tree = Tree("train/good", "test/good", {"dent": ("test/dent", "ground_truth/dent")})
    with pytest.raises(EvaluationError, match="the mask of both"):
        load_tree(tmp_path, tree, "btad", "mine", "CC0")
    with pytest.raises(EvaluationError, match="the mask of both"):
        Category("visa", "pcb1", tmp_path, (), tuple(Sample(tmp_path / n, "bad", (tmp_path / "m.png",)) for n in names))


def test_pictures_of_one_name_and_two_kinds_have_masks_of_their_kind(tmp_path: Path) -> None:
    small_category(tmp_path, ["part.png", "part.bmp"], ["part.png", "part.bmp"])
    found = load_tree(tmp_path, MVTEC, "folder", "mine")
    check_files(found)
    pairs = {s.path.name: mask.name for s in found.test for mask in s.masks}
    assert pairs == {"part.png": "part.png", "part.bmp": "part.bmp"}
    assert found.left_out == ""


def test_a_turned_mask_lies_on_its_turned_picture(tmp_path: Path) -> None:
    """What a camera's orientation turns, size checks and maps see upright."""
    small_category(tmp_path, [], [])
    upright = drawn([(3, 40, 9, 20)])[:, 10:]
    save(tmp_path / "test/dent/a.png", np.zeros((*upright.shape, 3), np.uint8))
    save(tmp_path / "ground_truth/dent/a_mask.png", np.ascontiguousarray(np.rot90(upright)), 6)
    found = load_tree(tmp_path, MVTEC, "folder", "mine")
    check_files(found)
    (sample,) = [s for s in found.test if s.anomalous]
    assert np.array_equal(Geometry(32).mask(sample), Geometry(32).resized(upright != 0))
