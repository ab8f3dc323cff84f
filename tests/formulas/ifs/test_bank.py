"""Code banks: the statistics of sampling, and every way in which a bank can be wrong."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy import stats

from fracgen import BankError, BankSpec, CodeBank
from fracgen.formulas.ifs.sampling import sample_codes
from tests.fields import Fields

SIGNIFICANCE = 1e-6


@pytest.fixture(scope="module")
def bank() -> CodeBank:
    return CodeBank.sample(20_000, seed=11)


def singular_values(bank: CodeBank) -> NDArray[np.float64]:
    """[all maps of all codes, 2]"""
    used = np.arange(8) < bank.sizes[:, None]
    return np.linalg.svd(bank.maps[..., :2].astype(float)[used], compute_uv=False)


def test_sigma_factors_fill_their_range_evenly(bank: CodeBank) -> None:
    n = bank.sizes.astype(float)
    share = (bank.sigma_factors - (5 + n) / 2) / 0.5
    assert share.min() > -1e-5
    assert share.max() < 1 + 1e-5
    assert stats.kstest(share, "uniform").pvalue > SIGNIFICANCE


def test_sigma_factor_is_what_singular_values_add_up_to(bank: CodeBank) -> None:
    values = np.linalg.svd(bank.maps[..., :2].astype(float), compute_uv=False)
    expected = (values * [1, 2]).sum(axis=(1, 2))
    np.testing.assert_allclose(bank.sigma_factors, expected, atol=1e-6)


@pytest.mark.parametrize("maps", [(2, 8), (2, 4), (3, 3)])
def test_number_of_maps_is_uniform(maps: tuple[int, int]) -> None:
    sizes = CodeBank.sample(20_000, seed=3, maps=maps).sizes
    low, high = maps
    counts = np.bincount(sizes, minlength=9)
    assert counts[:low].sum() == counts[high + 1 :].sum() == 0
    if low < high:
        assert stats.chisquare(counts[low : high + 1]).pvalue > SIGNIFICANCE


def test_every_map_contracts(bank: CodeBank) -> None:
    assert singular_values(bank).max() < 1
    assert bank.contracts.all()


def test_a_map_that_rounding_would_stop_from_contracting_is_shrunk() -> None:
    """The two of a million codes of two to four maps of which one singular value, rounded, is 1."""
    for code, index in ((102_659, 3), (442_799, 3)):
        maps, sizes = sample_codes(0, code, 1, (2, 4))
        values = np.linalg.svd(maps[0, : sizes[0], :, :2].astype(float), compute_uv=False)
        assert 1 - 2e-6 < values[index, 0] < 1
        assert CodeBank(maps, sizes, classes=1).contracts.all()


def test_translations_rotations_and_reflections_are_uniform(bank: CodeBank) -> None:
    used = np.arange(8) < bank.sizes[:, None]
    maps = bank.maps[used].astype(float)
    for axis in range(2):
        assert stats.kstest(maps[:, axis, 2], stats.uniform(-1, 2).cdf).pvalue > SIGNIFICANCE
    mirrored = int((np.linalg.det(maps[:, :, :2]) < 0).sum())
    assert stats.binomtest(mirrored, len(maps)).pvalue > SIGNIFICANCE
    u, values, _ = np.linalg.svd(maps[:, :, :2])
    clear = values[:, 0] > 1.2 * values[:, 1]  # where the leading direction is well defined
    direction = np.arctan2(u[clear, 1, 0], u[clear, 0, 0]) % np.pi
    assert stats.kstest(direction, stats.uniform(0, np.pi).cdf).pvalue > SIGNIFICANCE


def test_probabilities_are_determinants(bank: CodeBank) -> None:
    det = np.abs(np.linalg.det(bank.maps[..., :2].astype(float)))
    np.testing.assert_allclose(bank.probabilities, det / det.sum(axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(bank.probabilities.sum(axis=1), 1, atol=1e-6)


def test_maps_beyond_a_codes_own_are_zero(bank: CodeBank) -> None:
    assert not bank.maps[np.arange(8) >= bank.sizes[:, None]].any()


def test_code_k_does_not_depend_on_how_many_are_drawn() -> None:
    small, large = CodeBank.sample(300, seed=5), CodeBank.sample(70_000, seed=5)
    np.testing.assert_array_equal(small.maps, large.maps[:300])
    np.testing.assert_array_equal(small.sizes, large.sizes[:300])
    maps, sizes = sample_codes(5, 65_530, 12, (2, 8))  # across the border of what is sampled together
    np.testing.assert_array_equal(maps, large.maps[65_530:65_542])
    np.testing.assert_array_equal(sizes, large.sizes[65_530:65_542])


def test_seeds_differ() -> None:
    first, second = CodeBank.sample(100, seed=0), CodeBank.sample(100, seed=1)
    assert not np.isclose(first.maps[:, 0, 0, 0], second.maps[:, 0, 0, 0]).any()
    assert first.sha256 != second.sha256


def test_a_hundred_thousand_codes_take_less_than_a_second() -> None:
    def seconds() -> float:
        start = time.process_time()  # of this process: another's load on the machine does not count
        CodeBank.sample(100_000, seed=0)
        return time.process_time() - start

    assert min(seconds() for _ in range(3)) < 1.0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"codes": 0}, "codes 0 is out of range"),
        ({"classes": 3}, "use 9 codes"),
        ({"classes": 11}, "no more codes"),
        ({"maps": (1, 4)}, "maps 1 is out of range"),
        ({"maps": (2, 9)}, "maps 9 is out of range"),
        ({"maps": (5, 3)}, "maps 3 is out of range"),
        ({"seed": -1}, "seed -1 is out of range"),
        ({"seed": 2**64}, "is out of range"),
    ],
)
def test_sampling_refuses(arguments: Fields, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CodeBank.sample(**{"codes": 10, **arguments})


Change = Callable[[Fields], object]


def make(change: Change, non_contractive: bool = False) -> CodeBank:
    """A bank of 20 codes after `change(arrays)`."""
    bank = CodeBank.sample(20, seed=2)
    arrays: Fields = {name: getattr(bank, name).copy() for name in ("maps", "sizes", "probabilities")}
    change(arrays)
    return CodeBank(arrays["maps"], arrays["sizes"], 20, arrays["probabilities"], non_contractive)


def put(name: str, where: object, value: object) -> Change:
    return lambda arrays: arrays[name].__setitem__(where, value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put("maps", (7, 1, 0, 2), np.nan), "code 7, map 1 holds nan"),
        (put("maps", (3, 0, 1, 1), np.inf), "code 3, map 0 holds inf"),
        (put("sizes", 4, 1), "code 4 has 1 maps: a code needs 2 to 8"),
        (put("sizes", 4, 9), "code 4 has 9 maps: a code needs 2 to 8"),
        (put("sizes", slice(4, 8), 0), r"code 4 has 0 maps.*\(and 3 more codes\)"),
        (put("maps", (5, 1, slice(None), slice(2)), 1.5 * np.eye(2)), "code 5, map 1 has singular value 1.5: "),
        (put("probabilities", (6, 0), -0.1), "code 6 has probabilities"),
        (put("probabilities", (6, slice(None)), 0), "code 6 has probabilities"),
        (lambda arrays: arrays.update(maps=arrays["maps"].astype(np.float64)), "maps is float64"),
        (lambda arrays: arrays.update(sizes=arrays["sizes"][:-1]), "maps is float32"),
    ],
)
def test_a_bad_bank_names_the_code_and_the_value(change: Change, says: str) -> None:
    with pytest.raises(BankError, match=says):
        make(change)


def test_non_contractive_codes_need_their_flag_and_keep_their_probabilities(tmp_path: Path) -> None:
    def change(arrays: Fields) -> None:
        arrays["maps"][5, 0] = [[1.2, 0, 0.1], [0, 0.1, 0.2]]  # expands one axis, seldom chosen
        arrays["maps"][5, 1] = [[0.2, 0, 0.3], [0, 0.3, 0.1]]
        arrays["sizes"][5] = 2
        arrays["maps"][5, 2:] = 0
        arrays["probabilities"][5] = [0.25, 0.75, 0, 0, 0, 0, 0, 0]

    with pytest.raises(BankError, match="--non-contractive"):
        make(change)
    bank = make(change, non_contractive=True)
    bank.save(tmp_path / "bank")
    again = CodeBank.load(tmp_path / "bank")
    assert not again.contracts[5]
    np.testing.assert_array_equal(again.probabilities[5], [0.25, 0.75, 0, 0, 0, 0, 0, 0])


def test_a_diverging_code_is_refused_even_with_the_flag() -> None:
    expand = put("maps", (5, slice(0, 2), slice(None), slice(2)), 1.5 * np.eye(2))
    with pytest.raises(BankError, match="code 5 diverges"):
        make(lambda arrays: (expand(arrays), put("sizes", 5, 2)(arrays)), non_contractive=True)


def test_a_saved_bank_is_the_same(tmp_path: Path) -> None:
    bank = CodeBank.from_spec(BankSpec(40, 10, (2, 4)), seed=8)
    bank.save(tmp_path / "bank.safetensors")
    again = CodeBank.load(tmp_path / "bank.safetensors")
    assert again.sha256 == bank.sha256
    assert (again.classes, again.per_class) == (10, 4)
    assert again.metadata == bank.metadata
    assert again.metadata["seed"] == "8"


def test_equal_banks_are_equal_files(tmp_path: Path) -> None:
    """safetensors alone would write the names of the header in another order each time."""
    for n in range(8):
        CodeBank.sample(10, seed=0).save(tmp_path / str(n))
    (digest,) = {hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}
    assert digest == "26966c25deb364710b049909cea1634b90312c1dac13806b9f10f29787449003"


def test_classes_are_part_of_the_identity() -> None:
    bank = CodeBank.sample(40, classes=10)
    assert bank.with_classes(20).sha256 != bank.sha256
    with pytest.raises(ValueError, match="do not divide"):
        bank.with_classes(7)


def test_a_tampered_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bank"
    CodeBank.sample(50).save(path)
    data = bytearray(path.read_bytes())
    at = data.index(CodeBank.sample(50).maps[20, 0, 0, 0].tobytes())
    data[at] ^= 1  # the last bit of one number
    path.write_bytes(data)
    with pytest.raises(BankError, match="does not match its own SHA-256"):
        CodeBank.load(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="fracgen sample"):
        CodeBank.load(tmp_path / "none")
    other = tmp_path / "weights.safetensors"
    save_file({"weight": np.zeros(3)}, other)
    with pytest.raises(BankError, match="not a fracgen bank"):
        CodeBank.load(other)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bank"
    CodeBank.sample(50).save(path)
    save_file(load_file(path), path, {"format": "fracgen-bank", "format_version": "99"})
    with pytest.raises(BankError, match="bank format 99"):
        CodeBank.load(path)
