"""CutPaste (Li et al., CVPR 2021): a network learns to tell damaged views, then a Gaussian judges features.

The network starts from the given weights and is the only one of the eight that is fine-tuned. Since
untouched features with the same density are strong already, their scores are always reported
beside, as `steps=0`.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.errors import EvaluationError
from fracgen_eval.images import Geometry
from fracgen_eval.methods import base
from fracgen_eval.methods import cutpaste_views as views
from fracgen_eval.weights.backbones import Weights, build_backbone

if TYPE_CHECKING:
    from torch import Tensor, nn

UNTOUCHED = "steps=0"
CLASSES = {"3way": 3, "normal": 2, "scar": 2, "union": 2}


@dataclass(frozen=True, kw_only=True)
class UntouchedSettings(base.Settings):
    """CutPaste without training."""

    image_size: base.Side = 256
    original: bool = False
    """Whether to train for as long as its authors did."""
    steps: base.CountOrNone = 0

    method = "cutpaste"
    maps = False
    least_images = 2
    """For a covariance that is not zero."""
    trial: ClassVar[base.Table] = {"steps": 6, "frozen_steps": 2, "batch": 8, "image_size": 128}

    @classmethod
    def reads(cls, table: base.Table) -> bool:
        return table["steps"] == 0

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.image_size)


@dataclass(frozen=True, kw_only=True)
class CutPasteSettings(UntouchedSettings):
    """CutPaste's."""

    views: Literal["3way", "normal", "scar", "union"] = "3way"
    """`3way` (normal, patch, scar), or normal against one kind or both."""
    batch: base.Batch = 64
    steps: base.CountOrNone = 256
    frozen_steps: base.CountOrNone = 20
    lr: base.Rate = 0.03
    momentum: base.Rate = 0.9
    weight_decay: base.Rate = 3e-5
    jitter: base.Rate = 0.1

    when = "steps above 0"
    least_side = 30
    """Scars are up to 30 px high."""

    @classmethod
    def reads(cls, table: base.Table) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class OriginalSettings(CutPasteSettings):
    """For as long as its authors did."""

    fixed: ClassVar[base.Table] = {"steps": 65_536, "frozen_steps": 0}

    @classmethod
    def reads(cls, table: base.Table) -> bool:
        return table["original"] is True

    def idle(self, name: str) -> str:
        return "original = false" if name in self.fixed else ""


