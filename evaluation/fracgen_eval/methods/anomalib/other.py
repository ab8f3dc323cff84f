"""Any of Anomalib's models that takes a backbone, through one adapter.

The adapter knows no model by name but for two arguments that follow from the network. What it relies on is
Anomalib's own interface: a Lightning module whose `model` gives scores and maps in evaluation. Whether a model
works with a network, its layers and its image size is found out by a short trial on grey noise before any work.
"""

from __future__ import annotations

import functools
import inspect
import json
from typing import Any

from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods import others
from fracgen_eval.methods.anomalib.injection import Injection, offline
from fracgen_eval.methods.anomalib.method import AnomalibMethod, trainer
from fracgen_eval.methods.anomalib.quiet import quiet, seeded, without_bars
from fracgen_eval.methods.base import Watch, on_cpu
from fracgen_eval.methods.needs import geometry_of
from fracgen_eval.methods.settings import Settings
from fracgen_eval.weights.backbones import Weights, WeightsSpec, load_weights
from fracgen_eval.weights.network import Network


class OtherModel(AnomalibMethod):
    """`anomalib:NAME`. Its backbone is proven to hold the file's tensors, before fitting and after it."""

    def __init__(self, name: str, weights: Weights, settings: Settings, *, seed: int, device: str) -> None:
        self.name, self.weights, self.settings, self.stages = name, weights, settings, ()
        self.protocol, self.seed, self.device = "honest", seed, device
        self.geometry = geometry_of(name, settings)
        injection = Injection(weights)
        with quiet(), seeded(seed):
            try:
                with injection.builders():
                    self.module = _built(name, weights.network, settings)
                self.places = injection.places(self.module.model)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # whatever a foreign constructor raises
                raise _refusal(name, weights.model, error) from error
        self._prove("built")

    def fit(self, images: Any, watch: Watch | None = None) -> dict[str, Any]:
        """Train for the settings' epochs, or the passes that the model asks for; the test images are never looked at.

        Raises:
            EvaluationError: the backbone was changed.
        """
        asked = self.module.trainer_arguments
        epochs, clip = asked.get("max_epochs") or self.settings["epochs"], asked.get("gradient_clip_val") or None
        with quiet(), seeded(self.seed), without_bars(), offline():
            run = trainer(self.device, epochs, clip=clip)
            self._train(run, datamodule=_data(self._loader(images)))
        self.module.eval()
        self._prove("fitted")
        return {"epochs": run.current_epoch, "proven_tensors": len(self.places)}

    def frozen(self) -> dict[str, Any]:
        """Every tensor of the backbone that the model kept."""
        tensors = on_cpu(self.module.model.state_dict())
        return {name: tensors[key] for key, name in self.places.items()}

    def _prove(self, when: str) -> None:
        import torch

        found = self.frozen()
        if changed := [name for name, tensor in found.items() if not torch.equal(tensor, self.weights.tensors[name])]:
            raise EvaluationError(
                f"{self.name} changed {len(changed)} of {len(found)} tensors of its backbone while it was {when}, "
                f"such as {changed[0]}: its numbers would not be those of the weights"
            )


def check_other(method: str, model: str, settings: Settings, images: int) -> None:
    """Find out whether one of Anomalib's models works with a network and that many images, by a trial on grey noise.

    The trial has few images, but its last batch is a single one where that of all images would be.

    Raises:
        EvaluationError: it does not; the message has Anomalib's own reason.
    """
    number, batch = others.check_images(method, settings, images), min(2, settings["batch"])
    if images > 1:
        alone = images % settings["batch"] == 1
        number = max(2, number)
        number += batch > 1 and alone != (number % 2 == 1)
    _try_out(method, model, json.dumps(settings, sort_keys=True), number, batch)


@functools.lru_cache(maxsize=64)
def _try_out(method: str, model: str, settings_text: str, number: int, batch: int) -> None:
    import torch

    settings = json.loads(settings_text)
    random = load_weights(WeightsSpec("random"), model)
    short = {"batch": batch} | ({"epochs": 1} if "epochs" in settings else {})
    trial = OtherModel(method, random, settings | short, seed=0, device="cpu")
    side, generator = trial.geometry.side, torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (max(2, number), 3, side, side), dtype=torch.uint8, generator=generator)
    try:
        trial.fit(images[:number])
        found = trial.predict(images[:2])
        if found.scores.shape != (2,) or (found.maps is not None and found.maps.shape != (2, side, side)):
            shape = None if found.maps is None else list(found.maps.shape)
            raise ValueError(f"two images give scores {list(found.scores.shape)} and maps {shape}")
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # whatever a foreign model raises
        raise _refusal(method, model, error) from error


def _built(method: str, net: Network, settings: Settings) -> Any:
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Resize

    kind, side = others.model_class(method), settings["image_size"]
    known = inspect.signature(kind.__init__).parameters
    own = {key: value for key, value in settings.items() if key in known}
    for key in ("layer", "layers"):
        if key in own:
            value = own[key]
            single = isinstance(value, str)
            stages = net.by_name([net.stage(value)] if single else net.chosen(value))
            own[key] = stages[0] if single else stages
    own |= {key: net.name for key in known if key.endswith("backbone")}
    if "input_shape" in known:
        own["input_shape"] = (side, side)
    if "input_dim" in known:  # of FRE: what is left of the layer's map after pooling
        channels, height, width = net.maps(side)[net.stage(settings["layer"]).layer]
        pool = settings["pooling_kernel_size"]
        own["input_dim"] = channels * (height // pool) * (width // pool)
    resize = PreProcessor(transform=Resize((side, side)))
    return kind(**own, pre_processor=resize, post_processor=False, evaluator=False, visualizer=False)


def _data(loader: Any) -> Any:
    """A data module around a loader: some models ask the trainer for one."""
    from lightning.pytorch import LightningDataModule

    class Pictures(LightningDataModule):
        def train_dataloader(self) -> Any:
            return loader

    return Pictures()


def _refusal(method: str, model: str, error: BaseException) -> EvaluationError:
    if isinstance(error, EvaluationError) and str(error).startswith(method):
        return error
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = lines[0][:200] if isinstance(error, EvaluationError) else f"{type(error).__name__}: {lines[0][:200]}"
    return EvaluationError(f"{method} cannot run on {model}: {reason}; use another method, --model or --settings")
