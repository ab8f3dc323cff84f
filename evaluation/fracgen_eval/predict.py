"""A fitted method as one file, for one's own pictures: scores and heatmaps.

The file is safetensors: every tensor of the fitted method, and in the header what is needed to build
it again. It does not depend on the weights file or the training pictures any more.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from fracgen.support.decode import from_json, parse_json
from fracgen.support.files import remove_parts, whole_file
from fracgen_eval.datasets.base import THRESHOLD_QUANTILE, hold_out
from fracgen_eval.datasets.listing import images_in, left_out
from fracgen_eval.errors import EvaluationError
from fracgen_eval.images import bilinear, load_images
from fracgen_eval.methods import Method, Prediction, build_method, check_fit, settings_for
from fracgen_eval.metrics import check_finite
from fracgen_eval.pictures import SUFFIXES, read_picture
from fracgen_eval.weights.backbones import Weights, WeightsSpec, load_weights
from fracgen_eval.weights.files import read_file
from fracgen_eval.weights.network import Normalisation, Triple

FORMAT = "fracgen-eval-model/1"


@dataclass(frozen=True, kw_only=True)
class WeightsNote:
    """What a fitted model's file says about the weights it was built with."""

    name: str
    source: str
    model: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    norm: str
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
    train_images: int = 0
    held_out_images: int = 0

    def build(self, weights: Weights, device: str) -> Method:
        """The method, not yet fitted. Raises EvaluationError for what is unknown or out of range."""
        return build_method(self.method, weights, self.settings, layers=self.layers, seed=self.seed, device=device)


@dataclass(frozen=True)
class NormalRange:
    """What the method gives for normal images that it was not fitted on; None where none were kept back."""

    normal_score: float | None = None
    """The highest score of theirs."""
    normal_map: tuple[float, ...] | None = None
    """The median and a high quantile of their maps."""

    def __post_init__(self) -> None:
        if self.normal_map is not None and len(self.normal_map) != 2:
            raise ValueError(f"normal_map {list(self.normal_map)} is not two numbers")


@dataclass(frozen=True)
class FittedModel:
    """A method fitted on one's own normal pictures."""

    method: Method
    fit: Fit
    normal: NormalRange = NormalRange()

    def save(self, path: Path) -> None:
        """Write it, whole or not at all. Raises OSError where it cannot be written."""
        from safetensors.torch import save

        about = json.dumps(dataclasses.asdict(self.fit) | dataclasses.asdict(self.normal))
        with whole_file(path) as file:
            file.write(save(self.method.state(), {"format": FORMAT, "about": about}))

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
            about = parse_json(header.get("about", ""))
            fit, normal = from_json(Fit, about, "about"), from_json(NormalRange, about, "about")
            method = fit.build(_blank_weights(fit.weights), device)
            method.restore(file.tensors)
            _check_judgement(method)
        except Exception as error:  # torch raises anything for tensors that do not fit the network, or each other
            raise _unreadable(path, error) from None
        return cls(method, fit, normal)

    def judge(self, paths: Sequence[Path]) -> Prediction:
        """Scores and maps of pictures. Raises EvaluationError where one cannot be decoded, or a score is not finite."""
        prediction = self.method.predict(load_images(paths, self.method.geometry))
        check_finite(prediction.scores)
        return prediction


def fit_model(
    name: str, train: Path, spec: WeightsSpec, *, model: str = "resnet18", layers: tuple[str, ...] | None = None,
    seed: int = 0, device: str = "cpu", overrides: dict[str, Any] | None = None,
) -> FittedModel:  # fmt: skip
    """Fit a method on the pictures of a folder, which are normal; from ten on, a tenth is kept back to find the normal
    range. What lies in its sub-folders is left out.

    Raises:
        EvaluationError: the folder holds no pictures or too few, one cannot be decoded, an argument is unknown, a
            setting would do nothing, or the fitted method diverged.
    """
    settings = settings_for(name, overrides=overrides, layers=layers)
    paths = images_in(train)
    if not paths:
        found = left_out(train, [train], [])
        raise EvaluationError(
            f"{train}: no pictures ({', '.join(SUFFIXES)}) to fit on{f'; left out {found}' if found else ''}; "
            "give the folder of normal ones"
        )
    kept, held = hold_out(len(paths), seed)
    weights = load_weights(spec, model)
    check_fit(name, weights.model, settings, len(kept), layers=layers)
    fit = Fit(name, settings, seed, from_json(WeightsNote, weights.describe()), layers=layers)
    method = fit.build(weights, device)
    images = load_images(paths, method.geometry)
    method.fit(images[kept])
    _check_judgement(method)
    normal = _normal_range(method.predict(images[held])) if len(held) else NormalRange()
    return FittedModel(
        method, dataclasses.replace(fit, train_images=len(kept), held_out_images=len(held)), normal
    )


