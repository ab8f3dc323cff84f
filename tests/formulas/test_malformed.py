"""Files of codes that are damaged or foreign: one error of one line, before much memory is asked for."""

from __future__ import annotations

import json
import math
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from fracgen import CodeBank
from fracgen.formulas.files import Bank, BankError
from fracgen.formulas.formula import load_bank
from fracgen.formulas.ifs.exchange import import_codes
from fracgen.formulas.mandelbulb import VariationSpec
from fracgen.formulas.mandelbulb.bank import VariationBank
from tests.malformed import altered, altered_bytes, check_refusal, few

CODES = CodeBank.sample(6, classes=3)
BANKS = (CODES, VariationBank.from_spec(VariationSpec(powers=(3, 8), rules=(42, 168))))


def parts(bank: Bank, folder: Path) -> tuple[object, bytes]:
    """Header and data of a bank's file."""
    bank.save(folder / "bank")
    content = (folder / "bank").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    in_order = json.dumps(header, sort_keys=True)  # safetensors' order is another each time
    return json.loads(in_order), content[8 + length :]


def write_parts(path: Path, header: object, data: bytes = b"", zeros: int = 0) -> Path:
    """A safetensors file of a header, data, and so many zeros that take no place on the disk."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    os.truncate(path, path.stat().st_size + zeros)
    return path


@pytest.mark.parametrize("bank", BANKS, ids=["ifs", "mandelbulb"])
@given(data=st.data())
@few
def test_banks(tmp_path: Path, bank: Bank, data: st.DataObject) -> None:
    header, content = parts(bank, tmp_path)
    path = write_parts(tmp_path / "bank", data.draw(altered(header)), content)
    if data.draw(st.booleans()):
        path.write_bytes(data.draw(altered_bytes(path.read_bytes())))
    try:
        loaded = load_bank(path)
    except BankError as error:
        check_refusal(error)
    else:
        assert loaded.sha256 == bank.sha256


def tensors(**changes: torch.Tensor) -> Callable[[Path], Path]:
    """Makes a bank's file some tensors of which are others."""
    bank, head = CODES, {"format": "fracgen-bank", "format_version": "1", "classes": "3", "non_contractive": "0"}
    arrays = {"maps": bank.maps, "sizes": bank.sizes, "probabilities": bank.probabilities}
    whole = {name: torch.tensor(array) for name, array in arrays.items()} | changes

    def make(path: Path) -> Path:
        save_file(whole, path, head | {"sha256": bank.sha256})
        return path

    return make


def of_shape(formula: str, **shapes: list[int]) -> Callable[[Path], Path]:
    """Makes a file that says it has tensors of these shapes, and holds zeros."""
    types = {"maps": "F32", "sizes": "U8", "probabilities": "F32", "powers": "U8", "rules": "U16"}

    def make(path: Path) -> Path:
        about = {"format": "fracgen-bank", "format_version": "1", "formula": formula}
        header: dict[str, object] = {"__metadata__": about}
        at = 0
        for name, shape in shapes.items():
            end = at + math.prod(shape) * {"F32": 4, "U16": 2, "U8": 1}[types[name]]
            header[name] = {"dtype": types[name], "shape": shape, "data_offsets": [at, end]}
            at = end
        return write_parts(path, header, zeros=at)

    return make


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (tensors(maps=torch.zeros(6, 8, 2, 3, dtype=torch.bfloat16)), r"maps is BF16 \[6, 8, 2, 3\], expected float32"),
        (tensors(sizes=torch.zeros(6).to(torch.float8_e4m3fn)), r"sizes is F8_E4M3 \[6\], expected uint8"),
        (tensors(probabilities=torch.tensor(1.0)), r"probabilities is float32 \[\], expected float32 \[6, 8\]"),
        (tensors(sizes=torch.tensor(3, dtype=torch.uint8)), r"sizes is uint8 \[\], expected uint8 \[0\]"),
        (tensors(maps=torch.zeros(6, 8, 2, 3, dtype=torch.float64)), "maps is F64"),
        (tensors(more=torch.zeros(3)), "but not a fracgen bank"),
    ],
)
def test_tensors_of_other_types(tmp_path: Path, make: Callable[[Path], Path], says: str) -> None:
    with pytest.raises(BankError, match=says):
        load_bank(make(tmp_path / "bank"))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (of_shape("mandelbulb", powers=[10**12], rules=[10**12]), "3,000,000,000,[0-9]* bytes: at most 2,500,000,000"),
        (of_shape("ifs", maps=[10**8, 8, 2, 3], sizes=[10**8], probabilities=[10**8, 8]), "bytes: at most"),
        (of_shape("mandelbulb", powers=[10**8], rules=[10**8]), "the bank holds 100000000 codes: use 1 to 10,000,000"),
        (of_shape("mandelbulb", powers=[4], rules=[10**9]), r"rules is uint16 \[1000000000\], expected uint16 \[4\]"),
        (of_shape("ifs", maps=[3, 8, 2, 10**7], sizes=[3], probabilities=[3, 8]), "expected float32"),
        (of_shape("ifs", maps=[0, 8, 2, 3], sizes=[0], probabilities=[0, 8]), "the bank holds no code"),
    ],
)
def test_sizes_are_looked_at_before_memory_is_asked_for(
    tmp_path: Path, make: Callable[[Path], Path], says: str
) -> None:
    with pytest.raises(BankError, match=says):
        load_bank(make(tmp_path / "bank"))


