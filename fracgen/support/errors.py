"""Errors that several modules raise. Each message names the value, the limit and the remedy."""

from __future__ import annotations


class WorkFailed(Exception):
    """Work that had begun could not be finished; the message is one line."""


class DeviceError(RuntimeError):
    """The device asked for cannot be used here; the message says what was found and what would help."""


class SlurmError(RuntimeError):
    """SLURM is not here, cannot be asked, or refused; the message is its own, on one line."""