def _normal_range(prediction: Prediction) -> NormalRange:
    maps = prediction.maps
    quantiles = None if maps is None else tuple(float(np.quantile(maps, q)) for q in (0.5, THRESHOLD_QUANTILE))
    return NormalRange(float(prediction.scores.max()), quantiles)


def _blank_weights(note: WeightsNote) -> Weights:
    """Weights of the right network, whose tensors are replaced by the file's."""
    blank = load_weights(WeightsSpec("random"), note.model)
    normalisation = Normalisation(*(cast(Triple, triple) for triple in (note.mean, note.std)))
    return dataclasses.replace(
        blank, name=note.name, source=note.source, normalisation=normalisation, norm=note.norm
    )


def _check_judgement(method: Method) -> None:
    """Judge a grey image: tensors that do not fit each other show themselves now. Raises ValueError and others."""
    import torch

    side = method.geometry.side
    prediction = method.predict(torch.full((1, 3, side, side), 128, dtype=torch.uint8))
    check_finite(prediction.scores)


def _unreadable(path: Path, error: BaseException) -> EvaluationError:
    lines = str(error).splitlines() or [type(error).__name__]
    return EvaluationError(f"{path}: cannot be read as a fitted model ({lines[0][:120]}): fit it again")


def write_heatmaps(fitted: FittedModel, paths: Sequence[Path], prediction: Prediction, folder: Path) -> list[Path]:
    """Each picture, upright and at its own size, beside itself under its anomaly map, as PNG; one scale for all.

    Args:
        fitted: what judged them.
        paths: pictures.
        prediction: of the pictures, in this order.
        folder: made where it is not there. In it lie the folders of the pictures, from the one on that all have in
            common, and a heatmap has its picture's whole name: no two pictures share one.

    Returns:
        The heatmap of each picture.

    Raises:
        EvaluationError: the method gives no map.
    """
    from PIL import Image

    if prediction.maps is None:
        raise EvaluationError(f"{fitted.fit.method} judges whole images and has no heatmaps: leave out --out")
    low, high = fitted.normal.normal_map or [float(prediction.maps.min()), float(prediction.maps.max())]
    high = max(float(prediction.maps.max()), high, low + 1e-12)
    full = [Path(os.path.abspath(path)) for path in paths]
    common = Path(os.path.commonpath([path.parent for path in full]))
    method = fitted.fit.method.replace(":", "-")
    written = [folder / path.relative_to(common).with_name(f"{path.name}_{method}.png") for path in full]
    remove_parts(folder, "**/.*")
    for path, heatmap, scores in zip(paths, written, prediction.maps, strict=True):
        picture = read_picture(path)
        share = bilinear(((scores - low) / (high - low))[..., None], (picture.shape[1], picture.shape[0]))
        heatmap.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(heatmap, sync=False) as file:
            both = np.concatenate([picture, _heat(picture, share[..., 0])], axis=1)
            Image.fromarray(both).save(file, format="PNG", compress_level=1)
    return written


def _heat(picture: Any, share: Any) -> Any:
    """A picture uint8 [H, W, 3] with a map [H, W] in [0, 1] laid over it, opaque where it is high."""
    from matplotlib import colormaps

    step = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    colours = np.rint(colormaps["inferno"](np.arange(256))[:, :3] * 255).astype(np.uint32)[step]
    weight = 3 * step.astype(np.uint32)[..., None]  # of 4 * 255: three quarters at most
    return ((picture * (1020 - weight) + colours * weight + 510) // 1020).astype(np.uint8)
