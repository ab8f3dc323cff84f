"""Keeping third parties to themselves: their warnings, tips, bars, and the global random generators."""

from __future__ import annotations

import contextlib
import functools
import logging
import random
import warnings
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing from Anomalib and Lightning but errors."""
    loggers = [logging.getLogger(n) for n in ("anomalib", "lightning", "lightning.pytorch", "lightning.fabric", "timm")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """No progress bar of tqdm's, whoever asks for one."""
    from unittest import mock

    from tqdm import tqdm

    with mock.patch.object(tqdm, "__init__", functools.partialmethod(tqdm.__init__, disable=True)):
        yield


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Global generators set to a seed, for libraries that use them, and put back afterwards."""
    import torch

    state, numpy_state = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)
