"""Bad input gets one clear line on stderr and exit code 2, and nothing is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fracgen import CodeBank, VariationSpec, make_bank
from fracgen.rendering.device import cuda_fault
from tests.command_line import Command, Process, Ran


def refused(ran: Ran, *says: str) -> None:
    """Exit code 2, one line on stderr that holds `says`, nothing on stdout, nothing in the folder."""
    assert ran.code == 2, ran.err
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert ran.err.endswith("\n")
    assert ran.err.startswith("fracgen: ")
    for text in says:
        assert text in ran.err
    assert os.listdir() == []


def test_a_truncated_bank(fracgen: Command, tmp_path: Path) -> None:
    path = tmp_path / "bank"
    CodeBank.sample(15).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    refused(fracgen("render", path, "--device", "cpu"), str(path), "is not a readable bank", "fracgen sample")


def test_a_missing_bank(fracgen: Command, tmp_path: Path) -> None:
    refused(fracgen("render", tmp_path / "none"), "no bank at", "fracgen sample -o")
    refused(fracgen("codes", "stats", tmp_path / "none"), "no bank at")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--size", "big"], "'--size'"),
        (["-n", "0"], "count 0 is out of range"),
        (["--format", "folder", "--recipe", "multi-instance"], "several classes"),
        (["--seed", "-1"], "seed -1 is out of range"),
        (["--epoch", "-1"], "epoch -1 is out of range"),
        (["--recipe", "papr"], "use one of paper, anderson2022, fractal4ad, fractaldb, multi-formula, multi"),
        (["--recipe", "none.json"], "none.json: No such file"),
        (["--format", "jpeg"], "unknown format 'jpeg': use one of sheet, folder, wds, npy, raw"),
        (["--format", "sheet", "-o", "-"], "format sheet cannot go to a pipe: use one of wds, npy, raw"),
        (["--order", "random"], "unknown order 'random': use one of index, epoch"),
        (["--shard", "4/4"], "shard '4/4' is not of the form i/n with i from 0 to n - 1"),
        (["--threads", "0"], "threads 0 is out of range"),
        (["--format", "wds", "--per-file", "0"], "per_file 0 is out of range"),
        (["--format", "wds", "--wds-member", "jpg"], "unknown wds member 'jpg': use one of png, npy"),
        (["--device", "tpu"], "unknown device 'tpu': use auto, cpu, cuda or cuda:N"),
        (["--resume"], "a contact sheet is one file and cannot be carried on"),
        (["-n", "100000"], "is over 65500 px wide"),
        (["-o", "no/such/folder/sheet.png"], "there is no folder no/such/folder"),
        (["-o", "."], "is a folder: name a file"),
        (["--sise", "3"], "No such option: --sise"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_option(fracgen: Command, arguments: list[str], says: str) -> None:
    device = [] if "--device" in arguments else ["--device", "cpu"]
    refused(fracgen("render", *device, *arguments), says)


def test_a_bank_of_another_formula(fracgen: Command, tmp_path: Path) -> None:
    for name, bank in (("ifs", CodeBank.sample(4)), ("mandelbulb", make_bank(VariationSpec((8,), (42,))))):
        bank.save(tmp_path / name)
    says = "use a bank or a recipe of the other's formula"
    refused(fracgen("render", tmp_path / "ifs", "--recipe", "mandelbulb"), "holds codes of formula 'ifs'", says)
    refused(fracgen("render", tmp_path / "mandelbulb"), "holds codes of formula 'mandelbulb'", says)


@pytest.mark.parametrize("format", ["folder", "wds", "npy", "sheet", "raw"])
def test_an_output_that_cannot_be_written(fracgen: Command, tiny: list[str], tmp_path: Path, format: str) -> None:
    (tmp_path / "file").write_text("in the way")
    says = "file" if format in ("folder", "wds", "npy") else "there is no folder"
    refused(fracgen("render", *tiny, "--format", format, "-o", tmp_path / "file" / "out"), says)
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("format", ["folder", "sheet"])
def test_an_output_without_permission(fracgen: Command, tiny: list[str], tmp_path: Path, format: str) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    refused(fracgen("render", *tiny, "--format", format, "-o", tmp_path / "locked" / "out"), "Permission denied")


@pytest.mark.skipif(cuda_fault() is None, reason="this machine has a usable GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there(fracgen: Command, device: str) -> None:
    refused(fracgen("render", "--device", device), "no usable GPU", "install")


def test_a_recipe_file_that_is_none(fracgen: Command, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    for text, says in [
        ("{", "is not JSON"),
        ("[1]", "holds [1] instead of a table"),
        ('{"name": "mine", "sise": 3}', "unknown field 'sise' in recipe"),
        ('{"name": "mine", "size": 4}', "size 4 is out of range"),
        ('{"name": "mine", "recipe": {}}', "preset.follows is missing"),
    ]:
        path.write_text(text)
        refused(fracgen("render", "--recipe", path, "--device", "cpu"), str(path), says)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sample", "--classes", "0"], "classes 0 is out of range"),
        (["sample", "--recipe", "mandelbulb", "--powers", "two"], "'two' is no list of whole numbers"),
        (["sample", "--recipe", "mandelbulb", "--codes", "7"], "--codes: codes of formula 'mandelbulb' have none"),
        (["sample", "--rules", "42"], "--rules: codes of formula 'ifs' have none"),
        (["sample", "--maps", "few"], "range 'few' is not of the form LOW-HIGH"),
        (["sample", "-o", "none/bank"], "there is no folder none"),
        (["sample", "--recipe", "x"], "unknown recipe 'x'"),
        (["codes", "import", "nothing"], "nothing is at nothing"),
        (["codes", "show"], "Missing argument"),
        (["paint"], "No such command 'paint'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_other_commands_refuse_as_well(fracgen: Command, arguments: list[str], says: str) -> None:
    refused(fracgen(*arguments), says)


def test_a_code_that_is_not_there(fracgen: Command, tiny: list[str]) -> None:
    refused(fracgen("codes", "show", tiny[0], "15"), "there is no code 15: the bank holds codes 0 to 14")


def test_a_folder_of_another_job(fracgen: Command, tiny: list[str], tmp_path: Path) -> None:
    out = ["--format", "npy", "-o", tmp_path / "out"]
    assert fracgen("render", *tiny, "-n", "5", *out).code == 0
    before = sorted((p, p.read_bytes()) for p in (tmp_path / "out").iterdir())
    refused(fracgen("render", *tiny, "-n", "5", *out), "add --resume")
    refused(fracgen("render", *tiny, "-n", "5", *out, "--resume", "--seed", "1"), "seed 0 there, 1 asked for")
    assert sorted((p, p.read_bytes()) for p in (tmp_path / "out").iterdir()) == before


def test_as_a_process_it_is_the_same(process: Process, tmp_path: Path) -> None:
    done = process("render", "--size", "0", cwd=tmp_path, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "fracgen: size 0 is out of range: use a whole number from 8 to 1024 pixels\n"
    assert os.listdir(tmp_path) == []
