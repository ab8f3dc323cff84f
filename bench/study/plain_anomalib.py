"""The same weights and pictures through plain Anomalib and through `fracgen eval`, to judge a release of Anomalib by.

    uv run python -m bench.study.plain_anomalib --root SURFACES [--category gravel] [--model resnet18] [--epochs 3]
                                                [--seeds 0,1,2,3,4] [--methods patchcore,stfpm] [--size 128]
                                                [--same-draws]

Anomalib's side is its own class, data module, reader of pictures and Engine, with its defaults but for the backbone's
tensors (both sides get the same fresh ones), FastFlow's convolutions as in the paper, no post-processing, and the side
of the pictures. A seed does not mean the same on the two sides: Anomalib draws everything from the global generators,
fracgen seeds them anew before a fit and gives the order of batches a generator of its own. With `--same-draws`
Anomalib gets fracgen's draws, and what then differs is more than chance. With several seeds the last line of a method
has the mean of each side and its standard deviation over seeds. bench/README.md has the numbers and what they say.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fracgen.support.decode import Unchecked

if TYPE_CHECKING:
    from fracgen_eval.weights.backbones import Weights
    from torch.utils.data import DataLoader

METHODS = ("patchcore", "padim", "stfpm", "fastflow")
SIDES = ("fracgen", "anomalib")
JUDGED_AT_ONCE = 32
"""Anomalib's own default."""
Floats: TypeAlias = NDArray[np.floating]
Settings: TypeAlias = Mapping[str, Unchecked]
Metrics: TypeAlias = Mapping[str, Mapping[str, float]]
"""Metrics by side."""


@dataclass(frozen=True)
class Terms:
    """What both sides get."""

    root: Path
    category: str
    model: str
    epochs: int
    """Of STFPM and FastFlow."""
    size: int | None
    """Side that pictures are resized to; None: the files' own."""
    same_draws: bool
    """Give Anomalib the random draws of fracgen."""


def main() -> None:
    """Print one line of JSON a method and seed, and one a method over several seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="a dataset in MVTec layout, such as surfaces")
    parser.add_argument("--category", default="gravel")
    parser.add_argument("--model", default="resnet18", choices=("resnet18", "wide_resnet50_2"))
    parser.add_argument("--epochs", type=int, default=3, help="of STFPM and FastFlow")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--size", type=int, help="side that pictures are resized to; the files' own by default")
    parser.add_argument("--same-draws", action="store_true", help="give Anomalib the random draws of fracgen")
    options = vars(parser.parse_args())
    methods, seeds = options.pop("methods").split(","), [int(seed) for seed in options.pop("seeds").split(",")]
    for method in methods:
        found = []
        for seed in seeds:
            metrics, more = compare(method, Terms(**options), seed)
            print(json.dumps({"method": method, "seed": seed, **metrics, **more}), flush=True)
            found.append(metrics)
        if len(found) > 1:
            print(json.dumps({"method": method, "seeds": len(found), **over_seeds(found)}), flush=True)


def over_seeds(found: Sequence[Metrics]) -> dict[str, dict[str, list[float]]]:
    """Mean and sample standard deviation of each side's metrics."""
    numbers = {side: {m: [one[side][m] for one in found] for m in ("image_auroc", "pixel_auroc")} for side in SIDES}
    return {
        side: {metric: [float(np.mean(n)), float(np.std(n, ddof=1))] for metric, n in own.items()}
        for side, own in numbers.items()
    }


def compare(method: str, terms: Terms, seed: int) -> tuple[Metrics, dict[str, object]]:
    """Metrics of both sides on a category; how their scores correlate, and by how much they differ."""
    from fracgen_eval.datasets import dataset
    from fracgen_eval.images import load_images
    from fracgen_eval.methods import build_method, settings_for
    from fracgen_eval.metrics import auroc, count_pixels, pixel_auroc
    from fracgen_eval.pictures import read_picture
    from fracgen_eval.weights.backbones import WeightsSpec, load_weights

    data = dataset("folder").load(terms.root, terms.category)
    side = terms.size or read_picture(data.train[0].path).shape[1]
    epochs = {"epochs": terms.epochs} if method in ("stfpm", "fastflow") else {}
    settings = settings_for(method, overrides={"image_size": side, **epochs})
    weights = load_weights(WeightsSpec.parse("random"), terms.model)
    ours = build_method(method, weights, settings, seed=seed)
    ours.fit(load_images([s.path for s in data.train], ours.geometry))
    test = [s.path for s in data.test]
    judged = ours.predict(load_images(test, ours.geometry))
    assert judged.maps is not None
    folder = terms.root / terms.category
    scores, maps = plain(method, weights, settings, folder, test, seed, same_draws=terms.same_draws)
    labels, masks = [s.anomalous for s in data.test], [ours.geometry.mask(s) for s in data.test]
    metrics = {
        name: {"image_auroc": auroc(labels, s), "pixel_auroc": pixel_auroc(count_pixels(m, masks))}
        for name, s, m in zip(SIDES, (judged.scores, scores), (judged.maps, maps), strict=True)
    }
    return metrics, {
        "category": terms.category, "model": terms.model, "side": side, "same_draws": terms.same_draws,
        "correlation_of_scores": float(np.corrcoef(judged.scores, scores)[0, 1]),
        "largest_difference": {"score": apart(judged.scores, scores), "map": apart(judged.maps, maps)},
    }  # fmt: skip


