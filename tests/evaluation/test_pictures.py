"""Pictures as cameras, scanners and programs write them: read in one way, or refused in one line."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fracgen_eval.datasets.base import Sample
from fracgen_eval.errors import EvaluationError
from fracgen_eval.images import Geometry, at_original_size
from fracgen_eval.pictures import read_mask, read_picture
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.evaluation.image_files import ORIENTED, png16, premultiplied, save, tiff
from tests.fields import Fields

QUICK = settings(max_examples=60)
SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))
LOSSLESS: dict[str, dict[str, bool]] = {".png": {}, ".tif": {}, ".bmp": {}, ".webp": {"lossless": True, "exact": True}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


def pixels(shape: tuple[int, ...], seed: int, high: int = 256) -> NDArray[np.integer]:
    return np.random.default_rng(seed).integers(0, high, shape, np.uint8 if high == 256 else np.uint16)


@QUICK
@given(SIDES, st.integers(0, 99), st.sampled_from(list(LOSSLESS)), st.booleans(), st.integers(0, 9))
def test_eight_bits_are_read_as_they_are_and_upright(
    place: Path, size: tuple[int, int], seed: int, suffix: str, colour: bool, orientation: int
) -> None:
    stored = pixels((*size, 3) if colour else size, seed)
    turned = suffix != ".bmp"
    path = save(place / f"a{suffix}", stored, orientation if turned else None, **LOSSLESS[suffix])
    upright = ORIENTED.get(orientation if turned else 1, ORIENTED[1])(stored)
    assert np.array_equal(read_picture(path), upright if colour else np.stack([upright] * 3, -1))


@QUICK
@given(SIDES, st.integers(0, 99), st.sampled_from(["png", "tif", "tif, big-endian", "tif, white is zero"]),
       st.sampled_from([256, 4096, 65536]), st.integers(1, 8))  # fmt: skip
def test_sixteen_bits_become_eight_by_the_types_range(
    place: Path, size: tuple[int, int], seed: int, kind: str, used: int, orientation: int
) -> None:
    """Never by the picture's own: one that uses 12 of 16 bits is dark, in whatever picture it stands."""
    stored = np.random.default_rng(seed).integers(0, used, size).astype(np.uint16)
    path = place / f"deep.{kind[:3]}"
    if kind == "tif, white is zero":
        orientation = 1
        tiff(path, 65535 - stored, 16, photometric=0)
    else:
        save(path, stored.astype(">u2") if "big" in kind else stored, orientation)
    read = read_picture(path)
    assert np.array_equal(read[..., 1], ORIENTED[orientation](np.rint(stored / 257)))
    assert (read == read[..., :1]).all()


def test_twelve_packed_bits_and_sixteen_bits_of_colour(tmp_path: Path) -> None:
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    tiff(tmp_path / "packed.tif", ramp, 12)
    assert np.array_equal(read_picture(tmp_path / "packed.tif")[..., 0], np.rint(ramp * (255 / 4095)))
    deep = pixels((6, 7, 3), 0, 65536).astype(np.uint16)
    png16(tmp_path / "colour.png", deep)
    assert np.array_equal(read_picture(tmp_path / "colour.png"), deep >> 8)  # Pillow's way


@pytest.mark.parametrize("kind", ["grey", "colour", "palette", "premultiplied"])
@given(SIDES, st.integers(0, 99), st.integers(1, 8))
@settings(max_examples=25)
def test_what_is_transparent_is_black(
    place: Path, kind: str, size: tuple[int, int], seed: int, orientation: int
) -> None:
    rng = np.random.default_rng(seed)
    colours, alpha = rng.integers(0, 256, (*size, 3)), rng.choice([0, 7, 128, 255], size)
    alpha[0, 0] = 255
    path = place / "alpha.png"
    if kind == "grey":
        stored = np.stack([colours[..., 0], alpha], -1).astype(np.uint8)
        colours = colours[..., :1]
    elif kind == "colour":
        stored = np.concatenate([colours, alpha[..., None]], -1).astype(np.uint8)
    elif kind == "premultiplied":
        path = place / "alpha.tif"
        alpha = np.where(alpha > 0, 255, 0)  # half transparent colours are rounded in the file
        stored = np.concatenate([colours * (alpha[..., None] > 0), alpha[..., None]], -1).astype(np.uint8)
    else:
        index = rng.integers(0, 4, size).astype(np.uint8)
        index[0, 0] = 3
        table, opacity = rng.integers(0, 256, (4, 3)), np.array([0, 100, 200, 255])
        image = Image.fromarray(index).convert("P")
        image.putpalette(table.astype(np.uint8).tobytes())
        exif = Image.Exif()
        exif[274] = orientation
        image.save(path, transparency=bytes(opacity.tolist()), exif=exif)
        colours, alpha = table[index], opacity[index]
    if kind != "palette":
        save(path, stored, orientation)
    if kind == "premultiplied":
        premultiplied(path)
    expected = np.rint(np.broadcast_to(colours, (*size, 3)) * (alpha[..., None] / 255))
    assert np.array_equal(read_picture(path), ORIENTED[orientation](expected))


def test_a_grey_value_that_stands_for_transparency_is_black(tmp_path: Path) -> None:
    for name, stored, key in (("8", pixels((5, 6), 1), 40), ("16", pixels((5, 6), 2, 65536), 9000)):
        stored[2, 3] = key
        path = save(tmp_path / f"{name}.png", stored, transparency=key)
        with Image.open(path) as image:
            assert image.info["transparency"] == key
        read = read_picture(path)
        assert read[2, 3].tolist() == [0, 0, 0]
        assert (read != 0).any()


