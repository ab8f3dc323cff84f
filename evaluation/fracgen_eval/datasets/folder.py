"""Any folder in MVTec layout: one category, or a folder of categories.

    category/train/good/*.png
    category/test/good/*.png
    category/test/<defect>/*.png
    category/ground_truth/<defect>/*_mask.png     optional: without it there are no pixel metrics
"""

from __future__ import annotations

from pathlib import Path

from fracgen_eval.datasets.base import GOOD, Category, Sample, images_in
from fracgen_eval.errors import EvaluationError, one_of

TREE = "<category>/train/good, <category>/test/good, <category>/test/<defect>, <category>/ground_truth/<defect>"


class Folder:
    """`--dataset folder`: pictures of one's own."""

    name = "folder"

    def categories(self, root: Path) -> list[str]:
        """Sub-folders with a train folder, or the folder itself."""
        if (root / "train").is_dir():
            return [root.resolve().name]
        names = sorted(p.name for p in root.iterdir() if (p / "train").is_dir()) if root.is_dir() else []
        if not names:
            raise EvaluationError(f"{root}: no category names; expected {TREE}")
        return names

    def load(self, root: Path, category: str) -> Category:
        """List a category's files."""
        one_of(category, self.categories(root), "category")
        return load_folder(root if (root / "train").is_dir() else root / category, self.name, category)


def load_folder(folder: Path, dataset: str, name: str) -> Category:
    """List the files of one category in MVTec layout.

    Raises:
        EvaluationError: there are no training or test images, or some defect images lack a mask that others have.
    """
    train = images_in(folder / "train" / GOOD)
    if not train:
        raise EvaluationError(f"{folder / 'train' / GOOD}: no training images; put the normal ones there")
    kinds = sorted(p for p in (folder / "test").iterdir() if p.is_dir()) if (folder / "test").is_dir() else []
    if not any(images_in(kind) for kind in kinds):
        raise EvaluationError(f"{folder / 'test'}: no test images; expected {TREE}")
    truth = folder / "ground_truth"
    test = [
        Sample(path, kind.name, _mask(truth / kind.name, path) if kind.name != GOOD else None)
        for kind in kinds
        for path in images_in(kind)
    ]
    if truth.is_dir():
        for sample in test:
            if sample.anomalous and sample.mask is None:
                raise EvaluationError(
                    f"{sample.path}: its mask {truth / sample.defect / (sample.path.stem + '_mask.png')} is missing; "
                    "add it, or rename ground_truth to go without pixel metrics"
                )
    return Category(dataset, name, folder, tuple(Sample(p) for p in train), tuple(test))


def _mask(folder: Path, image: Path) -> Path | None:
    for path in (folder / f"{image.stem}_mask.png", *(p for p in images_in(folder) if p.stem == image.stem)):
        if path.is_file():
            return path
    return None
