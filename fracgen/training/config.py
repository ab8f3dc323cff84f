"""What is trained, and on what: two frozen dataclasses and the named presets.

`Config` decides the result; a run may be resumed only with the same one. `Machine` says where and
how fast it is computed and may change whenever a run is resumed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Literal

from fracgen.draws import seed_key
from fracgen.formulas.ifs import BankSpec
from fracgen.loading.augment import AUGMENTATIONS, Augmentation
from fracgen.loading.twins import MOST_SHOTS
from fracgen.recipes.presets import PRESETS as RECIPES
from fracgen.recipes.recipe import Recipe, Spec, check_formula
from fracgen.support.decode import JsonValue, Table
from fracgen.support.options import Option, Within, check_fields, check_number

Optimizer = Literal["sgd", "adamw"]
Precision = Literal["auto", "float32", "bfloat16"]
Objective = Literal["auto", "class", "several", "pairs", "damage", "codes"]
Schedule = Literal["one-cycle", "cosine", "trapezoid"]
LOGGERS = ("tensorboard", "wandb")
FIRST = 1 / 25
"""First learning rate of a one-cycle, as a share of its peak; this and the next are torch's (OneCycleLR)."""
LAST = FIRST / 1e4
COOL_DOWN = 0.2
"""Share of the steps in which a trapezoid comes down."""
COUNT = Within(1, 2**31)


