"""`sample`, `codes`, `doctor`, and what all commands share."""

from __future__ import annotations

import contextlib
import json
import pickle
import signal
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

import fracgen.cli.doctor as doctor
from fracgen import CodeBank, __version__
from fracgen.cli import COMMANDS
from fracgen.rendering import golden
from fracgen.support.provenance import EXTRAS
from tests.command_line import Command


def test_sample_writes_a_bank_and_prints_its_hash(fracgen: Command) -> None:
    ran = fracgen("sample", "-o", "b", "--codes", "40", "--classes", "10", "--maps", "3-5", "--seed", "7")
    assert ran.code == 0
    bank = CodeBank.load("b")
    assert ran.out == f"{bank.sha256}  b\n"
    assert ran.err == "fracgen: 40 codes of 3 to 5 maps in 10 classes, seed 7\n"
    assert bank.sha256 == CodeBank.sample(40, seed=7, classes=10, maps=(3, 5)).sha256


def test_sample_follows_a_preset(fracgen: Command) -> None:
    assert fracgen("sample", "--recipe", "anderson2022").code == 0
    bank = CodeBank.load("bank.safetensors")
    assert (len(bank), bank.classes, int(bank.sizes.max())) == (1000, 1000, 4)


def test_codes_show(fracgen: Command) -> None:
    CodeBank.sample(12, classes=4).save("b")
    bank = CodeBank.load("b")
    shown = json.loads(fracgen("codes", "show", "b", "3", "11", "--json").out)
    assert [code["code"] for code in shown] == [3, 11]
    assert [code["class"] for code in shown] == [1, 3]
    assert [len(code["maps"]) for code in shown] == bank.sizes[[3, 11]].tolist()
    first = shown[0]["maps"][0]
    np.testing.assert_allclose([first[k] for k in "abe"], bank.maps[3, 0, 0])
    np.testing.assert_allclose([first[k] for k in "cdf"], bank.maps[3, 0, 1])
    np.testing.assert_allclose(first["s1"] * first["s2"], abs(np.linalg.det(bank.maps[3, 0, :, :2])), rtol=1e-4)
    text = fracgen("codes", "show", "b").out
    assert text.startswith("code 0  class 0  sigma factor ")
    assert text.count("\n") == 2 + bank.sizes[0]


def test_imported_codes_show_their_own_probabilities(fracgen: Command) -> None:
    rows = "0,0,0,0.16,0,0,1\n0.85,0.04,-0.04,0.85,0,1.6,85\n0.2,-0.26,0.23,0.22,0,1.6,14\n"
    Path("codes/.ipynb_checkpoints").mkdir(parents=True)
    for name in ("a.csv", "b.CSV", "._a.csv", "notes.txt"):
        Path("codes", name).write_text(rows)
    ran = fracgen("codes", "import", "codes", "-o", "b")
    assert ran.err == (
        "fracgen: 2 codes in 2 classes, 0 of them not contractive\n"
        "fracgen: left out: 2 hidden files or folders, 1 file of another kind\n"
    )
    (shown,) = json.loads(fracgen("codes", "show", "b", "1", "--json").out)
    assert [round(row["p"], 6) for row in shown["maps"]] == [0.01, 0.85, 0.14]
    assert json.loads(fracgen("codes", "stats", "b", "--json").out)["probabilities"] == "its own"
    CodeBank.sample(2).save("sampled")
    assert json.loads(fracgen("codes", "stats", "sampled", "--json").out)["probabilities"] == "|det A|"


def test_variations_show_and_draw(fracgen: Command) -> None:
    made = fracgen("sample", "--recipe", "mandelbulb", "--powers", "3,8", "--rules", "42,168", "-o", "v")
    assert "4 classes: 2 powers under 2 rules" in made.err
    assert "z -> r^8 (cos 8 phi, -sin 8 phi, cos 8 theta) + c" in fracgen("codes", "show", "v", "0", "1", "2", "3").out
    assert json.loads(fracgen("codes", "stats", "v", "--json").out)["powers"] == [3, 8]
    fracgen("codes", "show", "v", "1", "--image", "v.png")
    with Image.open("v.png") as image:
        assert image.size == (256, 256)


def test_codes_stats(fracgen: Command) -> None:
    CodeBank.sample(12, classes=4).save("b")
    data = json.loads(fracgen("codes", "stats", "b", "--json").out)
    assert (data["codes"], data["classes"], data["codes_a_class"], data["not_contractive"]) == (12, 4, 3, 0)
    assert sum(data["codes_by_maps"].values()) == 12
    assert data["sha256"] == CodeBank.load("b").sha256
    assert data["largest_singular_value"][1] < 1
    assert data["sha256"] in fracgen("codes", "stats", "b").out


