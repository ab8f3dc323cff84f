"""MVTec AD, MVTec LOCO AD, MVTec AD 2, BTAD and MPDD, each by its published tree and counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from fracgen.support.decode import read_json
from fracgen_eval.datasets.base import Category, Saturation
from fracgen_eval.datasets.counts import check_counts, published_counts
from fracgen_eval.datasets.listing import check_strays
from fracgen_eval.datasets.trees import MVTEC, Tree, load_tree
from fracgen_eval.errors import EvaluationError, one_of

NOT_COMMERCIAL = "CC BY-NC-SA 4.0, not for commercial use"
BTAD_EMPTY = {"02": 1, "03": 10}
"""Masks of BTAD that mark nothing, by category, in the archive as it is published."""
LOCO_PAPER = {"splicing_connectors": (354, 59)}
"""Where the paper's table of MVTec LOCO AD counts fewer training and validation images than its archive holds."""


@dataclass(frozen=True)
class Published:
    """A dataset with a folder for each category: `--dataset NAME`."""

    name: str
    licence: str
    """And where the dataset comes from, for messages."""
    tree: Tree = MVTEC
    more: str = ""
    """What else lies in a category, for messages."""

    def categories(self, root: Path) -> list[str]:
        """All, in the dataset's order."""
        return list(published_counts(self.name))

    def load(self, root: Path, category: str) -> Category:
        """List a category's files and check their counts."""
        one_of(category, self.categories(root), f"category of {self.name}")
        folder = root / category
        if not folder.is_dir():
            raise EvaluationError(f"{folder}: no such folder; expected {self.tree.text}{self.more} ({self.licence})")
        listed, want = load_tree(folder, self.tree, self.name, category, self.licence), None
        fewer = len(listed.train), len(listed.validation)
        if self.name == "mvtec-loco" and fewer == LOCO_PAPER.get(category):
            want = replace(published_counts(self.name)[category], train=fewer[0], validation=fewer[1])
        check_counts(listed, self.licence, want)
        return self._finished(listed)

    def _finished(self, listed: Category) -> Category:
        """The category with what is particular to the dataset."""
        if self.name == "mvtec-loco":
            return replace(listed, saturation=_saturation(listed.root / "defects_config.json"))
        if self.name == "btad":
            return replace(listed, empty_masks=BTAD_EMPTY.get(listed.name, 0))
        if self.name == "mpdd":
            for defect in sorted({s.defect for s in listed.test if s.anomalous}):
                check_strays(listed.root / "ground_truth" / defect, set(listed.files))
        return replace(listed, seg_f1=self.name == "mvtec-ad2")


PUBLISHED = (
    Published("mvtec", f"MVTec AD, {NOT_COMMERCIAL}, from MVTec's web site"),
    Published(
        "mvtec-loco", f"MVTec LOCO AD, {NOT_COMMERCIAL}, from MVTec's web site",
        Tree(
            defects={
                kind: (f"test/{kind}", f"ground_truth/{kind}") for kind in ("logical_anomalies", "structural_anomalies")
            },
            validation="validation/good", regions=True,
        ),
        ", <category>/defects_config.json",
    ),
    Published(
        "mvtec-ad2", f"MVTec AD 2, {NOT_COMMERCIAL}, from MVTec's web site",
        Tree(
            good="test_public/good", defects={"bad": ("test_public/bad", "test_public/ground_truth/bad")},
            validation="validation/good",
        ),
    ),
    Published(
        "btad", "BTAD, CC BY-SA, from the AVIRES laboratory of the University of Udine",
        Tree("train/ok", "test/ok", {"ko": ("test/ko", "ground_truth/ko")}),
    ),
    Published("mpdd", f"MPDD, {NOT_COMMERCIAL}, from its authors' page"),
)  # fmt: skip
"""MVTec AD (Bergmann et al., CVPR 2019): 15 categories. MVTec LOCO AD (Bergmann et al., IJCV 2022): five, logical and
structural anomalies apart. MVTec AD 2 (Heckler-Kram et al., 2025): eight, its public test images, which alone have
masks. BTAD (Mishra et al., ISIE 2021): three products. MPDD (Jezek et al., ICUMT 2021): six kinds of metal parts."""


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
