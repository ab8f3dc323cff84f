"""FRACTINT's codes and flam3's flames: read right, refused by name, written so that they are read back, and drawn by
FRACTINT and flam3 themselves as they are drawn here."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fracgen import BankError, CodeBank, Recipe
from fracgen.draws import Stream, seed_key
from fracgen.formulas.ifs.exchange import export_codes, import_codes
from fracgen.formulas.ifs.stages import IfsStages
from fracgen.rendering.parameters import Parameters
from fracgen.rendering.records import Samples
from tests.malformed import altered_bytes, check_refusal, few

FERN = """\
 fern { ; Barnsley's
    0   0    0  .16 0  0 .01 ; the stem
   .85 .04 -.04 .85 0 1.6 .85
   .2 -.26  .23 .22 0 1.6 .07
  -.15 .28  .26 .24 0 .44   ; of the rest
    .07 }
"""


def imported(path: Path, text: str) -> CodeBank:
    """The bank of a file with this text."""
    path.write_text(text)
    return import_codes(path, non_contractive=True)


def test_fractints_codes(tmp_path: Path) -> None:
    others = "comment { words, 7 }\n3dfern (3D) {\n .1 0 0\n}\nfew { .5 0 0 .5 0 0 1 }\n"
    bank = imported(tmp_path / "two.IFS", f"{others}{FERN}triangle {{\n{'.5 0 0 .5 0 1 .3 ' * 3}}}\n\x1a")
    assert (bank.sizes.tolist(), bank.metadata["left_out"]) == ([4, 3], "3dfern (3D), few (maps: 1)")
    np.testing.assert_allclose(bank.maps[0, 2], [[0.2, -0.26, 0], [0.23, 0.22, 1.6]])
    np.testing.assert_allclose(bank.probabilities[0, :4], [0.01, 0.85, 0.07, 0.07], rtol=1e-6)
    np.testing.assert_allclose(bank.probabilities[1, :3], [0.3, 0.3, 0.4], rtol=1e-6)  # the last takes what is missing


def flame(*elements: str, name: str = "mine") -> str:
    return f'<flames><flame name="{name}" rotate="3">{"".join(elements)}<color index="0" rgb="1 2 3"/></flame></flames>'


A = '<xform weight="3" color="0.5" linear="1" coefs="0.1 0.2 0.3 0.4 0.5 0.6"/>'
B = '<xform weight="1" linear="0.5" spherical="0" coefs="1 0 0 1 0 2" post="0 1 -1 0 0.25 0" opacity="1"/>'


def test_linear_flames(tmp_path: Path) -> None:
    never = '<xform linear="1" coefs="9 9 9 9 9 9"/>'
    bank = imported(tmp_path / "a.flame", flame(A, never, B, A))
    assert bank.sizes.tolist() == [2]
    np.testing.assert_allclose(bank.maps[0, 0], [[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]])  # columns
    np.testing.assert_allclose(bank.maps[0, 1], [[0, -0.5, -0.75], [0.5, 0, 0]])  # post after coefs
    assert bank.probabilities[0, :2].tolist() == [6, 1]  # equal maps are one; without a weight it is never chosen


def test_a_flames_symmetry_adds_maps(tmp_path: Path) -> None:
    bank = imported(tmp_path / "a.flam3", flame(A, '<symmetry kind="-3"/>', B))
    assert bank.sizes.tolist() == [5]
    np.testing.assert_allclose(bank.maps[0, 1], [[-1, 0, 0], [0, 1, 0]])
    turn = bank.maps[0, 2, :, :2].astype(np.float64)
    np.testing.assert_allclose(turn @ turn, bank.maps[0, 3, :, :2], atol=1e-5)
    np.testing.assert_allclose(np.linalg.matrix_power(turn, 3), np.eye(2), atol=1e-5)
    assert bank.probabilities[0, :5].tolist() == [3, 1, 1, 1, 1]


FOREIGN = {
    "finalxform": '<finalxform linear="1" coefs="1 0 0 1 0 0"/>',
    "variation spherical": '<xform weight="1" linear="1" spherical="0.5" coefs="1 0 0 1 0 0"/>',
    "variation linear3D": '<xform weight="1" linear3D="1" coefs="1 0 0 1 0 0"/>',
    "variation var1": '<xform weight="1" var1="2" coefs="1 0 0 1 0 0"/>',
    "opacity": '<xform weight="1" linear="1" opacity="0" coefs="1 0 0 1 0 0"/>',
    "chaos": '<xform weight="1" linear="1" chaos="1 0.5" coefs="1 0 0 1 0 0"/>',
    "motion": '<xform weight="1" linear="1" coefs="1 0 0 1 0 0"><motion/></xform>',
    "symmetry 0": '<symmetry kind="0"/>',
    "symmetry 1000000000": '<symmetry kind="1000000000"/>',
    "maps: 9": "".join(f'<xform weight="1" linear="0.{k}"/>' for k in range(1, 8)),
}


@pytest.mark.parametrize("reason", FOREIGN)
def test_other_flames_are_left_out_by_name(tmp_path: Path, reason: str) -> None:
    other = flame(A, FOREIGN[reason], B, name="odd")
    with pytest.raises(BankError, match=rf"holds 0 codes.*left out: odd \({re.escape(reason)}\)"):
        imported(tmp_path / "a.xml", other)
    bank = imported(tmp_path / "a.xml", f"<all>{flame(A, B)}{other}{flame(B, A)}</all>")
    assert (len(bank), bank.metadata["left_out"]) == (2, f"odd ({reason})")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.flame", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declares a document type"),
        ("a.flame", flame(A, B)[:-9], "is no readable flame"),
        ("a.flame", flame('<xform coefs="1 2"/>'), "'mine' is no readable flame .coefs has 2 numbers, not 6"),
        ("a.flame", flame('<xform weight="x"/>'), "could not convert"),
        ("a.flame", flame(A, '<xform weight="-1" linear="0.1"/>'), "has probabilities .*not negative"),
        ("a.flame", flame(A, '<xform weight="1" linear="1e300"/>'), "holds inf"),
        ("a.flame", "<a/>", "holds 0 codes"),
        ("a.ifs", "", "no file of FRACTINT's codes"),
        ("a.ifs", FERN + "more", "no file of FRACTINT's codes"),
        ("a.ifs", "a { 1 2 3 }", "'a' does not hold rows of the seven numbers"),
        ("a.ifs", "a { 1 2 3 4 5 6 x }", "'a' does not hold rows of the seven numbers"),
        ("a.ifs", "a { " + "0 0 0 nan 0 0 .5 " * 2 + "}", "holds nan"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(BankError, match=says):
        imported(tmp_path / name, text)


@pytest.mark.parametrize(("name", "text"), [("a.ifs", FERN), ("a.flame", flame(A, '<symmetry kind="2"/>', B))])
def test_altered_files(tmp_path: Path, name: str, text: str) -> None:
    @given(altered_bytes(text.encode()))
    @few
    def check(content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        try:
            bank = import_codes(tmp_path / name, non_contractive=True)
        except BankError as error:
            check_refusal(error)
        else:
            assert np.isfinite(bank.maps).all()

    check()


@given(st.integers(0, 2**32), st.sampled_from(["ifs", "flame"]), st.lists(st.integers(0, 9), min_size=1, max_size=3))
@settings(few, max_examples=25)
def test_what_is_written_is_read_back(tmp_path: Path, seed: int, format: str, codes: list[int]) -> None:
    bank = CodeBank.sample(10, seed=seed)
    export_codes(bank, tmp_path / f"a.{format}", format, codes)
    again = import_codes(tmp_path / f"a.{format}")
    np.testing.assert_array_equal(again.maps, bank.maps[codes])
    np.testing.assert_allclose(again.probabilities, bank.probabilities[codes], atol=2e-6)


def test_only_known_formats_and_codes_are_written(tmp_path: Path) -> None:
    for format, codes, says in (("svg", [0], "unknown format 'svg': use one of ifs, flame"), ("ifs", [4], "no code 4")):
        with pytest.raises(ValueError, match=says):
            export_codes(CodeBank.sample(4), tmp_path / "a", format, codes)
    assert not list(tmp_path.iterdir())


# Pictures beside those of the programs themselves.

SIDE = 64
POINTS = 1 << 16
AGREE = 0.95
"""Of the cells that either picture has lit, the share that both have."""


def lit(
    bank: CodeBank, pictures: int, windows: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """In which share of so many pictures of POINTS points the renderer's stages light a cell [codes, y, x], and where
    these lie.

    A window [codes, 4] is scale and offset of x, then y, to places on the grid; cell k is [k, k + 1). Default: the
    extent and a tenth, as the renderer finds it.
    """
    recipe = Recipe(
        "plain", size=SIDE, canvas=SIDE, points=POINTS, jitter="none", window_shift=0.0, window_scale=(1.1, 1.1),
        stamp=False, flips=False, background="black", blur_probability=0.0,
    )  # fmt: skip
    images, masks = np.empty((pictures, 1, 3, SIDE, SIDE), np.uint8), np.empty((0, 1, SIDE, SIDE), np.uint8)
    key0, key1 = map(np.uint32, seed_key(0))
    index = np.arange(pictures, dtype=np.uint32)
    samples = Samples(key0, key1, index, np.uint32(0), np.uint32(Stream.TRAIN))
    halo = np.array([0, 0.5, 0, 0.5])  # the stages round to lines, of which the first is no cell's
    shares, found = [], []
    for code in range(len(bank)):
        one = slice(code, code + 1)
        alone = CodeBank(bank.maps[one], bank.sizes[one], 1, bank.probabilities[one], bank.non_contractive)
        stages = IfsStages(alone, Parameters.of(recipe))
        space = stages.space(pictures)
        work = stages.work(samples, space, 0, pictures, images, masks)
        work["scout"]()
        own: NDArray[np.float32] = space.shapes.windows[:, 0, 0]  # type: ignore[attr-defined]
        own[:] = own[0] if windows is None else windows[code] + halo
        found.append(own[0] - halo)
        work["attractor"]()
        density: NDArray[np.uint8] = space.shapes.density[:, 0, 0]  # type: ignore[attr-defined]
        shares.append((density.reshape(-1, SIDE, SIDE) > 0).mean(axis=0).T)
    return np.stack(shares), np.array(found, np.float64)


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def by_flam3(flames: list[str], pictures: int, folder: Path) -> NDArray[np.bool_]:
    """Which cells [flames, y, x] flam3-render finds as dense as those that half of our pictures light, in the flames'
    views scaled to SIDE. It draws as many points as so many of our pictures.

    Brightness is chosen so that such a density has half of the largest opacity, which without gamma is 268/256 of the
    brightness times the logarithm of one and the density over the mean of a unit square.
    """
    texts = []
    for k, text in enumerate(flames):
        x, y, scale = place(text)
        brightness = 128 / 255 / (268 / 256 * math.log1p(math.log(2) / POINTS * scale**2))
        texts.append(re.sub("<flame [^>]*>", f"""
            <flame name="{k}" center="{x} {y}" scale="{scale}" size="{SIDE} {SIDE}" temporal_samples="1" supersample="1"
            quality="{POINTS * pictures // SIDE**2}" brightness="{brightness}" gamma="1" gamma_threshold="0"
            filter="0.5" filter_shape="box" estimator_radius="0">""", text))  # fmt: skip
    environment = os.environ | {"prefix": f"{folder}/", "transparency": "1", "nthreads": "1", "isaac_seed": "fixed"}
    subprocess.run(
        ["flam3-render"], input=f"<all>{''.join(texts)}</all>", text=True, check=True, env=environment,
        capture_output=True,
    )  # fmt: skip
    return np.stack([picture(folder / f"{k:05d}.png")[..., 3] >= 128 for k in range(len(flames))])


def picture(path: Path) -> NDArray[np.uint8]:
    """A file's pixels."""
    with Image.open(path) as opened:
        return np.array(opened)


