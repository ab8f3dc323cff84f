"""Standard output and error, and signals that stop a process.

Streams may be pipes that are slow, stopped, closed or not blocking, or a full disk. What is written to standard output
is delivered, or `OutputLost` is raised; messages on standard error that cannot be delivered are dropped. A signal ends
the process as an exception does, so that nothing half-written stays behind.
"""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import sys
from types import FrameType
from typing import IO, TYPE_CHECKING, TextIO, cast

from fracgen.support.errors import WorkFailed

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputLost(WorkFailed):
    """Standard output did not take all that was written to it."""

    def __init__(self, error: OSError) -> None:
        closed = error.errno == errno.EBADF
        super().__init__(f"standard output {'is closed' if closed else f'takes no more: {error.strerror}'}")
        self.unwanted = error.errno == errno.EPIPE
        """Whether its reader ended, as `head` does."""


class Descriptor(io.RawIOBase):
    """A file descriptor that takes all that is written to it.

    The system's own `write` takes a part where a signal came, or none where the descriptor does not block and is full.

    Args:
        descriptor: stays open when the stream is closed.
        optional: drop what cannot be delivered, rather than raise `OutputLost`.
    """

    def __init__(self, descriptor: int, *, optional: bool = False) -> None:
        self._descriptor, self._optional = descriptor, optional

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Write all of a contiguous buffer; its size in bytes."""
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left:
                try:
                    left = left[os.write(self._descriptor, left) :]
                except BlockingIOError:
                    self._wait()
        except OSError as error:
            if not self._optional:
                raise OutputLost(error) from error
        return size

    def _wait(self) -> None:
        """Wait until the descriptor takes more, or its reader is gone."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        poll.poll()


def open_streams() -> None:
    """Put `sys.stdout` and `sys.stderr` on streams that deliver everything.

    A descriptor that is closed is opened, or the next file would get its number and what is printed.
    """
    for number, how in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):  # to standard output nothing can be written
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, how), True)
    sys.stdout, sys.stderr = _text(1, sys.stdout), _text(2, sys.stderr)


def standard_output() -> IO[bytes]:
    """Standard output for bytes, after the text that was printed.

    Raises:
        OutputLost: there is none.
    """
    if sys.stdout is None:
        raise OutputLost(OSError(errno.EBADF, os.strerror(errno.EBADF)))
    sys.stdout.flush()
    return cast("IO[bytes]", Descriptor(sys.stdout.fileno()))


def _text(number: int, before: TextIO | None) -> TextIO:
    """Text on a descriptor, encoded as Python's own stream would; None stands for one that was closed."""
    stream = Descriptor(number, optional=number == 2)
    return io.TextIOWrapper(
        cast("IO[bytes]", stream),
        encoding=before.encoding if before else "utf-8",
        errors=before.errors if before else "backslashreplace",
        line_buffering=number == 2 or stream.isatty(),
        write_through=getattr(before, "write_through", False),  # PYTHONUNBUFFERED
    )


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
    """Raise KeyboardInterrupt again if a signal came; call it at intervals.

    Python drops an exception that is raised inside a destructor or a callback of the garbage collector.
    """
    if _received:
        raise KeyboardInterrupt


def _stop(number: int, frame: FrameType | None) -> None:
    _received.append(signal.Signals(number))
    raise KeyboardInterrupt
