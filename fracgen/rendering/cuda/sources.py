"""Where the kernel sources are: inside the installed package, or beside it in a checkout."""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path

from fracgen.support.files import PACKAGE


@functools.cache
def kernel_folder() -> Path:
    """The folder of the `.cu` files.

    Raises:
        FileNotFoundError: neither place has them.
    """
    for folder in (PACKAGE / "kernels", PACKAGE.parent / "kernels"):
        if (folder / "order.cu").is_file():
            return folder
    raise FileNotFoundError(f"the kernel sources are missing beside {PACKAGE}: install fracgen again")


@functools.cache
def sources() -> dict[str, str]:
    """Every kernel source and header: path in the folder, as `#include` has it -> text."""
    folder = kernel_folder()
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*.cu*"))}


@functools.cache
def kernels() -> dict[str, str]:
    """The file of every kernel: its entry point bears the file's name."""
    return {Path(name).stem: name for name in sources() if name.endswith(".cu")}


@functools.cache
def digest() -> str:
    """SHA-256 of all of them: a header decides a kernel as much as its own file does."""
    return hashlib.sha256("\0".join(f"{n}\0{t}" for n, t in sources().items()).encode()).hexdigest()


def read_by(kernel: str, header: str) -> str:
    """The definitions of `parameters.cuh` that a kernel reads: it is compiled again only if one of them changes.

    Args:
        kernel: one of `kernels`.
        header: text of `parameters.cuh`, from `rendering.parameters.header`.
    """
    names = _words(kernels()[kernel])
    lines = (line for line in header.splitlines() if not line.startswith("#define") or line.split()[1] in names)
    return "\n".join(lines) + "\n"


@functools.cache
def _words(name: str) -> frozenset[str]:
    """Every word of a source and of the headers that it includes."""
    text = sources().get(name, "")  # `parameters.cuh` is none of them
    included = (_words(header) for header in re.findall(r'#include "([^"]+)"', text))
    return frozenset(re.findall(r"\w+", text)).union(*included)
