"""Weights files: plain tensors out of whatever people keep them in, or one line that says what is in the way.

What a file is, its contents say and not its name: safetensors, or what `torch.save` wrote, of which torch's safe loader
reads tensors and plain containers. Nothing else is ever unpickled.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from fracgen.support.decode import Unchecked, brief, open_tensors, read_json
from fracgen.support.kinds import SAFETENSORS, TORCH, kind_of

if TYPE_CHECKING:
    from torch import Tensor

PARTS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")
"""Keys of a training checkpoint under which its network may lie, the first that is there first: averaged weights before
the last ones, as timm's own `load_state_dict` takes them."""
COUNTER = "num_batches_tracked"
"""End of the names of batch normalisations' counters: whole numbers, which old files lack and nothing depends on."""
MOST_PICKLED = 1 << 24
"""Bytes of a refused pickle that are searched for what it holds."""


class WeightsError(ValueError):
    """A file cannot serve as weights; the message names the file, what is in the way and what would help."""


@dataclass(frozen=True)
class WeightsFile:
    """What a weights file holds."""

    path: Path
    tensors: dict[str, Tensor]
    """On the CPU, by the file's own names; those of floats are finite."""
    part: str | None = None
    """The key under which they lay in a training checkpoint."""
    header: dict[str, str] = field(default_factory=dict)
    """Of safetensors."""
    config: dict[str, Unchecked] = field(default_factory=dict)
    """`config.json` beside safetensors."""
    architecture: str | None = None
    """Whose weights they are, where the file or its `config.json` says so; a checkpoint may name a class instead."""

    def check_architecture(self, model: str) -> None:
        """Raise WeightsError where they are another architecture's than `model`, whatever the tensors' names.

        TensorFlow's networks and timm's twins of them, such as `tf_efficientnet_lite0` and `efficientnet_lite0`, have
        the same tensors and pad images in other ways.
        """
        stated, wanted = (_bare(name) for name in (self.architecture or model, model))
        where = "config.json beside it" if "architecture" in self.config else "the file itself"
        if stated != wanted and _is_architecture(stated):
            raise WeightsError(
                f"{self.path}: weights of {stated}, as {where} says, and not of {wanted}, which may compute other "
                f"things with the same tensors: use --model {stated}, or correct what it says"
            )


def weights_path(path: Path) -> Path:
    """The file itself, or `model.safetensors` of a folder that was exported.

    Raises:
        FileNotFoundError: there is none.
        WeightsError: it is no weights file, by its first bytes.
        OSError: it cannot be read.
    """
    if path.is_dir():
        path /= "model.safetensors"
        if not path.exists():
            raise FileNotFoundError(f"{path.parent} is a folder without model.safetensors: no weights file")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such weights file")
    try:
        kind = kind_of(path)
    except ValueError as error:
        raise WeightsError(str(error)) from None
    if kind not in (SAFETENSORS, TORCH):
        raise WeightsError(f"{path} is {kind.name} and no weights file: {kind.remedy}")
    return path


def read_weights(path: Path, remedy: str = "use another checkpoint of these weights") -> WeightsFile:
    """Read a weights file.

    Args:
        path: safetensors or what `torch.save` wrote, under any name; or the folder of an export.
        remedy: for tensors that hold no numbers to compute with.

    Raises:
        FileNotFoundError: there is none.
        WeightsError: it is of another kind, damaged, holds objects that only running code can make, or a tensor of it
            is complex, holds NaN or infinity, or is none of numbers one by one.
        OSError: it cannot be read.
    """
    path = weights_path(path)
    if kind_of(path) is SAFETENSORS:
        tensors, header = _read_safetensors(path)
        config = _config_beside(path)
        about = WeightsFile(path, tensors, None, header, config, _stated(header | config))
    else:
        with path.open("rb") as opened:
            content = load_plain(opened, path)
        tensors, part = _state_dict(content, path)
        about = WeightsFile(path, tensors, part, architecture=_stated({"architecture": content.get("arch")}))
    if bad := fault(tensors):
        raise WeightsError(f"{path}: {bad}: {remedy}")
    return about


def fault(tensors: Mapping[str, Tensor]) -> str | None:
    """What is wrong with the first bad tensor: numbers that are not finite, or that no network computes with."""
    import torch

    for name, tensor in tensors.items():
        kind = str(tensor.dtype).removeprefix("torch.")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested or tensor.device.type != "cpu":
            return f"tensor {brief(name)} is sparse, quantised or without numbers"
        if tensor.dtype.is_complex:
            return f"tensor {brief(name)} is {kind}, and weights are real numbers"
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            return f"tensor {brief(name)} has {tensor.numel():,} numbers by its shape and fewer in the file"
        if not tensor.dtype.is_floating_point:
            continue
        try:
            bad = tensor.numel() - int(tensor.float().isfinite().sum())
        except NotImplementedError:  # of packed kinds, of which torch has the name alone
            return f"tensor {brief(name)} is {kind}, with which torch cannot compute"
        if bad:
            return f"tensor {brief(name)}: {bad:,} of {tensor.numel():,} numbers are NaN or infinite"
    return None


