"""Where to cut a score map into a predicted mask, and the cut."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def predicted_mask(scores: Any, threshold: float) -> NDArray[np.bool_]:
    """Where scores reach a threshold: `scores >= threshold`, at the precision of the scores.

    Scores that were rounded when they were kept are compared with a threshold that is rounded alike, so that a score
    which reached it still does.

    >>> predicted_mask(np.array([0.1, 0.2], np.float16), 0.1).tolist()
    [True, True]
    """
    scores = np.asarray(scores)
    kind = scores.dtype if np.issubdtype(scores.dtype, np.floating) else np.dtype(np.float64)
    with np.errstate(over="ignore"):  # a threshold above all that the type holds is reached by nothing
        reached: NDArray[np.bool_] = scores >= np.asarray(threshold).astype(kind)
    return reached
