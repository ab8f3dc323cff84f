"""What an image is: frozen dataclasses, their checks and their JSON form.

A `Recipe` says how one picture is made from codes; a `Spec` says which codes there are and how they form
classes; a `Preset` is one of each under a name (`fracgen.recipes.presets`). All three are plain data: they hold
no arrays, go to JSON and back, and two that are equal make equal bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import KW_ONLY, dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol, Self, TypeAlias

from fracgen.formulas import FORMULAS
from fracgen.support.decode import KEY, JsonValue, Table
from fracgen.support.errors import renamed_fields
from fracgen.support.options import Within, check_number

RENDER_VERSION = 1
"""Pictures of a version have the same bytes in every release since it came."""
UNPROMISED = 0
"""The version before, which promised nothing: recipes of files and runs that name it are drawn as the version above,
and go on naming it."""

MIN_SIZE, MAX_SIZE = 8, 1024
MAX_SCENE = 4 * MAX_SIZE
MAX_POINTS = 1 << 24
MAX_OBJECTS = 32
MAX_SAMPLES = 4
PIXELS = Within(MIN_SIZE, MAX_SIZE, "pixels")
SHARE = Within(0.0, 1.0)

READ_BY = {
    **dict.fromkeys(("points", "jitter", "jitter_strength", "window_shift", "window_scale", "stamp", "flips", "colour"),
                    ("ifs",)),
    "samples": ("mandelbulb",),
}  # fmt: skip
"""Fields, by their names in files, that say something to these formulas only."""

Jitter: TypeAlias = Literal["none", "scale", "svd", "sval", "fractaldb"]
Color: TypeAlias = Literal["hsv", "gray", "grey"]
Background: TypeAlias = Literal["noise", "black", "white"]
Source: TypeAlias = Literal["own", "class", "bank"]

@renamed_fields(colour="color")
@dataclass(frozen=True)
class Recipe(Table):
    """How one image is made. Sizes are pixels, ranges are those of uniform distributions.

    Raises:
        ValueError: a field is out of range, `canvas` is smaller than `size` where one attractor fills the
            picture, `scene` is smaller than `size`, `scene` or `source` needs `objects`, or `render_version` is
            not this release's.

    >>> gray = Recipe("gray", size=64, canvas=64, color="gray", background="black")
    >>> gray.at_size(128).canvas
    128
    >>> Recipe.from_json(gray.to_json()) == gray
    True
    >>> Recipe("small", canvas=64)
    Traceback (most recent call last):
    ValueError: canvas 64 is smaller than size 256: a single attractor's canvas is cropped to size, so make it at \
least as large
    """

    what = "recipe"
    name: str
    _: KW_ONLY
    size: Annotated[int, PIXELS] = 256
    """Side of the image, in pixels."""
    canvas: Annotated[int, PIXELS] = 256
    """Side of the grid an attractor is drawn on: `size`, or more to be cropped, or anything for
    attractors that are resized and placed."""
    scene: int | None = None
    """Side of the square in which attractors are placed, in pixels, of which the image shows a random part; None:
    `size`, all of it. What lies outside of the image is not drawn. The background is the image's own."""
    formula: str = "ifs"
    """What is drawn: `ifs`, attractors of iterated function systems, or `mandelbulb`, Mandelbulb variations."""
    points: Annotated[int, Within(1, MAX_POINTS, "points")] = 100_000
    """Points of the chaos game, per attractor."""
    samples: Annotated[int, Within(1, MAX_SAMPLES, "rays along each side of a pixel")] = 1
    """`mandelbulb` only: rays along each side of a pixel, whose square is averaged."""
    jitter: Jitter = "scale"
    """How a code is varied before it is drawn; see docs/recipes.md."""
    jitter_strength: Annotated[float, SHARE] = 0.0
    """`fractaldb` only: one coefficient of every map is scaled by one of five factors evenly
    spaced on [1 - 2k, 1 + 2k], where k is this number."""
    window_shift: Annotated[float, Within(0.0, 10.0)] = 0.2
    """The window's centre moves by U(-shift, shift) of the attractor's extent, per axis."""
    window_scale: Annotated[tuple[float, float], Within(0.0, 100.0)] = (0.5, 2.0)
    """The window's extent is the attractor's times this, per axis."""
    stamp: bool = True
    """Every point marks a random 3x3 stamp (one stamp per attractor) instead of one pixel."""
    flips: bool = True
    """Transpose, flip up-down, flip left-right, each with probability 1/2."""
    color: Color = field(default="hsv", metadata={KEY: "colour"})
    """`hsv`: hue from density, random saturation and value. `gray`: 127 where any point fell. In files: `colour`,
    `grey`."""
    background: Background = "noise"
    """`noise`: coloured diamond-square noise."""
    blur_probability: Annotated[float, SHARE] = 0.5
    blur_sigma: Annotated[tuple[float, float], Within(0.1, 10.0)] = (0.5, 1.0)
    """Standard deviation of the 3x3 Gaussian, in pixels."""
    objects: tuple[int, int] | None = None
    """Smallest and largest number of attractors that are resized and placed; None draws exactly
    one, on the whole canvas."""
    object_size: Annotated[tuple[float, float], Within(0.0, 4.0)] = (0.15, 0.6)
    """Side of a placed attractor as a share of the scene's, `scene` or `size`."""
    source: Source = "own"
    """Where the placed attractors' codes come from: the sample's own code, any code of its class,
    or (after the sample's own) any code of the bank."""
    views: Annotated[int, Within(1, 2, "views")] = 1
    """Pictures per sample: 2 makes pairs of the same jittered code."""
    mean: Annotated[tuple[float, float, float], SHARE] = (0.5, 0.5, 0.5)
    std: Annotated[tuple[float, float, float], Within(1e-3, 10.0)] = (0.5, 0.5, 0.5)
    """Normalisation of float outputs: (x / 255 - mean) / std per channel."""
    render_version: int = RENDER_VERSION

    def __post_init__(self) -> None:
        if self.color == "grey":
            object.__setattr__(self, "color", "gray")
        super().__post_init__()
        if self.formula not in FORMULAS:
            raise ValueError(f"formula {self.formula!r} is unknown: use one of {', '.join(FORMULAS)}")
        if self.render_version not in (UNPROMISED, RENDER_VERSION):
            raise ValueError(
                f"recipe {self.name!r} asks for render_version {self.render_version}, this fracgen renders "
                f"version {RENDER_VERSION}: install the release that made it, or drop the field"
            )
        if self.objects is not None:
            low, high = self.objects
            check_number("objects", low, Within(1, MAX_OBJECTS, "attractors"))
            check_number("objects", high, Within(low, MAX_OBJECTS, "attractors"))
            if self.scene is not None:
                check_number("scene", self.scene, Within(self.size, MAX_SCENE, "pixels (an image shows a part of it)"))
        elif self.canvas < self.size:
            raise ValueError(
                f"canvas {self.canvas} is smaller than size {self.size}: a single attractor's canvas is "
                "cropped to size, so make it at least as large"
            )
        elif self.scene is not None:
            raise ValueError(f"scene {self.scene} needs `objects`: a single attractor is cropped from its canvas")
        elif self.source != "own":
            raise ValueError(f"source {self.source!r} needs `objects`: a single attractor is of the sample's own code")

    @property
    def max_objects(self) -> int:
        """Largest number of attractors in one picture."""
        return 1 if self.objects is None else self.objects[1]

    @property
    def placed(self) -> bool:
        """Whether attractors are resized and placed, rather than drawn on the picture itself."""
        return self.objects is not None

    def at_size(self, size: int) -> Recipe:
        """The same recipe for pictures of another side; canvas and scene keep their proportions.

        Raises:
            ValueError: `size` is outside [8, 1024], or the canvas or the scene that it implies is too large.
        """
        check_number("size", size, PIXELS)
        scene = None if self.scene is None else max(size, round(self.scene * size / self.size))
        canvas = max(MIN_SIZE, round(self.canvas * size / self.size))
        return dataclasses.replace(self, size=size, canvas=canvas, scene=scene)

    def to_json(self) -> dict[str, JsonValue]:
        """A dictionary of JSON types."""
        table = super().to_json()
        return table | ({"colour": "grey"} if self.color == "gray" else {})

    @property
    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of everything that decides a byte: equal digests, equal bytes."""
        idle = {"name"} | {name for name, formulas in READ_BY.items() if self.formula not in formulas}
        if self.formula == "ifs":
            idle.add("formula")
        if self.scene in (None, self.size):
            idle.add("scene")
        decisive = {k: v for k, v in self.to_json().items() if k not in idle}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


class Spec(Table):
    """Base of the specifications of banks, one a formula: a bank is a pure function of (specification, seed)."""

    what = "bank specification"
    formula: ClassVar[str]
    """The formula whose codes these are."""

    if TYPE_CHECKING:  # fields of the dataclass, or properties

        @property
        def codes(self) -> int:
            """Number of codes."""

        @property
        def classes(self) -> int:
            """Number of classes."""

    @classmethod
    def kinds(cls) -> tuple[type[Self], ...]:
        """The specifications of all formulas."""
        return tuple(import_module(module).FORMULA.spec for module in FORMULAS.values()) if cls is Spec else (cls,)

    def changed(self, **fields: object) -> Self:
        """The specification with other values of some fields."""
        changed: Self = dataclasses.replace(self, **fields)  # type: ignore[type-var]
        return changed

    def first(self, classes: int) -> Self:
        """The specification of the first classes only, which have the same codes, where these are sampled."""
        return self

    def few(self, codes: int) -> Self:
        """A specification of codes of the same kind, of so many where these are sampled."""
        return self

    def __str__(self) -> str:
        return f"{self.codes:,} codes in {self.classes:,} classes"


class OfFormula(Protocol):
    """A bank, or a specification of one."""

    formula: ClassVar[str]


@dataclass(frozen=True)
class Preset(Table):
    """A bank specification and an image recipe under one name."""

    what = "preset"
    name: str
    follows: str
    """What it follows, where it differs, and why: one paragraph."""
    bank: Spec
    recipe: Recipe

    def __post_init__(self) -> None:
        super().__post_init__()
        check_formula(self.bank, self.recipe)


def check_formula(bank: OfFormula, recipe: Recipe) -> None:
    """Raise ValueError where a recipe draws another formula than that of a bank or its specification."""
    if bank.formula != recipe.formula:
        raise ValueError(
            f"the bank holds codes of formula {bank.formula!r}, and recipe {recipe.name!r} draws {recipe.formula!r}: "
            "use a bank or a recipe of the other's formula"
        )

