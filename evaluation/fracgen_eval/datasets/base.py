"""What a dataset is to the grid: named categories of image files, checked before work begins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.errors import EvaluationError
from fracgen_eval.pictures import read_mask, read_picture

GOOD = "good"
SMALL_IMAGES = 12
HELD_OUT, HELD_OUT_FROM = 0.1, 10
"""Share of the training images that is kept back to find a threshold, and from how many images on."""
THRESHOLD_QUANTILE = 0.995
"""Of the maps of the images kept back: what reaches it is taken for a defect."""
SHOTS_STREAM, HELD_OUT_STREAM = 0x5407, 0x4E1D
"""Second words of the seeds of the two draws, so that neither repeats the other."""


@dataclass(frozen=True)
class Sample:
    """One test or training image."""

    path: Path
    defect: str = GOOD
    """Defect type, `good` for a normal image."""
    masks: tuple[Path, ...] = ()
    """Ground truth: defect where not zero; several where regions lie in files of their own. None of a good image, or
    where the dataset has no masks."""

    @property
    def anomalous(self) -> bool:
        """Whether the image shows a defect."""
        return self.defect != GOOD


@dataclass(frozen=True)
class Saturation:
    """From which overlap on a defect region of a kind counts as found in full (MVTec LOCO AD, section 3.4)."""

    value: int
    """Of the region's pixels in its mask."""
    threshold: float
    relative: bool
    """Whether the threshold is a share of the region's area, rather than a number of pixels of the picture file."""

    def share(self, area: int) -> float:
        """Share in (0, 1] of a region of `area` pixels of the picture file."""
        return min(max(self.threshold * area if self.relative else self.threshold, 1.0), area) / area


@dataclass(frozen=True)
class Category:
    """One category of a dataset: normal images to fit on, images of both kinds to test on.

    Raises:
        EvaluationError: two test images have the same mask.
    """

    dataset: str
    name: str
    root: Path
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    _: KW_ONLY
    validation: tuple[Sample, ...] = ()
    """Normal images that the dataset keeps apart, to find a threshold on."""
    empty_masks: int = 0
    """How many masks of anomalous images mark nothing, as published."""
    saturation: tuple[Saturation, ...] = ()
    """By kinds of defects, where every region has a mask of its own: what sPRO needs."""
    seg_f1: bool = False
    """Whether the dataset judges segmentations at a threshold from its validation images."""
    left_out: str = ""
    """What lies in its folders and is none of its files, see `listing.left_out`; empty where there is nothing."""

    def __post_init__(self) -> None:
        owners: dict[Path, Path] = {}
        for sample in self.test:
            for mask in sample.masks:
                if (other := owners.setdefault(mask, sample.path)) != sample.path:
                    raise EvaluationError(
                        f"{mask}: the mask of both {other.name} and {sample.path.name}: give each picture its own, "
                        "and each pair a name of its own"
                    )

    @property
    def files(self) -> list[Path]:
        """All images and masks."""
        return [path for s in (*self.train, *self.validation, *self.test) for path in (s.path, *s.masks)]

    @property
    def has_masks(self) -> bool:
        """Whether every anomalous image has a mask, as the pixel metrics need."""
        return all(s.masks for s in self.test if s.anomalous)


class Dataset(Protocol):
    """A dataset on disk. Nothing is ever downloaded."""

    @property
    def name(self) -> str:
        """Of `--dataset`."""

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


def split(category: Category, protocol: str, seed: int) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """The training images of a cell to fit on, and normal ones that are kept back to find a threshold on.

    The latter are the dataset's own validation images; where it has none, protocol `honest` takes a tenth of the
    training images (`hold_out`) and `paper` none.
    """
    if category.validation or protocol != "honest":
        return category.train, category.validation
    kept, held = hold_out(len(category.train), seed)
    return tuple(category.train[n] for n in kept), tuple(category.train[n] for n in held)


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
    return replace(
        category, train=category.train[:images], test=tuple(good + in_turn[: max(1, images - len(good))]),
        validation=category.validation[:images],
    )  # fmt: skip


def check_files(category: Category, workers: int = 2) -> None:
    """Decode every image and mask of a category once.

    Raises:
        EvaluationError: a file cannot be decoded, or a mask has another size than its image, marks nothing, or is none.
    """
    if not category.train:
        raise EvaluationError(f"{category.root}: no training images for {category.name}; put normal ones in train/good")
    if not any(s.anomalous for s in category.test) or all(s.anomalous for s in category.test):
        raise EvaluationError(
            f"{category.root}: the test images of {category.name} must be of both kinds, good and with defects"
        )
    values = {kind.value for kind in category.saturation}
    with ThreadPoolExecutor(workers) as pool:
        samples = [*category.train, *category.validation, *category.test]
        empty = [path for paths in pool.map(lambda sample: _check(sample, values), samples) for path in paths]
    if len(empty) > category.empty_masks:
        known = f"; {category.empty_masks} are as published" if category.empty_masks else ""
        raise EvaluationError(
            f"{empty[0]}: the mask is empty, but its image stands among the defects: restore it{known}"
        )


def _check(sample: Sample, values: set[int]) -> list[Path]:
    """The masks of an image that are empty, once the others are found to be masks of it."""
    height, width = read_picture(sample.path).shape[:2]
    return [path for path in sample.masks if _check_mask(path, sample.path, (height, width), values)]


def _check_mask(path: Path, image: Path, shape: tuple[int, int], values: set[int]) -> bool:
    """Whether a mask is empty; `values` are those that its pixels may have, any where there are none.

    Raises:
        EvaluationError: it cannot be a mask of that image.
    """
    mask = read_mask(path, exact=bool(values))
    if mask.shape != shape:
        raise EvaluationError(
            f"{path}: the mask is {mask.shape[1]}x{mask.shape[0]} pixels, its image {image.name} is "
            f"{shape[1]}x{shape[0]}: they must be alike; restore the file from the dataset"
        )
    if values and (foreign := sorted({int(v) for v in np.unique(mask)} - values - {0})):
        raise EvaluationError(
            f"{path}: the mask's value {foreign[0]} stands for no kind of defect in defects_config.json: restore both"
        )
    return not mask.any()
