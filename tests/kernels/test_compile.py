"""NVRTC compiles every kernel for every architecture, and what comes out fits the card it is for."""

from __future__ import annotations

import pytest

from fracgen.recipes.presets import PRESETS
from fracgen.rendering.cuda import nvrtc
from fracgen.rendering.cuda.layout import SHARED_MEMORY, Layout
from fracgen.rendering.cuda.pipeline import KernelPipeline
from fracgen.rendering.cuda.sources import KERNELS, digest, sources
from fracgen.rendering.parameters import Parameters, header

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
REGISTERS = 65_536  # of a multiprocessor, on all of them


def header_of(parameters: Parameters, layout: Layout, out_bytes: int = 1, channels_last: int = 0) -> str:
    return header(parameters, **layout.definitions(), out_bytes=out_bytes, out_channels_last=channels_last)


def check(kernel: str, parameters: Parameters, arch: int, **output: int) -> None:
    limit = SHARED_MEMORY[arch] * 1024
    layout = Layout.choose(parameters, limit)
    binary, log = nvrtc.build(kernel, header_of(parameters, layout, **output), f"sm_{arch}")
    used = nvrtc.resources(log)
    assert binary.startswith(b"\x7fELF")
    assert used["registers"] > 0, f"no resource report in the log:\n{log}"
    assert used["spill_bytes"] == 0, log
    assert used["stack_bytes"] == 0, log
    assert used["registers"] * layout.threads(kernel) <= REGISTERS
    assert used["shared_bytes"] + layout.dynamic_shared(kernel) <= limit
    assert used["shared_bytes"] <= 48 * 1024, "static shared memory ends there"


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", [n for n, p in PRESETS.items() if p.recipe.formula == "ifs"])
def test_every_recipe_on_every_architecture(name, arch):
    parameters = Parameters.of(PRESETS[name].recipe)
    for kernel in (*KernelPipeline.kernels, "order"):
        check(kernel, parameters, arch)


@pytest.mark.parametrize("size", [8, 64, 333, 512, 1024])
def test_sizes(size):
    parameters = Parameters.of(PRESETS["paper"].recipe.at_size(size))
    for arch in (75, 86, 90):
        for kernel in ("attractor", "noise", "compose"):
            check(kernel, parameters, arch)


@pytest.mark.parametrize("channels_last", [0, 1])
@pytest.mark.parametrize("out_bytes", [2, 4])
def test_output_formats(out_bytes, channels_last):
    for name in ("paper", "multi-formula"):
        check("compose", Parameters.of(PRESETS[name].recipe), 90, out_bytes=out_bytes, channels_last=channels_last)


def test_layouts_follow_the_shared_memory():
    """At 256 px the histogram fits 227 and 163 KB, not 99; placed attractors of 128 px fit everywhere."""
    paper, multi = (Parameters.of(PRESETS[name].recipe) for name in ("paper", "multi-formula-whole"))
    inside = {kb: not Layout.choose(paper, kb * 1024).histogram_global for kb in (227, 163, 99, 64)}
    assert inside == {227: True, 163: True, 99: False, 64: False}
    assert not any(Layout.choose(multi, kb * 1024).histogram_global for kb in (227, 163, 99, 64))


def test_an_error_carries_the_compilers_log():
    parameters = Parameters.of(PRESETS["paper"].recipe)
    text = header_of(parameters, Layout.choose(parameters, 1 << 17))
    with pytest.raises(nvrtc.KernelError, match=r"ifs/scout\.cu for sm_90[\s\S]*ORBITS"):
        nvrtc.build("scout", text.replace("#define ORBITS", "#define NOT_ORBITS"), "sm_90")


def test_binaries_are_kept_by_everything_that_decides_them(tmp_path, monkeypatch):
    monkeypatch.setenv("FRACGEN_CACHE_DIR", str(tmp_path / "cache"))
    parameters = Parameters.of(PRESETS["paper"].recipe)
    text = header_of(parameters, Layout.choose(parameters, 1 << 17))
    path = nvrtc.compile_kernel("order", text, "sm_90")
    path.write_bytes(b"kept")
    assert nvrtc.compile_kernel("order", text, "sm_90").read_bytes() == b"kept"
    others = {nvrtc.compile_kernel("order", text, "sm_80"), nvrtc.compile_kernel("order", text + "\n", "sm_90")}
    before = digest()
    monkeypatch.setattr(nvrtc, "digest", lambda: before[::-1])  # as after an edit of any header
    others.add(nvrtc.compile_kernel("order", text, "sm_90"))
    assert path not in others
    assert len(others) == 3


LOOSE = ("-ftz=false", "-fmad=true", "-prec-div=false", "-prec-sqrt=false", "-std=c++17", "-default-device")


def ptx(kernel: str, text: str, options: tuple[str, ...]) -> str:
    """The intermediate code of a kernel whose file says `text`."""
    from cupy.cuda import nvrtc as api

    parameters = Parameters.of(PRESETS["multi-formula" if kernel == "compose" else "paper"].recipe)
    headers = {name: text for name, text in sources().items() if name.endswith(".cuh")}
    headers["parameters.cuh"] = header_of(parameters, Layout.choose(parameters, 227 * 1024), 2)
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
    return ptx(kernel, text, strict) != ptx(kernel, text, LOOSE)


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_rounding_is_left_to_the_compiler(kernel):
    """Every float operation is spelt out (FMA, MUL, ADD, DIV, ...): a bare `a * b + c` could be contracted by one
    compiler and not by another. Integers may be written as usual."""
    assert not left_to_the_compiler(kernel, sources()[KERNELS[kernel]])


@pytest.mark.parametrize(
    ("kernel", "spelt", "bare"),
    [
        ("scout", "FMA(extent, shift, MUL(ADD(low, high), 0.5f))", "extent * shift + MUL(ADD(low, high), 0.5f)"),
        ("scout", "DIV((float)(PARAM_CANVAS - 1), span)", "(float)(PARAM_CANVAS - 1) / span"),
        ("attractor", "FMA(x, w.scale_x, w.offset_x)", "(x * w.scale_x + w.offset_x)"),
    ],
)
def test_bare_arithmetic_would_be_seen(kernel, spelt, bare):
    text = sources()[KERNELS[kernel]]
    assert spelt in text, "the kernel has changed: plant the fault elsewhere"
    assert left_to_the_compiler(kernel, text.replace(spelt, bare))
