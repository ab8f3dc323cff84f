"""Reads every picture and every mask of the evaluation; docs/evaluation.md has the table of what is read and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.errors import EvaluationError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

Numbers: TypeAlias = NDArray[np.integer[Any]]
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
"""What a file may be, whatever its suffix: none of Pillow's other formats, some of which start programs."""
MASK_LEVELS = 16
"""Values that a lossless mask may have to be taken as numbers of defect classes; one with more is shades of grey."""
BLACK, HALF, WHITE = 32, 128, 224
"""Of shades in [0, 255]: below BLACK a mask's are black, from WHITE on white, and from HALF on a defect."""

NO_MASK = "a picture in the place of the mask, or a mask that lost its values"
SAVE_MASK = "save it as PNG with 0 where normal and 255 where defect"

_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION, _SAMPLE_FORMAT = 258, 262, 274, 339
"""Tags of TIFF and EXIF."""
_WHITE_IS_ZERO, _SIGNED = 0, 2
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_EIGHT_BITS = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", *_WITH_ALPHA)
"""Pillow's modes."""


@dataclass(frozen=True)
class _Decoded:
    samples: Numbers
    """[H, W], or [H, W, 3] in red, green and blue; upright."""
    white: int | None
    """The value of white; None where the file's type does not tell."""
    lossy: bool
    """Whether compression may have changed the values."""


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture as it is meant to be seen: upright, without transparency, 8 bits a channel.

    Sixteen bits become eight by their type's range, never by the picture's own, so that the pictures of a dataset stay
    comparable.

    Returns:
        uint8 [H, W, 3].

    Raises:
        EvaluationError: the file cannot be decoded, or what it holds could be understood in more than one way.
    """
    found = _decoded(path)
    if found.white is None:
        raise EvaluationError(
            f"{path}: a picture of signed or 32-bit numbers, which do not tell what is white: save it as PNG of 8 or "
            "16 bits, all with the same scale"
        )
    pixels = _eight_bits(found.samples, found.white)
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def read_mask(path: Path, *, exact: bool = False) -> NDArray[np.uint8]:
    """Read a mask: what is not black is a defect; in shades of grey, what is at least half as bright as white.

    Shades of grey are those of lossy formats, those of files with more than 16 different values, and those of fewer
    where some are near black and some near white, as resizing and lossy formats leave them.

    Args:
        path: the file.
        exact: refuse shades of grey, because the values have a meaning.

    Returns:
        uint8 [H, W], 0 where normal. Elsewhere the file's value, the greatest of its channels and 255 at most; 255
        where it has shades of grey.

    Raises:
        EvaluationError: the file cannot be decoded, or is not clearly black and white.
    """
    found = _decoded(path)
    values = found.samples if found.samples.ndim == 2 else found.samples.max(axis=2)
    levels = np.unique(values)
    if not found.lossy and len(levels) <= MASK_LEVELS and (exact or _numbers(levels, found.white, path)):
        return np.where(values == 0, 0, np.clip(values, 1, 255)).astype(np.uint8)
    if exact or found.white is None:
        raise EvaluationError(
            f"{path}: {len(levels)} different values{' in a lossy format' if found.lossy else ''} do not tell kinds of "
            f"defects apart: {NO_MASK}; restore it from the dataset"
        )
    shades = _eight_bits(values, found.white)
    black, white = np.count_nonzero(shades < BLACK), np.count_nonzero(shades >= WHITE)
    unclear = shades.size - black - white
    if unclear > min(black, white) or (shades.any() and not white):
        raise EvaluationError(
            f"{path}: {len(levels)} grey levels, and not clearly black and white: {NO_MASK}; restore it, or {SAVE_MASK}"
        )
    return np.where(shades >= HALF, 255, 0).astype(np.uint8)


def _numbers(levels: Numbers, white: int | None, path: Path) -> bool:
    """Whether the few values of a mask are numbers, such as those of classes, rather than shades of grey.

    Raises:
        EvaluationError: they could be either.
    """
    if white is None:
        return True
    shades = _eight_bits(levels, white)
    dark, bright = (levels > 0) & (shades < BLACK), shades >= WHITE
    if not dark.any() or not bright.any():
        return True
    if bright.sum() > 1 or (~dark & ~bright & (levels != 0)).any():
        return False
    raise EvaluationError(
        f"{path}: values such as {levels[dark][0]} beside {levels[bright][-1]} could be numbers of defect classes, or "
        f"what a lossy format left of black and white: {SAVE_MASK}"
    )


def _decoded(path: Path) -> _Decoded:
    from PIL import Image, UnidentifiedImageError

    try:
        # A stream rather than a name: Pillow 11 to 13 map a TIFF that lies on its side into memory with the width and
        # height of the upright picture, which gives scrambled pixels.
        with path.open("rb") as stream, Image.open(stream, formats=FORMATS) as image:
            if image.format != "MPO" and (pages := getattr(image, "n_frames", 1)) > 1:
                raise EvaluationError(f"{path}: {pages} pages or frames in one file: save the one that counts alone")
            image.load()
            samples, white = _samples(image, path)
            lossy = image.format in ("JPEG", "MPO", "WEBP") or "jpeg" in str(image.info.get("compression"))
            orientation = None if image.format == "TIFF" else image.getexif().get(_ORIENTATION)  # Pillow turns TIFF
            return _Decoded(_upright(samples, orientation), white, lossy)
    except (EvaluationError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise _unreadable(path, f"none of {', '.join(FORMATS)} that Pillow can decode") from None
    except Exception as error:  # decoders raise almost anything on foreign bytes
        raise _unreadable(path, " ".join(str(error).split())[:200] or type(error).__name__) from None


def _unreadable(path: Path, why: str) -> EvaluationError:
    return EvaluationError(f"{path}: cannot be read as an image ({why}): replace the file")


def _samples(image: ImageFile, path: Path) -> tuple[Numbers, int | None]:
    """The samples of a decoded image as they lie in the file, and the value of white."""
    tags, mode = getattr(image, "tag_v2", {}), image.mode
    key = image.info.get("transparency")
    if mode.startswith("I;16") or (mode == "I" and image.format == "PNG"):  # PNG has no 32 bits
        white = (1 << tags.get(_BITS_PER_SAMPLE, (16,))[0]) - 1
        deep = np.asarray(image).astype(np.uint16)
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow turns eight bits round, but not sixteen
            deep = white - deep
        return np.where(deep == key, 0, deep) if isinstance(key, int) else deep, white
    if mode == "I":
        return np.asarray(image), None
    if mode not in _EIGHT_BITS:
        kind = {"F": "floating-point numbers", "LAB": "CIELAB colours"}.get(mode, f"mode {mode}")
        raise EvaluationError(
            f"{path}: an image of {kind}, which is not read: save it as PNG of 8 or 16 bits, all with the same scale"
        )
    if mode in _WITH_ALPHA or key is not None:
        return _on_black(image, path), 255
    signed = _SIGNED in tags.get(_SAMPLE_FORMAT, ())
    return np.asarray(image.convert("L" if mode in ("1", "L") else "RGB")), None if signed else 255


def _on_black(image: ImageFile, path: Path) -> NDArray[np.uint8]:
    """An image with transparency before a black ground, uint8 [H, W, 3]."""
    rgba = np.asarray((image.convert("LA") if image.mode == "La" else image).convert("RGBA"))
    colours, alpha = rgba[..., :3], rgba[..., 3:].astype(np.uint16)
    if not alpha.any():
        raise EvaluationError(f"{path}: every pixel is transparent: save the image without its alpha channel")
    return ((colours * alpha + 127) // 255).astype(np.uint8)


def _eight_bits(samples: Numbers, white: int) -> NDArray[np.uint8]:
    if white == 255:
        return samples.astype(np.uint8, copy=False)
    return ((samples.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)


def _upright(samples: Numbers, orientation: object) -> Numbers:
    """Samples turned and mirrored as EXIF's orientation says; what is none of its eight numbers says nothing."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return np.ascontiguousarray(samples)