@dataclass(frozen=True)
class Config(Table):
    """One pre-training. Defaults are the paper's (section 4): WideResNet50, 100 epochs of 1,000,000 images.

    Raises:
        ValueError: a number is out of range, a name is unknown, a batch is larger than an epoch, or objective,
            augmentation and recipe do not fit each other.

    >>> config = named_config("quick")
    >>> config.model, config.steps_per_epoch, config.steps
    ('resnet18', 63, 252)
    >>> Config.from_json(config.to_json()) == config
    True
    """

    what = "config"
    preset: str
    recipe: Recipe
    bank: Spec
    _: KW_ONLY
    bank_seed: int = 0
    model: Annotated[str, Option("Classifier of torchvision or timm.", default="wide_resnet50_2; quick: resnet18")] = (
        "wide_resnet50_2"
    )
    seed: Annotated[int, "Seed of the images, their order and the model's first weights."] = 0
    initial: str | None = None
    """SHA-256 of the file of weights that the model begins with; None for random ones."""
    epochs: Annotated[int, Option("Number of epochs.", default="100; quick: few"), COUNT] = 100
    epoch_size: Annotated[int, "Number of images in an epoch.", COUNT] = 1_000_000
    batch_size: Annotated[int, "Number of images in a step, of all processes together.", COUNT] = 512
    validation_size: Annotated[
        int, "Number of images of the validation stream, shown after every epoch; 0: none.", Within(0, 2**31)
    ] = 10_240
    pictures: Annotated[
        int | None, Option("Number of different images.", default="every one is new")
    ] = None
    augmentation: Augmentation | None = None
    """What is done to training images on their device; validation sees them as they were rendered."""
    objective: Annotated[
        Objective,
        Option("What the network predicts: the class of an image, several classes, which two images are a pair, where "
               "each of several shots is damaged, or how far codes lie apart; auto: by the recipe's labels.",
               default="the preset's"),
    ] = "auto"
    shots: Annotated[int, "Number of shots of a picture that are compared; for damage only.", Within(2, MOST_SHOTS)] = 2
    grains: Annotated[
        float, "Share of the pictures whose ground is grains, as of crystals; for damage only.", Within(0.0, 1.0)
    ] = 0.0
    code_weight: Annotated[
        float, "Weight of the objective codes beside class; for class only.", Within(0.0, 1e3)
    ] = 0.0
    label_smoothing: Annotated[
        float, "Share of the target that is spread over all classes; for class only.", Within(0.0, 0.99)
    ] = 0.0
    optimizer: Annotated[Optimizer, "Optimizer."] = "sgd"
    learning_rate: Annotated[float, "Learning rate at the schedule's peak.", Within(1e-9, 1e3)] = 0.1
    schedule: Annotated[
        Schedule,
        "one-cycle: half cosines up and down. cosine: a straight line up, a half cosine down to 0. trapezoid: a "
        "straight line up, the peak, a straight line down to 0 in the last fifth.",
    ] = "one-cycle"
    warm_up: Annotated[float, "Share of all steps in which the learning rate rises.", Within(0.0, 0.99)] = 0.1
    ema: Annotated[
        float,
        Option("Decay per step of a moving average of the weights, which is validated and exported.",
               default="0: none"),
        Within(0.0, 0.999999),
    ] = 0.0
    momentum: Annotated[float, Within(0.0, 0.9999)] = 0.9
    """SGD only."""
    weight_decay: Annotated[float, "L2 penalty.", Within(0.0, 10.0)] = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        seed_key(self.seed)
        check_formula(self.bank, self.recipe)
        if self.pictures is not None:
            check_number("pictures", self.pictures, Within(1, self.epoch_size))
        if self.batch_size > self.epoch_size:
            raise ValueError(f"batch_size {self.batch_size} is more than an epoch of {self.epoch_size} images")
        self._check_objective()

    def _check_objective(self) -> None:
        """Raise ValueError where objective, augmentation and label smoothing do not fit the recipe or each other."""
        recipe, task = self.recipe, self.task
        if task == "pairs" and recipe.views != 2:
            raise ValueError(f"objective pairs compares pairs, and recipe {recipe.name!r} has 1 view: use --views 2, "
                             "or the preset two-view")  # fmt: skip
        if task != "pairs" and recipe.views == 2:
            raise ValueError(f"objective {task} looks at single images, and recipe {recipe.name!r} has 2 views: use "
                             "--objective pairs, or --views 1")  # fmt: skip
        if task == "damage" and self.augmentation is not None:
            raise ValueError("objective damage has two cameras in place of an augmentation: use --augment none")
        if task != "damage" and (task == "several") != (recipe.source == "bank") and recipe.views == 1:
            several = "several classes" if recipe.source == "bank" else "one class"
            raise ValueError(f"objective {task} does not fit recipe {recipe.name!r}, whose images have {several}: use "
                             f"{'several' if recipe.source == 'bank' else 'class'}, or damage")  # fmt: skip
        if self.grains and task != "damage":
            raise ValueError(f"grains {self.grains:g} has no meaning for objective {task}: use 0")
        if self.shots != 2 and task != "damage":
            raise ValueError(f"shots {self.shots} has no meaning for objective {task}: use 2")
        if self.code_weight and task != "class":
            raise ValueError(f"code_weight {self.code_weight:g} has no meaning for objective {task}: use 0")
        if (self.code_weight or task == "codes") and self.augmentation is not None and self.augmentation.mixes:
            raise ValueError("a mixed picture has no code: use --augment unmixed, crop or none")
        if self.label_smoothing and task != "class":
            raise ValueError(f"label_smoothing {self.label_smoothing:g} has no meaning for objective {task}: use 0")
        if recipe.views == 2 and self.augmentation is not None and self.augmentation.mixes:
            raise ValueError(f"recipe {recipe.name!r} has 2 views, and pairs are not mixed: use --augment unmixed")

    @property
    def task(self) -> Objective:
        """The objective, `auto` resolved."""
        if self.objective != "auto":
            return self.objective
        return "pairs" if self.recipe.views == 2 else "several" if self.recipe.source == "bank" else "class"

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps an epoch; the last batch may be smaller."""
        return -(-self.epoch_size // self.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.epochs * self.steps_per_epoch

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return self.learning_rate * share_of_peak(self.schedule, step, self.steps, self.warm_up)

    def changed(self, changes: Mapping[str, object]) -> Config:
        """The configuration with other values of some fields. Raises ValueError."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def differences(self, other: Config) -> list[str]:
        """What differs in the other, as `name: ours, theirs` lines."""
        ours, theirs = _flat(self.to_json()), _flat(other.to_json())
        return [f"{name}: {ours.get(name)!r}, {theirs.get(name)!r}"
                for name in ours | theirs if ours.get(name) != theirs.get(name)]  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """Where a run is computed, and how its progress is kept. None and "auto" stand for good defaults.

    Raises:
        ValueError: a number is out of range, or a device, precision or logger is unknown.

    >>> Machine("cpu", max_steps=100).precision
    'auto'
    >>> Machine("tpu")
    Traceback (most recent call last):
    ValueError: device 'tpu' is unknown: use auto, cpu or cuda; choose among several GPUs with CUDA_VISIBLE_DEVICES
    """

    device: Annotated[str, "auto, cpu or cuda; `--gpu` is short for the last."] = "auto"
    _: KW_ONLY
    devices: Annotated[
        int | None, Option("Number of processes on this node.", default="1, or torchrun's"), COUNT
    ] = None
    num_nodes: Annotated[int, "Number of nodes, where SLURM starts the processes.", Within(1, 100_000)] = 1
    precision: Annotated[Precision, "Precision of the forward pass; auto: what is fastest on this device."] = "auto"
    channels_last: Annotated[
        bool | None, Option("Memory layout of images.", default="what is fastest for the network")
    ] = None
    compile: Annotated[bool | None, Option("Use torch.compile.", default="in long runs on CUDA")] = None
    deterministic: Annotated[
        bool | None, Option("Refuse operations that differ from run to run.", default="on a CPU")
    ] = None
    prefetch: Annotated[int, "Number of batches rendered ahead.", Within(0, 64)] = 2
    max_steps: Annotated[int | None, "Stop after this step of the run; --resume continues.", COUNT] = None
    checkpoint_steps: Annotated[int | None, "Number of steps between checkpoints.", COUNT] = None
    checkpoint_minutes: Annotated[
        float, "Minutes between checkpoints; every epoch ends with one, too.", Within(0.0, 1e6)
    ] = 10.0
    log_steps: Annotated[int, "Number of steps between rows of metrics.csv.", COUNT] = 50
    loggers: Annotated[
        tuple[str, ...],
        Option("tensorboard or wandb, besides metrics.csv; may be repeated.", names=("--logger",)),
    ] = ()

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"device {self.device!r} is unknown: use auto, cpu or cuda; choose among several GPUs "
                             "with CUDA_VISIBLE_DEVICES")  # fmt: skip
        check_fields(self)
        for logger in self.loggers:
            if logger not in LOGGERS:
                raise ValueError(f"logger {logger!r} is unknown: use {' or '.join(LOGGERS)}, or none")


