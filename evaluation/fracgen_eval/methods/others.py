"""Anomalib's models beside the six that have a name here: which there are, their settings, and one adapter for all.

`anomalib:NAME` is any of Anomalib's image models whose constructor takes a `backbone`. Its settings are the
constructor's own arguments of plain kinds with the defaults that they have there, so that a new release brings its
models and settings with it; only how long each trains stands here, as constructors do not say. The adapter knows no
model by name but for two arguments that follow from the network. What it relies on is Anomalib's own interface: a
Lightning module whose `model` gives scores and maps in evaluation. Whether a model works with a network, its layers
and its image size is found out by a short trial on grey noise before any work.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Unpack

from fracgen_eval.errors import EvaluationError, one_of
from fracgen_eval.methods.base import Layers, Limits, Table
from fracgen_eval.methods.engine import AnomalibMethod, AnomalibSettings, Common
from fracgen_eval.methods.quiet import quiet
from fracgen_eval.weights.backbones import Weights, WeightsSpec, load_weights
from fracgen_eval.weights.network import Network, Stage

if TYPE_CHECKING:
    from anomalib.models.components import AnomalibModule

PREFIX = "anomalib:"
OWN = {
    "cflow": "cflow", "fastflow": "fastflow", "padim": "padim", "patchcore": "patchcore",
    "reverse_distillation": "rd", "stfpm": "stfpm",
}  # fmt: skip
"""Anomalib's models that are methods under a name of their own."""
EPOCHS = {"cfa": 30, "fre": 220, "glass": 100, "supersimplenet": 300, "uflow": 200}
"""As Anomalib's example configurations and READMEs have them; models of few passes say so themselves."""
USUAL_EPOCHS = 100
FEW_PASSES = ("dfkde", "dfm", "mh_patchcore")
"""They go through the images once or a fixed number of times: no epochs to set."""
IMAGE_LEVEL = ("anomalib:dfkde",)
"""Those known to give no map."""
TRIAL: dict[str, Table] = {"dfkde": {"n_pca_components": 4}}
"""For `--limit small`, beside two epochs: a density in 16 dimensions needs more images than it has."""
TITLES = {
    "cfa": "CFA", "dfkde": "DFKDE", "dfm": "DFM", "efficient_ad": "EfficientAD", "fre": "FRE", "glass": "GLASS",
    "mh_patchcore": "MH-PatchCore", "patchflow": "PatchFlow", "supersimplenet": "SuperSimpleNet", "uflow": "U-Flow",
}  # fmt: skip
LEAST_IMAGES: dict[str, int | str] = {"dfkde": "n_pca_components", "dfm": 1}
"""Training images of which a model needs more: a number, or the setting that has it."""
BUILT = frozenset({"backbone", "pre_trained", "input_dim", "supervised", "evaluator", "visualizer"})
"""Arguments that are not settings: the adapter gives them, or there are no labels for them."""
LARGEST = {"flow_steps": 64}
WHOLE_LARGEST = 4096
"""Of whole numbers: this, or four times the usual one."""


def is_other(method: str) -> bool:
    """Whether a method is named as one of Anomalib's models."""
    return method.startswith(PREFIX)


def title(method: str) -> str:
    """For tables."""
    name = method.removeprefix(PREFIX)
    return TITLES.get(name, name)


@dataclass(frozen=True, kw_only=True)
class OtherSettings(AnomalibSettings):
    """What all of the other models read; each has a class of its own with the arguments of its constructor."""

    arguments: ClassVar[Layers] = ()
    """Names of the fields that are the constructor's arguments."""

    @property
    def length(self) -> tuple[int, int]:
        return int(getattr(self, "epochs", 1)), 0

    def stages(self, net: Network) -> tuple[Stage, ...]:
        return ()

    def check(self, net: Network, images: int) -> None:
        """Try the model out on grey noise, with a last batch of a single image where that of all images would be.

        Raises:
            EvaluationError: it does not work; the message has Anomalib's own reason.
        """
        number, batch = self._least(images), min(2, self.batch)
        if images > 1:
            alone = images % self.batch == 1
            number = max(2, number)
            number += batch > 1 and alone != (number % 2 == 1)
        _try_out(self, net.name, number, batch)

    def _least(self, images: int) -> int:
        """The number of training images with which the model can begin.

        Raises:
            EvaluationError: there are fewer.
        """
        known = LEAST_IMAGES.get(self.method.removeprefix(PREFIX), 0)
        more_than = int(getattr(self, known)) if isinstance(known, str) else known
        if images > more_than:
            return more_than + 1
        setting, remedy = "", "add some"
        if isinstance(known, str):
            setting, remedy = f" ({known})", f"add some, or set a lower {known} in --settings"
        raise EvaluationError(
            f"{self.method} needs more than {more_than} training images{setting}, and there are {images}: {remedy}"
        )


