"""Anomalib's models, built by their own constructors on given weights, and trained by Lightning.

Scores and maps are raw: Anomalib's post-processing and metrics stay out (its AUROC squashes what
lies outside [0, 1]). No checkpoint, log or result folder is written.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeAlias, TypedDict, TypeVar, Unpack, cast

from fracgen_eval.errors import EvaluationError
from fracgen_eval.images import Geometry
from fracgen_eval.methods import base
from fracgen_eval.methods.inject import FEATURES, Injection, offline
from fracgen_eval.methods.kept import kept_features
from fracgen_eval.methods.quiet import quiet, seeded, without_bars
from fracgen_eval.weights.backbones import Weights
from fracgen_eval.weights.network import Network, Stage

if TYPE_CHECKING:
    from anomalib.data import ImageBatch
    from anomalib.models.components import AnomalibModule
    from anomalib.pre_processing import PreProcessor
    from lightning.pytorch import LightningDataModule, LightningModule, Trainer
    from torch import Tensor, nn
    from torch.utils.data import Dataset

ProtocolName: TypeAlias = Literal["honest", "paper"]
PYRAMID = ("layer1", "layer2", "layer3")


@dataclass(frozen=True, kw_only=True)
class AnomalibSettings(base.Settings):
    """What all of Anomalib's models read."""

    image_size: base.Side = 256
    batch: base.Batch = 32
    protocol: ProtocolName = field(default="honest", metadata={"stored": False})
    """`paper` resizes without antialiasing, stops on the test set, and uses that time's optimisers."""

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.image_size, antialias=self.protocol == "honest")

    @property
    def length(self) -> tuple[int, int]:
        """Epochs at most, and how many without a better score on the test images end the training; 0: all are run."""
        return 1, 0

    @property
    def most_steps(self) -> int:
        """After which the training ends; -1: with the epochs."""
        return -1

    def stages(self, net: Network) -> tuple[Stage, ...]:
        self.check_sizes()
        stages = net.chosen(getattr(self, "layers", PYRAMID))
        net.maps(self.geometry.side)
        return stages


@dataclass(frozen=True, kw_only=True)
class LayeredSettings(AnomalibSettings):
    """With layers to be chosen."""

    layers: base.Layers = PYRAMID
    """`layer1` to `layer4`, timm's names, or shares of the depth such as `0.5`."""


@dataclass(frozen=True, kw_only=True)
class TrainedSettings(AnomalibSettings):
    """Of methods that train for epochs.

    `epochs` is the fixed length of the `honest` protocol, which never looks at test images. `most_epochs` and
    `patience` belong to `paper`, which stops on the test set's pixel AUROC as the paper's authors' configuration
    files do, so that tables can be compared; without patience all epochs are run.
    """

    epochs: base.Count = 100
    most_epochs: base.Count = 100
    patience: base.CountOrNone = 0

    @property
    def length(self) -> tuple[int, int]:
        return (self.epochs, 0) if self.protocol == "honest" else (self.most_epochs, self.patience)

    def idle(self, name: str) -> str:
        reader = {"epochs": "honest", "most_epochs": "paper", "patience": "paper"}.get(name, self.protocol)
        return "" if reader == self.protocol else f"protocol '{reader}'"


S = TypeVar("S", bound=AnomalibSettings)


class Common(TypedDict):
    """Arguments that all of Anomalib's modules take: the pre-processor, and no more."""

    pre_processor: PreProcessor
    post_processor: bool
    evaluator: bool
    visualizer: bool


