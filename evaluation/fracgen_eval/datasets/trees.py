"""Categories in a published tree of folders: found, paired with their masks, and counted.

The trees differ in the names of some folders and in where masks lie, so that a dataset is a `Tree` for each
category, and its licence. Nothing is decoded here; `check_files` does that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from fracgen_eval.datasets.base import Category, Sample
from fracgen_eval.datasets.listing import images_in, left_out
from fracgen_eval.datasets.masks import check_strays, match_masks
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
    tops = {folder / Path(part).parts[0] for part in (*needed, *(masks for _, masks in tree.defects.values()))}
    listed = Category(dataset, name, folder, train, tuple(test), validation=kept)
    return replace(listed, left_out=left_out(folder, sorted(tops), listed.files))


def _with_masks(images: Path, masks: Path, defect: str, regions: bool) -> list[Sample]:
    paths = images_in(images)
    if regions:
        found = {p: files for p in paths if (files := images_in(masks / p.stem))}
    else:
        found = {p: [mask] for p, mask in match_masks(paths, masks).items()}
    if bare := next((p for p in paths if p not in found), None):
        expected = masks / bare.stem / "000.png" if regions else masks / f"{bare.stem}.png"
        raise EvaluationError(f"{bare}: its mask, such as {expected}, is missing: unpack the dataset again")
    check_strays(masks, {mask for files in found.values() for mask in files})
    return [Sample(p, defect, found[p][0], tuple(found[p][1:])) for p in paths]