ROWS = "0.5,0,0,0.5,0,0,0.4\n-0.3,0.1,0,0.5,1,1,0.6\n"


@given(altered_bytes(ROWS.encode()))
@few
def test_tables_of_a_code(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(text)
    try:
        bank = import_codes(tmp_path, non_contractive=True)
    except BankError as error:
        check_refusal(error)
    else:
        assert np.isfinite(bank.maps).all()


@given(altered_bytes(pickle.dumps({"params": [{"system": np.ones((2, 2, 3)) / 4}] * 3})))
@few
def test_pickles(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "ifs.pkl").write_bytes(data)
    try:
        bank = import_codes(tmp_path / "ifs.pkl", non_contractive=True)
    except BankError as error:
        check_refusal(error)
    else:
        assert np.isfinite(bank.maps).all()


def test_more_codes_than_a_bank_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle says "the same again" in three bytes."""
    monkeypatch.setattr("fracgen.formulas.ifs.exchange.MAX_CODES", 1000)
    code = {"system": np.ones((2, 2, 3)) / 4}
    (tmp_path / "ifs.pkl").write_bytes(pickle.dumps({"params": [code] * 1001}))
    with pytest.raises(BankError, match="holds 1,001 codes: a bank has 1 to 1,000"):
        import_codes(tmp_path / "ifs.pkl")


CLUTTER: dict[str, dict[str, bytes]] = {
    "jupyter": {".ipynb_checkpoints/00001-checkpoint.csv": ROWS.encode()},
    "mac": {"._00000.csv": b"\0\5\x16\7" + bytes(60) + b"\xff", ".DS_Store": b"\0", "__MACOSX/csv0/00000.csv": b"\0"},
    "synology": {"@eaDir/00000.csv/SYNO": b"\0", "@eaDir/00000.csv@SynoEAStream": b"\0"},
    "windows": {"Thumbs.db": b"\0", "desktop.ini": b"\0"},
    "others": {"README.txt": b"codes", "00000.png": b"\0", "00000.csv~": b"1"},
}


@pytest.mark.parametrize("kind", CLUTTER)
def test_clutter_is_no_code_and_is_counted(tmp_path: Path, kind: str) -> None:
    for n in range(4):
        (tmp_path / "csv0").mkdir(exist_ok=True)
        path = tmp_path / "csv0" / f"{n:05}{'.CSV' if n == 2 else '.csv'}"
        path.write_bytes(b"\xef\xbb\xbf" * (n == 1) + ROWS.encode())
    clean = import_codes(tmp_path)
    for name, content in CLUTTER[kind].items():
        path = tmp_path / "csv0" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert len(clean) == 4
    bank = import_codes(tmp_path)
    assert bank.sha256 == clean.sha256
    what = {"jupyter": "1 hidden", "mac": "3 hidden", "synology": "1 hidden", "windows": "2 hidden"}
    assert bank.metadata["left_out"].startswith(what.get(kind, "3 files of other kinds"))


def test_a_pipe_among_codes_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(ROWS)
    os.mkfifo(tmp_path / "b.csv")
    with pytest.raises(ValueError, match=r"b\.csv is a named pipe"):
        import_codes(tmp_path)
    with pytest.raises(ValueError, match=r"b\.csv is a named pipe"):
        import_codes(tmp_path / "b.csv")
    with pytest.raises(BankError, match=r"b\.csv is a named pipe"):
        load_bank(tmp_path / "b.csv")
