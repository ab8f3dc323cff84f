"""What an image is: frozen dataclasses, their checks and their JSON form.

A `Recipe` says how one picture is made from codes; a `BankSpec` says which codes there are and
how they form classes; a `Preset` is one of each under a name (`fracgen.recipes.presets`). All three are
plain data: they hold no arrays, go to JSON and back, and two that are equal make equal bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, get_args

from fracgen.recipes.variations import VariationSpec
from fracgen.support.decode import decode, from_json

RENDER_VERSION = 0
"""Bytes are promised within a version. 0 promises nothing yet: it lasts until the kernels have
been tuned on a real card."""

MIN_SIZE, MAX_SIZE = 8, 1024
MAX_SCENE = 4 * MAX_SIZE
MAX_POINTS = 1 << 24
MAX_OBJECTS = 32
MAX_SAMPLES = 4
MAX_MAPS = 8
MAX_CODES = 10_000_000
"""Of a bank: 2.2 GB of memory."""

IFS_FIELDS = (
    "points", "jitter", "jitter_strength", "window_shift", "window_scale", "stamp", "flips", "colour",
)  # fmt: skip
"""What says how an attractor is drawn, and says nothing to another formula."""
VARIATION_FIELDS = ("samples",)
"""The same for Mandelbulb variations."""

Jitter = Literal["none", "scale", "svd", "sval", "fractaldb"]
Colour = Literal["hsv", "grey"]
Background = Literal["noise", "black", "white"]
Formula = Literal["ifs", "mandelbulb"]
Source = Literal["own", "class", "bank"]
_CHOICES = {
    "jitter": Jitter, "colour": Colour, "background": Background, "source": Source, "formula": Formula,
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """How one image is made. Sizes are pixels, ranges are those of uniform distributions.

    Raises:
        ValueError: a field is out of range, `canvas` is smaller than `size` where one attractor fills the
            picture, `scene` is smaller than `size`, `scene` or `source` needs `objects`, or `render_version` is
            not this release's.

    >>> grey = Recipe("grey", size=64, canvas=64, colour="grey", background="black")
    >>> grey.at_size(128).canvas
    128
    >>> Recipe.from_json(grey.to_json()) == grey
    True
    >>> Recipe("small", canvas=64)
    Traceback (most recent call last):
    ValueError: canvas 64 is smaller than size 256: a single attractor's canvas is cropped to size, so make it at \
least as large
    """

    name: str
    _: KW_ONLY
    size: int = 256
    """Side of the image, in pixels."""
    canvas: int = 256
    """Side of the grid an attractor is drawn on: `size`, or more to be cropped, or anything for
    attractors that are resized and placed."""
    scene: int | None = None
    """Side of the square in which attractors are placed, in pixels, of which the image shows a random part; None:
    `size`, all of it. What lies outside of the image is not drawn. The background is the image's own."""
    formula: Formula = "ifs"
    """What is drawn: attractors of iterated function systems, or Mandelbulb variations."""
    points: int = 100_000
    """Points of the chaos game, per attractor."""
    samples: int = 1
    """`mandelbulb` only: rays along each side of a pixel, whose square is averaged."""
    jitter: Jitter = "scale"
    """How a code is varied before it is drawn; see docs/recipes.md."""
    jitter_strength: float = 0.0
    """`fractaldb` only: one coefficient of every map is scaled by one of five factors evenly
    spaced on [1 - 2k, 1 + 2k], where k is this number."""
    window_shift: float = 0.2
    """The window's centre moves by U(-shift, shift) of the attractor's extent, per axis."""
    window_scale: tuple[float, float] = (0.5, 2.0)
    """The window's extent is the attractor's times this, per axis."""
    stamp: bool = True
    """Every point marks a random 3x3 stamp (one stamp per attractor) instead of one pixel."""
    flips: bool = True
    """Transpose, flip up-down, flip left-right, each with probability 1/2."""
    colour: Colour = "hsv"
    """`hsv`: hue from density, random saturation and value. `grey`: 127 where any point fell."""
    background: Background = "noise"
    """`noise`: coloured diamond-square noise. `white` is for `mandelbulb` only."""
    blur_probability: float = 0.5
    blur_sigma: tuple[float, float] = (0.5, 1.0)
    """Standard deviation of the 3x3 Gaussian, in pixels."""
    objects: tuple[int, int] | None = None
    """Smallest and largest number of attractors that are resized and placed; None draws exactly
    one, on the whole canvas."""
    object_size: tuple[float, float] = (0.15, 0.6)
    """Side of a placed attractor as a share of the scene's, `scene` or `size`."""
    source: Source = "own"
    """Where the placed attractors' codes come from: the sample's own code, any code of its class,
    or (after the sample's own) any code of the bank."""
    views: int = 1
    """Pictures per sample: 2 makes pairs of the same jittered code."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Normalisation of float outputs: (x / 255 - mean) / std per channel."""
    render_version: int = RENDER_VERSION

    def __post_init__(self) -> None:
        _whole("size", self.size, MIN_SIZE, MAX_SIZE, "pixels")
        _whole("canvas", self.canvas, MIN_SIZE, MAX_SIZE, "pixels")
        _whole("points", self.points, 1, MAX_POINTS, "points")
        _whole("views", self.views, 1, 2, "views")
        _whole("samples", self.samples, 1, MAX_SAMPLES, "rays along each side of a pixel")
        for name, kind in _CHOICES.items():
            _one_of(name, getattr(self, name), get_args(kind))
        if self.formula == "ifs" and self.background == "white":
            raise ValueError("background 'white' is for solids (formula 'mandelbulb'): use noise or black with 'ifs'")
        _interval("window_scale", self.window_scale, 0.0, 100.0)
        _interval("blur_sigma", self.blur_sigma, 0.1, 10.0)
        _interval("object_size", self.object_size, 0.0, 4.0)
        _number("window_shift", self.window_shift, 0.0, 10.0)
        _number("blur_probability", self.blur_probability, 0.0, 1.0)
        _number("jitter_strength", self.jitter_strength, 0.0, 1.0)
        for value in self.mean:
            _number("mean", value, 0.0, 1.0)
        for value in self.std:
            _number("std", value, 1e-3, 10.0)
        if self.render_version != RENDER_VERSION:
            raise ValueError(
                f"recipe {self.name!r} asks for render_version {self.render_version}, this fracgen renders "
                f"version {RENDER_VERSION}: install the release that made it, or drop the field"
            )
        if self.objects is None:
            if self.canvas < self.size:
                raise ValueError(
                    f"canvas {self.canvas} is smaller than size {self.size}: a single attractor's canvas is "
                    "cropped to size, so make it at least as large"
                )
        else:
            low, high = self.objects
            _whole("objects", low, 1, MAX_OBJECTS, "attractors")
            _whole("objects", high, low, MAX_OBJECTS, "attractors")
        if self.scene is not None:
            _whole("scene", self.scene, self.size, MAX_SCENE, "pixels (an image shows a part of it)")
        if self.objects is None and self.scene is not None:
            raise ValueError(f"scene {self.scene} needs `objects`: a single attractor is cropped from its canvas")
        if self.objects is None and self.source != "own":
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
        _whole("size", size, MIN_SIZE, MAX_SIZE, "pixels")
        scene = None if self.scene is None else max(size, round(self.scene * size / self.size))
        canvas = max(MIN_SIZE, round(self.canvas * size / self.size))
        return dataclasses.replace(self, size=size, canvas=canvas, scene=scene)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON types."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Recipe:
        """The inverse of `to_json`.

        Raises:
            ValueError: a field is unknown, missing or out of range.
        """
        return from_json(cls, data, "recipe", closed=True)

    @property
    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of everything that decides a byte: equal digests, equal bytes."""
        idle = {"name", *(IFS_FIELDS if self.formula != "ifs" else ("formula", *VARIATION_FIELDS))}
        if self.scene in (None, self.size):
            idle.add("scene")
        return _digest({k: v for k, v in self.to_json().items() if k not in idle})


@dataclass(frozen=True)
class BankSpec:
    """Which codes there are: a bank is a pure function of (this, seed).

    Raises:
        ValueError: a number is out of range, or the classes do not divide the codes.

    >>> BankSpec(codes=10, classes=3)
    Traceback (most recent call last):
    ValueError: 10 codes do not divide into 3 classes: use 9 codes or a number of classes that divides 10
    """

    codes: int = 100_000
    classes: int = 1000
    maps: tuple[int, int] = (2, MAX_MAPS)
    """Smallest and largest number of maps; uniform in between."""

    @property
    def formula(self) -> str:
        """The formula whose codes these are."""
        return "ifs"

    def __post_init__(self) -> None:
        _whole("codes", self.codes, 1, MAX_CODES, "codes")
        _whole("classes", self.classes, 1, self.codes, "classes (there are no more codes)")
        low, high = self.maps
        _whole("maps", low, 2, MAX_MAPS, "maps")
        _whole("maps", high, low, MAX_MAPS, "maps")
        if self.codes % self.classes:
            best = self.codes - self.codes % self.classes
            raise ValueError(
                f"{self.codes} codes do not divide into {self.classes} classes: use {best} codes "
                f"or a number of classes that divides {self.codes}"
            )

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON types."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> BankSpec:
        """The inverse of `to_json`. Raises ValueError for an unknown or bad field."""
        return from_json(cls, data, "bank specification", closed=True)


@dataclass(frozen=True)
class Preset:
    """A bank specification and an image recipe under one name."""

    name: str
    follows: str
    """What it follows, where it differs, and why: one paragraph."""
    bank: BankSpec | VariationSpec
    recipe: Recipe

    def __post_init__(self) -> None:
        if self.bank.formula != self.recipe.formula:
            raise ValueError(
                f"preset {self.name!r} has codes of formula {self.bank.formula!r} and a recipe that draws "
                f"{self.recipe.formula!r}: name codes of that formula"
            )

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON types."""
        return {
            "name": self.name, "follows": self.follows,
            "bank": self.bank.to_json(), "recipe": self.recipe.to_json(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Preset:
        """The inverse of `to_json`. Raises ValueError for an unknown, missing or bad field."""
        return from_json(cls, data, "preset", closed=True)


def bank_spec_from_json(data: dict[str, Any]) -> BankSpec | VariationSpec:
    """A bank specification of either formula, from its `to_json`. Raises ValueError for an unknown or bad field."""
    spec: BankSpec | VariationSpec = decode(BankSpec | VariationSpec, data, "bank specification", closed=True)
    return spec


def _digest(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _whole(name: str, value: int, low: int, high: int, unit: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} {value!r} is out of range: use a whole number from {low} to {high} {unit}")


def _number(name: str, value: float, low: float, high: float) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} {value!r} is out of range: use a number from {low:g} to {high:g}")


def _interval(name: str, value: tuple[float, float], low: float, high: float) -> None:
    if len(value) != 2 or value[0] > value[1]:
        raise ValueError(f"{name} {value!r} is not an interval: give (smallest, largest)")
    for end in value:
        _number(name, end, low, high)


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} {value!r} is unknown: use one of {', '.join(choices)}")