def place(text: str) -> tuple[float, float, float]:
    """A flame's centre, and pixels a unit in a picture of SIDE pixels."""
    x, y = map(float, re.findall(r'center="(\S+) (\S+)"', text)[0])
    (side,), (scale,) = re.findall(r'size="(\d+) ', text), re.findall(r' scale="(\S+)"', text)
    return x, y, float(scale) * SIDE / float(side)


def window(text: str) -> list[float]:
    """A flame's view as `lit` takes it."""
    x, y, scale = place(text)
    return [scale, SIDE / 2 - x * scale, scale, SIDE / 2 - y * scale]


def each(text: str) -> list[str]:
    """The flames of a file."""
    return re.findall("<flame .*?</flame>", text, re.S)


@pytest.fixture
def flam3() -> None:
    if shutil.which("flam3-render") is None or shutil.which("flam3-genome") is None:
        pytest.skip("no flam3 here: apt-get install flam3-utils")


@pytest.mark.study
@pytest.mark.usefixtures("flam3")
def test_flam3_draws_its_own_flames_as_they_are_drawn_here(tmp_path: Path) -> None:
    """20 random linear flames, as flam3-genome frames them, its own pictures beside ours."""
    environment = os.environ | {"seed": "1", "use_vars": "0", "repeat": "40", "tries": "1", "nthreads": "1"}
    made = subprocess.run(["flam3-genome"], capture_output=True, text=True, check=True, env=environment).stdout
    flames, banks, refused = [], [], []
    for text in each(made):
        try:
            banks.append(imported(tmp_path / "a.flame", text))
            flames.append(text)
        except BankError as error:
            refused.append(str(error))
    flames, banks = flames[:20], banks[:20]
    assert len(flames) == 20, refused
    ours = [lit(bank, 256, np.array([window(text)]))[0][0] >= 0.5 for bank, text in zip(banks, flames, strict=True)]
    shares = [round(overlap(a, b), 3) for a, b in zip(ours, by_flam3(flames, 256, tmp_path), strict=True)]
    print(f"\n{sum(bank.contracts[0] for bank in banks)} of 20 contract; refused: {refused}\noverlap {shares}")
    assert min(shares) >= AGREE


