"""Import of other projects' codes: what is read right, and what is refused."""

from __future__ import annotations

import collections
import os
import pickle
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fracgen import BankError, CodeBank
from fracgen.formulas.ifs.exchange import import_codes


def systems(count: int = 12) -> list[NDArray[np.float64]]:
    """float64 [N, 2, 3] each, as the ancestor's sampler returns them."""
    bank = CodeBank.sample(count, seed=4)
    return [m[:n].astype(np.float64) for m, n in zip(bank.maps, bank.sizes, strict=True)]


def write_pickle(path: Path, data: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(data, protocol=protocol))
    return path


def as_ifs_py_does(arrays: Sequence[object]) -> dict[str, Any]:
    hparams = {"num_systems": len(arrays), "n": (2, 9), "bval": 1, "beta": None, "sample_fn": None}
    return {"params": [{"system": array} for array in arrays], "hparams": hparams}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_the_ancestors_becomes_the_same_codes(tmp_path: Path, protocol: int) -> None:
    path = write_pickle(tmp_path / "ifs.pkl", as_ifs_py_does(systems()), protocol)
    bank = import_codes(path, classes=4)
    assert (len(bank), bank.classes, bank.metadata) == (12, 4, {"imported_from": "ifs.pkl"})
    original = CodeBank.sample(12, seed=4)
    np.testing.assert_array_equal(bank.maps, original.maps)
    np.testing.assert_array_equal(bank.sizes, original.sizes)
    np.testing.assert_allclose(bank.probabilities, original.probabilities, atol=1e-6)


def test_names_of_both_numpy_generations_are_known(tmp_path: Path) -> None:
    data = pickle.dumps(as_ifs_py_does(systems()), protocol=2)
    path = tmp_path / "ifs.pkl"
    for theirs in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        path.write_bytes(data.replace(b"numpy._core.multiarray", theirs).replace(b"numpy.core.multiarray", theirs))
        assert len(import_codes(path)) == 12


class Runs:
    """Pickled as a call that makes a file: harmless, and visible."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("place", ["params", "hparams", "system", "top"])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int, place: str) -> None:
    mark = tmp_path / "was-run"
    bad = Runs(os.system, f"touch {mark}")
    data: Any = as_ifs_py_does(systems(3))
    if place == "top":
        data = bad
    elif place == "system":
        data["params"][1]["system"] = bad
    else:
        data[place] = bad
    path = write_pickle(tmp_path / "bad.pkl", data, protocol)
    with pytest.raises(BankError, match=r"bad.pkl: this pickle asks for (posix|nt|os)\.system.*refused"):
        import_codes(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())  # the test can fail: run by Python's own unpickler it leaves its mark
    assert mark.exists()


@pytest.mark.parametrize(
    "bad",
    [
        Runs(eval, "1"),
        Runs(getattr, "", "upper"),
        Runs(subprocess.run, ["true"]),
        Runs(np.load, "x"),
        Runs(bytearray, 10),
        collections.OrderedDict(a=1),
        np.memmap,
        np.ndarray.tofile,
        np.fromfile,
    ],
    ids=["eval", "getattr", "run", "load", "bytearray", "OrderedDict", "memmap", "tofile", "fromfile"],
)
def test_everything_but_arrays_is_refused(tmp_path: Path, bad: object) -> None:
    data = as_ifs_py_does(systems(3))
    data["hparams"] = bad
    with pytest.raises(BankError, match="refused"):
        import_codes(write_pickle(tmp_path / "bad.pkl", data))


def test_a_dotted_name_below_an_admitted_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.")
    with pytest.raises(BankError, match=r"ndarray\.tofile"):
        import_codes(path)


def test_a_pickle_cannot_change_numpys_functions(tmp_path: Path) -> None:
    from numpy._core import numeric

    path = tmp_path / "bad.pkl"  # _frombuffer.__dict__.update({'changed': True}), then a None
    path.write_bytes(b"\x80\x04cnumpy._core.numeric\n_frombuffer\n}\x8c\x07changed\x88sb0N.")
    with pytest.raises(BankError):
        import_codes(path)
    assert not hasattr(numeric._frombuffer, "changed")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([1, 2], "was not made by ifs.py"),
        ({"params": [np.zeros((2, 2, 3))]}, "was not made by ifs.py"),
        (as_ifs_py_does([]), "holds 0 codes: a bank has 1 to 10,000,000"),
        (as_ifs_py_does([np.zeros((2, 2, 2))]), r"code 0 is float64 \[2, 2, 2\]: expected"),
        (as_ifs_py_does([np.zeros((2, 2, 3)), [[1, 2]]]), "code 1 is list"),
        (as_ifs_py_does([np.array([[["x"] * 3] * 2] * 2, dtype=object)]), r"code 0 is O8 \[2, 2, 3\]: expected"),
        (as_ifs_py_does([np.zeros((9, 2, 3))]), "code 0 has 9 maps: a code needs 2 to 8"),
        (as_ifs_py_does([np.zeros((1, 2, 3))]), "code 0 has 1 maps"),
        (as_ifs_py_does([np.full((2, 2, 3), np.nan)]), "code 0, map 0 holds nan"),
        (as_ifs_py_does([np.full((2, 2, 3), 1e300)]), "code 0, map 0 holds inf"),
    ],
)
def test_a_pickle_of_something_else_is_refused(tmp_path: Path, data: object, says: str) -> None:
    with pytest.raises(BankError, match=says):
        import_codes(write_pickle(tmp_path / "ifs.pkl", data))


def write_csv(folder: Path, codes: list[list[list[float]]]) -> Path:
    """As FractalDB lays its codes out: csvK/NNNNN.csv, in Fortran's number format."""
    for k, rows in enumerate(codes):
        path = folder / f"csv{k // 2}" / f"{3 * k + 1:05d}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, np.array(rows), delimiter=",")
    return folder


