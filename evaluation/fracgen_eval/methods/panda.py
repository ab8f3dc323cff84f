"""PANDA (Reiss et al., CVPR 2021): nearest neighbours in the space of a pre-trained network.

`dn2` uses the network as it is, and is what the paper did ("none of the algorithms had their model
weights fine-tuned"). `early` pulls the features of normal images towards their mean for a fixed
number of epochs. Nothing is ever selected on test images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.errors import EvaluationError
from fracgen_eval.images import Geometry
from fracgen_eval.methods import base
from fracgen_eval.weights.backbones import Weights, build_backbone
from fracgen_eval.weights.network import Network, Stage

if TYPE_CHECKING:
    from torch import Tensor

UNFROZEN_AFTER = "layer2"
"""`early` adapts what lies behind this stage."""


@dataclass(frozen=True, kw_only=True)
class PandaSettings(base.Settings):
    """PANDA's `dn2`, the usual variant."""

    variant: Literal["dn2", "early"] = "dn2"
    resize: base.Side = 256
    crop: base.Side = 224
    k: base.Count = 2
    l2_normalize: bool = False

    method = "panda"
    maps = False
    trial: ClassVar[base.Table] = {"max_steps": 4}
    retired: ClassVar[base.Table] = {"ewc_lambda": 1e4, "ewc_epochs": 50, "fisher_images": 1024}

    @classmethod
    def read(cls, table: Mapping[str, object]) -> Self:
        if table.get("variant") == "ewc":
            raise EvaluationError("panda.variant 'ewc', which needed Fisher information, is gone: use 'early' or 'dn2'")
        return super().read(table)

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.resize, self.crop, shorter=True)

    def check_sizes(self) -> None:
        if self.crop > self.resize:
            raise EvaluationError(
                f"panda.crop = {self.crop} is more than panda.resize = {self.resize}: crop that or less"
            )


@dataclass(frozen=True, kw_only=True)
class EarlySettings(PandaSettings):
    """PANDA's `early`."""

    batch: base.Batch = 32
    max_steps: base.CountOrNone = 0
    """0: none but those of the epochs."""
    lr: base.Rate = 1e-2
    momentum: base.Rate = 0.9
    weight_decay: base.Rate = 5e-5
    clip: base.Rate = 1e-3
    early_epochs: base.Count = 15

    when = "variant 'early'"

    @classmethod
    def reads(cls, table: base.Table) -> bool:
        return table["variant"] == "early"

    def stages(self, net: Network) -> tuple[Stage, ...]:
        net.stage(UNFROZEN_AFTER)
        return super().stages(net)


class Panda:
    """PANDA on whole images; `weights` fill all of the network."""

    def __init__(self, settings: PandaSettings, weights: Weights, seed: int, device: str) -> None:
        self.settings, self.weights, self.seed, self.device = settings, weights, seed, device
        self.geometry = settings.geometry
        self.network = build_backbone(weights, self.geometry.side).to(device)
        net, adapts = weights.network, isinstance(settings, EarlySettings)
        self.adapted = frozenset(net.after(net.stage(UNFROZEN_AFTER))) if adapts else frozenset[str]()
        """Names of the tensors that fitting changes: in a ResNet those of layer3 and layer4."""
        self.bank: Tensor | None = None
        """Features of the training images, float64 [N, D]."""

    def fit(self, images: Tensor, watch: base.Watch | None = None) -> base.Table:
        """Adapt the network, if the variant does, and keep the training images' features."""
        facts = self._adapt(images, self.settings) if isinstance(self.settings, EarlySettings) else {}
        self.bank = self._features(images, base.PREDICT_BATCH)
        return facts

    def predict(self, images: Tensor, batch: int = base.PREDICT_BATCH) -> base.Prediction:
        """The sum of the squared distances to the k nearest training images."""
        found = [self._nearest(part) for part in base.batches(self._features(images, batch), 64)]
        return base.Prediction(np.concatenate(found).astype(np.float32))

    def frozen(self) -> dict[str, Tensor]:
        """The whole network; up to the middle in the variant that adapts what comes behind it."""
        return {k: v for k, v in base.on_cpu(self.network.state_dict()).items() if k not in self.adapted}

    def state(self) -> dict[str, Tensor]:
        """The network and the bank."""
        assert self.bank is not None
        return base.on_cpu({f"network.{k}": v for k, v in self.network.state_dict().items()} | {"bank": self.bank})

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up a fitted state."""
        self.network.load_state_dict({k[8:]: v for k, v in state.items() if k.startswith("network.")}, strict=True)
        self.bank = state["bank"].to(self.device)

    def _features(self, images: Tensor, batch: int) -> Tensor:
        """float64 [N, D]; in a ResNet the global average pool after layer4."""
        import torch

        features = base.pooled(self.network, images, self.weights, self.device, batch)
        return torch.nn.functional.normalize(features) if self.settings.l2_normalize else features

    def _nearest(self, features: Tensor) -> NDArray[np.float64]:
        import torch

        assert self.bank is not None
        squared = torch.cdist(features, self.bank, compute_mode="donot_use_mm_for_euclid_dist") ** 2
        k = min(self.settings.k, len(self.bank))
        nearest: NDArray[np.float64] = squared.topk(k, largest=False).values.sum(1).cpu().numpy()
        return nearest

    def _adapt(self, images: Tensor, own: EarlySettings) -> base.Table:
        import torch

        learned = {k: p for k, p in self.network.named_parameters() if k in self.adapted}
        centre = self._features(images, base.PREDICT_BATCH).mean(0).float()
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name in learned)
        optimiser = torch.optim.SGD(learned.values(), own.lr, own.momentum, weight_decay=own.weight_decay)
        order = torch.Generator().manual_seed(self.seed)
        losses: list[float] = []
        for _ in range(own.early_epochs):
            for chosen in base.batches(torch.randperm(len(images), generator=order), own.batch):
                if own.max_steps and len(losses) >= own.max_steps:
                    break
                # The running statistics of batch normalisation stay: the network is in eval mode throughout.
                features = self.network(base.normalised(images[chosen], self.weights, self.device))
                loss = ((features - centre) ** 2).mean()
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(learned.values(), own.clip)
                optimiser.step()
                losses.append(loss.item())
        if not np.isfinite(losses).all():
            raise EvaluationError(f"PANDA's loss became {losses[-1]} after {len(losses)} steps: lower panda.lr")
        return {"steps": len(losses), "first_loss": losses[0], "last_loss": losses[-1]}
