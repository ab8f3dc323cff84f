"""What is compared: recipes and objectives, at equal shots, random weights beside them, and the files of results."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path

from fracgen.support.decode import from_json, read_json

SCHEMA = "fracgen-study/2"
BESIDE = "class-codes"
"""The objective class with codes beside it, as a term."""
SHOTS = 8
"""Of a picture of twins: with so many times fewer pictures they are as many shots as the others' pictures."""


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
    def line(self) -> str:
        """Its name without the number of samples: what a curve over them is of."""
        if self.recipe in ("random", "built-in"):
            return f"{self.model}-{self.recipe}"
        return f"{self.model}-{self.recipe}-{self.augmentation}-{self.objective}-{self.classes}-{self.size}px"

    @property
    def name(self) -> str:
        """Of its folder and files."""
        return f"{self.line}-{self.samples}" if self.samples else self.line

    def training(self) -> list[str]:
        """Options of `fracgen pretrain`: a short recipe that is the same for every arm."""
        shots = SHOTS if self.recipe == "twins" else 1
        objective = ["class", "--code-weight", "1"] if self.objective == BESIDE else [self.objective]
        return [
            "--preset", self.recipe, "--model", self.model, "--size", str(self.size), "--epochs", "1",
            "--epoch-size", str(self.samples // shots), "--batch-size", str(64 // shots), "--validation-size", "512",
            *(["--shots", str(shots)] if shots > 1 else []), "--augment", self.augmentation,
            "--objective", *objective, "--optimizer", "adamw",
            "--learning-rate", "0.001", "--weight-decay", "0.05", "--schedule", "cosine", "--warm-up", "0.1",
        ]  # fmt: skip


def comparison(samples: int, model: str, size: int) -> list[Arm]:
    """Few arms, each of a thousand codes in as many classes: the class, the codes, both; other fractals; and twins."""
    trained = Arm("paper", samples=samples, classes=1000, codes=1000, model=model, size=size)
    return [
        Arm("random", model=model), Arm("built-in", model=model), trained, replace(trained, objective="codes"),
        replace(trained, objective=BESIDE), replace(trained, recipe="multi-formula"),
        replace(trained, recipe="mandelbulb", classes=1037, codes=1037),
        replace(trained, recipe="twins", objective="damage"),
    ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Measure:
    """An arm measured frozen on a dataset with a method."""

    dataset: str
    method: str
    limit: str | None
    """Of `fracgen eval run`: images a category."""
    settings: dict[str, object]
    """Those of the method that are not its own."""
    date: str
    machine: str
    commit: str | None
    metrics: dict[str, dict[str, float]]
    """By category, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """All measures of an arm and seed: a file of bench/study/results."""

    schema: str = SCHEMA
    arm: Arm
    name: str
    seed: int
    images_seen: int = 0
    validation: dict[str, object] = field(default_factory=dict)
    """Of the training, after its last step."""
    measures: list[Measure] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Result:
        """One from its file. Raises ValueError where it is none."""
        result = from_json(cls, read_json(path), str(path))
        if result.schema != SCHEMA:
            raise ValueError(f"{path} is of schema {result.schema!r}: this is {SCHEMA}")
        return result
