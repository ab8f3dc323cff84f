"""Categories in a published tree of folders: found, paired with their masks, and counted.

The trees differ in the names of some folders and in where masks lie, so that a dataset is a `Tree` for each
category, and its licence. Nothing is decoded here; `check_files` does that.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fracgen_eval.datasets.base import Category, Sample, images_in
from fracgen_eval.errors import EvaluationError


@dataclass(frozen=True)
class Tree:
    """Folders of a category, below the category's own."""

    train: str
    good: str
    """Good test images."""
    defects: dict[str, tuple[str, str]]
    """By defect type, the folder of its test images and that of their masks."""
    validation: str | None = None
    regions: bool = False
    """Whether an image's masks are all files of a folder of its name, one for each region."""

    @property
    def text(self) -> str:
        """For messages."""
        pairs = dict.fromkeys(folder for pair in self.defects.values() for folder in pair)
        folders = [self.train, *filter(None, [self.validation]), self.good, *pairs]
        return ", ".join(f"<category>/{folder}" for folder in folders)


def load_tree(folder: Path, tree: Tree, dataset: str, name: str, licence: str) -> Category:
    """List the files of a category.

    Args:
        folder: the category's.
        tree: what lies where in it.
        dataset: the dataset's name.
        name: the category's name.
        licence: of the dataset, and where it comes from, for the message.

    Raises:
        EvaluationError: a folder is not there, an image has no mask, or a mask no image.
    """
    needed = [tree.train, *filter(None, [tree.validation]), tree.good, *(images for images, _ in tree.defects.values())]
    if gone := next((f for f in needed if not (folder / f).is_dir()), None):
        raise EvaluationError(f"{folder / gone}: no such folder; expected {tree.text} ({licence})")
    test = [Sample(path) for path in images_in(folder / tree.good)]
    for defect, (images, masks) in tree.defects.items():
        test += _with_masks(folder / images, folder / masks, defect, tree.regions)
    train, kept = (
        tuple(Sample(path) for path in images_in(folder / part)) if part else ()
        for part in (tree.train, tree.validation)
    )
    return Category(dataset, name, folder, train, tuple(test), validation=kept)


def check_strays(masks: Path, samples: list[Sample]) -> None:
    """Raises EvaluationError where a folder of masks has a file that is the mask of none of the images."""
    known = {path for sample in samples for path in sample.masks}
    found = sorted(path for path in masks.rglob("*") if path.is_file() and not path.name.startswith("."))
    if stray := next((path for path in found if path not in known), None):
        raise EvaluationError(
            f"{stray}: the mask of no test image of its folder; masks may have been swapped: restore the files"
        )


def _with_masks(images: Path, masks: Path, defect: str, regions: bool) -> list[Sample]:
    samples = []
    for path in images_in(images):
        found = images_in(masks / path.stem) if regions else _one_mask(masks, path)
        if not found:
            expected = masks / path.stem / "000.png" if regions else masks / f"{path.stem}.png"
            raise EvaluationError(f"{path}: its mask, such as {expected}, is missing: unpack the dataset again")
        samples.append(Sample(path, defect, found[0], tuple(found[1:])))
    check_strays(masks, samples)
    return samples


def _one_mask(folder: Path, image: Path) -> list[Path]:
    """The mask of the image's name with `_mask`, or of its name alone, of whatever kind of file."""
    names = (f"{image.stem}_mask", image.stem)
    return [path for name in names for path in images_in(folder) if path.stem == name][:1]
