"""What people have under the name of weights: read as plain tensors, or told in one line; nothing of it is run."""

from __future__ import annotations

import argparse
import collections
import gzip
import io
import os
import pickle
import re
import socket
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from fracgen.weights import WeightsError, fault, load_plain, read_weights, weights_path
from tests.malformed import one_line


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


STATE = network().state_dict()


def saved(what: object, new: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(what, file, _use_new_zipfile_serialization=new)
    return file.getvalue()


def legacy(what: object) -> bytes:
    return saved(what, new=False)


def zipped(**files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return file.getvalue()


def arrays() -> bytes:
    file = io.BytesIO()
    np.savez(file, weight=np.zeros(3))
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("w.pth"))
    return file.getvalue()


def refusal(path: Path, content: bytes | None = None) -> str:
    """The one line that is said about a file."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert said.isprintable()
    return said


def same(tensors: dict[str, torch.Tensor]) -> bool:
    return set(tensors) == set(STATE) and all(torch.equal(tensors[k], v) for k, v in STATE.items())


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.bin", "w"])
@pytest.mark.parametrize("content", [save(STATE), saved(STATE), legacy(STATE)], ids=["safetensors", "zip", "older"])
def test_the_contents_say_what_a_file_is_and_not_its_name(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert same(read_weights(tmp_path / name).tensors)


FOREIGN = {
    "empty": (b"", "is empty and no weights file: copy or download it again"),
    "zeros": (bytes(9000), "is full of zeros"),
    "page": (b"\n <!DOCTYPE html><html><title>Virus scan warning</title>", "is an HTML page"),
    "page of another case": (b"\xef\xbb\xbf<HTML>", "is an HTML page"),
    "refused download": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is an XML document"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer .*: git lfs pull"),
    "text": (b"Not found\n", "is a text file"),
    "long text of odd letters": ("ä ö\n".encode() * 2000, "is a text file"),
    "index": (b'{"metadata": {}, "weight_map": {"a": "1.safetensors"}}', "index of a checkpoint in several files"),
    "onnx": (b"\x08\x08\x12\x07pytorch\x1a\x052.0.0:\x00", "is an ONNX model"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(90), "is an HDF5 file"),
    "gguf": (b"GGUF\x03\0\0\0", "is a GGUF file"),
    "npy": (b"\x93NUMPY\x01\0v\0", "is a NumPy array"),
    "npz": (arrays(), "is an archive of NumPy arrays"),
    "gzip": (gzip.compress(saved(STATE)), "is a compressed archive .* unpack it"),
    "tar": (tarred(), "is a compressed archive .* unpack it"),
    "script": (zipped(m__data__pkl=b"", **{"m__data.pkl": b"", "m__constants.pkl": b""}), "is a TorchScript program"),
    "zip": (zipped(**{"weights.pth": saved(STATE)}), "is a ZIP archive without torch's data.pkl .* unpack it"),
    "pickle": (pickle.dumps({"a": np.zeros(3)}), "is a pickle, and not one of torch.save"),
    "older pickle": (pickle.dumps(STATE, protocol=2), "is a pickle, and not one of torch.save"),
    "noise": (bytes(range(200, 256)), r"unknown kind \(it begins with c8 c9 ca"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_weights_file_is_called_by_its_name(kind: str, tmp_path: Path) -> None:
    content, message = FOREIGN[kind]
    for name in ("w.pth", "w.safetensors"):
        assert re.search(message, refusal(tmp_path / name, content))
        with pytest.raises(WeightsError, match=message):  # before anything is loaded
            weights_path(tmp_path / name)


class Runs:
    """Unpickled, it would make a folder."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("made-by-a-pickle",)


BESIDE = {
    "options": (argparse.Namespace(lr=0.1), "holds argparse.Namespace beside its tensors"),
    "number": (np.float64(91.2), r"holds a NumPy number \(numpy.*scalar\) beside its tensors"),
    "array": (np.zeros(3), r"holds a NumPy array \(numpy.*_reconstruct\)"),
    "path": (Path("data"), r"holds pathlib\.\w*Path beside"),
    "table": (collections.defaultdict(list), r"holds collections\.defaultdict beside"),
    "code": (Runs(), r"holds posix\.mkdir beside"),
}


@pytest.mark.parametrize("write", [saved, legacy])
@pytest.mark.parametrize("kind", BESIDE)
def test_what_the_safe_loader_refuses_is_named_and_not_run(
    kind: str, write: Callable[[object], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other, message = BESIDE[kind]
    said = refusal(tmp_path / "last.pth.tar", write({"epoch": 3, "state_dict": STATE, "args": other}))
    assert re.search(message, said)
    assert "['state_dict'], 'tensors.pth')" in said
    assert [path.name for path in tmp_path.iterdir()] == ["last.pth.tar"]


def test_what_is_said_about_a_refused_checkpoint_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for n, content in enumerate((
        {"state_dict": STATE, "args": argparse.Namespace(lr=0.1)}, {"net": STATE, "acc": 91.2, "epoch": 3}, network(),
    )):  # fmt: skip
        said = refusal(tmp_path / f"{n}.pth", saved(content))
        exec(said.split('python -c "')[1].removesuffix('"'), {})
        assert same(read_weights(Path("tensors.pth")).tensors)


@pytest.mark.parametrize("write", [saved, legacy])
def test_a_whole_module_is_told_from_what_lies_beside_tensors(write: Callable[[object], bytes], tmp_path: Path) -> None:
    said = refusal(tmp_path / "net.pt", write(network()))
    assert "holds a whole torch.nn.modules.container.Sequential" in said
    assert "weights_only=False).state_dict(), 'tensors.pth')" in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"net": STATE, "acc": 91.2, "epoch": 3}, r"the keys net, acc, epoch, and its tensors lie under 'net'"),
        ({"epoch": 3, "optimizer": {"lr": 0.1}}, r"the keys epoch, optimizer, and no tensors under any"),
        ({f"\x1b[1mkey {n}\n": n for n in range(12)}, r"the keys \?\[1mkey 0, .* and 4 more, and no tensors"),
        ({}, "no tensors under any"),
        ([1, 2], "holds a list and no state dict"),
        (torch.zeros(3), "holds a Tensor and no state dict"),
    ],
)
def test_a_checkpoint_without_a_state_dict_is_told_by_its_keys(content: object, message: str, tmp_path: Path) -> None:
    assert re.search(message, refusal(tmp_path / "w.pth", saved(content)))


