"""Any folder in MVTec layout: one category, or a folder of categories.

    category/train/good/*.png
    category/test/good/*.png
    category/test/<defect>/*.png
    category/ground_truth/<defect>/*_mask.png     optional: without it there are no pixel metrics

What lies in deeper folders is left out, and so are files that are no pictures; how many is told.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fracgen_eval.datasets.base import GOOD, Category, Sample
from fracgen_eval.datasets.listing import folders_in, images_in, left_out
from fracgen_eval.datasets.masks import match_masks
from fracgen_eval.errors import EvaluationError, one_of

TREE = "<category>/train/good, <category>/test/good, <category>/test/<defect>, <category>/ground_truth/<defect>"


class Folder:
    """`--dataset folder`: pictures of one's own."""

    name = "folder"

    def categories(self, root: Path) -> list[str]:
        """Sub-folders with a train folder, or the folder itself."""
        if (root / "train").is_dir():
            return [root.resolve().name]
        names = [p.name for p in folders_in(root) if (p / "train").is_dir()]
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
        found = left_out(folder, [folder / "train"], [])
        raise EvaluationError(
            f"{folder / 'train' / GOOD}: no training images{f'; left out {found}' if found else ''}; "
            "put the normal ones there"
        )
    truth = folder / "ground_truth"
    test: list[Sample] = []
    for kind in folders_in(folder / "test"):
        images = images_in(kind)
        masks = match_masks(images, truth / kind.name) if kind.name != GOOD else {}
        test += [Sample(path, kind.name, masks.get(path)) for path in images]
    if not test:
        raise EvaluationError(f"{folder / 'test'}: no test images; expected {TREE}")
    if truth.is_dir() and (bare := next((s for s in test if s.anomalous and s.mask is None), None)):
        raise EvaluationError(
            f"{bare.path}: its mask {truth / bare.defect / (bare.path.stem + '_mask.png')} is missing; "
            "add it, or rename ground_truth to go without pixel metrics"
        )
    listed = Category(dataset, name, folder, tuple(Sample(p) for p in train), tuple(test))
    return replace(listed, left_out=left_out(folder, [folder / "train", folder / "test", truth], listed.files))
