"""Where the kernel sources are: inside the installed package, or beside it in a checkout."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

KERNELS = ("scout", "attractor", "noise", "compose", "order")


@functools.cache
def kernel_folder() -> Path:
    """The folder of the `.cu` files.

    Raises:
        FileNotFoundError: neither place has them.
    """
    package = Path(__file__).parent.parent
    for folder in (package / "kernels", package.parent / "kernels"):
        if (folder / "scout.cu").is_file():
            return folder
    raise FileNotFoundError(f"the kernel sources are missing beside {package}: install fracgen again")


@functools.cache
def sources() -> dict[str, str]:
    """Every kernel source and header: file name -> text."""
    return {path.name: path.read_text() for path in sorted(kernel_folder().glob("*.cu*"))}


@functools.cache
def digest() -> str:
    """SHA-256 of all of them: a header decides a kernel as much as its own file does."""
    return hashlib.sha256("\0".join(f"{n}\0{t}" for n, t in sources().items()).encode()).hexdigest()
