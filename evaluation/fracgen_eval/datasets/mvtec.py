"""MVTec AD (Bergmann et al., CVPR 2019): 15 categories, CC BY-NC-SA 4.0."""

from __future__ import annotations

from pathlib import Path

from fracgen_eval.datasets.base import Category
from fracgen_eval.datasets.counts import check_counts, published_counts
from fracgen_eval.datasets.folder import TREE, load_folder
from fracgen_eval.errors import EvaluationError, one_of

LICENCE = "MVTec AD, CC BY-NC-SA 4.0, not for commercial use, from MVTec's web site"


class MVTec:
    """`--dataset mvtec`: the folder that holds bottle, cable and the others."""

    name = "mvtec"

    def categories(self, root: Path) -> list[str]:
        """All 15, in the dataset's order."""
        return list(published_counts(self.name))

    def load(self, root: Path, category: str) -> Category:
        """List a category's files and check their counts."""
        one_of(category, self.categories(root), "MVTec AD category")
        if not (root / category).is_dir():
            raise EvaluationError(f"{root / category}: no such folder; expected {TREE} ({LICENCE})")
        listed = load_folder(root / category, self.name, category)
        check_counts(listed, LICENCE)
        return listed