def apart(ours: Floats, theirs: Floats) -> float:
    """The largest difference, as a share of the range of ours."""
    return float(np.abs(ours - theirs).max() / np.ptp(ours))


def plain(
    method: str, weights: Weights, settings: Settings, folder: Path, test: list[Path], seed: int, *, same_draws: bool
) -> tuple[Floats, Floats]:
    """Scores [N] and maps [N, S, S] of the test pictures from Anomalib's own model, data module and Engine."""
    import torch
    from anomalib.data import Folder
    from anomalib.data.utils import read_image
    from anomalib.engine import Engine
    from fracgen_eval.methods.quiet import seeded
    from lightning.pytorch import seed_everything

    class InOurOrder(Folder):
        def train_dataloader(self) -> DataLoader[object]:
            loader: DataLoader[object] = super().train_dataloader()
            loader.generator = loader.sampler.generator = torch.Generator().manual_seed(seed)  # type: ignore[attr-defined]
            return loader

    seed_everything(seed)
    module = _model(method, weights, settings)
    defects = sorted(p.name for p in (folder / "test").iterdir() if p.name != "good")
    data = (InOurOrder if same_draws else Folder)(
        name=folder.name, root=folder, normal_dir="train/good", normal_test_dir="test/good",
        abnormal_dir=[f"test/{d}" for d in defects], mask_dir=[f"ground_truth/{d}" for d in defects],
        train_batch_size=settings["batch"], num_workers=0, val_split_mode="from_test", val_split_ratio=0.01,
        seed=seed if same_draws else None,
    )  # fmt: skip
    draws = seeded(seed) if same_draws else contextlib.nullcontext()
    with tempfile.TemporaryDirectory() as place, draws:
        Engine(
            max_epochs=settings.get("epochs", 1), limit_val_batches=0, default_root_dir=place, accelerator="cpu",
            devices=1, barebones=True,
        ).fit(module, datamodule=data)  # fmt: skip
    module.eval()
    scores, maps = [], []
    with torch.no_grad():
        for start in range(0, len(test), JUDGED_AT_ONCE):
            pictures = [read_image(path, as_tensor=True)[None] for path in test[start : start + JUDGED_AT_ONCE]]
            result = module.model(torch.cat([module.pre_processor.transform(picture) for picture in pictures]))
            scores.append(result.pred_score.reshape(-1).numpy())
            maps.append(result.anomaly_map.reshape(len(pictures), *result.anomaly_map.shape[-2:]).numpy())
    return np.concatenate(scores), np.concatenate(maps)


def _model(method: str, weights: Weights, settings: Settings) -> Unchecked:
    import anomalib.models as models
    from anomalib.pre_processing import PreProcessor
    from fracgen_eval.methods.inject import Injection
    from torchvision.transforms.v2 import Compose, Normalize, Resize

    side = settings["image_size"]
    transform = Compose([Resize((side, side)), Normalize(weights.normalisation.mean, weights.normalisation.std)])
    common: dict[str, Unchecked] = {"pre_processor": PreProcessor(transform=transform),
                                    **dict.fromkeys(("post_processor", "evaluator", "visualizer"), False)}  # fmt: skip
    with Injection(weights, side).builders():
        if method == "fastflow":
            return models.Fastflow(weights.model, conv3x3_only=True, **common)
        name = {"patchcore": "Patchcore", "padim": "Padim", "stfpm": "Stfpm", "cflow": "Cflow",
                "rd": "ReverseDistillation"}[method]  # fmt: skip
        return getattr(models, name)(weights.model, settings.get("layers"), **common)


if __name__ == "__main__":
    main()