@pytest.mark.usefixtures("flam3")
def test_flam3_draws_what_is_exported(tmp_path: Path) -> None:
    bank = CodeBank.sample(4, seed=3)
    export_codes(bank, tmp_path / "a.flame", "flame")
    flames = each((tmp_path / "a.flame").read_text())
    ours = lit(bank, 64, np.array([window(text) for text in flames]))[0] >= 0.5
    shares = [overlap(a, b) for a, b in zip(ours, by_flam3(flames, 64, tmp_path), strict=True)]
    assert min(shares) >= AGREE
    assert max(overlap(a, b.T) for a, b in zip(ours, ours, strict=True)) < AGREE  # another picture would be seen


@pytest.fixture
def display() -> Iterator[str]:
    """An X display without a screen, on which FRACTINT draws."""
    if shutil.which("Xvfb") is None or not IFS.is_file():
        pytest.skip("no FRACTINT here: apt-get install xfractint xvfb xfonts-base (its section is non-free)")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x480x24", "-nolisten", "tcp"], pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    with os.fdopen(read) as number:
        yield f":{number.readline().strip()}"
    server.terminate()
    server.wait()


FINER = 8
"""Pixels a cell on each side: FRACTINT's pictures of a file have 800 x 600, of which SIDE cells take a corner."""
IFS = Path("/usr/share/xfractint/ifs/fractint.ifs")