def test_codes_import(fracgen: Command) -> None:
    bank = CodeBank.sample(6)
    params = [{"system": m[:n].astype(float)} for m, n in zip(bank.maps, bank.sizes, strict=True)]
    Path("ifs.pkl").write_bytes(pickle.dumps({"params": params, "hparams": {}}))
    ran = fracgen("codes", "import", "ifs.pkl", "-o", "b", "--classes", "3")
    assert ran.code == 0, ran.err
    np.testing.assert_array_equal(CodeBank.load("b").maps, bank.maps)
    assert ran.out == f"{CodeBank.load('b').sha256}  b\n"


def test_codes_export(fracgen: Command) -> None:
    Path("a.ifs").write_text("fern { 0 0 0 .16 0 0 .01 .85 .04 -.04 .85 0 1.6 .99 }\nsolid (3D) { }\n")
    assert "fracgen: left out: solid (3D)\n" in fracgen("codes", "import", "a.ifs", "-o", "b").err
    for format in ("flame", "ifs"):
        assert fracgen("codes", "export", "b", "0", "--format", format).out == f"codes.{format}\n"
        fracgen("codes", "import", f"codes.{format}", "-o", "again")
        np.testing.assert_array_equal(CodeBank.load("again").maps, CodeBank.load("b").maps)
    refused = fracgen("codes", "export", "b", "1", "-o", "c")
    assert (refused.code, Path("c").exists()) == (2, False)
    assert "there is no code 1" in refused.err
    fracgen("sample", "--recipe", "mandelbulb", "--powers", "3", "-o", "v")
    assert "holds codes of formula 'mandelbulb': only those of ifs" in fracgen("codes", "export", "v").err


def test_help_lists_every_command_and_every_command_has_help(fracgen: Command) -> None:
    text = fracgen("--help").out
    for name, (line, _) in COMMANDS.items():
        assert f"  {name} " in text
        assert line.split()[0] in text
        own = fracgen(name, "--help")
        assert own.code == 0
        assert own.out.startswith(f"Usage: fracgen {name}")
        assert len(own.out.splitlines()[2].split()) > 3  # what it does, in a sentence
    assert fracgen().out == text
    assert fracgen("--version").out == f"fracgen {__version__}\n"


def test_every_option_says_what_it_is_for(fracgen: Command) -> None:
    import typer

    from fracgen.cli import _app

    def check(command: object, name: str) -> None:
        for parameter in getattr(command, "params", ()):
            if not parameter.name.endswith("completion"):
                assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"
        for child, inner in getattr(command, "commands", {}).items():
            check(inner, f"{name} {child}")

    check(typer.main.get_command(_app(set(COMMANDS))), "fracgen")


def test_doctor_finds_this_installation_sound(fracgen: Command) -> None:
    ran = fracgen("doctor", "--json")
    assert ran.code == 0, ran.out
    data = json.loads(ran.out)
    assert data["ok"]
    checks = {check["name"]: check for check in data["checks"]}
    expected = {"fracgen", "numpy", "numba", "torch", "extras", "CPU", "compiled code", "GPU", "self-test on cpu",
                "self-test of mandelbulb on cpu"}  # fmt: skip
    assert expected <= set(checks)
    assert checks["numpy"]["found"] == np.__version__
    assert checks["CPU"]["facts"]["threads"] >= 1
    assert checks["self-test on cpu"]["status"] == "ok"
    assert checks["self-test of mandelbulb on cpu"]["status"] == "ok"


