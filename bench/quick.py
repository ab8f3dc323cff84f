"""A quick look at weights: image AUROC by PatchCore's principle on `surfaces` and `elpv`, half a minute a file.

    uv run python -m bench.quick [--model resnet18] [--size 128] [--data FOLDER] fractal random FILE

A patch is as in `fracgen.training.losses`: layer2 and layer3, averaged over 3 x 3 cells. The memory is 3,000 random
patches of at most 60 training pictures, a picture's score the distance of its furthest patch; at most 150 sound and 150
defective test pictures of a category count. It makes the rows of docs/history.md from 2026-12-01 on; earlier
ones took other pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import numpy as np
import torch
from fracgen_eval.datasets import Sample, dataset, root_of
from fracgen_eval.images import Geometry
from fracgen_eval.metrics import auroc
from fracgen_eval.weights.backbones import Weights, WeightsSpec, build_backbone, load_weights
from torch import Tensor

from fracgen.training.losses import neighbourhoods

TRAINING, TESTED, PATCHES, BATCH = 60, 150, 3000, 25
Pictures = dict[str, tuple[Tensor, Tensor, Tensor]]


def pictures(name: str, folder: Path, size: int) -> Pictures:
    """By category: training pictures, sound and defective test pictures, each uint8 [N, size, size, 3]."""
    root, geometry = root_of(name, None, folder), Geometry(resize=size)
    found: Pictures = {}
    for category in dataset(name).categories(root):
        loaded = dataset(name).load(root, category)
        parts = (
            some(loaded.train, TRAINING),
            some([sample for sample in loaded.test if not sample.anomalous], TESTED),
            some([sample for sample in loaded.test if sample.anomalous], TESTED),
        )
        train, sound, defective = (
            torch.from_numpy(np.stack([geometry.image(sample.path) for sample in part])) for part in parts
        )
        found[category] = train, sound, defective
    return found


def some(samples: Sequence[Sample], count: int) -> list[Sample]:
    """At most so many, spread evenly."""
    chosen = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)
    return [samples[i] for i in chosen]


@torch.inference_mode()
def score(weights: Weights, parts: tuple[Tensor, Tensor, Tensor], size: int) -> float:
    """Image AUROC of a category, in percent."""
    net, network = weights.network, build_backbone(weights, size)
    mean, std = torch.tensor(weights.normalisation.mean), torch.tensor(weights.normalisation.std)
    chosen = [net.index(stage) for stage in net.chosen(("layer2", "layer3"))]

    def patches(images: Tensor) -> Tensor:
        x = ((images.float() / 255 - mean) / std).movedim(3, 1).contiguous()
        maps = cast("Any", network).forward_intermediates(x, indices=chosen, intermediates_only=True)
        return neighbourhoods(maps).flatten(2).transpose(1, 2)

    memory = torch.cat([patches(part) for part in parts[0].split(BATCH)]).flatten(0, 1)
    memory = memory[torch.randperm(len(memory), generator=torch.Generator().manual_seed(0))[:PATCHES]]
    furthest = [
        torch.cat([torch.cdist(patches(part), memory).amin(2).amax(1) for part in test.split(BATCH)]).double().numpy()
        for test in parts[1:]
    ]
    truth = np.repeat([False, True], [len(part) for part in furthest])
    return 100 * auroc(truth, np.concatenate(furthest))


def main() -> None:
    """A line for each file of weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="+", help="as in fracgen eval run, or a file")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--data", type=Path, default=Path("quick"), help="where surfaces are written")
    options = parser.parse_args()
    tests = {name: pictures(name, options.data, options.size) for name in ("surfaces", "elpv")}
    for text in options.weights:
        spec = f"file={text}" if Path(text).is_file() else text
        weights = load_weights(WeightsSpec.parse(spec), options.model)
        found = {
            name: {category: score(weights, parts, options.size) for category, parts in test.items()}
            for name, test in tests.items()
        }
        means = ", ".join(f"{name} {fmean(scores.values()):.1f}" for name, scores in found.items())
        each = " ".join(f"{category} {value:.0f}" for scores in found.values() for category, value in scores.items())
        print(f"{text}: {means} ({each})", flush=True)


if __name__ == "__main__":
    main()