CONTRACTIVE = [[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.25], [-0.1, -0.2, -0.3, 0.2, -0.5, 0.7, 0.75]]
EXPANDING = [[1.1, 0.0, 0.0, 0.2, 0.5, 0.6, 0.125], [0.2, 0.1, 0.3, 0.2, -0.5, 0.7, 0.875]]


def test_fractaldbs_rows_are_a_b_c_d_e_f_p(tmp_path: Path) -> None:
    bank = import_codes(write_csv(tmp_path / "csv", [CONTRACTIVE, CONTRACTIVE[::-1], CONTRACTIVE]))
    assert (len(bank), bank.classes) == (3, 3)
    np.testing.assert_allclose(bank.maps[0, 0], [[0.1, 0.2, 0.5], [0.3, 0.4, 0.6]], rtol=1e-6)
    np.testing.assert_allclose(bank.maps[1, 1], [[0.1, 0.2, 0.5], [0.3, 0.4, 0.6]], rtol=1e-6)
    np.testing.assert_allclose(bank.probabilities[1, :3], [0.75, 0.25, 0])


def test_a_bank_brings_probabilities_of_its_own_or_none(tmp_path: Path) -> None:
    own = import_codes(write_csv(tmp_path / "csv", [CONTRACTIVE, CONTRACTIVE]))
    np.testing.assert_array_equal(own.own_probabilities, own.probabilities)
    own.save(tmp_path / "bank")
    np.testing.assert_array_equal(CodeBank.load(tmp_path / "bank").own_probabilities, own.probabilities)
    for bank in (CodeBank(own.maps, own.sizes, 2), CodeBank.sample(100, seed=3)):
        assert bank.own_probabilities is None
        bank.save(tmp_path / "bank")
        assert CodeBank.load(tmp_path / "bank").own_probabilities is None


def test_expanding_codes_need_the_flag_and_keep_their_probabilities(tmp_path: Path) -> None:
    folder = write_csv(tmp_path / "csv", [CONTRACTIVE, EXPANDING])
    with pytest.raises(BankError, match=r"code 1, map 0 has singular value 1\.1.*--non-contractive"):
        import_codes(folder)
    bank = import_codes(folder, non_contractive=True)
    assert bank.contracts.tolist() == [True, False]
    np.testing.assert_array_equal(bank.probabilities[1, :2], [0.125, 0.875])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b,c\n1,2,3\n", "is not a table of numbers"),
        ("1,2,3\n4,5,6\n", "does not hold rows of the seven numbers"),
        ("", "does not hold rows"),
        ("0,0,0,0,0,0,1\n", "has 1 maps"),
        ("0,0,0,0,0,0,1\n" * 9, "has 9 maps"),
        ("0,0,0,nan,0,0,1\n" * 2, "code 0, map 0 holds nan"),
    ],
)
def test_a_bad_csv_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "00001.csv").write_text(text)
    with pytest.raises(BankError, match=says):
        import_codes(tmp_path)


def test_there_must_be_something_to_import(tmp_path: Path) -> None:
    with pytest.raises(BankError, match="holds no CSV file"):
        import_codes(tmp_path)
    with pytest.raises(FileNotFoundError, match="nothing is at"):
        import_codes(tmp_path / "none")