class AnomalibMethod(Generic[S]):
    """A model of Anomalib. Its backbone is proven to hold the file's tensors, before fitting and after it."""

    backbone: ClassVar[str] = FEATURES
    """The name by which the constructor asks for the backbone's features."""
    batch_bound: ClassVar[bool] = False
    """Whether maps depend on the batch they are judged in, which then always has `PREDICT_BATCH` images."""

    def __init__(self, settings: S, weights: Weights, seed: int, device: str) -> None:
        self.settings, self.weights, self.seed, self.device = settings, weights, seed, device
        self.geometry = settings.geometry
        self.stages = settings.stages(weights.network)
        with quiet(), seeded(seed):
            self.module, self.network, self.places = self._placed()
        _blur_by_lines(self.module.model)
        self._prove("built")

    def injection(self) -> Injection:
        """What answers for timm while Anomalib's constructor runs."""
        return Injection(self.weights, self.geometry.side, self.stages, self.backbone)

    def built(self, **common: Unpack[Common]) -> AnomalibModule:
        """Anomalib's module, not fitted."""
        raise NotImplementedError

    def expect(self, images: int) -> None:
        """Make ready for so many training images."""

    def fit(self, images: Tensor, watch: base.Watch | None = None) -> base.Table:
        """Train as long as the settings or the model say; `paper` with a watch stops early and keeps the best state.

        Raises:
            EvaluationError: the backbone was changed.
        """
        asked, (epochs, patience) = self.module.trainer_arguments, self.settings.length
        stopper = _Stopper(self, watch, patience) if watch and patience else None
        with quiet(), seeded(self.seed), without_bars(), offline():
            self.expect(len(images))
            epochs = asked.get("max_epochs") or epochs
            run = _trainer(self.device, epochs, self.settings.most_steps, stopper, asked.get("gradient_clip_val"))
            again = isinstance(self.settings, TrainedSettings) and epochs > 1
            try:
                with kept_features(self.network) if again else contextlib.nullcontext():
                    run.fit(self.module, datamodule=self._data(images))
            except SystemExit as stop:  # Lightning's answer to Ctrl-C
                raise KeyboardInterrupt from stop
            if run.interrupted:
                raise KeyboardInterrupt
        facts: base.Table = {"epochs": run.current_epoch}
        if stopper is not None:
            self.module.load_state_dict(stopper.state)
            facts |= {"best_epoch": stopper.epoch, "watched": stopper.history}
        self.module.eval()
        self._prove("fitted")
        return facts | {"proven_tensors": len(self.places)}

    def predict(self, images: Tensor, batch: int = base.PREDICT_BATCH) -> base.Prediction:
        """Raw scores and maps."""
        import torch

        self.module.to(self.device).eval()
        scores, maps = [], []
        with quiet(), torch.no_grad():
            for part in base.batches(images, base.PREDICT_BATCH if self.batch_bound else batch):
                out = self.module.model(base.normalised(part, self.weights, self.device))
                scores.append(out.pred_score.reshape(-1).float().cpu())
                if out.anomaly_map is not None:
                    maps.append(out.anomaly_map.reshape(len(part), *out.anomaly_map.shape[-2:]).float().cpu())
        return base.Prediction(torch.cat(scores).numpy(), torch.cat(maps).numpy() if maps else None)

    def frozen(self) -> dict[str, Tensor]:
        """Every tensor of the backbone that the model kept."""
        tensors = self.module.model.state_dict()
        return base.on_cpu({name: tensors[key] for key, name in self.places.items()})

    def state(self) -> dict[str, Tensor]:
        """All of the model."""
        return base.on_cpu(self.module.model.state_dict())

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up a fitted state."""
        self.module.model.load_state_dict(state, strict=True)
        self.module.eval()

    def _placed(self) -> tuple[AnomalibModule, nn.Module, dict[str, str]]:
        """The module, the network with the weights in it, and the file's names of its tensors by the module's."""
        from anomalib.pre_processing import PreProcessor
        from torchvision.transforms.v2 import Resize

        side, injection = self.geometry.side, self.injection()
        with injection.builders():
            module = self.built(
                pre_processor=PreProcessor(transform=Resize((side, side))), post_processor=False, evaluator=False,
                visualizer=False,
            )  # fmt: skip
        places = injection.places(module.model)
        return module, injection.networks[0], places

    def _prove(self, when: str) -> None:
        import torch

        found = self.frozen()
        if changed := [name for name, tensor in found.items() if not torch.equal(tensor, self.weights.tensors[name])]:
            raise EvaluationError(
                f"{self.settings.method} changed {len(changed)} of {len(found)} tensors of its backbone while it was "
                f"{when}, such as {changed[0]}: its numbers would not be those of the weights"
            )

    def _data(self, images: Tensor) -> LightningDataModule:
        """A data module of the training images, which some models ask the trainer for."""
        import torch
        from anomalib.data import ImageBatch
        from lightning.pytorch import LightningDataModule
        from torch.utils.data import DataLoader

        def collate(items: list[Tensor]) -> ImageBatch:
            batch = base.normalised(torch.stack(items), self.weights, "cpu")
            return ImageBatch(image=batch, gt_label=torch.zeros(len(items), dtype=torch.long))

        order = torch.Generator().manual_seed(self.seed)
        pictures = cast("Dataset[Tensor]", images)  # it has all that is asked of one
        batch = self.settings.batch
        loader = DataLoader(pictures, batch, shuffle=True, generator=order, collate_fn=collate)

        class Pictures(LightningDataModule):
            train_batch_size = batch

            def train_dataloader(self) -> DataLoader[Tensor]:
                return loader

        return Pictures()


class _Stopper:
    """The `paper` protocol's look at the test set after each epoch; the best state is kept in memory."""

    def __init__(self, method: AnomalibMethod[S], watch: base.Watch, patience: int) -> None:
        self.method, self.watch, self.patience = method, watch, patience
        self.history: list[float] = []
        self.epoch = -1
        self.state: dict[str, Tensor] = {}

    def look(self) -> bool:
        """Judge the test images; whether training should stop."""
        module = self.method.module
        modes = [(m, m.training) for m in module.modules()]
        self.history.append(self.watch.score(self.method.predict(self.watch.images)))
        for m, training in modes:
            m.training = training
        if self.epoch < 0 or self.history[-1] > self.history[self.epoch]:
            self.epoch = len(self.history) - 1
            self.state = base.on_cpu(module.state_dict())
        return len(self.history) - 1 - self.epoch >= self.patience