def differences(tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], whole: Collection[str]) -> str:
    """How tensors differ from those of a network, in one line; empty where they do not.

    Args:
        tensors: by the network's names; batch normalisations' counters may be missing.
        shapes: of the network's.
        whole: names of those of the network that are whole numbers; the others are floats of any precision.
    """
    have = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    both = [name for name in shapes if name in have]
    faults = {
        "missing": [name for name in shapes if name not in have and not name.endswith(COUNTER)],
        "extra": [brief(name) for name in have if name not in shapes],
        "wrongly shaped": [
            f"{name} is {list(have[name])} instead of {list(shapes[name])}" for name in both
            if have[name] != shapes[name]
        ],
        "not of floats": [
            f"{name} is {str(tensors[name].dtype).removeprefix('torch.')}" for name in both
            if name not in whole and not tensors[name].is_floating_point()
        ],
    }  # fmt: skip
    return "; ".join(f"{len(names)} {what}: {listed(names)}" for what, names in faults.items() if names)


def load_plain(file: IO[bytes], name: Path) -> Unchecked:
    """What `torch.save` wrote, on the CPU: tensors, numbers, texts and plain containers of them.

    Args:
        file: opened, so that torch does not go by its name.
        name: for messages.

    Raises:
        WeightsError: it holds other objects, or is damaged.
        OSError: it cannot be read.
    """
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{name}: {_in_the_way(str(error), file, name)}") from None
    except OSError:
        raise
    except Exception as error:  # whatever damaged bytes make of torch's loader
        reason = brief((str(error).splitlines() or [type(error).__name__])[0], 100)
        raise WeightsError(f"{name}: cut off or damaged ({reason}): copy or download it again") from None


def listed(names: Collection[str], most: int = 4) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(list(names)[:most]) + more


def _in_the_way(message: str, file: IO[bytes], name: Path) -> str:
    """Which object torch's safe loader refused, and how the tensors beside it are saved alone."""
    found = re.search(r"GLOBAL (\S+) (?:was not|whose)", message)
    front = _pickled(file)
    if found is None:
        return (
            "its pickle is of another protocol than torch.save's, or damaged: save the network's state_dict() again, "
            "with safetensors or torch.save as it is"
        )
    what, again = brief(found[1]), f"torch.load({str(name)!r}, weights_only=False)"
    module, _, of = what.rpartition(".")
    first = re.escape(f"c{module}\n{of}\n".encode())  # the first object of a pickle; older ones name its source code
    if re.search(rb"\x80\x02(?:\(X\x06\0\0\0moduleq\0)?" + first, front):
        what, tensors = f"a whole {what}", f"{again}.state_dict()"
    else:
        if ".multiarray." in what or what.startswith("numpy."):
            what = f"a NumPy {'number' if of == 'scalar' else 'array'} ({what})"
        part = next((key for key in PARTS if b"X" + len(key).to_bytes(4, "little") + key.encode() in front), None)
        what, tensors = f"{what} beside its tensors", again + (f"[{part!r}]" if part else "")
    return (
        f"holds {what}, and anything but tensors, numbers and text may run code when it is read: if you trust the "
        f'file, save its tensors by themselves: python -c "import torch; torch.save({tensors}, \'tensors.pth\')"'
    )


def _pickled(file: IO[bytes]) -> bytes:
    """The pickles of a file of `torch.save`, or as much of them as says what they hold."""
    try:
        with zipfile.ZipFile(file) as archive:
            (entry,) = (name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl")
            with archive.open(entry) as pickled:
                return pickled.read(MOST_PICKLED)
    except (zipfile.BadZipFile, ValueError, NotImplementedError):  # the older format, or damaged
        file.seek(0)
        return file.read(MOST_PICKLED)


def _state_dict(content: object, path: Path) -> tuple[dict[str, Tensor], str | None]:
    """The tensors of a checkpoint, and the key under which they lay."""
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds a {type(content).__name__} and no state dict: save model.state_dict()")
    part = next((key for key in PARTS if _tensors(content.get(key))), None)
    if tensors := _tensors(content if part is None else content[part]):
        return tensors, part
    nested = next((key for key, value in content.items() if _tensors(value)), None)
    if nested is None:
        where = "and no tensors under any of them: save model.state_dict()"
    else:
        again = f"torch.save(torch.load({str(path)!r})[{brief(nested)!r}], 'tensors.pth')"
        where = f"and its tensors lie under {brief(nested)!r}: save those alone: python -c \"import torch; {again}\""
    raise WeightsError(f"{path}: a checkpoint with the keys {listed([brief(key) for key in content], 8)}, {where}")


def _tensors(table: object) -> dict[str, Tensor]:
    import torch

    found = table.items() if isinstance(table, dict) else ()
    return {str(name): tensor.detach() for name, tensor in found if isinstance(tensor, torch.Tensor)}


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with open_tensors(path, "pt") as file:
            return {name: file.load(name) for name in file.tensors}, file.metadata
    except ValueError as error:
        raise WeightsError(f"{error}: copy or download it again") from None


def _config_beside(path: Path) -> dict[str, Unchecked]:
    """`config.json` of an export or of timm: its own fields, and those of its `pretrained_cfg`."""
    beside = path.with_name("config.json")
    if not beside.is_file():
        return {}
    try:
        config: dict[str, Unchecked] = read_json(beside)
    except ValueError as error:
        raise WeightsError(f"{error}: restore it or take it away") from None
    nested = config.get("pretrained_cfg")
    return config | (nested if isinstance(nested, dict) else {})


def _stated(about: Mapping[str, object]) -> str | None:
    name = about.get("architecture")
    return name if isinstance(name, str) else None


def _bare(name: str) -> str:
    """An architecture's name without timm's prefix and the tag of weights."""
    return name.removeprefix("timm/").partition(".")[0]


def _is_architecture(name: str) -> bool:
    """Whether timm has an architecture of that name; checkpoints may name a class instead, such as `efficientnet`."""
    import timm

    return bool(timm.is_model(name))