def share_of_peak(schedule: str, step: int, steps: int, warm_up: float) -> float:
    """The learning rate of a step as a share of its peak.

    Args:
        schedule: one-cycle (Smith and Topin, 2017: a half cosine up, then a half cosine down), cosine or trapezoid.
        step: 0 to steps - 1; later steps get the last rate.
        steps: of the whole run.
        warm_up: share of the steps in which the rate rises.
    """
    rising = warm_up * steps
    if schedule == "one-cycle":
        if step < rising - 1:
            return _half_cosine(FIRST, 1.0, step / (rising - 1))
        top = max(rising - 1, 0.0)
        return _half_cosine(1.0, LAST, min(1.0, (step - top) / max(1.0, steps - 1 - top)))
    if step + 1 < rising:
        return (step + 1) / rising
    if schedule == "cosine":
        return _half_cosine(1.0, 0.0, min(1.0, max(0.0, step - rising) / max(1.0, steps - rising)))
    return min(1.0, max(0.0, steps - step) / max(1.0, COOL_DOWN * steps))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _flat(data: dict[str, JsonValue], prefix: str = "") -> dict[str, JsonValue]:
    flat: dict[str, JsonValue] = {}
    for name, value in data.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


QUICK_RECIPE = dataclasses.replace(
    RECIPES["paper"].recipe.at_size(64), name="quick", background="black", flips=False, points=20_000
)

OFDB_RECIPE = dataclasses.replace(
    RECIPES["fractaldb"].recipe.at_size(224), name="ofdb", jitter="none", mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)  # fmt: skip

SCENES_RECIPE = Recipe(
    "scenes", size=96, canvas=64, points=15_000, objects=(1, 24), object_size=(0.1, 0.9), source="bank",
    window_shift=0.0, window_scale=(1.0, 1.0), blur_probability=0.0,
)  # fmt: skip

CONFIGS: dict[str, Config] = {
    # Every recipe is trained as the paper trains its own.
    **{name: Config(name, preset.recipe, preset.bank) for name, preset in RECIPES.items()},
    "quick": Config(
        "quick", QUICK_RECIPE, BankSpec(40, 20), model="resnet18", epochs=4, epoch_size=2000, batch_size=32,
        validation_size=600, optimizer="adamw", learning_rate=1e-3, weight_decay=0.05,
    ),
    "ofdb": Config(
        "ofdb", OFDB_RECIPE, BankSpec(1000, 1000), pictures=1000, epochs=20, batch_size=128,
        augmentation=AUGMENTATIONS["full"], schedule="cosine", validation_size=10_000,
    ),
    "twins": Config(
        "twins", SCENES_RECIPE, BankSpec(10_000, 1000), model="resnet18", objective="damage", shots=8, grains=0.2,
        epochs=18, epoch_size=4000, batch_size=8, validation_size=128, optimizer="adamw", learning_rate=1e-3,
        weight_decay=0.05, schedule="trapezoid", warm_up=0.01, ema=0.998,
    ),
}  # fmt: skip
"""Pre-trainings by name. `quick` is for a laptop: 20 classes of 2 codes at 64 px on a ResNet-18, the attractors
on black, never flipped, of fewer points: 92 to 94 % of validation images are classified correctly after 8,000 (seeds
0 to 2). With the noise background 8,000 images took a fresh ResNet-18 to 26 %, so a demonstration goes without.
`ofdb` follows One-instance FractalDataBase (Nakamura et al., ICCV 2023) as the paper's first author trains
it for anomaly detection (cugwu/OFDB-4AD): one image a class, shown 20,000 times under strong augmentation, with
ImageNet's normalisation. Their AutoAugment is replaced by a colour matrix, a tone curve and solarisation."""


def named_config(name: str) -> Config:
    """The pre-training of that name. Raises ValueError with the list where there is none."""
    if name not in CONFIGS:
        raise ValueError(f"unknown preset {name!r}: use one of {', '.join(CONFIGS)}")
    return CONFIGS[name]
