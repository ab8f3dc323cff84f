"""Anomalib's models beside the six that have a name here: which there are, their settings, and one adapter for all.

`anomalib:NAME` is any of Anomalib's image models whose constructor takes a `backbone`. Its settings are the
constructor's own arguments of plain kinds with the defaults that they have there, so that a new release brings its
models and settings with it; only how long each trains stands here, as constructors do not say, and how it asks for
its network (`tokens.py` for those of transformers). What the adapter relies on is Anomalib's own interface: a Lightning
module whose `model` gives scores and maps in evaluation. Whether a model works with a network, its layers and its image
size is found out by a short trial on grey noise before any work.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Unpack

from fracgen_eval.errors import EvaluationError, one_of
from fracgen_eval.methods.base import PREDICT_BATCH, Layers, Limits, Prediction, Side, Table
from fracgen_eval.methods.engine import AnomalibMethod, AnomalibSettings, Common
from fracgen_eval.methods.inject import FEATURES, Injection
from fracgen_eval.methods.quiet import quiet
from fracgen_eval.methods.tokens import MODELS, ROTARY, check_tokens, known_as_small
from fracgen_eval.weights.backbones import Weights, WeightsSpec, load_weights
from fracgen_eval.weights.network import Network, Stage
from fracgen_eval.weights.tokens import tokens_of

if TYPE_CHECKING:
    from anomalib.models.components import AnomalibModule
    from torch import Tensor

PREFIX = "anomalib:"
OWN = {
    "cflow": "cflow", "fastflow": "fastflow", "padim": "padim", "patchcore": "patchcore",
    "reverse_distillation": "rd", "stfpm": "stfpm", "anomaly_dino": "anomaly_dino", "rad": "rad",
}  # fmt: skip
"""Anomalib's models that are methods under a name of their own, which `anomalib:` before theirs means as well."""
EPOCHS = {
    "cfa": 30, "foundad": 2000, "fre": 220, "glass": 100, "inp_former": 200, "l2bt": 50, "supersimplenet": 300,
    "uflow": 200,
}  # fmt: skip
"""As Anomalib's example configurations and READMEs have them; models of few passes say so themselves."""
USUAL_EPOCHS = 100
FEW_PASSES = ("anomaly_dino", "dfkde", "dfm", "mh_patchcore", "rad", "super_add")
"""They go through the images once or a fixed number of times: no epochs to set."""
IMAGE_LEVEL = ("anomalib:dfkde",)
"""Those known to give no map."""
TRIAL: dict[str, Table] = {"dfkde": {"n_pca_components": 4}}
"""For `--limit small`, beside two epochs: a density in 16 dimensions needs more images than it has."""
TITLES = {
    "anomaly_dino": "AnomalyDINO", "cfa": "CFA", "dfkde": "DFKDE", "dfm": "DFM", "dinomaly": "Dinomaly",
    "efficient_ad": "EfficientAD",
    "foundad": "FoundAD", "fre": "FRE", "general_ad": "GeneralAD", "glass": "GLASS", "inp_former": "INP-Former",
    "l2bt": "L2BT", "mh_patchcore": "MH-PatchCore", "patchflow": "PatchFlow", "rad": "RAD", "super_add": "SuperADD",
    "supersimplenet": "SuperSimpleNet", "uflow": "U-Flow",
}  # fmt: skip
LEAST_IMAGES: dict[str, int | str] = {"dfkde": "n_pca_components", "dfm": 1}
"""Training images of which a model needs more: a number, or the setting that has it."""
TAKES_MAPS = ("dfkde", "dfm", "fre", "glass", "mh_patchcore", "supersimplenet")
"""They take the maps of whatever network; others know some by name."""
COMPARES = ("anomaly_dino", "rad", "super_add")
JUDGED = 4
"""Pictures whose tokens `COMPARES` compare with those of all training pictures at a time, which takes memory."""
LAYERS = ("layers", "target_layers")
"""Arguments that name layers."""
NETWORK = ("backbone", "encoder_name")
"""Arguments that name the network, or whose names end so."""
BUILT = frozenset({"encoder_name", "backbone", "pre_trained", "input_dim", "supervised", "evaluator", "visualizer"})
"""Arguments that are not settings: the adapter gives them, or there are no labels for them."""
LARGEST = {"flow_steps": 64}
WHOLE_LARGEST = 4096
"""Of whole numbers: this, or four times the usual one."""


def is_other(method: str) -> bool:
    """Whether a method is named as one of Anomalib's models."""
    return method.startswith(PREFIX)


