"""The destination of a stream of bytes: a file, or standard output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fracgen.support.files import whole_file
from fracgen.support.streams import standard_output


@dataclass(frozen=True)
class Output:
    """A file by its path, or standard output where `path` is None."""

    path: Path | None

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The open stream, which takes all that is written to it. A file is there whole or not at all."""
        if self.path is None:
            yield standard_output()
        else:
            with whole_file(self.path) as file:
                yield file
