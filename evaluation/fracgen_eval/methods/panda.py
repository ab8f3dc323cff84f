"""PANDA (Reiss et al., CVPR 2021): nearest neighbours in the space of a pre-trained network.

`dn2` uses the network as it is, and is what the paper did ("none of the algorithms had their model
weights fine-tuned"). `early` pulls the features of normal images towards their mean for a fixed
number of epochs. `ewc` does so for longer, held back by the Fisher information of the pre-training
task (section 3.2). Nothing is ever selected on test images.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods.base import PREDICT_BATCH, Prediction, Watch, batches, normalised, on_cpu
from fracgen_eval.methods.fisher import diagonal_fisher
from fracgen_eval.methods.needs import adapted_part, geometry_of
from fracgen_eval.methods.settings import Settings
from fracgen_eval.weights.backbones import Weights, build_backbone


class Panda:
    """PANDA on whole images; `weights` fill all of the network."""

    def __init__(self, weights: Weights, settings: Settings, seed: int, device: str) -> None:
        self.weights, self.settings, self.seed, self.device = weights, settings, seed, device
        self.geometry = geometry_of("panda", settings)
        self.network = build_backbone(weights).to(device)
        self.bank: Any = None
        """Features of the training images, float64 [N, D]."""

    def fit(self, images: Any, watch: Watch | None = None) -> dict[str, Any]:
        """Adapt the network, if the variant does, and keep the training images' features."""
        facts = {} if self.settings["variant"] == "dn2" else self._adapt(images)
        self.bank = self._features(images, PREDICT_BATCH)
        return facts

    def predict(self, images: Any, batch: int = PREDICT_BATCH) -> Prediction:
        """The sum of the squared distances to the k nearest training images."""
        found = [self._nearest(part) for part in batches(self._features(images, batch), 64)]
        return Prediction(np.concatenate(found).astype(np.float32))

    def frozen(self) -> dict[str, Any]:
        """The whole network; up to the middle in the variants that adapt what comes behind it."""
        adapted = () if self.settings["variant"] == "dn2" else adapted_part(self.weights.network)
        return {k: v for k, v in on_cpu(self.network.state_dict()).items() if k not in adapted}

    def state(self) -> dict[str, Any]:
        """The network and the bank."""
        return on_cpu({f"network.{k}": v for k, v in self.network.state_dict().items()} | {"bank": self.bank})

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a fitted state."""
        self.network.load_state_dict({k[8:]: v for k, v in state.items() if k.startswith("network.")}, strict=True)
        self.bank = state["bank"].to(self.device)

    def _features(self, images: Any, batch: int) -> Any:
        """float64 [N, D]: what a classifier would see; in a ResNet the global average pool after layer4."""
        import torch

        self.network.eval()
        with torch.no_grad():
            found = [self.network(normalised(part, self.weights, self.device)) for part in batches(images, batch)]
        features = torch.cat(found).double()
        return torch.nn.functional.normalize(features) if self.settings["l2_normalize"] else features

    def _nearest(self, features: Any) -> Any:
        import torch

        squared = torch.cdist(features, self.bank, compute_mode="donot_use_mm_for_euclid_dist") ** 2
        k = min(self.settings["k"], len(self.bank))
        return squared.topk(k, largest=False).values.sum(1).cpu().numpy()

    def _adapt(self, images: Any) -> dict[str, Any]:
        import torch

        settings = self.settings
        ewc = settings["variant"] == "ewc"
        part = adapted_part(self.weights.network)
        learned = {k: p for k, p in self.network.named_parameters() if k in part}
        fisher = diagonal_fisher(self.network, self.weights, settings, self.device) if ewc else {}
        centre = self._features(images, PREDICT_BATCH).mean(0).float()
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name in learned)
        before = {k: p.detach().clone() for k, p in learned.items()}
        optimiser = torch.optim.SGD(
            learned.values(), settings["lr"], settings["momentum"], weight_decay=settings["weight_decay"]
        )
        order = torch.Generator().manual_seed(self.seed)
        losses: list[float] = []
        for _ in range(settings["ewc_epochs" if ewc else "early_epochs"]):
            for chosen in batches(torch.randperm(len(images), generator=order), settings["batch"]):
                if settings["max_steps"] and len(losses) >= settings["max_steps"]:
                    break
                # The running statistics of batch normalisation stay: the network is in eval mode throughout.
                features = self.network(normalised(images[chosen], self.weights, self.device))
                loss = ((features - centre) ** 2).mean()
                for name, weight in fisher.items():
                    loss = loss + settings["ewc_lambda"] / 2 * (weight * (learned[name] - before[name]) ** 2).sum()
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(learned.values(), settings["clip"])
                optimiser.step()
                losses.append(loss.item())
        if not np.isfinite(losses).all():
            raise EvaluationError(f"PANDA's loss became {losses[-1]} after {len(losses)} steps: lower panda.lr")
        return {"steps": len(losses), "first_loss": losses[0], "last_loss": losses[-1]}
