"""What `fracgen eval predict` is asked for; light, since every refusal imports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fracgen.support.files import check_writable
from fracgen.support.options import Option, parse_names
from fracgen_eval import decisions
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.plan import MODEL_HELP, SETTINGS_HELP, WEIGHTS_HELP, parse_settings
from fracgen_eval.methods import settings_for
from fracgen_eval.methods.base import Table
from fracgen_eval.methods.others import own_name
from fracgen_eval.methods.settings import check_layer_choice
from fracgen_eval.weights.backbones import WeightsSpec


def _parse_layers(text: str) -> tuple[str, ...]:
    return parse_names([text])


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is fitted."""

    method: Annotated[str, Option("The method to fit.", parse=own_name)] = "patchcore"
    weights: Annotated[
        WeightsSpec, Option(WEIGHTS_HELP.split(";")[0] + ".", parse=WeightsSpec.parse, default="fractal")
    ] = field(default_factory=lambda: WeightsSpec.parse("fractal"))
    model: Annotated[str, MODEL_HELP] = "resnet18"
    layers: Annotated[
        tuple[str, ...] | None, Option("For patchcore and padim, such as layer1,layer2.", parse=_parse_layers)
    ] = None
    seed: Annotated[int, "Seed of everything random."] = 0
    overrides: Annotated[Mapping[str, Table], Option(SETTINGS_HELP, names=("--settings",), parse=parse_settings)] = (
        field(default_factory=dict)
    )
    """Settings in the place of the usual ones, by method."""
    folds: Annotated[
        int | None,
        Option(
            "Parts of the normal pictures, each judged by a model of the others; 1 keeps none back.",
            default="10 of patchcore and padim, else 5",
        ),
    ] = None
    tiles: Annotated[bool, "Judge large pictures at full resolution, in overlapping tiles."] = False

    def settings(self) -> Table:
        """The method's settings. Raises EvaluationError where something is unknown, or would do nothing."""
        check_layer_choice(self.method, self.layers)
        if self.overrides and self.method not in self.overrides:
            raise EvaluationError(
                f"--settings has no settings of {self.method}: add a table [{self.method}], or leave --settings out"
            )
        if self.folds is not None and self.folds < 1:
            raise EvaluationError(f"{self.folds} folds: use 1, which keeps no picture back, or more")
        return settings_for(self.method, overrides=self.overrides.get(self.method), layers=self.layers)


@dataclass(frozen=True, kw_only=True)
class Request:
    """By what pictures are judged, and what becomes of it."""

    train: Annotated[Path | None, "Folder of normal pictures to fit on."] = None
    load: Annotated[Path | None, "Use a kept model instead of fitting one."] = None
    calibrate: Annotated[Path | None, "Folder of good pictures of another day, to compare with."] = None
    false_alarms: Annotated[float, "How often a normal picture may be flagged, above 0 and below 1."] = 0.05
    choice: Choice = field(default_factory=Choice)
    save: Annotated[Path | None, "Keep the fitted model in this file."] = None
    out: Annotated[
        Path | None, Option("Folder for a page, heatmaps, a CSV and a JSON file.", names=("-o", "--output"))
    ] = None

    def check(self, images: Sequence[Path]) -> None:
        """Refuse what is not there, and what cannot be written, before anything heavy is imported.

        Raises:
            ValueError: with the remedy.
            OSError: the file to keep the model in cannot be written.
        """
        if (self.load is None) == (self.train is None):
            raise EvaluationError("give either --train, a folder of normal pictures, or --load, a kept model")
        decisions.check_rate(self.false_alarms)
        if missing := [path for path in images if not path.exists()]:
            raise EvaluationError(f"{missing[0]}: no such picture")
        if self.load is not None and not self.load.is_file():
            raise EvaluationError(f"{self.load}: no such fitted model; fit one with --train and --save")
        for folder, what in ((self.train, "normal pictures"), (self.calibrate, "good pictures of another day")):
            if folder is not None and not folder.is_dir():
                raise EvaluationError(f"{folder}: no such folder of {what}")
        if self.save is not None:
            check_writable(self.save)
        if self.out is not None and self.out.exists() and not self.out.is_dir():
            raise EvaluationError(f"{self.out} is a file: name a folder for the results with -o")
