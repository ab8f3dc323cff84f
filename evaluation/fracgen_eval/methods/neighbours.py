"""Nearest rows of a bank, without most distances: few dimensions tell which rows cannot be the nearest."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

DIMENSIONS = 64
"""Principal components in which distances are bounded from below; one more holds the length of the rest."""
SAMPLE = 2048
"""Rows, at most, of which the components are computed."""
QUERIES = 512
"""Rows compared with the bank at once."""
PAIRS = 1 << 16
"""Distances computed at once: 64 MB of differences in 256 dimensions."""
LEFT_SHARE = 16
"""Where more than one in so many pairs is left, all distances cost less."""


def distances(rows: Tensor, others: Tensor) -> Tensor:
    """Euclidean, [N]: bit by bit those of Anomalib's coreset, whose way of summing a row does not depend on N."""
    import torch

    lengths: Tensor = torch.linalg.norm(rows - others, ord=2, dim=1)
    return lengths


class FewDimensions:
    """Lower bounds of distances to a bank [M, D].

    A dot product of a row of `left` and one of `right` is (|x|^2 - |x - y|^2) / 2 in few dimensions, |x|^2 / 2 being
    the row's `half`, and at least that of the true distance up to rounding, for which `least` allows.
    """

    def __init__(self, bank: Tensor) -> None:
        import torch

        self.bank, self.centre = bank, bank.mean(0)
        some = bank[:: max(1, len(bank) // SAMPLE)] - self.centre
        self.basis = torch.linalg.eigh(some.T @ some).eigenvectors[:, -DIMENSIONS:]
        left, half = self.left(bank)
        self.right = torch.cat((left[:, :-1], -half[:, None]), 1)
        self.largest = float(half.max())

    def left(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [Q, D] in few dimensions, and their halves [Q]."""
        import torch

        centred = rows - self.centre
        low = centred @ self.basis
        rest = (centred - low @ self.basis.T).norm(dim=1, keepdim=True)  # from squares it would lose half of its digits
        return torch.cat((low, rest, torch.ones_like(rest)), 1), centred.square().sum(1) / 2

    def least(self, half: Tensor, bound: Tensor) -> Tensor:
        """The least product [Q] with a row of the bank that may be as near as `bound` [Q]."""
        import torch

        largest = max(self.largest, float(half.max()))
        return half - bound.square() / 2 - 8 * len(self.centre) * torch.finfo(half.dtype).eps * largest

    def nearest(self, rows: Tensor) -> Tensor | None:
        """Places [Q] of the nearest rows of the bank, the first of equals; None if too many pairs are left."""
        import torch

        left, half = self.left(rows)
        products = left @ self.right.T
        bound = distances(rows, self.bank[products.argmax(1)])
        row, column = torch.nonzero(products >= self.least(half, bound)[:, None], as_tuple=True)
        if len(row) * LEFT_SHARE > products.numel():
            return None
        parts = zip(row.split(PAIRS), column.split(PAIRS), strict=True)
        apart = torch.cat([distances(rows[ours], self.bank[theirs]) for ours, theirs in parts])
        bound = bound.fill_(torch.inf).scatter_reduce_(0, row, apart, "amin")
        first = row.new_full((len(rows),), len(self.bank))
        return first.scatter_reduce_(0, row, torch.where(apart == bound[row], column, len(self.bank)), "amin")


def nearest(bank: Tensor, few: FewDimensions | None, queries: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Distances [Q, k] of queries [Q, D] to their k nearest rows of a bank [M, D], and where these are, int64 [Q, k].

    |x|^2 + |y|^2 - 2xy cancels, so distances by products change in the fifth digit with the batch. Here products only
    find the neighbours, in one buffer; the distances to these few are taken directly.

    Args:
        bank: rows, float.
        few: of the bank, where one neighbour is wanted; None to compare with all rows.
        queries: rows, float.
        number: k, from 1 to M.
    """
    import torch

    centre = bank.mean(0)
    turned = (bank - centre).T
    length, turned = turned.square().sum(0), turned * -2
    apart = queries.new_empty((QUERIES, len(bank)))
    found, places = [], []
    for part in queries.split(QUERIES):
        place = few.nearest(part) if few is not None and number == 1 else None
        if place is not None:
            near = place[:, None]
        else:
            products = torch.addmm(length, part - centre, turned, out=apart[: len(part)])
            near = products.argmin(1, keepdim=True) if number == 1 else products.topk(number, largest=False).indices
        distance, order = (part[:, None] - bank[near]).norm(dim=2).sort(dim=1, stable=True)
        found.append(distance)
        places.append(near.gather(1, order))
    return torch.cat(found), torch.cat(places)
