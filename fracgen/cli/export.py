"""`fracgen export`: weights that torchvision and timm load, with a model card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="A folder that `fracgen pretrain` made.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder to write.", show_default="RUN/export")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="auto: the newest whole one; or a path.")] = "auto",
    classifier: Annotated[bool, typer.Option(help="With the last layer, or without.")] = True,
    half: Annotated[bool, typer.Option("--half", help="In half precision: a file half as large.")] = False,
) -> None:
    """Export a run's weights as safetensors, with their own normalisation and a model card."""
    from fracgen.support.extras import need

    need("train")
    from fracgen.training.export import export as write
    from fracgen.training.folder import RunFolder

    print(write(RunFolder(run), output, checkpoint=checkpoint, classifier=classifier, half=half))
