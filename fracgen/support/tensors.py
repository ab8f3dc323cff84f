"""safetensors files, whoever wrote them: what they hold is known before memory is asked for."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from fracgen.support.decode import brief, check_regular


class Described(NamedTuple):
    """A tensor as the file's header describes it."""

    dtype: str
    """safetensors' name, such as F32, U8 or BF16."""
    shape: tuple[int, ...]


class TensorFile(NamedTuple):
    """An open safetensors file."""

    metadata: dict[str, str]
    tensors: dict[str, Described]
    load: Callable[[str], Any]
    """A tensor by its name. NumPy has none of the types BF16 and F8_...: look at `tensors` first."""


@contextmanager
def open_tensors(
    path: str | os.PathLike[str], framework: str = "numpy", limit: float = math.inf
) -> Iterator[TensorFile]:
    """Open a safetensors file, whose tensors become those of `framework`, "numpy" or "pt".

    Raises:
        ValueError: it is none, damaged, or larger than so many bytes.
        OSError: it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    check_regular(path, limit)
    try:
        with safe_open(path, framework=framework) as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            tensors = {name: Described(s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()}
            yield TensorFile(file.metadata() or {}, tensors, file.get_tensor)
    except SafetensorError as error:
        raise ValueError(f"{path} is no whole safetensors file ({brief(error)})") from None
