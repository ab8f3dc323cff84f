"""What is compared: recipe x augmentation x objective, at equal samples, and random weights beside them."""

from __future__ import annotations

from dataclasses import KW_ONLY, asdict, dataclass
from itertools import product
from typing import Any


@dataclass(frozen=True)
class Arm:
    """One way to make weights."""

    recipe: str
    """A preset of `fracgen pretrain`; `random` for weights never trained, `built-in` for the package's own."""
    augmentation: str = "none"
    objective: str = "class"
    samples: int = 0
    classes: int = 100
    _: KW_ONLY
    codes: int = 1000
    model: str = "resnet18"
    size: int = 64
    """Side of training images, in pixels."""

    @property
    def name(self) -> str:
        """Of its folder and files."""
        if self.recipe in ("random", "built-in"):
            return f"{self.model}-{self.recipe}"
        return (f"{self.model}-{self.recipe}-{self.augmentation}-{self.objective}-{self.classes}-{self.size}px-"
                f"{self.samples}")  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON types."""
        return asdict(self)

    def training(self) -> list[str]:
        """Options of `fracgen pretrain`: a short recipe that is the same for every arm."""
        batch = 64
        return [
            "--preset", self.recipe, "--model", self.model, "--size", str(self.size), "--epochs", "1",
            "--epoch-size", str(self.samples), "--batch-size", str(batch), "--validation-size", "1000",
            "--augment", self.augmentation, "--objective", self.objective, "--optimizer", "adamw",
            "--learning-rate", "0.001", "--weight-decay", "0.05", "--schedule", "cosine", "--warm-up", "0.1",
        ]  # fmt: skip


RECIPES = ("paper", "multi-formula", "fractaldb")
AUGMENTATIONS = ("none", "crop", "full")


def comparison(samples: int, model: str, size: int, classes: int) -> list[Arm]:
    """Every recipe with every augmentation; several labels are `multi-instance`'s own, and Mandelbulb variations come
    in all their classes, one code each."""
    arms = [
        Arm(recipe, augmentation, "class", samples, classes, model=model, size=size)
        for recipe, augmentation in product(RECIPES, AUGMENTATIONS)
    ]
    arms += [Arm("multi-instance", a, "several", samples, classes, model=model, size=size) for a in AUGMENTATIONS]
    arms.append(Arm("mandelbulb", "none", "class", samples, 1037, codes=1037, model=model, size=size))
    arms.append(Arm("twins", "none", "damage", samples, classes, model=model, size=size))
    return [Arm("random", model=model), Arm("built-in", model=model), *arms]


def curve(arm: Arm, samples: list[int]) -> list[Arm]:
    """One arm at several numbers of samples."""
    return [Arm(**{**arm.to_json(), "samples": number}) for number in samples]
