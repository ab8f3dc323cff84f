"""Files that something happened to: each gives tensors that a network can compute with, or one line."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from fracgen.weights import COUNTER, WeightsError, differences, fault, read_weights

SMALL = settings(max_examples=60, derandomize=True, deadline=None, database=None)
STATE = {
    "conv.weight": torch.arange(36.0).reshape(4, 1, 3, 3) / 36, "bn.weight": torch.ones(4), "bn.bias": torch.zeros(4),
    "bn.running_mean": torch.zeros(4), "bn.running_var": torch.ones(4), "bn.num_batches_tracked": torch.tensor(7),
}  # fmt: skip
SHAPES = {name: tuple(tensor.shape) for name, tensor in STATE.items()}
FLOATS = [name for name in STATE if not name.endswith(COUNTER)]


def contents() -> dict[str, bytes]:
    found = {"safetensors": save(STATE)}
    for name, new in (("zip", True), ("older", False)):
        file = io.BytesIO()
        torch.save({"epoch": 3, "state_dict": STATE}, file, _use_new_zipfile_serialization=new)
        found[name] = file.getvalue()
    return found


CONTENTS = contents()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutated") / "w.pth"


def check(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    said, tensors = None, {}
    try:
        tensors = read_weights(path).tensors
    except WeightsError as error:
        said = str(error)
    if said is not None:
        assert said.startswith(str(path))
        assert said.isprintable()
        assert len(said) < 600 + len(str(path))
    else:
        assert tensors
        assert fault(tensors) is None
        told = differences(tensors, SHAPES, {"bn.num_batches_tracked"})
        assert told == "" or told.isprintable()


@SMALL
@given(kind=st.sampled_from(sorted(CONTENTS)), data=st.data())
def test_a_file_that_is_cut_off_is_one_line(path: Path, kind: str, data: st.DataObject) -> None:
    content = CONTENTS[kind]
    check(path, content[: data.draw(st.integers(0, len(content) - 1))])


@SMALL
@given(kind=st.sampled_from(sorted(CONTENTS)), data=st.data())
def test_bytes_that_changed_give_tensors_or_one_line(path: Path, kind: str, data: st.DataObject) -> None:
    content = bytearray(CONTENTS[kind])
    places = st.integers(0, len(content) - 1) | st.integers(0, min(600, len(content) - 1))  # where it is described
    for place in data.draw(st.lists(places, min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    check(path, bytes(content))


@SMALL
@given(kind=st.sampled_from(sorted(CONTENTS)), data=st.data())
def test_a_block_that_moved_or_went_missing_gives_tensors_or_one_line(
    path: Path, kind: str, data: st.DataObject
) -> None:
    content, size = CONTENTS[kind], len(CONTENTS[kind])
    first, last = sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size))))
    middle = data.draw(st.sampled_from([b"", bytes(last - first), content[:first], content[first:last] * 2]))
    check(path, content[:first] + middle + content[last:])


@SMALL
@given(content=st.binary(max_size=64) | st.text("ab{}<\n\x1b", max_size=64).map(str.encode), front=st.sampled_from([
    b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"\x08\x00\0\0\0\0\0\0{",
]))  # fmt: skip
def test_anything_else_is_one_line(path: Path, content: bytes, front: bytes) -> None:
    check(path, front + content)


@SMALL
@given(
    name=st.sampled_from(FLOATS), place=st.integers(0, 35), bad=st.sampled_from([math.nan, math.inf, -math.inf]),
    kind=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e5m2]),
    plain=st.booleans(), front=st.sampled_from(["", "module.", "model.backbone."]),
)  # fmt: skip
def test_one_number_that_is_not_finite_is_refused_by_its_tensors_name(
    path: Path, name: str, place: int, bad: float, kind: torch.dtype, plain: bool, front: str
) -> None:
    state = {front + key: tensor.clone() for key, tensor in STATE.items()}
    state[front + name].view(-1)[place % state[front + name].numel()] = bad
    state[front + name] = state[front + name].to(kind)
    save_file(state, path) if plain else torch.save({"model": state}, path)
    with pytest.raises(WeightsError, match=rf"tensor {front}{name}: 1 of \d+ numbers are NaN or infinite"):
        read_weights(path)


@SMALL
@given(
    names=st.sets(st.sampled_from(FLOATS), min_size=1),
    kind=st.sampled_from([torch.int64, torch.int32, torch.int8, torch.uint8, torch.bool, torch.uint16]),
)
def test_whole_numbers_where_floats_belong_are_told_by_name(names: set[str], kind: torch.dtype) -> None:
    state = {name: tensor.to(kind) if name in names else tensor for name, tensor in STATE.items()}
    said = differences(state, SHAPES, {"bn.num_batches_tracked"})
    assert said.startswith(f"{len(names)} not of floats: ")
    shown = [name for name in STATE if name in names][:4]
    assert all(f"{name} is {str(kind).removeprefix('torch.')}" in said for name in shown)


@SMALL
@given(gone=st.sets(st.sampled_from(sorted(STATE))), new=st.sets(st.text("ab.\n\x1b", max_size=9)))
def test_missing_and_extra_tensors_are_counted(gone: set[str], new: set[str]) -> None:
    state = {name: tensor for name, tensor in STATE.items() if name not in gone} | dict.fromkeys(new, torch.zeros(1))
    said, missing = differences(state, SHAPES, {"bn.num_batches_tracked"}), len(gone - {"bn.num_batches_tracked"})
    assert said == "" or said.isprintable()
    assert (f"{missing} missing: " in said) == bool(missing)
    assert (f"{len(new)} extra: " in said) == bool(new)
