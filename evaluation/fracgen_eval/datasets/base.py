"""What a dataset is to the grid: named categories of image files, checked before work begins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.errors import EvaluationError

GOOD = "good"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
SMALL_IMAGES = 12
HELD_OUT, HELD_OUT_FROM = 0.1, 10
"""Share of the training images that is kept back to find a threshold, and from how many images on."""
THRESHOLD_QUANTILE = 0.995
"""Of the maps of the images kept back: what lies above it is taken for a defect."""
SHOTS_STREAM, HELD_OUT_STREAM = 0x5407, 0x4E1D
"""Second words of the seeds of the two draws, so that neither repeats the other."""


@dataclass(frozen=True)
class Sample:
    """One test or training image."""

    path: Path
    defect: str = GOOD
    """Defect type, `good` for a normal image."""
    mask: Path | None = None
    """Ground truth: defect where not zero. None for a good image, or where the dataset has no masks."""

    @property
    def anomalous(self) -> bool:
        """Whether the image shows a defect."""
        return self.defect != GOOD


@dataclass(frozen=True)
class Category:
    """One category of a dataset: normal images to fit on, images of both kinds to test on."""

    dataset: str
    name: str
    root: Path
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]

    @property
    def has_masks(self) -> bool:
        """Whether every anomalous image has a mask, as the pixel metrics need."""
        return all(s.mask is not None for s in self.test if s.anomalous)


class Dataset(Protocol):
    """A dataset on disk. Nothing is ever downloaded."""

    name: str

    def categories(self, root: Path) -> list[str]:
        """Names of the categories under `root`. Raises EvaluationError where there are none."""

    def load(self, root: Path, category: str) -> Category:
        """List a category's files and check their counts. Raises EvaluationError with the remedy."""


@runtime_checkable
class SelfContained(Protocol):
    """A dataset that needs no folder to be named."""

    def own_root(self, out: Path) -> Path:
        """Its folder: made below the result folder `out`, or an installed package's. Raises EvaluationError."""


def draw_shots(category: Category, shots: int | None, seed: int) -> Category:
    """Few-shot: `shots` training images, drawn without replacement by `seed`; None keeps all.

    Raises:
        EvaluationError: there are fewer training images than that.

    >>> tiles = Category("mvtec", "tile", Path(), tuple(Sample(Path(f"{n}.png")) for n in range(9)), ())
    >>> [sample.path.stem for sample in draw_shots(tiles, 3, seed=0).train]
    ['4', '5', '7']
    """
    if shots is None:
        return category
    if not 1 <= shots <= len(category.train):
        raise EvaluationError(f"{shots} shots of {category.name}: use 1 to {len(category.train)}, its training images")
    chosen = sorted(np.random.default_rng([seed, SHOTS_STREAM]).permutation(len(category.train))[:shots])
    return replace(category, train=tuple(category.train[i] for i in chosen))


def hold_out(number: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Places of training images, rising: those to fit on, and those kept back; of fewer than ten, none is.

    >>> train, held = hold_out(20, seed=0)
    >>> len(train), len(held), sorted({*train, *held}) == list(range(20))
    (18, 2, True)
    """
    order = np.random.default_rng([seed, HELD_OUT_STREAM]).permutation(number)
    back = round(number * HELD_OUT) if number >= HELD_OUT_FROM else 0
    return np.sort(order[back:]), np.sort(order[:back])


def limited(category: Category, images: int | None) -> Category:
    """At most `images` training and test images, for a trial run: half the test good, defect types in turn."""
    if images is None:
        return category
    kinds: dict[str, list[Sample]] = {}
    for sample in category.test:
        kinds.setdefault(sample.defect, []).append(sample)
    good = kinds.pop(GOOD, [])[: max(1, images // 2)]
    longest = max((len(k) for k in kinds.values()), default=0)
    in_turn = [kind[i] for i in range(longest) for kind in kinds.values() if i < len(kind)]
    return replace(category, train=category.train[:images], test=tuple(good + in_turn[: max(1, images - len(good))]))


def check_files(category: Category, workers: int = 2) -> None:
    """Decode every image and mask of a category once.

    Raises:
        EvaluationError: a file cannot be decoded, or a mask has another size than its image or marks nothing.
    """
    if not category.train:
        raise EvaluationError(f"{category.root}: no training images for {category.name}; put normal ones in train/good")
    if not any(s.anomalous for s in category.test) or all(s.anomalous for s in category.test):
        raise EvaluationError(
            f"{category.root}: the test images of {category.name} must be of both kinds, good and with defects"
        )
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(_check, [*category.train, *category.test]):
            pass


def _check(sample: Sample) -> None:
    size = _decode(sample.path).size
    if sample.mask is None:
        return
    mask = _decode(sample.mask)
    if mask.size != size:
        raise EvaluationError(
            f"{sample.mask}: the mask is {mask.size[0]}x{mask.size[1]} pixels, its image {sample.path.name} is "
            f"{size[0]}x{size[1]}: they must be alike; restore the file from the dataset"
        )
    if not mask.convert("L").getbbox():
        raise EvaluationError(f"{sample.mask}: the mask is empty, but its image stands among the defects: restore it")


def _decode(path: Path) -> Any:
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            return image.copy()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise EvaluationError(f"{path}: cannot be read as an image ({error}): replace the file") from None


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, by name; none where it does not exist."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
