"""Processes that begin with everything imported, which takes a process of its own several seconds.

Each is a fork of a server that has imported what is named here and done nothing else: no thread was started in it.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload([
    "fracgen_eval.grid.run", "fracgen_eval.methods.cutpaste", "fracgen_eval.methods.panda", "torchvision", "timm",
    "sklearn.metrics", "scipy.stats",
])  # fmt: skip


class Fork:
    """A process that runs a module's function with a connection, to which it may `send`, and some arguments."""

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self.connection, theirs = _CONTEXT.Pipe(duplex=False)
        self.process = _CONTEXT.Process(target=work, args=(theirs, *arguments))
        self.process.start()
        theirs.close()

    def receive(self) -> Any:
        """What it sends next; EOFError if it has ended."""
        return self.connection.recv()

    def end(self) -> tuple[int | None, list[Any]]:
        """Wait for it: its exit code, negative for a signal, and all that it has sent since."""
        received = []
        try:
            while True:
                received.append(self.receive())
        except EOFError:
            self.process.join()
        return self.process.exitcode, received