def test_doctor_exits_with_1_on_a_fault(fracgen: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = doctor.Check("numpy", "ok", "2.0")
    absent = doctor.Check("GPU", "missing", "none", "get one")
    monkeypatch.setattr(doctor, "examine", lambda: [sound, absent])
    assert fracgen("doctor").code == 0
    monkeypatch.setattr(doctor, "examine", lambda: [sound, replace(sound, status="fault", remedy="reinstall it")])
    ran = fracgen("doctor")
    assert ran.code == 1
    assert "-> reinstall it" in ran.out
    assert not json.loads(fracgen("doctor", "--json").out)["ok"]


def test_doctor_sees_wrong_bytes_and_broken_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.self_test().status == "ok"
    stored = golden.load()
    monkeypatch.setattr(golden, "load", lambda: {**stored, "images": {"paper": "0" * 64}})
    assert doctor.self_test().status == "fault"
    assert "not 0000" in doctor.self_test().found
    assert "rendering failed" in doctor.self_test("cuda:99").found

    def broken(name: str) -> None:
        raise ImportError("undefined symbol")

    monkeypatch.setattr(doctor, "import_module", broken)
    check = doctor._core(Requirement("numpy"))
    assert check.status == "fault"
    assert "undefined symbol" in check.found
    assert "reinstall" in check.remedy


@pytest.mark.parametrize(
    ("wanted", "version", "said"),
    [
        ("numba>=0.61", "0.60.0", "0.60.0 is too old, >=0.61 is needed"),
        ("numba>=0.61", "0.61.0", ""),
        ("numba>=0.61", "0.69.0rc1", ""),
        ("anomalib>=2.7,<2.8", "2.8.0", "2.8.0 is too new, <2.8,>=2.7 is needed"),
        ("lightning>=2.5,!=2.6.2", "2.6.2", "2.6.2 is known to be bad, !=2.6.2,>=2.5 is needed"),
        ("lightning>=2.5,!=2.6.2", "2.4.9", "2.4.9 is too old, !=2.6.2,>=2.5 is needed"),
    ],
)
def test_a_version_that_is_not_asked_for_is_a_fault(wanted: str, version: str, said: str,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Of a package that nothing goes without, and of one that an extra brings."""
    one = Requirement(wanted)
    assert doctor.misfit(one, version) == said
    monkeypatch.setattr(doctor, "version_of", lambda name: version)
    monkeypatch.setattr(doctor, "import_module", lambda name: None)
    assert doctor._core(one).found == (said or version)
    assert doctor._core(one).status == ("fault" if said else "ok")
    extras = doctor._extras({"eval": [one], "wandb": [one]})
    assert extras.status == ("fault" if said else "ok")
    assert extras.found == (f"{one.name} {said}" if said else f"{one.name} {version}")
    assert extras.remedy == ('pip install "fracgen[wandb]"' if said else "")


def test_doctor_reads_what_is_asked_for_from_the_packages_own_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {extra: {one.name for one in ones} for extra, ones in doctor.requirements().items()}
    table = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert wanted[""] == {Requirement(text).name for text in table["dependencies"]}
    assert set(wanted) == {"", *table["optional-dependencies"]} - {"all"}
    assert {"timm", "lightning"} < wanted["eval"]
    modules = {"scikit-learn": "sklearn", "scikit-image": "skimage"}
    for extra, needed in EXTRAS.items():
        assert set(needed) == {modules.get(name, name) for name in wanted[extra]}, extra

    def none(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "requires", none)
    assert doctor.requirements() == {}
    assert "no versions are known" in doctor._extras({}).found


def test_the_columns_of_doctor_never_run_together(fracgen: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [doctor.Check("a", "ok", "found"), doctor.Check("a very long name of a check", "missing", "found", "do")]
    monkeypatch.setattr(doctor, "examine", lambda: checks)
    assert fracgen("doctor").out.splitlines() == [
        "ok       a                            found",
        "missing  a very long name of a check  found",
        "                                      -> do",
    ]  # fmt: skip


def test_a_broken_cupy_is_a_fault_and_no_gpu_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    availability = "fracgen.rendering.device"
    monkeypatch.setattr(f"{availability}.driver_fault", lambda: "no driver; install one")
    monkeypatch.setattr(f"{availability}.cuda_facts", lambda: {"torch_cuda": "13.0"})
    monkeypatch.setattr(f"{availability}.cupy_fault", lambda cuda: None)
    assert doctor._gpu().status == "missing"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(f"{availability}.cupy_fault", lambda cuda: "CuPy does not work (ImportError)")
    assert doctor._gpu().status == "fault"
    monkeypatch.setattr(f"{availability}.driver_fault", lambda: None)
    monkeypatch.setattr(f"{availability}.cuda_fault", lambda: "CuPy is built for CUDA 12, torch for CUDA 13.0")
    assert doctor._gpu().status == "fault"


STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def stoppable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Signals as a process begins with them; tests that were started in the background ignore some."""
    before = [signal.signal(number, signal.SIG_DFL) for number in STOPS]
    monkeypatch.setattr("fracgen.support.streams._received", [])
    yield
    for number, handler in zip(STOPS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("stoppable")
@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_a_stop_that_python_drops_is_not_lost(number: signal.Signals) -> None:
    from fracgen.support.streams import check, listen, received

    class Deaf:
        def __del__(self) -> None:
            with contextlib.suppress(KeyboardInterrupt):  # as Python itself does around a destructor
                signal.raise_signal(number)

    listen()
    check()
    Deaf()
    assert received() == number
    with pytest.raises(KeyboardInterrupt):
        check()


@pytest.mark.usefixtures("stoppable")
@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_what_is_ignored_stops_nothing(number: signal.Signals) -> None:
    from fracgen.support.streams import listen, received

    signal.signal(number, signal.SIG_IGN)
    listen()
    signal.raise_signal(number)
    assert received() is None
