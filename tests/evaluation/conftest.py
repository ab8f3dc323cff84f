"""A ban on the network for the tests of the evaluation, and published datasets of a few pictures."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from fracgen_eval.datasets import counts, lists, published
from fracgen_eval.datasets.counts import Counts, published_counts


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to reach another machine fails the test that made it."""

    def refuse(self: socket.socket, address: object, *rest: object) -> object:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            raise AssertionError(f"a test tried to reach {address}: the evaluation must work without a network")
        return connect(self, address, *rest)

    def refuse_lookup(host: object, *rest: object, **more: object) -> None:
        raise AssertionError(f"a test tried to look up {host}: the evaluation must work without a network")

    connect: Callable[..., object] = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse_lookup)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Counts]]:
    """Published counts with a few images in the place of hundreds, which all datasets are held to."""

    def fewer(dataset: str) -> dict[str, Counts]:
        return {name: _fewer(count) for name, count in published_counts(dataset).items()}

    for module in (counts, lists, published):
        monkeypatch.setattr(module, "published_counts", fewer)
    return fewer


def _fewer(full: Counts) -> Counts:
    defects = {defect: min(number, 12) for defect, number in full.defects.items()}
    anomalous = sum(defects.values()) or min(full.test_anomalous, 12)
    return Counts(min(full.train, 14), min(full.test_good, 7), anomalous, anomalous, defects, min(full.validation, 10))
