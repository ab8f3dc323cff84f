"""NVRTC compiles every kernel for every architecture, and what comes out fits the card it is for."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from fracgen.formulas.formula import formula
from fracgen.recipes.presets import PRESETS
from fracgen.recipes.recipe import Recipe
from fracgen.rendering.cuda import nvrtc
from fracgen.rendering.cuda.layout import SHARED_MEMORY
from fracgen.rendering.cuda.pipeline import KernelPipeline, OutputFormat
from fracgen.rendering.cuda.sources import digest, kernel_folder, kernels, read_by, sources
from fracgen.rendering.parameters import Parameters
from tests.kernels.host import WITH_KERNELS

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
ALWAYS = (75, 120)
"""The oldest, with the least shared memory, and the newest; 90, with the most, has sizes and outputs. All: a study."""
REGISTERS = 65_536  # of a multiprocessor, on all of them


class Headers:
    """A backend that only keeps what would be compiled: kernel and header."""

    def upload(self, array: object) -> object:
        return array

    def load(self, kernel: str, header: str) -> tuple[str, str]:
        return kernel, read_by(kernel, header)


def pipeline_of(recipe: Recipe, shared_memory: int) -> KernelPipeline:
    own = formula(recipe.formula)
    bank = own.bank.from_spec(own.spec().few(10))
    return own.pipeline(bank, Parameters.of(recipe), Headers(), shared_memory, 1 << 30)  # type: ignore[arg-type]


@functools.cache
def compiled(kernel: str, header: str, arch: int) -> dict[str, int]:
    """The resources of a kernel, which neither spills registers nor has a stack; compiled once a session."""
    binary, log = nvrtc.build(kernel, header, f"sm_{arch}")
    used = nvrtc.resources(log)
    assert binary.startswith(b"\x7fELF")
    assert used["registers"] > 0, f"no resource report in the log:\n{log}"
    assert used["spill_bytes"] == used["stack_bytes"] == 0, log
    return used


BYTES = OutputFormat()


def check(recipe: Recipe, arch: int, kernels: Sequence[str] | None = None, form: OutputFormat = BYTES) -> None:
    """All kernels of a recipe, or some of them, fit a card."""
    limit = SHARED_MEMORY[arch] * 1024
    pipeline = pipeline_of(recipe, limit)
    for kernel in kernels or (*pipeline.kernels, "order"):
        used = compiled(*pipeline.function(kernel, form), arch)
        assert used["registers"] * pipeline.layout.threads[kernel] <= REGISTERS
        assert used["shared_bytes"] + pipeline.layout.shared.get(kernel, 0) <= limit
        assert used["shared_bytes"] <= 48 * 1024, "static shared memory ends there"


@pytest.mark.parametrize(
    "arch", [pytest.param(arch, marks=() if arch in ALWAYS else pytest.mark.study) for arch in ARCHITECTURES]
)
@pytest.mark.parametrize("name", WITH_KERNELS)
def test_every_recipe_on_every_architecture(name: str, arch: int) -> None:
    recipe = PRESETS[name].recipe
    if recipe.formula == "mandelbulb":
        recipe = dataclasses.replace(recipe, background="noise")  # only then all its kernels are needed
    check(recipe, arch, ("view", "noise", "backdrop", "blend") if name == "multi-mandelbulb" else None)


@pytest.mark.study
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_surface_of_many_solids(arch: int) -> None:
    """It compiles for seven seconds and differs from that of one solid by numbers only."""
    check(PRESETS["multi-mandelbulb"].recipe, arch, ("surface",))


@pytest.mark.parametrize("arch", [75, pytest.param(86, marks=pytest.mark.study), 90])
@pytest.mark.parametrize("size", [8, 64, 333, 512, 1024])
def test_sizes(size: int, arch: int) -> None:
    check(PRESETS["paper"].recipe.at_size(size), arch, ("attractor", "noise", "compose"))


@pytest.mark.parametrize(("size", "samples"), [(8, 1), pytest.param(512, 2, marks=pytest.mark.study), (1024, 4)])
def test_sizes_and_rays(size: int, samples: int) -> None:
    recipe = dataclasses.replace(PRESETS["mandelbulb"].recipe, samples=samples).at_size(size)
    for form in (BYTES, OutputFormat(4, True)):
        check(recipe, 90, ("surface", "blend"), form)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("out_bytes", [2, 4])
def test_output_formats(out_bytes: int, channels_last: bool) -> None:
    for name in ("paper", "multi-formula"):
        check(PRESETS[name].recipe, 90, ("compose",), OutputFormat(out_bytes, channels_last))


def test_layouts_follow_the_shared_memory() -> None:
    """At 256 px the histogram fits 227 and 163 KB, not 99; placed attractors of 128 px fit everywhere."""
    paper, placed = PRESETS["paper"].recipe, dataclasses.replace(PRESETS["multi-formula"].recipe, canvas=128)
    assert [inside(paper, kb) for kb in (227, 163, 99, 64)] == [True, True, False, False]
    assert all(inside(placed, kb) for kb in (227, 163, 99, 64))


def inside(recipe: Recipe, kb: int) -> bool:
    """Whether a histogram fits so much shared memory."""
    return not pipeline_of(recipe, kb * 1024).layout.numbers["histogram_global"]


def test_an_error_carries_the_compilers_log() -> None:
    _, text = pipeline_of(PRESETS["paper"].recipe, 1 << 17).function("scout", BYTES)
    with pytest.raises(nvrtc.KernelError, match=r"ifs/scout\.cu for sm_90[\s\S]*ORBITS"):
        nvrtc.build("scout", text.replace("#define ORBITS", "#define NOT_ORBITS"), "sm_90")


def test_binaries_are_kept_by_everything_that_decides_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRACGEN_CACHE_DIR", str(tmp_path / "cache"))
    text = pipeline_of(PRESETS["paper"].recipe, 1 << 17).header(BYTES)
    path = nvrtc.compile_kernel("noise", text, "sm_90")
    path.write_bytes(b"kept")
    unread = text.replace("PARAM_POINTS 100000", "PARAM_POINTS 99")  # `noise` draws no points
    assert unread != text
    assert nvrtc.compile_kernel("noise", unread, "sm_90").read_bytes() == b"kept"
    read = text.replace("NOISE_THREADS 256", "NOISE_THREADS 128")
    others = {nvrtc.compile_kernel("noise", text, "sm_80"), nvrtc.compile_kernel("noise", read, "sm_90")}
    before = digest()
    monkeypatch.setattr(nvrtc, "digest", lambda: before[::-1])  # as after an edit of any header
    others.add(nvrtc.compile_kernel("noise", text, "sm_90"))
    assert path not in others
    assert len(others) == 3


@pytest.mark.parametrize("kernel", kernels())
def test_definitions_that_are_left_out_change_nothing(kernel: str, tmp_path: Path) -> None:
    """What the preprocessor makes of a kernel is the same with all definitions as with those that it reads."""
    for name in ("paper", "multi-formula", "multi-mandelbulb"):
        text = pipeline_of(PRESETS[name].recipe, 1 << 17).header(OutputFormat(2, True))
        needed = read_by(kernel, text)
        assert len(needed) < len(text)
        seen = []
        for header in (text, needed):
            (tmp_path / "parameters.cuh").write_text(header)
            command = ["g++", "-E", "-P", "-xc++", f"-I{tmp_path}", f"-I{kernel_folder()}"]
            made = subprocess.run([*command, str(kernel_folder() / kernels()[kernel])], capture_output=True, check=True)
            seen.append(made.stdout)
        assert seen[0] == seen[1]


LOOSE = ("-ftz=false", "-fmad=true", "-prec-div=false", "-prec-sqrt=false", "-std=c++17", "-default-device")


def ptx(kernel: str, text: str, options: tuple[str, ...]) -> object:
    """The intermediate code of a kernel whose file says `text`."""
    from cupy.cuda import nvrtc as api

    pipelines = [pipeline_of(PRESETS[name].recipe, 227 * 1024) for name in ("multi-formula", "mandelbulb")]
    pipeline = next((p for p in pipelines if kernel in p.kernels), pipelines[0])
    headers = {name: text for name, text in sources().items() if name.endswith(".cuh")}
    _, headers["parameters.cuh"] = pipeline.function(kernel, OutputFormat(2))
    program = api.createProgram(
        text, f"{kernel}.cu", [text.encode() for text in headers.values()], [name.encode() for name in headers]
    )  # fmt: skip
    try:
        api.compileProgram(program, ("--gpu-architecture=compute_90", *options))
        return api.getPTX(program)
    finally:
        api.destroyProgram(program)


def left_to_the_compiler(kernel: str, text: str) -> bool:
    """Whether leave to fuse products with sums, and to divide and take roots roughly, changes anything."""
    strict = tuple(option for option in nvrtc.OPTIONS if "ptxas" not in option)
    return bool(ptx(kernel, text, strict) != ptx(kernel, text, LOOSE))


@pytest.mark.parametrize("kernel", kernels())
def test_no_rounding_is_left_to_the_compiler(kernel: str) -> None:
    """Every float operation is spelt out (FMA, MUL, ADD, DIV, ...): a bare `a * b + c` could be contracted by one
    compiler and not by another. Integers may be written as usual."""
    assert not left_to_the_compiler(kernel, sources()[kernels()[kernel]])


@pytest.mark.parametrize(
    ("kernel", "spelt", "bare"),
    [
        ("scout", "FMA(extent, shift, MUL(ADD(low, high), 0.5f))", "extent * shift + MUL(ADD(low, high), 0.5f)"),
        ("scout", "DIV((float)(PARAM_CANVAS - 1), span)", "(float)(PARAM_CANVAS - 1) / span"),
        ("attractor", "FMA(x, w.scale_x, w.offset_x)", "(x * w.scale_x + w.offset_x)"),
    ],
)
def test_bare_arithmetic_would_be_seen(kernel: str, spelt: str, bare: str) -> None:
    text = sources()[kernels()[kernel]]
    assert spelt in text, "the kernel has changed: plant the fault elsewhere"
    assert left_to_the_compiler(kernel, text.replace(spelt, bare))
