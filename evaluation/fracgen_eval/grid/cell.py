"""A cell of the grid: one method on one category with one of the weights and one seed, and what it is called."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fracgen.support.decode import KEY, from_json
from fracgen_eval.weights.backbones import InputNorm


@dataclass(frozen=True)
class MethodChoice:
    """How a cell judges."""

    name: str = field(metadata={KEY: "method"})
    settings: dict[str, Any] = field(hash=False)
    layers: tuple[str, ...] | None = None
    """Other layers of the network than the method's own."""
    protocol: str = "honest"
    map_size: str = "evaluation"
    """`evaluation`: pixel metrics at the method's own size; `original`: at the size of the image files."""


@dataclass(frozen=True)
class DataChoice:
    """Which images a cell sees."""

    dataset: str
    category: str
    digest: str = field(metadata={KEY: "data_digest"})
    """Of the names and sizes of the category's files."""
    shots: int | None = None
    """Training images of a few-shot cell; None for all."""
    limit: str | None = None
    """`small`, or a number of images: a trial run, never a result."""


@dataclass(frozen=True)
class WeightsChoice:
    """With which weights a cell judges."""

    name: str = field(metadata={KEY: "weights"})
    """In tables."""
    digest: str = field(metadata={KEY: "weights_digest"})
    """Of their tensors."""
    model: str
    input_norm: InputNorm = "checkpoint"


@dataclass(frozen=True)
class Cell:
    """One independent piece of work, and everything that decides its numbers.

    >>> cell = Cell(MethodChoice("panda", {"k": 2}), DataChoice("mvtec", "tile", "d"),
    ...             WeightsChoice("random", "w", "resnet18"), seed=1)
    >>> cell.title
    'panda mvtec/tile random seed 1'
    >>> Cell.from_json(cell.to_json()) == cell
    True
    """

    method: MethodChoice
    data: DataChoice
    weights: WeightsChoice
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """One flat table of JSON types, as it stands in a result's file."""
        method, data, weights = self.method, self.data, self.weights
        table = {
            "method": method.name, "dataset": data.dataset, "category": data.category, "weights": weights.name,
            "weights_digest": weights.digest, "model": weights.model, "seed": self.seed, "protocol": method.protocol,
            "settings": method.settings, "data_digest": data.digest, "layers": method.layers, "shots": data.shots,
            "limit": data.limit, "input_norm": weights.input_norm, "map_size": method.map_size,
        }  # fmt: skip
        return json.loads(json.dumps(table))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Cell:
        """The inverse of `to_json`; what a file does not say is as it is by default.

        Raises:
            ValueError: a value is missing or of another type, or a name is empty.
        """
        if empty := [name for name in _NAMES if name in table and not table[name]]:
            raise ValueError(f"{empty[0]} is {table[empty[0]]!r} instead of a name")
        parts = (from_json(MethodChoice, table), from_json(DataChoice, table), from_json(WeightsChoice, table))
        from_json(_Drawn, parts[0].settings, "settings")
        return cls(*parts, seed=from_json(_Seed, table).seed)

    @property
    def digest(self) -> str:
        """First 12 hex digits of a SHA-256 over all fields."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def path(self) -> str:
        """Where its result lies below the result folder's `cells`, without suffix."""
        method, data = self.method, self.data
        parts = [self.weights.name, self.weights.model, f"seed{self.seed}"]
        parts += ["layers" + "".join(layer[-1] for layer in method.layers)] if method.layers else []
        parts += [f"shots{data.shots}"] if data.shots else []
        parts += [method.protocol] if method.protocol != "honest" else []
        parts += [f"limit{data.limit}"] if data.limit else []
        name = method.name.replace(":", "-")
        return f"{data.dataset}/{data.category}/{name}/{'-'.join(parts)}-{self.digest}"

    @property
    def title(self) -> str:
        """A short line for people."""
        layers = f" {','.join(self.method.layers)}" if self.method.layers else ""
        data = f"{self.data.dataset}/{self.data.category}"
        return f"{self.method.name}{layers} {data} {self.weights.name} seed {self.seed}"


@dataclass(frozen=True)
class _Seed:
    seed: int


@dataclass(frozen=True)
class _Drawn:
    """The settings that a report reads."""

    layers: tuple[str, ...] | None = None
    image_size: int | None = None


_NAMES = ("method", "dataset", "category", "weights", "model", "protocol")
