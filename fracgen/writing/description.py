"""`dataset.json`, the record of a folder of images, from which it can be reproduced and resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from fracgen.support.decode import read_json
from fracgen.support.files import PART, remove_parts, whole_file
from fracgen.support.provenance import provenance
from fracgen.writing.base import Selection

_OF_THIS_RUN = ("shard", "made_with")


def describe(selection: Selection, options: Mapping[str, object]) -> dict[str, object]:
    """Everything that decides the bytes of a selection's files, and what made them. JSON types."""
    return {
        **options,
        "count": selection.count,
        "order": selection.order,
        "seed": selection.seed,
        "epoch": selection.epoch,
        "stream": int(selection.stream),
        "recipe": selection.recipe.to_json(),
        "recipe_digest": selection.recipe.digest,
        "render_version": selection.recipe.render_version,
        "bank": {
            "sha256": selection.bank.sha256, "codes": len(selection.bank), "classes": selection.bank.classes,
            "metadata": dict(selection.bank.metadata),
        },
        "shard": f"{selection.shard[0]}/{selection.shard[1]}",
        "made_with": provenance(),
    }  # fmt: skip


def file_name(shard: tuple[int, int]) -> str:
    """`dataset.json`, or one file a shard, so that shards can share a folder."""
    i, n = shard
    return "dataset.json" if n == 1 else f"dataset-{i}-of-{n}.json"


def prepare_folder(folder: Path, selection: Selection, options: Mapping[str, object], resume: bool) -> None:
    """Make an output folder, or check that the one there is of the same selection; write the record.

    Raises:
        ValueError: the folder holds other images, or anything else, or this selection's and `resume` is false.
        OSError: it cannot be made or written.
    """
    own = describe(selection, options)
    records = sorted(folder.glob("dataset*.json"))
    for path in records:
        if difference := _difference(path, own):
            raise ValueError(f"{folder} holds another dataset ({difference}): name another folder")
    if (folder / file_name(selection.shard)).exists() and not resume:
        raise ValueError(f"{folder} already holds this dataset: add --resume to carry on, or name another folder")
    if not records and folder.is_dir() and any(not p.name.endswith(PART) for p in folder.iterdir()):
        raise ValueError(f"{folder} is not empty and holds no fracgen dataset: name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    if selection.shard[0] == 0:  # one of them looks, for all
        remove_parts(folder, "**/.*")
    with whole_file(folder / file_name(selection.shard)) as file:
        file.write((json.dumps(own, indent=2) + "\n").encode())


def _difference(path: Path, own: dict[str, object]) -> str | None:
    """The first difference of the record at `path`, in words; None if it is of the same selection."""
    try:
        other = read_json(path)
    except ValueError:
        return f"{path.name} is not readable"
    for key in own:
        if key not in _OF_THIS_RUN and own[key] != other.get(key):
            theirs, ours = other.get(key), own[key]
            if isinstance(theirs, dict) and isinstance(ours, dict):
                inner = next(k for k in {**ours, **theirs} if ours.get(k) != theirs.get(k))
                key, theirs, ours = f"{key}.{inner}", theirs.get(inner), ours.get(inner)
            return f"{key} {theirs!r} there, {ours!r} asked for"
    return None