def test_averaged_weights_come_first_as_in_timm(tmp_path: Path) -> None:
    from timm.models import load_state_dict

    other = {key: torch.ones_like(tensor) for key, tensor in STATE.items()}
    for content, part in (
        ({"state_dict": other, "state_dict_ema": STATE}, "state_dict_ema"),
        ({"model": other, "model_ema": STATE, "state_dict": other}, "model_ema"),
        ({"state_dict": STATE, "state_dict_ema": None}, "state_dict"),
        ({"model": STATE, "optimizer": {}}, "model"),
        (STATE, None),
    ):
        torch.save(content, tmp_path / "w.pth")
        file = read_weights(tmp_path / "w.pth")
        assert file.part == part
        assert same(file.tensors)
        assert same(load_state_dict(str(tmp_path / "w.pth")))


def test_pipes_devices_and_folders_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    assert "is a named pipe" in refusal(tmp_path / "pipe.pth")
    assert "is a socket or a device" in refusal(Path("/dev/null"))
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "s"))
        assert "is a socket or a device" in refusal(tmp_path / "s")
    with pytest.raises(FileNotFoundError, match=r"is a folder without model\.safetensors"):
        read_weights(tmp_path)
    save_file(STATE, tmp_path / "model.safetensors")
    assert same(read_weights(tmp_path).tensors)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(WeightsError, match="is a folder: name a file in it"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.fill_(float("nan")), ": 108 of 108 numbers are NaN or infinite"),
        (lambda t: (t * 1e6).half(), "of 108 numbers are NaN or infinite"),
        (lambda t: t.double() * 1e300, "of 108 numbers are NaN or infinite"),  # as the float32 that networks compute in
        (lambda t: t.to(torch.complex64), "is complex64, and weights are real numbers"),
        (lambda t: t.to_sparse(), "is sparse, quantised or without numbers"),
        (lambda t: t.to("meta"), "is sparse, quantised or without numbers"),
        (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), "is sparse, quantised or without numbers"),
        (lambda t: torch.zeros(1).expand(10**12), "has 1,000,000,000,000 numbers by its shape and fewer in the file"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # torch finds quantised tensors old-fashioned
def test_tensors_that_are_no_weights_are_refused_by_name(
    change: Callable[[torch.Tensor], torch.Tensor], message: str, tmp_path: Path
) -> None:
    torch.save({f"module.{k}": change(v.clone()) if k == "0.weight" else v for k, v in STATE.items()}, tmp_path / "w")
    said = refusal(tmp_path / "w")
    assert re.search(rf"tensor module\.0\.weight.*{message}", said)


def test_packed_kinds_that_torch_only_names_are_refused() -> None:
    assert fault({"w": torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)}) == (
        "tensor w is float4_e2m1fn_x2, with which torch cannot compute"
    )
    assert fault({"w": torch.zeros(4).to(torch.float8_e4m3fn), "n": torch.tensor(3), "none": torch.zeros(0)}) is None


def test_config_beside_safetensors_is_read_within_bounds(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "model.safetensors", {"architecture": "resnet18"})
    assert read_weights(tmp_path).architecture == "resnet18"
    (tmp_path / "config.json").write_text('{"architecture": "resnet34", "pretrained_cfg": {"mean": [0.1, 0.2, 0.3]}}')
    file = read_weights(tmp_path)
    assert (file.architecture, file.config["mean"]) == ("resnet34", [0.1, 0.2, 0.3])
    for text in ("[" * 100_000, "[]", "{", '{"mean": NaN}', "\xff"):
        (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
        with one_line(r"config\.json .*: restore it or take it away", WeightsError):
            read_weights(tmp_path)


@pytest.mark.parametrize(
    ("stated", "model", "fits"),
    [
        ("efficientnet_lite0", "tf_efficientnet_lite0", False),
        ("mobilenetv3_large_100", "tf_mobilenetv3_large_100", False),
        ("resnet18.a1_in1k", "timm/resnet18", True),
        ("efficientnet", "tf_efficientnet_b0", True),  # a class, as timm's training calls it without options
        (None, "resnet18", True),
        (["resnet34"], "resnet18", True),
    ],
)
def test_another_architecture_with_the_same_tensors_is_refused(
    stated: object, model: str, fits: bool, tmp_path: Path
) -> None:
    torch.save({"arch": stated, "state_dict": STATE}, tmp_path / "w.pth")
    file = read_weights(tmp_path / "w.pth")
    if fits:
        file.check_architecture(model)
    else:
        with pytest.raises(WeightsError, match=f"of {stated}, as the file itself says, .*: use --model {stated}"):
            file.check_architecture(model)


def test_plain_containers_of_a_stream_are_read_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    content = {"step": 3, "rates": [0.1, 0.2], "state": STATE}
    assert load_plain(io.BytesIO(saved(content)), tmp_path)["rates"] == [0.1, 0.2]
    for cut in (saved(content)[:-9], legacy(content)[:200], b"\x80\x02"):
        with one_line("cut off or damaged", WeightsError):
            load_plain(io.BytesIO(cut), tmp_path)
