"""PaDiM's Gaussians, block by block: a third of the memory that Anomalib's own takes, and no `linalg.inv`.

Anomalib holds all covariances three times over (20 GB with wide_resnet50_2 at 256 pixels), and
batched `linalg.inv` was seen to hang on CPUs with several threads. The covariances are positive
definite, so their Cholesky factors give the inverses.
"""

from __future__ import annotations

from typing import Any

BLOCK_BYTES = 64 << 20
DIAGONAL = 0.01 + 1e-5
"""What Anomalib adds to the diagonal, in two steps."""


def block_gaussian() -> Any:
    """A drop-in for Anomalib's `MultiVariateGaussian`."""
    import torch
    from anomalib.models.components import MultiVariateGaussian

    class BlockGaussian(MultiVariateGaussian):
        def forward(self, embedding: Any) -> list[Any]:
            """Mean [C, P] and inverse covariances [P, C, C] of an embedding [N, C, H, W], P = H W."""
            vectors = embedding.flatten(2)
            number, channels, places = vectors.shape
            self.mean = vectors.mean(0)
            inverse = torch.empty((places, channels, channels), device=vectors.device)
            identity = torch.eye(channels, device=vectors.device) * DIAGONAL
            step = max(1, BLOCK_BYTES // (4 * channels * channels))
            for start in range(0, places, step):
                block = (vectors[:, :, start : start + step] - self.mean[:, start : start + step]).permute(2, 1, 0)
                covariance = block @ block.mT / max(number - 1, 1) + identity
                inverse[start : start + step] = torch.cholesky_inverse(torch.linalg.cholesky(covariance))
            self.inv_covariance = inverse
            return [self.mean, self.inv_covariance]

    return BlockGaussian()
