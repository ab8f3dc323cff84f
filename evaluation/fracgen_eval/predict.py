"""A fitted method as one file, for one's own pictures: scores and heatmaps.

The file is safetensors: every tensor of the fitted method, and in the header what is needed to build
it again. It does not depend on the weights file or the training pictures any more.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fracgen.support.files import whole_file
from fracgen_eval.datasets.base import SUFFIXES, hold_out, images_in
from fracgen_eval.errors import EvaluationError
from fracgen_eval.images import load_images
from fracgen_eval.methods import Method, Prediction, build_method, settings_for
from fracgen_eval.weights.backbones import Weights, WeightsSpec, load_weights

FORMAT = "fracgen-eval-model/1"


@dataclass(frozen=True)
class FittedModel:
    """A method fitted on one's own normal pictures."""

    method: Method
    about: dict[str, Any]
    """What the file's header holds: method, model, settings, weights, training images, normal range."""

    def save(self, path: Path) -> None:
        """Write it, whole or not at all. Raises OSError where it cannot be written."""
        from safetensors.torch import save

        with whole_file(path) as file:
            file.write(save(self.method.state(), {"format": FORMAT, "about": json.dumps(self.about)}))

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> FittedModel:
        """Read one. Raises EvaluationError where the file is not one."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            if header.get("format") != FORMAT:
                raise EvaluationError(f"{path}: not a fitted model of this version: fit one with --train and --save")
            about = json.loads(header["about"])
            w = about["weights"]
            blank = load_weights(WeightsSpec("random"), w["model"])
            weights = dataclasses.replace(
                blank, name=w["name"], source=w["source"], mean=tuple(w["mean"]), std=tuple(w["std"]), norm=w["norm"]
            )
            method = _build(about, weights, device)
            method.restore(state)
        except (SafetensorError, OSError, KeyError, RuntimeError, TypeError, json.JSONDecodeError) as error:
            reason = str(error).splitlines()[0][:120]
            raise EvaluationError(f"{path}: cannot be read as a fitted model ({reason}): fit it again") from None
        return cls(method, about)

    def judge(self, paths: Sequence[Path]) -> Prediction:
        """Scores and maps of pictures. Raises EvaluationError where one cannot be decoded."""
        return self.method.predict(load_images(paths, self.method.geometry))


def fit_model(
    name: str, train: Path, spec: WeightsSpec, *, model: str = "resnet18", layers: tuple[str, ...] | None = None,
    seed: int = 0, device: str = "cpu", overrides: dict[str, Any] | None = None,
) -> FittedModel:  # fmt: skip
    """Fit a method on a folder of normal pictures; from ten on, a tenth is kept back to find the normal range.

    Raises:
        EvaluationError: the folder holds no pictures, one cannot be decoded, or an argument is unknown.
    """
    settings = settings_for(name, overrides=overrides)
    weights = load_weights(spec, model)
    about: dict[str, Any] = {
        "method": name, "settings": settings, "layers": list(layers) if layers else None, "seed": seed,
        "weights": weights.describe(),
    }  # fmt: skip
    paths = images_in(train)
    if not paths:
        raise EvaluationError(f"{train}: no pictures ({', '.join(SUFFIXES)}) to fit on; give the folder of normal ones")
    method = _build(about, weights, device)
    images = load_images(paths, method.geometry)
    kept, held = hold_out(len(images), seed)
    method.fit(images[kept])
    about |= {"train_images": len(kept), "held_out_images": len(held)}
    if len(held):
        normal = method.predict(images[held])
        about["normal_score"] = float(normal.scores.max())
        if normal.maps is not None:
            about["normal_map"] = [float(np.quantile(normal.maps, q)) for q in (0.5, 0.995)]
    return FittedModel(method, about)


def write_heatmaps(fitted: FittedModel, paths: Sequence[Path], prediction: Prediction, folder: Path) -> list[Path]:
    """Each picture beside itself under its anomaly map, as PNG; one scale for all of them.

    Raises:
        EvaluationError: the method gives no map.
    """
    from PIL import Image

    if prediction.maps is None:
        raise EvaluationError(f"{fitted.about['method']} judges whole images and has no heatmaps: leave out --out")
    folder.mkdir(parents=True, exist_ok=True)
    low, high = fitted.about.get("normal_map") or [float(prediction.maps.min()), float(prediction.maps.max())]
    high = max(float(prediction.maps.max()), high, low + 1e-12)
    written: list[Path] = []
    for n, (path, scores) in enumerate(zip(paths, prediction.maps, strict=True)):
        picture = fitted.method.geometry.image(path)
        both = np.concatenate([picture, _heat(picture, (scores - low) / (high - low))], axis=1)
        heatmap = folder / f"{path.stem}_{fitted.about['method']}.png"
        if heatmap in written:
            heatmap = folder / f"{path.stem}_{n}_{fitted.about['method']}.png"
        with whole_file(heatmap) as file:
            Image.fromarray(both).save(file, format="PNG")
        written.append(heatmap)
    return written


def _heat(picture: Any, share: Any) -> Any:
    """A picture with a map in [0, 1] laid over it, opaque where it is high."""
    from matplotlib import colormaps

    share = np.clip(share, 0, 1)[..., None]
    colours = colormaps["inferno"](share[..., 0])[..., :3] * 255
    return np.rint(picture * (1 - 0.75 * share) + colours * 0.75 * share).astype(np.uint8)


def _build(about: dict[str, Any], weights: Weights, device: str) -> Method:
    layers = tuple(about["layers"]) if about["layers"] else None
    return build_method(
        about["method"], weights, about["settings"], layers=layers, seed=about["seed"], device=device
    )
