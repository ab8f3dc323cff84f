"""Categories in trees of folders: found, paired with their masks, and counted. Nothing is decoded here.

The trees of datasets differ in the names of some folders and in where masks lie. Anomalib's readers of the same trees
are not used: they pair masks with pictures by their order and a part of the name, take hidden files and deeper folders
for pictures, and do not say what they leave out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fracgen_eval.datasets.base import GOOD, Category, Sample
from fracgen_eval.datasets.listing import check_strays, folders_in, images_in, left_out, match_masks
from fracgen_eval.errors import EvaluationError, one_of


@dataclass(frozen=True)
class Tree:
    """Folders of a category, below the category's own; as they are, MVTec AD's layout."""

    train: str = "train/good"
    good: str = "test/good"
    """Good test images."""
    defects: Mapping[str, tuple[str, str]] | None = None
    """By defect type, the folder of its test images and that of their masks. None: whatever `test` holds, with masks in
    `ground_truth` or without any."""
    validation: str | None = None
    regions: bool = False
    """Whether an image's masks are all files of a folder of its name, one for each region."""

    @property
    def text(self) -> str:
        """For messages."""
        defects = self.defects or {"": ("test/<defect>", "ground_truth/<defect>")}
        pairs = dict.fromkeys(folder for pair in defects.values() for folder in pair)
        folders = [self.train, *filter(None, [self.validation]), self.good, *pairs]
        return ", ".join(f"<category>/{folder}" for folder in folders)


MVTEC = Tree()


class Folder:
    """`--dataset folder`: pictures of one's own in MVTec AD's layout, one category or a folder of categories.

    What lies in deeper folders is left out, and so are files that are no pictures; how many is told.
    """

    name = "folder"

    def categories(self, root: Path) -> list[str]:
        """Sub-folders with a train folder, or the folder itself."""
        if (root / "train").is_dir():
            return [root.resolve().name]
        names = [p.name for p in folders_in(root) if (p / "train").is_dir()]
        if not names:
            raise EvaluationError(f"{root}: no category names; expected {MVTEC.text}")
        return names

    def load(self, root: Path, category: str) -> Category:
        """List a category's files."""
        one_of(category, self.categories(root), "category")
        return load_tree(root if (root / "train").is_dir() else root / category, MVTEC, self.name, category)


def load_tree(folder: Path, tree: Tree, dataset: str, name: str, licence: str = "") -> Category:
    """List the files of a category.

    Args:
        folder: the category's.
        tree: what lies where in it.
        dataset: the dataset's name.
        name: the category's name.
        licence: of a published dataset, and where it comes from, for the message.

    Raises:
        EvaluationError: there are no training or test images, a folder is not there, an image has no mask though
            others have one, or a mask of a published dataset no image.
    """
    kinds = (kind.name for kind in folders_in(folder / "test") if kind.name != GOOD)
    found = {kind: (f"test/{kind}", f"ground_truth/{kind}") for kind in kinds}
    defects = found if tree.defects is None else tree.defects
    parts = [tree.train, *filter(None, [tree.validation]), tree.good, *(images for images, _ in defects.values())]
    if tree.defects is not None and (gone := next((f for f in parts if not (folder / f).is_dir()), None)):
        raise EvaluationError(f"{folder / gone}: no such folder; expected {tree.text} ({licence})")
    train = images_in(folder / tree.train)
    if not train and tree.defects is None:
        rest = left_out(folder, [(folder / tree.train).parent], [])
        raise EvaluationError(
            f"{folder / tree.train}: no training images{f'; left out {rest}' if rest else ''}; "
            "put the normal ones there"
        )
    test = [Sample(path) for path in images_in(folder / tree.good)]
    for defect, (images, masks) in defects.items():
        test += _with_masks(folder, images_in(folder / images), folder / masks, defect, tree)
    if not test and tree.defects is None:
        raise EvaluationError(f"{folder / 'test'}: no test images; expected {tree.text}")
    listed = Category(
        dataset, name, folder, tuple(map(Sample, train)),
        tuple(test if tree.defects else sorted(test, key=lambda sample: sample.path)),
        validation=tuple(map(Sample, images_in(folder / tree.validation))) if tree.validation else (),
    )  # fmt: skip
    parts += [masks for _, masks in defects.values()] or ["ground_truth"]
    tops = {folder / Path(part).parts[0] for part in parts}
    return replace(listed, left_out=left_out(folder, sorted(tops), listed.files))


def _with_masks(folder: Path, images: list[Path], masks: Path, defect: str, tree: Tree) -> list[Sample]:
    if tree.regions:
        found = {path: files for path in images if (files := images_in(masks / path.stem))}
    else:
        found = {path: [mask] for path, mask in match_masks(images, masks).items()}
    bare = next((path for path in images if path not in found), None)
    if tree.defects is None:
        if bare and masks.parent.is_dir():
            raise EvaluationError(
                f"{bare}: its mask {masks / (bare.stem + '_mask.png')} is missing; add it, or rename ground_truth to "
                "go without pixel metrics"
            )
    elif bare:
        expected = masks / bare.stem / "000.png" if tree.regions else masks / f"{bare.stem}.png"
        raise EvaluationError(f"{bare}: its mask, such as {expected}, is missing: unpack the dataset again")
    else:
        check_strays(masks, {mask for files in found.values() for mask in files})
    return [Sample(path, defect, tuple(found.get(path, ()))) for path in images]