class OtherModel(AnomalibMethod[OtherSettings]):
    """`anomalib:NAME`."""

    backbone = ""

    def __init__(self, settings: OtherSettings, weights: Weights, seed: int, device: str) -> None:
        try:
            super().__init__(settings, weights, seed, device)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # whatever a foreign constructor raises
            raise _refusal(settings.method, weights.model, error) from error

    def built(self, **common: Unpack[Common]) -> AnomalibModule:
        """The constructor with the settings as its arguments, layers by timm's names."""
        kind, net, own = model_class(self.settings.method), self.weights.network, self.settings
        side, known = own.image_size, inspect.signature(kind.__init__).parameters
        given = {name: getattr(own, name) for name in own.arguments}
        if "layer" in given:
            (given["layer"],) = net.by_name([net.stage(given["layer"])])
        if "layers" in given:
            given["layers"] = net.by_name(net.chosen(given["layers"]))
        given |= {key: net.name for key in known if key.endswith("backbone")}
        if "input_shape" in known:
            given["input_shape"] = (side, side)
        if "input_dim" in known:  # of FRE: what is left of the layer's map after pooling
            channels, height, width = net.maps(side)[net.stage(vars(own)["layer"]).layer]
            pool = vars(own)["pooling_kernel_size"]
            given["input_dim"] = channels * (height // pool) * (width // pool)
        return kind(**given, **common)


def model_class(method: str) -> type[AnomalibModule]:
    """Anomalib's Lightning module of that name.

    Raises:
        EvaluationError: Anomalib has no such model, it is one of fracgen's own methods, or it takes no backbone.

    >>> model_class("anomalib:cfa").__name__
    'Cfa'
    """
    name = method.removeprefix(PREFIX)
    if name in OWN:
        raise EvaluationError(f"{method} is one of the eight methods: use --method {OWN[name]}")
    classes = _classes()
    one_of(name, classes, "model of Anomalib")
    able = [other for other, kind in classes.items() if _takes_backbone(kind) and other not in OWN]
    if name not in able:
        raise EvaluationError(
            f"{method} takes no backbone, so there are no weights to compare in it: use one of {', '.join(able)}"
        )
    return classes[name]


def settings_class(method: str) -> type[OtherSettings]:
    """The settings of one of Anomalib's models: image side, batch and epochs, and its constructor's plain arguments.

    Raises:
        EvaluationError: see `model_class`.

    >>> settings_class("anomalib:dfkde").defaults()["n_pca_components"]
    16
    """
    name, parameters = method.removeprefix(PREFIX), inspect.signature(model_class(method).__init__).parameters
    own = {key: p.default for key, p in parameters.items() if key not in BUILT and _plain(key, p.default)}
    epochs = {} if name in FEW_PASSES else {"epochs": EPOCHS.get(name, USUAL_EPOCHS)}
    kind: type[OtherSettings] = dataclasses.make_dataclass(
        f"{name}_settings", [_field(key, default) for key, default in (epochs | own).items()],
        bases=(OtherSettings,), frozen=True, kw_only=True,
        namespace={
            "method": method, "arguments": tuple(own), "maps": method not in IMAGE_LEVEL,
            "trial": dict.fromkeys(epochs, 2) | TRIAL.get(name, {}),
        },
    )  # fmt: skip
    return kind


@functools.cache
def _classes() -> dict[str, type[AnomalibModule]]:
    """Anomalib's image models by the names of their packages, in alphabetic order."""
    with quiet():
        import anomalib.models
        from anomalib.models.components import AnomalibModule
    found = {}
    for kind in vars(anomalib.models).values():
        if inspect.isclass(kind) and issubclass(kind, AnomalibModule) and kind is not AnomalibModule:
            family, _, rest = kind.__module__.removeprefix("anomalib.models.").partition(".")
            if family == "image":
                found[rest.partition(".")[0]] = kind
    return dict(sorted(found.items()))


def _takes_backbone(kind: type[AnomalibModule]) -> bool:
    return any(name.endswith("backbone") for name in inspect.signature(kind.__init__).parameters)


def _plain(key: str, default: object) -> bool:
    """Whether an argument is a setting: a number, a switch, a word, or the names of layers."""
    if isinstance(default, (tuple, list)):
        return key == "layers" and all(isinstance(layer, str) for layer in default)
    return type(default) in (int, float, bool, str) and not key.endswith("processor")


def _field(key: str, default: object) -> tuple[str, object, object]:
    """Name, type and default of a setting; a number may be 0 where its default is."""
    kind: object = Layers if isinstance(default, (tuple, list)) else type(default)
    if isinstance(default, (int, float)) and not isinstance(default, bool) and default >= 0:
        most = max(WHOLE_LARGEST, 4 * default) if isinstance(default, int) else math.inf
        kind = Annotated[type(default), Limits(LARGEST.get(key, most), zero=default == 0)]
    return key, kind, dataclasses.field(default=tuple(default) if isinstance(default, list) else default)


@functools.lru_cache(maxsize=64)
def _try_out(settings: OtherSettings, model: str, number: int, batch: int) -> None:
    import torch

    short = vars(settings) | {"batch": batch} | ({"epochs": 1} if "epochs" in vars(settings) else {})
    trial = OtherModel(type(settings)(**short), load_weights(WeightsSpec("random"), model), 0, "cpu")
    side, generator = settings.image_size, torch.Generator().manual_seed(0)
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
        raise _refusal(settings.method, model, error) from error


def _refusal(method: str, model: str, error: BaseException) -> EvaluationError:
    if isinstance(error, EvaluationError) and str(error).startswith(method):
        return error
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = lines[0][:200] if isinstance(error, EvaluationError) else f"{type(error).__name__}: {lines[0][:200]}"
    return EvaluationError(f"{method} cannot run on {model}: {reason}; use another method, --model or --settings")