def by_fractint(name: str, file: Path, window: NDArray[np.float64], display: str, folder: Path) -> NDArray[np.bool_]:
    """Which cells [y, x] FRACTINT lights. Its first row has the largest y."""
    (a, e), (b, f) = window[:2], window[2:]
    edges = (-e / a, (799 / FINER - e) / a, (SIDE - 599 / FINER - f) / b, (SIDE - f) / b)
    subprocess.run(
        ["xfractint", "-fast", "batch=yes", "type=ifs", f"ifsfile={file}", f"ifs={name}", "float=yes",
         f"corners={'/'.join(f'{edge:.17g}' for edge in edges)}", f"savename={name}.gif", f"maxiter={POINTS // 64}"],
        check=True, cwd=folder, env=os.environ | {"DISPLAY": display, "TERM": "xterm"}, capture_output=True,
        timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    drawn = picture(folder / f"{name}.gif")[: SIDE * FINER, : SIDE * FINER]
    lit: NDArray[np.bool_] = drawn.reshape(SIDE, FINER, SIDE, FINER).max(axis=(1, 3))[::-1] > 0
    return lit


@pytest.mark.study
def test_fractint_draws_its_own_codes_as_they_are_drawn_here(tmp_path: Path, display: str) -> None:
    bank = import_codes(IFS, non_contractive=True)
    names = [name for name in re.findall(r"^ ?(\w+) \{", IFS.read_text(), re.M) if name != "fractint"]
    assert len(names) == len(bank) == 12
    assert "fractint (maps: 22)" in bank.metadata["left_out"]
    ours, windows = lit(bank, 16)
    theirs = [by_fractint(name, IFS, w, display, tmp_path) for name, w in zip(names, windows, strict=True)]
    shares = {name: round(overlap(a > 0, b), 3) for name, a, b in zip(names, ours, theirs, strict=True)}
    print(f"\noverlap {shares}")
    assert min(shares.values()) >= AGREE