def own_name(method: str) -> str:
    """The name that a method has here.

    >>> own_name("anomalib:padim"), own_name("anomalib:cfa")
    ('padim', 'anomalib:cfa')
    """
    return OWN.get(method.removeprefix(PREFIX), method) if is_other(method) else method


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

    @property
    def name(self) -> str:
        """Anomalib's own."""
        return self.method.removeprefix(PREFIX)

    def takes_tokens(self, net: Network) -> bool:
        """Whether the model takes the network's tokens, and not its maps."""
        return self.name in MODELS and not (MODELS[self.name].maps and tokens_of(net.name) is None)

    def stages(self, net: Network) -> tuple[Stage, ...]:
        """Those whose maps are taken in the place of the ones that the model asks for."""
        self.check_sizes()
        if self.takes_tokens(net):
            check_tokens(self.method, net, vars(self))
        elif self.name in MODELS:
            net.maps(self.image_size)
            return net.chosen(MODELS[self.name].maps)
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

    def injection(self) -> Injection:
        return Injection(self.weights, self.geometry.side, self.stages, self._names()[1], in_order=True)

    def built(self, **common: Unpack[Common]) -> AnomalibModule:
        """The constructor with the settings as its arguments, layers by timm's names or numbers."""
        own, net = self.settings, self.weights.network
        kind, side, model = _classes()[own.name], own.image_size, MODELS.get(own.name)
        known = inspect.signature(kind.__init__).parameters
        given = {name: getattr(own, name) for name in own.arguments}
        if "layer" in given:
            (given["layer"],) = net.by_name([net.stage(given["layer"])])
        for key in given.keys() & {*LAYERS}:
            stages = net.chosen(given[key])
            given[key] = [net.index(s) + model.first for s in stages] if model else net.by_name(stages)
        given |= {key: self._names()[0] for key in known if key.endswith(NETWORK)}
        given |= {key: shape for key, shape in (("input_shape", (side, side)), ("image_size", side)) if key in known}
        if "input_dim" in known:  # of FRE: what is left of the layer's map after pooling
            channels, height, width = net.maps(side)[net.stage(vars(own)["layer"]).layer]
            pool = vars(own)["pooling_kernel_size"]
            given["input_dim"] = channels * (height // pool) * (width // pool)
        tokens = tokens_of(net.name)
        with known_as_small(own.name, tokens) if model and tokens else contextlib.nullcontext():
            module = kind(**given, **common)
        held, usual = dict(module.model.named_buffers(recurse=False)), self.weights.normalisation
        for name, values in (("_img_mean", usual.mean), ("_img_std", usual.std)):  # GLASS undoes the normalisation
            if name in held:
                held[name].copy_(held[name].new_tensor(values).reshape(held[name].shape))
        return module

    def predict(self, images: Tensor, batch: int = PREDICT_BATCH) -> Prediction:
        """Raw scores and maps."""
        return super().predict(images, min(batch, JUDGED) if self.settings.name in COMPARES else batch)

    def _names(self) -> tuple[str, str]:
        """The network's name for the constructor, and the one for which timm then answers with it."""
        own, net = self.settings, self.weights.network
        if not own.takes_tokens(net):
            return (FEATURES, FEATURES) if own.name in (*TAKES_MAPS, *MODELS) else (net.name, "")
        tokens, model = tokens_of(net.name), MODELS[own.name]
        return (ROTARY, ROTARY) if own.name == "general_ad" and tokens and tokens.rotary else (model.named, model.asked)


def model_class(method: str) -> type[AnomalibModule]:
    """Anomalib's Lightning module of that name.

    Raises:
        EvaluationError: Anomalib has no such model, it is one of fracgen's own methods, or it takes no backbone.

    >>> model_class("anomalib:cfa").__name__
    'Cfa'
    """
    name = method.removeprefix(PREFIX)
    if name in OWN:
        raise EvaluationError(f"{method} is a method of its own: use --method {OWN[name]}")
    classes = _classes()
    one_of(name, classes, "model of Anomalib")
    able = [n for n, kind in classes.items() if (_takes_backbone(kind) or n in MODELS) and n not in OWN]
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
    fields = []
    if model := MODELS.get(name):
        own |= {key: model.layers for key in LAYERS if key in parameters}
        fields = [("image_size", Side, dataclasses.field(default=model.side))]
    kind: type[OtherSettings] = dataclasses.make_dataclass(
        f"{name}_settings", [*fields, *(_field(key, default) for key, default in (epochs | own).items())],
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
