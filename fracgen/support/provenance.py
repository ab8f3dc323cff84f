"""Versions, machine and commit, which are stored with every output; and extras that are not installed."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fracgen.support.files import PACKAGE

_TRAIN = ("lightning", "timm")
EXTRAS: dict[str, tuple[str, ...]] = {
    "train": _TRAIN,
    "eval": (*_TRAIN, "anomalib", "pandas", "sklearn", "scipy", "skimage", "matplotlib", "jinja2"),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "slurm": ("submitit",),
}
"""Modules that the extras of pyproject.toml bring, of those that commands need as a whole."""


def provenance() -> dict[str, str]:
    """Versions of fracgen, Python and NumPy, the platform, and fracgen's commit where it runs from a checkout."""
    from fracgen import __version__

    result = {
        "fracgen": __version__, "python": platform.python_version(), "numpy": version_of("numpy") or "",
        "platform": f"{platform.system()} {platform.machine()}",
    }  # fmt: skip
    if known := commit():
        result["commit"] = known
    return result


def version_of(package: str) -> str | None:
    """Installed version of a distribution, None where there is none; imports nothing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of those of the packages that are installed."""
    installed = {package: found for package in packages if (found := version_of(package)) is not None}
    return {"python": platform.python_version(), **installed}


def processors() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


def commit() -> str | None:
    """Commit of the checkout that fracgen runs from, with `+` where files differ from it; None elsewhere."""
    root = PACKAGE.parent
    if not (root / ".git").exists() or not (root / "pyproject.toml").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def need(*extras: str) -> None:
    """Refuse to begin without extras; nothing is imported.

    Args:
        extras: names in `EXTRAS`; others are passed over.

    Raises:
        ValueError: modules of one are not installed; the message has the command that installs it.
    """
    for extra in extras:
        if missing := [module for module in EXTRAS.get(extra, ()) if importlib.util.find_spec(module) is None]:
            are = "is" if len(missing) == 1 else "are"
            raise ValueError(f'{", ".join(missing)} {are} not installed: pip install "fracgen[{extra}]"')
