"""Kinds of files by their contents, as suffixes may be wrong and downloads may be web pages, pointers or incomplete."""

from __future__ import annotations

import codecs
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from fracgen.support.decode import check_regular

HEAD = 4096
"""Bytes from the front of a file that say what it is."""


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    name: str
    """For messages, with its article."""
    remedy: str = "name another file"
    """What to do if another kind is needed."""


SAFETENSORS = Kind("a safetensors file")
TORCH = Kind("a file of torch.save")
"""In either format: a ZIP archive with a pickle in it, or, before torch 1.6, a sequence of pickles."""

EMPTY = Kind("empty", "copy or download it again: a full disk and a broken download leave such files")
_CUT = Kind("a ZIP archive whose end is missing", "copy or download it again")
_PAGE = "download the file itself: sites that want a login or an answer, or refuse, send such pages in its place"
_PACKED = Kind("a compressed archive", "unpack it and name the file in it")
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""Torch's magic number, pickled."""
_FRONTS = {
    _LEGACY: TORCH,
    b"version https://git-lfs.github.com/": Kind("a Git LFS pointer", "fetch what it points to: git lfs pull"),
    b"\x89HDF\r\n\x1a\n": Kind("an HDF5 file, as Keras writes", "convert it to safetensors"),
    b"\x93NUMPY": Kind("a NumPy array"),
    b"GGUF": Kind("a GGUF file", "convert it to safetensors"),
    b"\x1f\x8b": _PACKED, b"BZh": _PACKED, b"\xfd7zXZ\0": _PACKED, b"\x28\xb5\x2f\xfd": _PACKED,
    b"7z\xbc\xaf\x27\x1c": _PACKED, b"Rar!": _PACKED,
    b"\x89PNG": Kind("a picture"), b"\xff\xd8\xff": Kind("a picture"), b"%PDF": Kind("a PDF document"),
}  # fmt: skip


def kind_of(path: Path) -> Kind:
    """The kind of a file; what it is a kind of need not be whole.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is a folder, a pipe or a device: nothing of it is read.
        OSError: it cannot be read.
    """
    check_regular(path)
    with path.open("rb") as file:
        head = file.read(HEAD)
    return _archive(path) if head.startswith(b"PK\x03\x04") else _of_head(head)


def _of_head(head: bytes) -> Kind:
    if not head:
        return EMPTY
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000:  # the format's own bound of its header
        return SAFETENSORS
    for front, kind in _FRONTS.items():
        if head.startswith(front):
            return kind
    if head[257:262] == b"ustar":
        return _PACKED
    if re.match(rb"\x80[\x02-\x05]", head):
        return Kind("a pickle, and not one of torch.save", "save its tensors with safetensors: reading it runs code")
    if head[0] == 8 and head[2:3] in (b"\x12", b"\x1a", b"\x22", b"\x3a", b"\x42"):  # fields of a protocol buffer
        return Kind("an ONNX model or another protocol buffer", "export the network's state_dict() with safetensors")
    if not head.strip(b"\0"):
        return Kind("full of zeros", "copy or download it again: an interrupted copy leaves such files")
    return _of_text(head)


def _of_text(head: bytes) -> Kind:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:9].lower().startswith((b"<!doctype", b"<html", b"<head", b"<script")):
        return Kind("an HTML page", _PAGE)
    if start.startswith(b"<?xml"):
        return Kind("an XML document", _PAGE)
    if b'"weight_map"' in head:
        return Kind("the index of a checkpoint in several files", "save all of its tensors in one file")
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # its last character may be cut
    except UnicodeDecodeError:
        text = "\0"
    if all(letter.isprintable() or letter.isspace() for letter in text):
        return Kind("a text file")
    return Kind(f"of an unknown kind (it begins with {head[:8].hex(' ')})")


def _archive(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return _CUT
    files = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in files and "data.pkl" in files:
        return Kind("a TorchScript program", "save the state_dict() of torch.jit.load(...)")
    if "data.pkl" in files:
        return TORCH
    if names and all(name.endswith(".npy") for name in names):
        return Kind("an archive of NumPy arrays")
    return Kind("a ZIP archive without torch's data.pkl", "unpack it and name the file in it")


CLUTTER = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information")
"""Names, in small letters, that systems give to files and folders of their own; others begin with `.` or `@`."""


def is_clutter(name: str) -> bool:
    """Whether a file or folder of that name is the system's.

    >>> is_clutter(".ipynb_checkpoints"), is_clutter("@eaDir"), is_clutter("0001.csv")
    (True, True, False)
    """
    return name.startswith((".", "@")) or name.lower() in CLUTTER


def files_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """All files below a folder; and clutter, whose folders are not entered. Links to folders are followed, once."""
    files, clutter, seen = [], [], {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, followlinks=True):
        here = Path(place)
        clutter += [here / name for name in (*folders, *names) if is_clutter(name)]
        files += [here / name for name in names if not is_clutter(name)]
        real = {name: os.path.realpath(here / name) for name in folders if not is_clutter(name)}
        folders[:] = [name for name, target in real.items() if target not in seen]
        seen.update(real.values())
    return files, clutter
