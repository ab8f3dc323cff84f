"""FastFlow, C-Flow, PatchCore, PaDiM, Reverse Distillation and STFPM: Anomalib's models, trained by Lightning.

Scores and maps are raw: Anomalib's post-processing and metrics stay out (its AUROC squashes what
lies outside [0, 1]). No checkpoint, log or result folder is written.
"""

from __future__ import annotations

from typing import Any

from fracgen_eval.methods.anomalib.models import build_module, frozen_network
from fracgen_eval.methods.anomalib.quiet import quiet, seeded
from fracgen_eval.methods.base import PREDICT_BATCH, Prediction, Watch, batches, normalised, on_cpu
from fracgen_eval.methods.needs import geometry_of
from fracgen_eval.methods.settings import Settings
from fracgen_eval.weights.backbones import Weights
from fracgen_eval.weights.network import Stage

ONE_PASS = {"patchcore": "embedding_store", "padim": "memory_bank"}
"""Methods that go through the images once, and where their models keep what they see."""
BATCH_BOUND = ("cflow",)
"""Methods whose maps depend on the batch they are judged in: always `PREDICT_BATCH` images."""


class AnomalibMethod:
    """One of the six by name."""

    def __init__(
        self, name: str, weights: Weights, settings: Settings, *, stages: tuple[Stage, ...], protocol: str, seed: int,
        device: str,
    ) -> None:  # fmt: skip
        self.name, self.weights, self.settings, self.stages = name, weights, settings, stages
        self.protocol, self.seed, self.device = protocol, seed, device
        self.geometry = geometry_of(name, settings, protocol)
        with quiet(), seeded(seed):
            self.module = build_module(name, weights, settings, stages, self.geometry.side, protocol)

    def fit(self, images: Any, watch: Watch | None = None) -> dict[str, Any]:
        """Train for the protocol's epochs; `paper` with a watch stops early and keeps the best epoch's state."""
        epochs = 1 if self.name in ONE_PASS else self.settings["epochs" if self.protocol == "honest" else "most_epochs"]
        patience = self.settings.get("patience", 0) if self.protocol == "paper" else 0
        stopper = _Stopper(self, watch, patience) if watch and patience and self.name not in ONE_PASS else None
        with quiet(), seeded(self.seed):
            if self.name == "cflow":
                self.module.model.fiber_batch_size = self._fibers(len(images))
            if self.name in ONE_PASS:
                getattr(self.module.model, ONE_PASS[self.name]).expect(len(images))
            run = trainer(self.device, epochs, stopper)
            self._train(run, train_dataloaders=self._loader(images))
        facts: dict[str, Any] = {"epochs": run.current_epoch}
        if stopper is not None:
            self.module.load_state_dict(stopper.state)
            facts |= {"best_epoch": stopper.epoch, "watched": stopper.history}
        self.module.eval()
        return facts

    def predict(self, images: Any, batch: int = PREDICT_BATCH) -> Prediction:
        """Raw scores and maps."""
        import torch

        self.module.to(self.device).eval()
        batch = PREDICT_BATCH if self.name in BATCH_BOUND else batch
        scores, maps = [], []
        with quiet(), torch.no_grad():
            for part in batches(images, batch):
                out = self.module.model(normalised(part, self.weights, self.device))
                scores.append(out.pred_score.reshape(-1).float().cpu())
                if out.anomaly_map is not None:
                    maps.append(out.anomaly_map.reshape(len(part), *out.anomaly_map.shape[-2:]).float().cpu())
        return Prediction(torch.cat(scores).numpy(), torch.cat(maps).numpy() if maps else None)

    def frozen(self) -> dict[str, Any]:
        """The extractor, encoder or teacher."""
        tensors = on_cpu(frozen_network(self.name, self.module).state_dict())
        names = self.weights.network.names(tensors)
        return {names[key]: tensor for key, tensor in tensors.items()}

    def state(self) -> dict[str, Any]:
        """All of the model."""
        return on_cpu(self.module.model.state_dict())

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a fitted state."""
        self.module.model.load_state_dict(state, strict=True)
        self.module.eval()

    def _train(self, run: Any, **data: Any) -> None:
        try:
            run.fit(self.module, **data)
        except SystemExit as stop:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from stop
        if run.interrupted:
            raise KeyboardInterrupt

    def _fibers(self, number: int) -> int:
        """C-Flow's fibers per step: as set, but no more than the last batch has in its smallest map."""
        size, maps = self.settings["batch"], self.weights.network.maps(self.geometry.side)
        smallest = min(height * width for _, height, width in (maps[stage.layer] for stage in self.stages))
        return int(min(self.settings["fiber_batch"], (number % size or size) * smallest))

    def _loader(self, images: Any) -> Any:
        import torch
        from anomalib.data import ImageBatch
        from torch.utils.data import DataLoader

        def collate(items: list[Any]) -> Any:
            pictures = normalised(torch.stack(items), self.weights, "cpu")
            return ImageBatch(image=pictures, gt_label=torch.zeros(len(items), dtype=torch.long))

        order = torch.Generator().manual_seed(self.seed)
        return DataLoader(images, self.settings["batch"], shuffle=True, generator=order, collate_fn=collate)


class _Stopper:
    """The `paper` protocol's look at the test set after each epoch; the best state is kept in memory."""

    def __init__(self, method: AnomalibMethod, watch: Watch, patience: int) -> None:
        self.method, self.watch, self.patience = method, watch, patience
        self.history: list[float] = []
        self.epoch = -1
        self.state: dict[str, Any] = {}

    def look(self) -> bool:
        """Judge the test images; whether training should stop."""
        module = self.method.module
        modes = [(m, m.training) for m in module.modules()]
        self.history.append(self.watch.score(self.method.predict(self.watch.images)))
        for m, training in modes:
            m.training = training
        if self.epoch < 0 or self.history[-1] > self.history[self.epoch]:
            self.epoch = len(self.history) - 1
            self.state = {k: v.detach().cpu().clone() for k, v in module.state_dict().items()}
        return len(self.history) - 1 - self.epoch >= self.patience


def trainer(device: str, epochs: int, stopper: _Stopper | None = None, clip: float | None = None) -> Any:
    """Lightning's trainer that writes and prints nothing; gradients are clipped to the norm `clip`."""
    from lightning.pytorch import Callback, Trainer

    class Look(Callback):
        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            assert stopper is not None
            if stopper.look():
                trainer.should_stop = True

    return Trainer(
        accelerator="gpu" if device == "cuda" else "cpu", devices=1, max_epochs=epochs, barebones=True,
        callbacks=[Look()] if stopper else [], gradient_clip_val=clip,
    )  # fmt: skip
