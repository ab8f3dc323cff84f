"""An epoch's order and balance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fracgen import CodeBank, Recipe, make_renderer
from fracgen.draws import Stream
from fracgen.order import codes_of, labels_of, order_keys, permute

SIZES = [1, 2, 3, 4, 5, 7, 16, 17, 100, 255, 256, 257, 1000, 4095, 4097, 65_537, 1_000_000]


@pytest.mark.parametrize("size", SIZES)
def test_an_epoch_visits_every_sample_once(size: int) -> None:
    order = permute(np.arange(size), size, order_keys(3, 1))
    assert order.dtype == np.uint32
    assert np.bincount(order, minlength=size).tolist() == [1] * size


def test_any_position_can_be_asked_for_alone() -> None:
    keys = order_keys(9, 4)
    order = permute(np.arange(5000), 5000, keys)
    assert [int(permute(k, 5000, keys)) for k in (0, 17, 4999)] == order[[0, 17, 4999]].tolist()
    np.testing.assert_array_equal(permute(np.arange(5000).reshape(50, 100), 5000, keys), order.reshape(50, 100))


def test_the_largest_epoch_works() -> None:
    order = permute(np.array([0, 1, 2**32 - 1]), 2**32, order_keys(0, 0))
    assert len(set(order.tolist())) == 3


def test_seed_epoch_and_stream_each_give_another_order() -> None:
    keys = [order_keys(0, 0), order_keys(0, 1), order_keys(1, 0), order_keys(1, 1), order_keys(0, 0, Stream.VALIDATION)]
    orders = [permute(np.arange(1000), 1000, k) for k in keys]
    for i in range(len(orders)):
        for j in range(i):
            assert (orders[i] == orders[j]).sum() < 15  # one is expected; 15 has a chance below 1e-12


@pytest.mark.parametrize("stream", [-1, 256, 2**32])
def test_a_stream_that_no_byte_holds_is_refused(stream: int) -> None:
    """It would have the numbers of another."""
    with pytest.raises(ValueError, match=f"stream {stream} is out of range: use 0 to 255"):
        order_keys(0, 0, stream)
    with pytest.raises(ValueError, match=f"stream {stream} is out of range: use 0 to 255"):
        make_renderer(CodeBank.sample(2), Recipe("small", size=8, canvas=8), "cpu").render([0], stream=stream)


def test_the_order_looks_random() -> None:
    size = 4000
    order = permute(np.arange(size), size, order_keys(5, 0)).astype(float)
    assert abs(stats.spearmanr(np.arange(size), order).statistic) < 5 / np.sqrt(size)
    assert abs(stats.spearmanr(order[1:], order[:-1]).statistic) < 5 / np.sqrt(size)
    table = np.histogram2d(np.arange(size), order, bins=8)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-6


@pytest.mark.parametrize(("classes", "per_class"), [(1, 1), (10, 1), (7, 3), (1000, 100)])
def test_classes_and_codes_come_equally_often(classes: int, per_class: int) -> None:
    codes = classes * per_class
    index = permute(np.arange(2 * codes), 2 * codes, order_keys(1, 2))
    labels, numbers = labels_of(index, classes), codes_of(index.astype(np.int64), classes, per_class)
    assert set(np.bincount(labels, minlength=classes)) == {2 * per_class}
    assert set(np.bincount(numbers, minlength=codes)) == {2}
    np.testing.assert_array_equal(numbers // per_class, labels)


def test_the_first_samples_show_every_class_once() -> None:
    np.testing.assert_array_equal(labels_of(np.arange(10), 10), np.arange(10))
