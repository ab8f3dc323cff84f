"""Imported by every Python that jobs of a test start: counts the files that they write, and stops them before one.

A file is the result of a cell, by its digest, or a checkpoint, by its name. A process that is about to write one for
which there is HOLD/NAME.hold says so (HOLD/NAME.at, with its number) and waits until that is gone. HOLD/NAME.told
appears once it has heard a signal to stop. HOLD/written gets a line for every file.
"""

import os
import signal
import time
from pathlib import Path

_folder, _replace = os.environ.get("FRACGEN_TEST_HOLD"), os.replace


def replace(source: str | Path, target: str | Path, **options: object) -> None:
    """`os.replace`, which is how a file appears."""
    path, folder = Path(target), Path(str(_folder))
    if path.suffix == ".ckpt" or (path.suffix == ".json" and "cells" in path.parts):
        name = path.stem if path.suffix == ".ckpt" else path.stem.rsplit("-", 1)[1]
        if (folder / f"{name}.hold").exists():
            (folder / f"{name}.at").write_text(str(os.getpid()))
            while (folder / f"{name}.hold").exists():
                time.sleep(0.05)
                if getattr(getattr(signal.getsignal(signal.SIGTERM), "__self__", None), "received", None):
                    (folder / f"{name}.told").touch()
        with (folder / "written").open("a") as file:
            file.write(f"{name}\n")
    _replace(source, target, **options)  # type: ignore[arg-type]


if _folder is not None:
    os.replace = replace  # type: ignore[assignment]
