"""PatchCore's coreset is Anomalib's, patch for patch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fracgen_eval.methods import coreset, neighbours
from fracgen_eval.methods.coreset import select_coreset
from fracgen_eval.methods.quiet import quiet, seeded, without_bars

with quiet():
    from anomalib.models.components.sampling.k_center_greedy import KCenterGreedy


def anomalib_selects(rows: Any, ratio: float, seed: int) -> list[int]:
    with seeded(seed), without_bars():
        return list(KCenterGreedy(rows, ratio).select_coreset_idxs())


def ours_selects(rows: Any, ratio: float, seed: int) -> list[int]:
    with seeded(seed):
        return list(select_coreset(rows, ratio).tolist())


def cloud(seed: int) -> tuple[Any, float]:
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


@pytest.mark.parametrize("kind", range(5))
def test_the_same_patches_as_anomalib(kind: int) -> None:
    for seed in range(kind, 100, 5):
        rows, ratio = cloud(seed)
        assert ours_selects(rows, ratio, seed) == anomalib_selects(rows, ratio, seed), f"cloud {seed}"


def test_the_same_patches_where_few_are_kept_exact_and_blocks_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreset, "ACTIVE", 3)
    monkeypatch.setattr(coreset, "BLOCK", 7)
    monkeypatch.setattr(neighbours, "DIMENSIONS", 2)
    for seed in range(10):
        rows, ratio = cloud(seed)
        assert ours_selects(rows, ratio, seed) == anomalib_selects(rows, ratio, seed), f"cloud {seed}"


def test_most_distances_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.randn(6000, 64, generator=torch.Generator().manual_seed(0)) ** 3
    computed = 0
    distances = neighbours.distances

    def counted(ours: Any, others: Any) -> Any:
        nonlocal computed
        computed += len(ours)
        return distances(ours, others)

    monkeypatch.setattr(coreset, "distances", counted)
    ours_selects(rows, 0.1, 0)
    assert computed < 6000 * 600 / 8


@pytest.mark.parametrize(("number", "ratio"), [(9, 0.1), (10, 0.0), (10, 1.1)])
def test_a_share_that_holds_no_patch_is_refused(number: int, ratio: float) -> None:
    with pytest.raises(ValueError, match=f"a coreset of {ratio:g} of {number} patches: use a share"):
        select_coreset(torch.zeros(number, 4), ratio)


def test_embeddings_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        select_coreset(torch.tensor([[0.0], [float("nan")]]), 0.5)
