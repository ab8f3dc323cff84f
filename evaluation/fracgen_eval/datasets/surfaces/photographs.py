"""The photographs behind `surfaces`: file, licence, and the two parts that never meet.

None ships with fracgen: each is read from the installed package that carries it in its wheel.
Training and test pictures come from boxes of one photograph that do not overlap.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.errors import EvaluationError
from fracgen_eval.pictures import read_picture

Box: TypeAlias = tuple[int, int, int, int]
"""Top, left, bottom, right in pixels of a photograph; the bottom row and the right column are outside."""


@dataclass(frozen=True)
class Photograph:
    """A photograph of a surface."""

    package: str
    """The installed package that carries it."""
    file: str
    """Below the package's folder."""
    licence: str
    """As the package states it, with the author where the licence asks for that."""
    window: int
    """Side in pixels of the square that a picture shows at scale 1."""
    contrast: float
    """Strength of this surface's defects at strength 1, calibrated so that all categories are about as hard."""
    _: KW_ONLY
    train: tuple[Box, ...]
    test: tuple[Box, ...]


_SKIMAGE, _SKLEARN = "scikit-image", "scikit-learn"
_CC0, _FREE = "CC0", "no known copyright restrictions"
_LEFT, _RIGHT = ((0, 0, 512, 310),), ((0, 310, 512, 512),)

PHOTOGRAPHS = {
    "brick": Photograph(_SKIMAGE, "data/brick.png", _CC0, 128, 0.7, train=_LEFT, test=_RIGHT),
    "coins": Photograph(
        _SKIMAGE, "data/coins.png", f"{_FREE}, Brooklyn Museum", 104, 1.8, train=((0, 0, 303, 230),),
        test=((0, 230, 303, 384),)
    ),
    "fur": Photograph(
        _SKIMAGE, "data/chelsea.png", f"{_CC0}, Stefan van der Walt", 100, 1.8, train=((0, 60, 300, 240),),
        test=((0, 240, 300, 390),),
    ),
    "grass": Photograph(_SKIMAGE, "data/grass.png", _CC0, 128, 1.9, train=_LEFT, test=_RIGHT),
    "gravel": Photograph(_SKIMAGE, "data/gravel.png", _CC0, 128, 1.6, train=_LEFT, test=_RIGHT),
    "petals": Photograph(
        _SKLEARN, "datasets/images/flower.jpg", "CC BY 2.0, vultilion on Flickr", 88, 1.8,
        train=((150, 175, 305, 310),), test=((150, 310, 305, 440),),
    ),
    "retina": Photograph(
        _SKIMAGE, "data/retina.jpg", f"{_CC0}, Mikael Häggström", 192, 1.3, train=((180, 400, 1230, 780),),
        test=((180, 780, 1230, 1130),),
    ),
    "stars": Photograph(
        _SKIMAGE, "data/hubble_deep_field.jpg", "public domain, NASA", 256, 1.9, train=((0, 0, 872, 600),),
        test=((0, 600, 872, 1000),),
    ),
    "text": Photograph(
        _SKIMAGE, "data/text.png", "public domain", 100, 1.2, train=((0, 0, 172, 240),), test=((0, 240, 172, 448),)
    ),
    "tissue": Photograph(
        _SKIMAGE, "data/ihc.png", f"{_FREE}, CMMI", 112, 2.4, train=((0, 0, 165, 512), (330, 0, 512, 512)),
        test=((165, 0, 330, 512),),
    ),
}  # fmt: skip

_MODULES = {_SKIMAGE: "skimage", _SKLEARN: "sklearn"}


@cache
def read_photograph(category: str) -> NDArray[np.float64]:
    """The photograph of a category, float64 [H, W, 3] in [0, 255]; a grey one has three equal channels.

    Raises:
        EvaluationError: the package is not installed, or its wheel lacks the file.
    """
    photograph = PHOTOGRAPHS[category]
    try:
        with as_file(files(_MODULES[photograph.package]) / photograph.file) as path:
            if not path.is_file():
                raise FileNotFoundError(path)
            pixels = read_picture(path).astype(np.float64)
    except (ModuleNotFoundError, FileNotFoundError):
        raise EvaluationError(
            f"{photograph.package}'s {photograph.file} is missing: install {photograph.package} again from its wheel"
        ) from None
    pixels.flags.writeable = False
    return pixels