class CutPaste:
    """CutPaste on whole images."""

    def __init__(self, settings: UntouchedSettings, weights: Weights, seed: int, device: str) -> None:
        self.settings, self.weights, self.seed, self.device = settings, weights, seed, device
        self.geometry = settings.geometry
        self.untouched = build_backbone(weights, self.geometry.side).to(device)
        self.network = copy.deepcopy(self.untouched)
        self.density: dict[str, Tensor] = {}
        """Mean float64 [D] and precision float64 [D, D] of normal features, for both networks."""

    def fit(self, images: Tensor, watch: base.Watch | None = None) -> base.Table:
        """Train on damaged views, then fit the densities on the untouched pictures."""
        facts: base.Table = {"steps": 0}
        if isinstance(self.settings, CutPasteSettings):
            facts = self._train(images, self.settings)
        for name, network in (("trained", self.network), ("untouched", self.untouched)):
            mean, precision = _gaussian(self._features(network, images, base.PREDICT_BATCH))
            self.density |= {f"{name}.mean": mean, f"{name}.precision": precision}
        return facts

    def predict(self, images: Tensor, batch: int = base.PREDICT_BATCH) -> base.Prediction:
        """Mahalanobis distance of the normalised features to the normal ones."""
        trained, untouched = (
            self._distance(name, self._features(network, images, batch))
            for name, network in (("trained", self.network), ("untouched", self.untouched))
        )
        return base.Prediction(trained, beside={UNTOUCHED: untouched})

    def frozen(self) -> dict[str, Tensor]:
        """The untouched network; the trained one starts as a copy of it."""
        return base.on_cpu(self.untouched.state_dict())

    def state(self) -> dict[str, Tensor]:
        """Both networks and their densities."""
        nets = {"network": self.network, "untouched": self.untouched}
        tensors = {f"{name}.{key}": v for name, net in nets.items() for key, v in net.state_dict().items()}
        return base.on_cpu(tensors | self.density)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up a fitted state."""
        for name, network in (("network.", self.network), ("untouched.", self.untouched)):
            own = {k.removeprefix(name): v for k, v in state.items() if k.startswith(name)}
            network.load_state_dict({k: v for k, v in own.items() if k not in ("mean", "precision")}, strict=True)
        self.density = {k: v for k, v in state.items() if k.endswith((".mean", ".precision"))}

    def _features(self, network: nn.Module, images: Tensor, batch: int) -> Tensor:
        """float64 [N, D] on the CPU, of length 1."""
        import torch

        return torch.nn.functional.normalize(base.pooled(network, images, self.weights, self.device, batch).cpu())

    def _distance(self, name: str, features: Tensor) -> NDArray[np.float32]:
        delta = features - self.density[f"{name}.mean"]
        squared = (delta @ self.density[f"{name}.precision"] * delta).sum(1)
        distance: NDArray[np.float32] = squared.clamp_min(0).sqrt().float().numpy()
        return distance

    def _train(self, images: Tensor, own: CutPasteSettings) -> base.Table:
        import torch

        rng = np.random.default_rng([self.seed, 0xC07])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            head = _head(self.weights.network.pooled, CLASSES[own.views]).to(self.device)
        parameters = [*self.network.parameters(), *head.parameters()]
        optimiser = torch.optim.SGD(parameters, own.lr, own.momentum, weight_decay=own.weight_decay)
        losses, right = [], 0.0
        for step in range(own.steps):
            frozen = step < own.frozen_steps
            self.network.train(not frozen).requires_grad_(not frozen)
            optimiser.param_groups[0]["lr"] = own.lr * (1 + math.cos(math.pi * step / own.steps)) / 2
            batch, labels = self._views(images, rng, own)
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

    def _views(self, images: Tensor, rng: np.random.Generator, own: CutPasteSettings) -> tuple[Tensor, Tensor]:
        """A batch of source pictures in all their views, normalised, and the class of each."""
        import torch

        number, jitter = own.batch, own.jitter
        chosen = rng.choice(len(images), number, replace=number > len(images))
        source = images[torch.from_numpy(chosen)].to(self.device).float() / 255
        side = source.shape[-1]
        source = views.colour_jitter(source, views.draw_jitter(rng, number, jitter))
        patches, scars = views.draw_patches(rng, number, side), views.draw_scars(rng, number, side)
        patch, _ = views.paste_patches(source, patches, views.draw_jitter(rng, number, jitter))
        scar, _ = views.paste_scars(source, scars, views.draw_jitter(rng, number, jitter))
        damaged = {"3way": [patch, scar], "normal": [patch], "scar": [scar], "union": [_either(patch, scar, rng)]}
        kinds = damaged[own.views]
        labels = torch.arange(1 + len(kinds), device=self.device).repeat_interleave(number)
        return base.normalised(torch.cat([source, *kinds]) * 255, self.weights, self.device), labels


def _either(patch: Tensor, scar: Tensor, rng: np.random.Generator) -> Tensor:
    import torch

    coin = torch.from_numpy(rng.random(len(patch)) < 0.5).to(patch.device)
    return patch.where(coin[:, None, None, None], scar)


def _head(width: int, classes: int) -> nn.Module:
    """One 512 block (Linear, BN, ReLU), then 128, then the classes."""
    from torch import nn

    return nn.Sequential(
        nn.Linear(width, 512, bias=False), nn.BatchNorm1d(512), nn.ReLU(),
        nn.Linear(512, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU(),
        nn.Linear(128, classes),
    )  # fmt: skip


def _gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    import torch
    from sklearn.covariance import LedoitWolf

    fitted = LedoitWolf().fit(features.numpy())
    return torch.from_numpy(fitted.location_), torch.from_numpy(fitted.precision_)