def _blur_by_lines(model: nn.Module) -> None:
    """Make Anomalib's Gaussian blurs go over rows, then columns: 33 + 33 products a place in the place of 33 x 33."""
    from anomalib.models.components import GaussianBlur2d
    from torch.nn.functional import conv2d, pad

    def blurred(blur: GaussianBlur2d, maps: Tensor) -> Tensor:
        if blur.padding == "same":
            maps = pad(maps, blur.padding_shape, mode=blur.border_type)
        for line in (blur.kernel.sum(3, keepdim=True), blur.kernel.sum(2, keepdim=True)):
            maps = conv2d(maps, line, groups=blur.channels)
        return maps

    for module in model.modules():
        if isinstance(module, GaussianBlur2d):
            vars(module).update(forward=functools.partial(blurred, module))


def _trainer(device: str, epochs: int, steps: int, stopper: _Stopper | None, clip: float | None) -> Trainer:
    """Lightning's trainer that writes and prints nothing; gradients are clipped to the norm `clip`, if any.

    Epochs or steps that are not limited are -1.
    """
    from lightning.pytorch import Callback, Trainer

    class Look(Callback):
        def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
            assert stopper is not None
            trainer.should_stop = trainer.should_stop or stopper.look()

    return Trainer(
        accelerator="gpu" if device == "cuda" else "cpu", devices=1, max_epochs=epochs, max_steps=steps,
        barebones=True, callbacks=[Look()] if stopper else [], gradient_clip_val=clip or None,
    )  # fmt: skip


def check_last_batch(settings: TrainedSettings, images: int, values: Callable[[], int]) -> None:
    """Refuse a last batch of one image of which a batch normalisation that is trained sees a single value a channel.

    Args:
        settings: of the method.
        images: number of training images.
        values: the fewest that a batch normalisation sees of a channel of one image.

    Raises:
        EvaluationError: the last batch is such a one.
    """
    batch, side = settings.batch, settings.image_size
    if (images % batch or min(images, batch)) == 1 and values() < 2:
        raise EvaluationError(
            f"{settings.method} cannot train on a batch of one image of {side} px, which is what {images} training "
            f"images leave after batches of {batch}: change {settings.method}.batch, use a larger image_size, or more "
            "than one image"
        )
