"""Nearest rows are those of all distances, and PatchCore's coreset is Anomalib's; few distances are computed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fracgen_eval.methods import coreset, neighbours
from fracgen_eval.methods.coreset import select_coreset
from fracgen_eval.methods.neighbours import FewDimensions, nearest
from fracgen_eval.methods.quiet import quiet, seeded, without_bars

with quiet():
    from anomalib.models.components.sampling.k_center_greedy import KCenterGreedy


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


def cloud(seed: int) -> tuple[torch.Tensor, float]:
    """Rows of one of five kinds (cloud, grid, repeated rows, two clouds, corners of a cube), and a share of them."""
    draw = torch.Generator().manual_seed(seed)
    number, width = (int(torch.randint(3, most, (1,), generator=draw)) for most in (500, 100))
    ratio = float(torch.rand(1, generator=draw)) / 2 + 1.5 / number
    rows = torch.randn(number, width, generator=draw)
    kind = seed % 5
    if kind == 1:
        rows = rows.round()
    elif kind == 2:
        rows = rows[torch.randint(0, max(1, number // 4), (number,), generator=draw)]
    elif kind == 3:
        rows = torch.cat((rows[: number // 2] / 100 + 5, rows[number // 2 :] * 10))
    elif kind == 4:
        rows = torch.randint(0, 2, (number, min(width, 6)), generator=draw).float()
    return rows, min(ratio, 1.0)


def check_coreset(seed: int) -> None:
    """The same patches as Anomalib's, in the same order."""
    rows, ratio = cloud(seed)
    with seeded(seed), without_bars():
        expected = list(KCenterGreedy(rows, ratio).select_coreset_idxs())
    with seeded(seed):
        assert select_coreset(rows, ratio).tolist() == expected, f"cloud {seed}"


@pytest.mark.parametrize("kind", range(5))
def test_the_same_patches_as_anomalib(kind: int) -> None:
    for seed in range(kind, 40, 5):
        check_coreset(seed)


def test_the_same_patches_where_few_are_kept_exact_and_blocks_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreset, "ACTIVE", 3)
    monkeypatch.setattr(coreset, "BLOCK", 7)
    monkeypatch.setattr(neighbours, "DIMENSIONS", 2)
    for seed in range(10):
        check_coreset(seed)


def distances_computed(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> int:
    """How many are computed in a piece of work."""
    computed, distances = 0, neighbours.distances

    def counted(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        nonlocal computed
        computed += len(rows)
        return distances(rows, others)

    for module in (neighbours, coreset):
        monkeypatch.setattr(module, "distances", counted)
    work()
    return computed


def test_most_distances_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(0)
    scale = torch.arange(1.0, 65.0) ** -1.0  # as features have it: most of the variance in few components
    bank, queries = (torch.randn(n, 64, generator=draw) * scale for n in (3000, 1024))
    computed = distances_computed(monkeypatch, lambda: nearest(bank, FewDimensions(bank), queries, 1))
    assert len(queries) < computed < len(bank) * len(queries) / 100
    rows = torch.randn(6000, 64, generator=torch.Generator().manual_seed(0)) ** 3
    assert distances_computed(monkeypatch, lambda: select_coreset(rows, 0.1)) < 6000 * 600 / 8


@pytest.mark.parametrize(
    ("rows", "ratio", "message"),
    [(torch.zeros(9, 4), 0.1, "a coreset of 0.1 of 9 patches: use a share"),
     (torch.zeros(10, 4), 0.0, "a coreset of 0 of 10 patches: use a share"),
     (torch.zeros(10, 4), 1.1, "a coreset of 1.1 of 10 patches: use a share"),
     (torch.tensor([[0.0], [float("nan")]]), 0.5, "NaN or infinity")],
)  # fmt: skip
def test_a_coreset_that_cannot_be_is_refused(rows: torch.Tensor, ratio: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select_coreset(rows, ratio)
