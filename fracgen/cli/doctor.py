"""`fracgen doctor`: examine the installation."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what is installed, what is missing and how to get it; render an image and check its bytes.

    Exits with 1 where something is broken. Having no GPU, or not every extra, is no fault.
    """
    from fracgen.doctor import examine

    checks = examine()
    faults = [check for check in checks if check.status == "fault"]
    if as_json:
        print(json.dumps({"ok": not faults, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        status, name = (max(map(len, column)) + 2 for column in zip(*((c.status, c.name) for c in checks), strict=True))
        for check in checks:
            print(f"{check.status:{status}}{check.name:{name}}{check.found}")
            if check.remedy:
                print(f"{'':{status + name}}-> {check.remedy}")
    if faults:
        raise typer.Exit(1)
