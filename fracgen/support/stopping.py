"""Ending a process on a signal as an exception does, so that nothing half-written stays behind."""

from __future__ import annotations

import signal
from types import FrameType

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_received: list[signal.Signals] = []


def listen() -> None:
    """Raise KeyboardInterrupt in this process on Ctrl-C, SIGTERM and SIGHUP, which a terminal that is closed sends.

    A signal that is ignored, as SIGHUP is under `nohup`, stays so.
    """
    for number in _STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def received() -> signal.Signals | None:
    """The last of these signals, if one came."""
    return _received[-1] if _received else None


def check() -> None:
    """Raise KeyboardInterrupt again if a signal came: to be called at intervals.

    Python drops an exception that is raised inside a destructor or a callback of the garbage collector.
    """
    if _received:
        raise KeyboardInterrupt


def _stop(number: int, frame: FrameType | None) -> None:
    _received.append(signal.Signals(number))
    raise KeyboardInterrupt
