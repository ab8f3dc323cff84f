"""CutPaste (Li et al., CVPR 2021): a network learns to tell damaged views, then a Gaussian judges features.

The network starts from the given weights and is the only one of the eight that is fine-tuned. Since
untouched features with the same density are strong already, their scores are always reported
beside, as `steps=0`.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods import cutpaste_views as views
from fracgen_eval.methods.base import PREDICT_BATCH, Prediction, Watch, batches, normalised, on_cpu
from fracgen_eval.methods.needs import geometry_of
from fracgen_eval.methods.settings import Settings
from fracgen_eval.weights.backbones import Weights, build_backbone

UNTOUCHED = "steps=0"
CLASSES = {"3way": 3, "normal": 2, "scar": 2, "union": 2}


class CutPaste:
    """CutPaste on whole images. `views`: `3way` (normal, patch, scar), or normal against one kind or both."""

    def __init__(self, weights: Weights, settings: Settings, seed: int, device: str) -> None:
        self.weights, self.settings, self.seed, self.device = weights, settings, seed, device
        self.geometry = geometry_of("cutpaste", settings)
        self.untouched = build_backbone(weights).to(device)
        self.network = copy.deepcopy(self.untouched)
        self.density: dict[str, Any] = {}
        """Mean float64 [D] and precision float64 [D, D] of normal features, for both networks."""

    def fit(self, images: Any, watch: Watch | None = None) -> dict[str, Any]:
        """Train on damaged views, then fit the densities on the untouched pictures."""
        facts = self._train(images) if self.settings["steps"] else {"steps": 0}
        for name, network in (("trained", self.network), ("untouched", self.untouched)):
            mean, precision = _gaussian(self._features(network, images, PREDICT_BATCH))
            self.density |= {f"{name}.mean": mean, f"{name}.precision": precision}
        return facts

    def predict(self, images: Any, batch: int = PREDICT_BATCH) -> Prediction:
        """Mahalanobis distance of the normalised features to the normal ones."""
        trained, untouched = (
            self._distance(name, self._features(network, images, batch))
            for name, network in (("trained", self.network), ("untouched", self.untouched))
        )
        return Prediction(trained, beside={UNTOUCHED: untouched})

    def frozen(self) -> dict[str, Any]:
        """The untouched network; the trained one starts as a copy of it."""
        return on_cpu(self.untouched.state_dict())

    def state(self) -> dict[str, Any]:
        """Both networks and their densities."""
        nets = {"network": self.network, "untouched": self.untouched}
        return on_cpu({f"{n}.{k}": v for n, net in nets.items() for k, v in net.state_dict().items()} | self.density)

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a fitted state."""
        for name, network in (("network.", self.network), ("untouched.", self.untouched)):
            own = {k.removeprefix(name): v for k, v in state.items() if k.startswith(name)}
            network.load_state_dict({k: v for k, v in own.items() if k not in ("mean", "precision")}, strict=True)
        self.density = {k: v for k, v in state.items() if k.endswith((".mean", ".precision"))}

    def _features(self, network: Any, images: Any, batch: int) -> Any:
        """float64 [N, D] on the CPU, of length 1."""
        import torch

        network.eval()
        with torch.no_grad():
            found = [network(normalised(part, self.weights, self.device)).cpu() for part in batches(images, batch)]
        return torch.nn.functional.normalize(torch.cat(found).double())

    def _distance(self, name: str, features: Any) -> Any:
        delta = features - self.density[f"{name}.mean"]
        squared = (delta @ self.density[f"{name}.precision"] * delta).sum(1)
        return squared.clamp_min(0).sqrt().float().numpy()

    def _train(self, images: Any) -> dict[str, Any]:
        import torch

        settings, rng = self.settings, np.random.default_rng([self.seed, 0xC07])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            head = _head(self.weights.network.pooled, CLASSES[settings["views"]]).to(self.device)
        parameters = [*self.network.parameters(), *head.parameters()]
        optimiser = torch.optim.SGD(
            parameters, settings["lr"], settings["momentum"], weight_decay=settings["weight_decay"]
        )
        losses, right = [], 0.0
        for step in range(settings["steps"]):
            frozen = step < settings["frozen_steps"]
            self.network.train(not frozen).requires_grad_(not frozen)
            optimiser.param_groups[0]["lr"] = settings["lr"] * (1 + math.cos(math.pi * step / settings["steps"])) / 2
            batch, labels = self._views(images, rng)
            logits = head(self.network(batch))
            loss = torch.nn.functional.cross_entropy(logits, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
            right = (logits.argmax(1) == labels).float().mean().item()
        self.network.requires_grad_(False).eval()
        if not np.isfinite(losses).all():
            raise EvaluationError(f"CutPaste's loss became {losses[-1]} after {len(losses)} steps: lower cutpaste.lr")
        return {"steps": len(losses), "first_loss": losses[0], "last_loss": losses[-1], "last_accuracy": right}

    def _views(self, images: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        """A batch of source pictures in all their views, normalised, and the class of each."""
        import torch

        settings, number = self.settings, self.settings["batch"]
        chosen = rng.choice(len(images), number, replace=number > len(images))
        source = images[torch.from_numpy(chosen)].to(self.device).float() / 255
        side, jitter = source.shape[-1], settings["jitter"]
        source = views.colour_jitter(source, views.draw_jitter(rng, number, jitter))
        patches, scars = views.draw_patches(rng, number, side), views.draw_scars(rng, number, side)
        patch, _ = views.paste_patches(source, patches, views.draw_jitter(rng, number, jitter))
        scar, _ = views.paste_scars(source, scars, views.draw_jitter(rng, number, jitter))
        kind = settings["views"]
        damaged = {"3way": [patch, scar], "normal": [patch], "scar": [scar], "union": [_either(patch, scar, rng)]}[kind]
        labels = torch.arange(1 + len(damaged), device=self.device).repeat_interleave(number)
        return normalised(torch.cat([source, *damaged]) * 255, self.weights, self.device), labels


def _either(patch: Any, scar: Any, rng: np.random.Generator) -> Any:
    import torch

    coin = torch.from_numpy(rng.random(len(patch)) < 0.5).to(patch.device)
    return patch.where(coin[:, None, None, None], scar)


def _head(width: int, classes: int) -> Any:
    """One 512 block (Linear, BN, ReLU), then 128, then the classes."""
    from torch import nn

    return nn.Sequential(
        nn.Linear(width, 512, bias=False), nn.BatchNorm1d(512), nn.ReLU(),
        nn.Linear(512, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU(),
        nn.Linear(128, classes),
    )  # fmt: skip


def _gaussian(features: Any) -> tuple[Any, Any]:
    import torch
    from sklearn.covariance import LedoitWolf

    fitted = LedoitWolf().fit(features.numpy())
    return torch.from_numpy(fitted.location_), torch.from_numpy(fitted.precision_)
