"""Nearest rows are those of all distances, few of which are computed."""

from __future__ import annotations

import pytest
import torch
from fracgen_eval.methods import neighbours
from fracgen_eval.methods.neighbours import FewDimensions, nearest


def clouds(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A bank and queries: around centers, on a grid, repeated, far away, in a plane, or constant."""
    draw = torch.Generator().manual_seed(seed)
    size, number, width = (int(torch.randint(1, most, (1,), generator=draw)) for most in (400, 700, 90))
    bank, queries = (torch.randn(n, width, generator=draw) for n in (size, number))
    kind = seed % 6
    if kind == 0:
        bank, queries = (rows + 10 * (rows[:, :1] > 0) for rows in (bank, queries))
    elif kind == 1:
        bank, queries = bank.round(), queries.round()
    elif kind == 2:
        bank, queries = bank[torch.randint(size, (size,), generator=draw)], bank[:1].repeat(number, 1)
    elif kind == 3:
        queries = queries * 3 + 1000
    elif kind == 4:
        bank, queries = bank * (torch.arange(width) < 2), queries * (torch.arange(width) < 2)
    else:
        bank, queries = torch.ones_like(bank), torch.zeros_like(queries)
    return bank, queries


@pytest.mark.parametrize("seed", range(60))
def test_the_nearest_row_is_that_of_all_distances(seed: int) -> None:
    bank, queries = clouds(seed)
    found, places = nearest(bank, FewDimensions(bank), queries, 1)
    exact = (queries[:, None].double() - bank.double()).norm(dim=2)
    torch.testing.assert_close(found[:, 0].double(), exact.min(1).values, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found, (queries - bank[places[:, 0]]).norm(dim=1, keepdim=True), rtol=1e-6, atol=0)
    several, where = nearest(bank, None, queries, k := min(3, len(bank)))
    torch.testing.assert_close(several.double(), exact.topk(k, largest=False).values, rtol=1e-4, atol=1e-3)
    assert len(where[0].unique()) == k


def test_most_distances_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(0)
    scale = torch.arange(1.0, 65.0) ** -1.0  # as features have it: most of the variance in few components
    bank, queries = (torch.randn(n, 64, generator=draw) * scale for n in (3000, 1024))
    computed, distances = 0, neighbours.distances

    def counted(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        nonlocal computed
        computed += len(rows)
        return distances(rows, others)

    monkeypatch.setattr(neighbours, "distances", counted)
    nearest(bank, FewDimensions(bank), queries, 1)
    assert len(queries) < computed < len(bank) * len(queries) / 100