@pytest.mark.parametrize("mode", ["1", "P", "CMYK"])
def test_other_colours_are_those_that_pillow_makes_of_them(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(pixels((8, 9, 3), 3)).convert(mode)
    image.save(tmp_path / "a.tif")
    assert np.array_equal(read_picture(tmp_path / "a.tif"), np.asarray(image.convert("RGB")))
    if mode == "CMYK":
        inks = np.asarray(image).astype(float)
        assert np.abs(read_picture(tmp_path / "a.tif") - (255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255).max() <= 1


def test_a_jpeg_from_a_camera_with_more_pictures_behind_the_first(tmp_path: Path) -> None:
    """MPO, as phones write it: what follows are previews and depths."""
    smooth = [np.full((16, 24, 3), value, np.uint8) for value in (40, 200)]
    more: Fields = {"format": "MPO", "save_all": True, "append_images": [Image.fromarray(smooth[1])]}
    read = read_picture(save(tmp_path / "a.jpg", smooth[0], 6, **more))
    assert read.shape == (24, 16, 3)
    assert np.abs(read.astype(int) - 40).max() < 3


def damaged_files(folder: Path) -> dict[str, tuple[Callable[[Path], object], str]]:
    """By name, a file and what is said of it."""
    grey = np.zeros((4, 5), np.uint8)
    float_ = np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5)
    several: Fields = {"save_all": True, "append_images": [Image.fromarray(grey + 9)]}
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    return {
        "float.tif": (lambda p: save(p, float_), "floating-point numbers, which is not read: save it as PNG"),
        "whole.tif": (lambda p: save(p, (float_ * 65535).astype(np.int32)), "signed or 32-bit numbers, .* save it as"),
        "signed8.tif": (lambda p: tiff(p, grey, 8, sample_format=2), "signed or 32-bit numbers"),
        "signed16.tif": (lambda p: tiff(p, grey.astype(np.int16), 16, sample_format=2), "signed or 32-bit numbers"),
        "lab.tif": (lambda p: Image.new("LAB", (4, 4)).save(p), "CIELAB colours, which is not read"),
        "pages.tif": (lambda p: save(p, grey, **several), "2 pages or frames .* save the one that counts"),
        "moves.png": (lambda p: save(p, grey, **several), "2 pages or frames"),
        "moves.webp": (lambda p: save(p, np.stack([grey] * 3, -1), save_all=True, lossless=True,
                                      append_images=[Image.new("RGB", (5, 4), "red")]), "2 pages or frames"),
        "hidden.png": (lambda p: save(p, np.zeros((4, 5, 4), np.uint8)), "every pixel is transparent"),
        "empty.png": (lambda p: p.write_bytes(b""), "cannot be read as an image .none of PNG, JPEG"),
        "text.jpg": (lambda p: p.write_text("hello"), "cannot be read as an image .none of PNG, JPEG"),
        "gif.png": (lambda p: save(p, grey, format="GIF"), "none of PNG, JPEG"),
        "program.png": (lambda p: p.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "none of PNG"),
        "bomb.png": (lambda p: p.write_bytes(header + struct.pack(">I", 0)), "cannot be read as an image"),
        "folder.png": (lambda p: p.mkdir(), "cannot be read as an image"),
    }  # fmt: skip


@pytest.mark.parametrize("name", damaged_files(Path()))
def test_what_is_not_read_is_refused_with_its_name_and_a_remedy(name: str, tmp_path: Path) -> None:
    make, message = damaged_files(tmp_path)[name]
    make(tmp_path / name)
    with pytest.raises(EvaluationError, match=message) as caught:
        read_picture(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


def encoded(suffix: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels((20, 30, 3), 5)).save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix))
    return stream.getvalue()


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
@settings(QUICK, max_examples=25)
@given(data=st.data())
def test_cut_files_are_refused_and_changed_ones_never_end_in_a_traceback(
    place: Path, suffix: str, data: st.DataObject
) -> None:
    whole, path = encoded(suffix), place / f"broken.{suffix}"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) * 9 // 10))])
    with pytest.raises(EvaluationError):
        read_picture(path)
    changed = bytearray(whole)
    for at in data.draw(st.lists(st.integers(0, 200), min_size=1, max_size=4)):
        changed[at] = data.draw(st.integers(0, 255))
    path.write_bytes(changed)
    for read in (read_picture, read_mask):
        with contextlib.suppress(EvaluationError):
            assert read(path).dtype == np.uint8


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_sizes_are_those_of_upright_pictures(tmp_path: Path, orientation: int) -> None:
    stored = pixels((30, 50, 3), 7)
    path = save(tmp_path / "a.jpg", stored, orientation)
    upright = ORIENTED[orientation](stored)
    mask = np.zeros(upright.shape[:2], np.uint8)
    mask[:10, :15] = 255
    sample = Sample(path, "dent", (save(tmp_path / "a.png", mask),))
    maps, truth = at_original_size([sample], np.zeros((1, 8, 8), np.float32))
    assert [part.shape for part in maps] == [mask.shape]
    assert np.array_equal(truth[0], mask != 0)
    straight = save(tmp_path / "b.png", read_picture(path))
    assert np.array_equal(Geometry(16).image(path), Geometry(16).image(straight))
