"""MVTec LOCO AD, MVTec AD 2, BTAD and MPDD, each by its published tree and counts. Nothing is downloaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fracgen.support.decode import read_json
from fracgen_eval.datasets.base import Category, Saturation
from fracgen_eval.datasets.counts import Counts, check_counts, published_counts
from fracgen_eval.datasets.folder import TREE, load_folder
from fracgen_eval.datasets.masks import check_strays
from fracgen_eval.datasets.trees import Tree, load_tree
from fracgen_eval.errors import EvaluationError, one_of

NOT_COMMERCIAL = "CC BY-NC-SA 4.0, not for commercial use"
LOGICAL, STRUCTURAL = "logical_anomalies", "structural_anomalies"
LOCO_TREE = Tree(
    "train/good", "test/good", {kind: (f"test/{kind}", f"ground_truth/{kind}") for kind in (LOGICAL, STRUCTURAL)},
    validation="validation/good", regions=True,
)  # fmt: skip
AD2_TREE = Tree(
    "train/good", "test_public/good", {"bad": ("test_public/bad", "test_public/ground_truth/bad")},
    validation="validation/good",
)  # fmt: skip
BTAD_TREE = Tree("train/ok", "test/ok", {"ko": ("test/ko", "ground_truth/ko")})
BTAD_EMPTY = {"02": 1, "03": 10}
"""Masks of BTAD that mark nothing, by category, in the archive as it is published."""
LOCO_PAPER = {"splicing_connectors": (354, 59)}
"""Where the paper's table of MVTec LOCO AD counts fewer training and validation images than its archive holds."""


class Published:
    """A dataset with a folder for each category: `--dataset NAME`; its licence goes into messages."""

    def __init__(self, name: str, licence: str, tree: Tree | None = None, more: str = "") -> None:
        self.name, self.licence, self._tree = name, licence, tree
        self.tree = (TREE if tree is None else tree.text) + more
        """What lies where, for messages."""

    def categories(self, root: Path) -> list[str]:
        """All, in the dataset's order."""
        return list(published_counts(self.name))

    def load(self, root: Path, category: str) -> Category:
        """List a category's files and check their counts."""
        one_of(category, self.categories(root), f"category of {self.name}")
        if not (root / category).is_dir():
            raise EvaluationError(f"{root / category}: no such folder; expected {self.tree} ({self.licence})")
        return self._listed(root / category, category)

    def _listed(self, folder: Path, name: str) -> Category:
        if self._tree is None:
            listed = load_folder(folder, self.name, name)
        else:
            listed = load_tree(folder, self._tree, self.name, name, self.licence)
        check_counts(listed, self.licence, self._counts(listed))
        return self._finished(listed)

    def _counts(self, listed: Category) -> Counts:
        return published_counts(self.name)[listed.name]

    def _finished(self, listed: Category) -> Category:
        """The category with what is particular to the dataset."""
        return listed


class MVTecLoco(Published):
    """MVTec LOCO AD (Bergmann et al., IJCV 2022): five categories, logical and structural anomalies apart."""

    def __init__(self) -> None:
        super().__init__(
            "mvtec-loco", f"MVTec LOCO AD, {NOT_COMMERCIAL}, from MVTec's web site", LOCO_TREE,
            ", <category>/defects_config.json",
        )  # fmt: skip

    def _counts(self, listed: Category) -> Counts:
        want = super()._counts(listed)
        if (fewer := (len(listed.train), len(listed.validation))) == LOCO_PAPER.get(listed.name):
            return replace(want, train=fewer[0], validation=fewer[1])
        return want

    def _finished(self, listed: Category) -> Category:
        return replace(listed, saturation=_saturation(listed.root / "defects_config.json"))


class MVTecAD2(Published):
    """MVTec AD 2 (Heckler-Kram et al., 2025): eight categories; its public test images, which alone have masks."""

    def __init__(self) -> None:
        super().__init__("mvtec-ad2", f"MVTec AD 2, {NOT_COMMERCIAL}, from MVTec's web site", AD2_TREE)

    def _finished(self, listed: Category) -> Category:
        return replace(listed, seg_f1=True)


class Btad(Published):
    """BTAD (Mishra et al., ISIE 2021): three products of beanTech."""

    def __init__(self) -> None:
        super().__init__("btad", "BTAD, CC BY-SA, from the AVIRES laboratory of the University of Udine", BTAD_TREE)

    def _finished(self, listed: Category) -> Category:
        return replace(listed, empty_masks=BTAD_EMPTY.get(listed.name, 0))


class Mpdd(Published):
    """MPDD (Jezek et al., ICUMT 2021): six kinds of painted metal parts, in MVTec AD's layout."""

    def __init__(self) -> None:
        super().__init__("mpdd", f"MPDD, {NOT_COMMERCIAL}, from its authors' page")

    def _finished(self, listed: Category) -> Category:
        for defect in sorted({s.defect for s in listed.test if s.anomalous}):
            check_strays(listed.root / "ground_truth" / defect, set(listed.files))
        return listed


def _saturation(path: Path) -> tuple[Saturation, ...]:
    """The kinds of defects of a category of MVTec LOCO AD. Raises EvaluationError where the file is none."""
    try:
        table = read_json(path, list)
        kinds = tuple(
            Saturation(int(row["pixel_value"]), float(row["saturation_threshold"]), bool(row["relative_saturation"]))
            for row in table
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"{path}: no list of pixel_value, saturation_threshold and relative_saturation ({error!r}): unpack the "
            "dataset again"
        ) from None
    if not kinds or any(not 0 < k.value < 256 or not k.threshold > 0 for k in kinds):
        raise EvaluationError(f"{path}: pixel values lie in 1 to 255, and thresholds above 0: unpack the dataset again")
    return kinds
