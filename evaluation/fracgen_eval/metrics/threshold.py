"""Where to cut a score map into a predicted mask, for the galleries."""

from __future__ import annotations

import numpy as np

from fracgen_eval.metrics.counts import PixelCounts


def best_f1_threshold(counts: PixelCounts) -> float:
    """The score s for which `map >= s` has the highest pixel F1; it looks at the test set's masks.

    >>> from fracgen_eval.metrics import count_pixels
    >>> best_f1_threshold(count_pixels([[[9, 7], [3, 1]]], [[[1, 1], [0, 0]]]))
    7.0
    """
    hits = np.cumsum(counts.defect)
    false = np.cumsum(counts.tied) + np.cumsum(counts.between[:-1])
    f1 = 2 * hits / (hits + false + hits[-1])
    return float(counts.scores[int(np.argmax(f1))])
