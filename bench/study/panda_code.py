"""Our PANDA beside the public code of its authors, on the same weights and pictures.

    uv run --with faiss-cpu python -m bench.study.panda_code --path PANDA --root SURFACES [--category gravel]
                                                             [--model resnet18] [--epochs 2]

The folder is a checkout of github.com/talreiss/PANDA. Its network, transform, search, loss and loops run as they are;
given to them are our tensors in the place of its downloaded ones, the category's files, whose data set it does not
know, and our order of batches. Prints one line of JSON for `dn2` and one for `early`. bench/README.md has the numbers.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.study.others import MissingCodeError, load_code


def main() -> None:
    """Compare `dn2`, then `early`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", type=Path, required=True, help="a checkout of PANDA's repository")
    parser.add_argument("--root", type=Path, required=True, help="a dataset in MVTec layout, such as surfaces")
    parser.add_argument("--category", default="gravel")
    parser.add_argument("--model", default="resnet18", choices=("resnet18", "wide_resnet50_2"))
    parser.add_argument("--epochs", type=int, default=2, help="of `early`")
    options = parser.parse_args()
    try:
        code = load_code(options.path, ("panda", "utils", "losses", "ResNet"), "PANDA's repository, talreiss/PANDA")
    except MissingCodeError as error:
        parser.exit(2, f"{error}\n")
    for epochs in (0, options.epochs):
        found = compare(code, options.root, category=options.category, model=options.model, epochs=epochs)
        print(json.dumps(found), flush=True)


def compare(code: list[Any], root: Path, *, category: str, model: str, epochs: int) -> dict[str, Any]:
    """How far the sides are apart: `dn2` where there are no epochs, `early` otherwise."""
    from fracgen_eval.datasets import dataset
    from fracgen_eval.images import load_images
    from fracgen_eval.methods import build_method, settings_for
    from fracgen_eval.methods.needs import adapted_part
    from fracgen_eval.metrics import auroc
    from fracgen_eval.weights.backbones import WeightsSpec, load_weights

    data = dataset("folder").load(root, category)
    weights = load_weights(WeightsSpec.parse("random"), model)
    variant = {"variant": "early", "early_epochs": epochs} if epochs else {"variant": "dn2"}
    settings = settings_for("panda", overrides=variant)
    ours = build_method("panda", weights, settings)
    facts = ours.fit(load_images([s.path for s in data.train], ours.geometry))
    scores = ours.predict(load_images([s.path for s in data.test], ours.geometry)).scores
    theirs = run(code, weights, settings, [s.path for s in data.train], [(s.path, s.anomalous) for s in data.test])

    labels = [s.anomalous for s in data.test]
    found: dict[str, Any] = {
        "variant": settings["variant"], "model": model, "category": category, "epochs": epochs,
        "image_auroc": {"fracgen": auroc(labels, scores), "panda": auroc(labels, theirs["scores"])},
        "largest_difference_of_scores": relative(theirs["scores"], scores),
        "largest_difference_with_an_exact_search": relative(theirs["exact"], scores),
    }  # fmt: skip
    if epochs:
        now, before = ours.network.state_dict(), weights.tensors
        moved = [(now[k], theirs["network"][k], before[k]) for k in sorted(adapted_part(weights.network))]
        moved = [(a.double(), b.double(), c.double()) for a, b, c in moved if a.is_floating_point()]
        change, apart = (sum(float(((a - b) ** 2).sum()) for a, b in pairs) ** 0.5 for pairs in (
            [(b, c) for _, b, c in moved], [(a, b) for a, b, _ in moved]))  # fmt: skip
        found |= {
            "steps": [facts["steps"], len(theirs["losses"])],
            "first_loss": [facts["first_loss"], theirs["losses"][0]],
            "last_loss": [facts["last_loss"], theirs["losses"][-1]],
            "change_of_weights": change, "difference_of_weights": apart,
        }  # fmt: skip
    return found


def relative(ones: Any, others: Any) -> float:
    """The largest difference, as a share of the second."""
    return float((np.abs(ones - others) / np.abs(others)).max())


class OurOrder:
    """Batches for PANDA's loader: it reads the features before the first epoch and after each, in order; each
    epoch between is in the order of ours."""

    def __init__(self, number: int, batch: int, seed: int = 0) -> None:
        import torch

        self.number, self.batch, self.calls = number, batch, 0
        self.generator = torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[list[int]]:
        import torch

        self.calls += 1
        order = torch.arange(self.number) if self.calls % 2 else torch.randperm(self.number, generator=self.generator)
        return iter([part.tolist() for part in order.split(self.batch)])


def run(code: list[Any], weights: Any, settings: Any, train: list[Path], test: list[tuple[Path, bool]]) -> Any:
    """PANDA's own scores, those of its features with an exact search, its losses and its network's tensors."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    panda, utils, losses, networks = code

    class Files(Dataset[Any]):
        def __init__(self, files: list[tuple[Path, bool]]) -> None:
            self.files, self.targets = files, [int(anomalous) for _, anomalous in files]

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, n: int) -> Any:
            with Image.open(self.files[n][0]) as file:
                return utils.transform_color(file.convert("RGB")), self.targets[n]

    seen: dict[str, Any] = {"losses": []}
    search = utils.knn_score

    def recorded_search(bank: Any, queries: Any) -> Any:
        apart = ((queries[:, None].astype(np.float64) - bank[None]) ** 2).sum(2)
        seen["exact"] = np.sort(apart, axis=1)[:, :2].sum(1)
        seen["scores"] = search(bank, queries)
        return seen["scores"]

    class RecordedLoss(losses.CompactnessLoss):
        def forward(self, features: Any) -> Any:
            loss = super().forward(features)
            seen["losses"].append(loss.item())
            return loss

    network = getattr(networks, weights.model)(pretrained=False)
    network.load_state_dict(weights.tensors | {f"fc.{k}": v for k, v in network.fc.state_dict().items()})
    network.eval()
    utils.freeze_parameters(network)
    normal = Files([(path, False) for path in train])
    loaders = (
        DataLoader(normal, batch_sampler=OurOrder(len(train), settings["batch"])),
        DataLoader(Files(test), settings["batch"]),
    )
    utils.knn_score, panda.CompactnessLoss = recorded_search, RecordedLoss
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            if settings["variant"] == "dn2":
                panda.get_score(network, "cpu", *loaders)
            else:
                how = Namespace(lr=settings["lr"], epochs=settings["early_epochs"], ewc=False)
                panda.train_model(network, *loaders, torch.device("cpu"), how, None)
    finally:
        utils.knn_score, panda.CompactnessLoss = search, losses.CompactnessLoss
    return {**seen, "network": network.state_dict()}


if __name__ == "__main__":
    main()
