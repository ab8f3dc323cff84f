"""A fitted method as one file, for one's own pictures.

The file is safetensors: every tensor of the fitted method, the scores of normal pictures, and in the header what is
needed to build it again. It does not depend on the weights file or the training pictures any more.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from fracgen.support.decode import from_json, parse_json
from fracgen.support.files import whole_file
from fracgen_eval import decisions
from fracgen_eval.datasets.base import THRESHOLD_QUANTILE
from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods import Method, build_method
from fracgen_eval.metrics import check_finite
from fracgen_eval.predict.pictures import LOOKS, Cut, Judged, judge
from fracgen_eval.weights.backbones import Weights, WeightsSpec, load_weights
from fracgen_eval.weights.files import read_file
from fracgen_eval.weights.network import Normalisation, Triple

if TYPE_CHECKING:
    import torch

FORMAT = "fracgen-eval-model/2"


@dataclass(frozen=True, kw_only=True)
class WeightsNote:
    """What a fitted model's file says about the weights it was built with."""

    name: str
    source: str
    model: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    norm: str
    tag: str | None = None
    digest: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(f"mean {list(self.mean)} and std {list(self.std)} are not three numbers each, std above 0")


@dataclass(frozen=True)
class Fit:
    """How a model was fitted: all that is needed, beside its tensors, to build it again."""

    method: str
    settings: dict[str, Any]
    seed: int
    weights: WeightsNote
    _: KW_ONLY
    layers: tuple[str, ...] | None = None
    tiled: bool = False
    """Whether pictures are judged in tiles at full resolution."""

    def build(self, weights: Weights, device: str) -> Method:
        """The method, not yet fitted. Raises EvaluationError for what is unknown or out of range."""
        return build_method(self.method, weights, self.settings, layers=self.layers, seed=self.seed, device=device)


@dataclass(frozen=True)
class Normal:
    """Normal pictures, each judged by a model that was not fitted on it."""

    scores: NDArray[np.float64]
    """[N]."""
    looks: NDArray[np.float64]
    """[N, L], see `pictures.looks`."""
    digests: tuple[str, ...] = ()
    """SHA-256 of the picture files, and of those that were fitted on."""
    map_range: tuple[float, float] | None = None
    """The median and a high quantile of their maps."""

    @classmethod
    def of(cls, judged: Judged, digests: Sequence[str]) -> Normal:
        """From what a model says about them."""
        quantiles = None
        if judged.maps:
            levels = np.concatenate([heat.ravel()[:: max(1, heat.size // 4096)] for heat in judged.maps])
            low, high = np.quantile(levels, (0.5, THRESHOLD_QUANTILE))
            quantiles = float(low), float(high)
        return cls(judged.scores.astype(np.float64), judged.looks, tuple(digests), quantiles)


@dataclass(frozen=True)
class FittedModel:
    """A method fitted on one's own normal pictures."""

    method: Method
    fit: Fit
    own: Normal
    """The pictures that it was fitted on, by cross-fitting; none where no fold was left out."""
    calibration: Normal | None = None
    """Good pictures of another day."""

    @property
    def normal(self) -> Normal:
        """The pictures that judged ones are compared with."""
        return self.own if self.calibration is None else self.calibration

    def judge(self, paths: Sequence[Path]) -> Judged:
        """Scores and maps of pictures. Raises EvaluationError where one cannot be decoded, or a score is not finite."""
        return judge(self.method, Cut(self.method.geometry, self.fit.tiled), paths)

    def p_values(self, judged: Judged, normal: Normal | None = None) -> NDArray[np.float64]:
        """Conformal p-values [N]: compared with `self.normal`, or other normal pictures of this model."""
        normal = self.normal if normal is None else normal
        return decisions.p_values(judged.scores, normal.scores)

    def save(self, path: Path) -> None:
        """Write it, whole or not at all. Raises OSError where it cannot be written."""
        import torch
        from safetensors.torch import save

        about = dataclasses.asdict(self.fit)
        tensors = dict(self.method.state())
        for name, normal in (("own", self.own), ("calibration", self.calibration)):
            if normal is not None:
                about[name] = {"digests": normal.digests, "map_range": normal.map_range}
                for part in ("scores", "looks"):
                    tensors[f"{name}.{part}"] = torch.from_numpy(getattr(normal, part).copy())
        with whole_file(path) as file:
            file.write(save(tensors, {"format": FORMAT, "about": json.dumps(about)}))

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> FittedModel:
        """Read one; every field is checked, and the model judges a grey image before it is returned.

        Raises:
            EvaluationError: the file is not a fitted model, or something in it cannot be.
        """
        file = read_file(path, remedy="fit it again")
        header = file.header
        if header.get("format") != FORMAT:
            raise EvaluationError(f"{path}: not a fitted model of this version: fit one with --train and --save")
        try:
            about, tensors = parse_json(header.get("about", "")), dict(file.tensors)
            fit = from_json(Fit, about, "about")
            own = _normal("own", about.get("own"), tensors)
            calibration = _normal("calibration", about["calibration"], tensors) if "calibration" in about else None
            method = fit.build(_blank_weights(fit.weights), device)
            method.restore(tensors)
            check_judgement(method)
        except Exception as error:  # torch raises anything for tensors that do not fit the network, or each other
            raise _unreadable(path, error) from None
        return cls(method, fit, own, calibration)


@dataclass(frozen=True)
class _NormalNote:
    digests: tuple[str, ...] = ()
    map_range: tuple[float, float] | None = None


def _normal(name: str, about: object, tensors: dict[str, torch.Tensor]) -> Normal:
    """Normal pictures of a file, whose tensors are taken out. Raises ValueError or KeyError for what cannot be."""
    note = from_json(_NormalNote, about, name)
    scores, looks = (tensors.pop(f"{name}.{part}").numpy() for part in ("scores", "looks"))
    number = len(scores)
    if scores.shape != (number,) or looks.shape != (number, len(LOOKS)):
        raise ValueError(f"{name} has scores {scores.shape} and looks {looks.shape}")
    check_finite(scores)
    check_finite(looks)
    return Normal(scores.astype(np.float64), looks.astype(np.float64), note.digests, note.map_range)


def _blank_weights(note: WeightsNote) -> Weights:
    """Weights of the right network, whose tensors are replaced by the file's."""
    blank = load_weights(WeightsSpec("random"), note.model)
    normalisation = Normalisation(*(cast(Triple, triple) for triple in (note.mean, note.std)))
    return dataclasses.replace(blank, name=note.name, source=note.source, normalisation=normalisation, norm=note.norm)


def check_judgement(method: Method) -> None:
    """Judge a grey image: tensors that do not fit each other show themselves now. Raises ValueError and others."""
    import torch

    side = method.geometry.side
    prediction = method.predict(torch.full((1, 3, side, side), 128, dtype=torch.uint8))
    check_finite(prediction.scores)


def _unreadable(path: Path, error: BaseException) -> EvaluationError:
    lines = str(error).splitlines() or [type(error).__name__]
    return EvaluationError(f"{path}: cannot be read as a fitted model ({lines[0][:120]}): fit it again")
