"""The simulated machine code: real binaries make the CPU renderer's bytes, and single instructions what they should."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.machine_code import __main__ as machine_code
from bench.machine_code.__main__ import main
from bench.machine_code.backend import Array, SimulatedBackend, measure
from bench.machine_code.program import Program, UnknownInstructionError, decoded
from bench.machine_code.simulator import SimulationError, occupancy
from fracgen.benchmarking.images import small_bank
from fracgen.benchmarking.record import Record, Summary
from fracgen.recipes.presets import PRESETS
from fracgen.rendering.cuda.sources import digest

PREDICTED = Path(__file__).parents[2] / "bench" / "gpu" / "predicted.json"


CYCLES = (9_572, 45_690, 10_893, 35_044)
"""Of the kernels of `paper` for its first two images; 2 % is what another order of instructions may change."""


@pytest.mark.parametrize("name", ["paper", "fractal4ad", "multi-formula"])
def test_binaries_make_the_cpu_renderers_bytes(name: str) -> None:
    """Also says that the compiler kept to the arithmetic that the kernels spell out."""
    results = measure(name, small_bank(PRESETS[name]), PRESETS[name].recipe, 2)
    assert results.pop(f"`{name}` bytes unlike the CPU renderer's").max == 0
    assert {r.unit for r in results.values()} == {"cycles/image"}
    *kernels, whole = (r.median for r in results.values())
    assert len(kernels) >= 3
    assert whole == pytest.approx(sum(kernels))
    assert name != "paper" or kernels == pytest.approx(CYCLES, rel=0.02)


def test_the_stored_predictions_are_of_these_kernels() -> None:
    """After a change of the kernels: `python -m bench.machine_code paper --images 40 -o bench/gpu/predicted.json`."""
    predicted = Record.read(PREDICTED)
    assert predicted.settings["kernels"] == digest()
    assert predicted.results["`paper` bytes unlike the CPU renderer's"].max == 0


def test_the_command_writes_what_it_found_and_answers_mistakes_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["fractaldb", "--images", "1", "--size", "32", "-o", str(tmp_path / "m.json")]
    assert main(words) == 0
    assert "| `fractaldb` scout |" in capsys.readouterr().out
    assert Record.read(tmp_path / "m.json").results["`fractaldb`"].unit == "cycles/image"
    for mistake, said in ((["brew"], "unknown recipe 'brew'"), ([*words, "--images", "99999"], "256 MiB are used up")):
        assert main(mistake) == 2
        assert said in (error := capsys.readouterr().err)
        assert error.count("\n") == 1
    monkeypatch.setattr(machine_code, "measure", lambda *_: {"bytes": Summary.of("differences", [1])})
    assert main(words) == 1


def test_occupancy_follows_the_limits_of_the_architecture() -> None:
    assert occupancy(64, 54, 724 + 1024) == 18, "registers: 9 warps a scheduler"
    assert occupancy(1024, 32, 1024) == 2
    assert occupancy(1024, 33, 1024) == 1
    assert occupancy(32, 16, 1024) == 32, "no more blocks than that"
    assert occupancy(192, 40, 26_280 + 1024) == 8, "shared memory, with a kilobyte a block"


@functools.cache
def compiled(source: str) -> Program:
    """A kernel `k`."""
    from cupy.cuda import nvrtc

    compiling = nvrtc.createProgram(source, "k.cu", [], [])
    nvrtc.compileProgram(compiling, ("--gpu-architecture=sm_90", "-std=c++17", "-default-device"))
    return Program.read(bytes(nvrtc.getCUBIN(compiling)) + b"\0", "k")


def run(source: str, *arguments: Array | np.generic, threads: int = 32, shared: int = 0, before: str = "") -> int:
    """Simulate one block of a kernel `k` and change arrays among the arguments in place; its cycles."""
    backend = SimulatedBackend(rounds=0)
    own = [backend.upload(a) if isinstance(a, np.ndarray) else a for a in arguments]
    kernel = compiled(f'{before}\nextern "C" __global__ {source}')
    backend.launch(kernel, (1, 1), threads, shared, *own)
    for given, changed in zip(arguments, own, strict=True):
        if isinstance(given, np.ndarray):
            given[...] = changed
    return backend.runs[0][1].cycles


def test_bank_conflicts_and_collisions_cost_passes() -> None:
    source = """void k(int stride, unsigned one, unsigned* out) {
        __shared__ unsigned cells[1024];
        for (int i = threadIdx.x; i < 1024; i += 512) cells[i] = 0;
        __syncthreads();
        unsigned at = threadIdx.x % 32 * stride % 1024;
        for (int i = 0; i < 16; ++i) atomicAdd(&cells[at], one);
        __syncthreads();
        out[threadIdx.x] = cells[at];
    }"""
    cycles = {}
    for stride in (8, 16, 32, 0):
        out = np.zeros(512, np.uint32)
        cycles[stride] = run(source, np.int32(stride), np.uint32(1), out, threads=512)
        assert (out == (16 * 512 if stride == 0 else 16 * 16)).all()
    # Of each of 16 warps, 16 atomics and a load take 8, 16 and 32 passes; a load of one word by all takes one.
    assert cycles[16] - cycles[8] == pytest.approx(16 * 17 * 8, abs=20)
    assert cycles[32] - cycles[16] == pytest.approx(16 * 17 * 16, abs=20)
    assert cycles[32] - cycles[0] == pytest.approx(16 * 31, abs=20)


def test_threads_that_part_meet_again() -> None:
    source = """void k(const int* n, int* out) {
        int sum = 0;
        for (int i = 0; i < n[threadIdx.x]; ++i) if (i % 3 == 1) sum += i * n[threadIdx.x]; else sum ^= i;
        __syncthreads();
        out[threadIdx.x] = sum + __shfl_xor_sync(0xFFFFFFFFu, sum, 1);
    }"""
    n, out = np.random.default_rng(0).integers(0, 40, 64).astype(np.int32), np.zeros(64, np.int32)
    run(source, n, out, threads=64)
    sums = []
    for count in n.tolist():
        value = 0
        for i in range(count):
            value = value + i * count if i % 3 == 1 else value ^ i
        sums.append(value)
    assert out.tolist() == [sums[i] + sums[i ^ 1] for i in range(64)]


def test_what_a_card_would_fault_on_is_named() -> None:
    with pytest.raises(SimulationError, match=r"global memory access out of bounds.*STG"):
        run("void k(int* o, int far) { o[(long long)threadIdx.x * far] = 1; }", np.zeros(4, int), np.int32(1 << 30))
    with pytest.raises(SimulationError, match=r"shared memory access out of bounds.*STS"):
        run("void k(int* out, int far) { extern __shared__ int s[]; s[threadIdx.x + far] = 1; __syncthreads(); "
            "out[threadIdx.x] = s[far]; }", np.zeros(32, np.int32), np.int32(4000), shared=1024)  # fmt: skip


@pytest.mark.parametrize("line", ["FROB R1,R2", "FADD.SAT R1,R2,R3", "ATOMS.OR R1,[R2],R3", "HFMA2 R1,R2,R3,R4"])
def test_an_instruction_without_a_meaning_is_named(line: str) -> None:
    opcode, operands = line.split(" ")
    with pytest.raises(UnknownInstructionError, match=f"no meaning for '{opcode}"):
        decoded([{"function-name": "k", "start": 0, "sass-instructions": [{"opcode": opcode, "operands": operands}]}])


Words = NDArray[np.uint32]
M = 2**32 - 1


def _signed(v: int) -> int:
    return v - 2**32 if v >> 31 else v


def _long(a: int, b: int, c: int) -> int:
    v, w = a << 32 | b, b << 32 | c
    return ((v * w & 2**64 - 1) >> 29) + ((v + w & 2**64 - 1) >> 32) + (v < w)


def _permuted(a: int, b: int, c: int) -> int:
    both = (b << 32 | a).to_bytes(8, "little")
    return int.from_bytes(bytes(both[c >> 4 * k & 7] for k in range(4)), "little")


def _floats(compute: Callable[..., NDArray[np.float32]]) -> Callable[[Words, Words, Words], Sequence[int]]:
    def of(a: Words, b: Words, c: Words) -> Sequence[int]:
        with np.errstate(all="ignore"):
            made = compute(*((v & np.uint32(0xBFFFFFFF)).view(np.float32) for v in (a, b)))
        return np.asarray(made, np.float32).view(np.uint32).tolist()  # type: ignore[no-any-return]

    return of


def _each(compute: Callable[[int, int, int], int]) -> Callable[[Words, Words, Words], Sequence[int]]:
    return lambda *words: [compute(*row) & M for row in zip(*(w.tolist() for w in words), strict=True)]


FA, FB = "__int_as_float(a & 0xBFFFFFFFu)", "__int_as_float(b & 0xBFFFFFFFu)"
INSTRUCTIONS: dict[str, Callable[[Words, Words, Words], Sequence[int]]] = {
    "__vmaxu2(a, b)": _each(lambda a, b, _: max(a & 65535, b & 65535) | max(a >> 16, b >> 16) << 16),
    "__byte_perm(a, b, c)": _each(_permuted),
    "__popc(a) + 64 * __clz(b)": _each(lambda a, b, _: a.bit_count() + 64 * (32 - b.bit_length())),
    "__funnelshift_r(a, b, c)": _each(lambda a, b, c: (b << 32 | a) >> (c & 31)),
    "__umulhi(a, b) + (unsigned)__mulhi((int)a, (int)c)":
        _each(lambda a, b, c: (a * b >> 32) + (_signed(a) * _signed(c) >> 32)),
    "a / (b >> 12 | 1) + a % (c >> 20 | 1)": _each(lambda a, b, c: a // (b >> 12 | 1) + a % (c >> 20 | 1)),
    "(unsigned)((int)a / (int)(b >> 16 | 1))": _each(lambda a, b, _: int(_signed(a) / (b >> 16 | 1))),
    f"__float_as_int(__fdiv_rn({FA}, {FB}))": _floats(lambda a, b: a / b),
    f"__float_as_int(__fsqrt_rn(fabsf({FA})))": _floats(lambda a, _: np.sqrt(np.abs(a))),
    f"__float_as_int(__fmaf_rn({FA}, {FB}, {FB}))":  # double holds the product; the sum may round twice
        _floats(lambda a, b: (a.astype(np.float64) * b + b).astype(np.float32)),
    f"__float_as_int(fmaxf({FA}, {FB}))": _floats(np.fmax),
    "min((int)a, (int)b) ^ max(a, c) ^ (unsigned)abs((int)b)":
        _each(lambda a, b, c: min(_signed(a), _signed(b)) & M ^ max(a, c) ^ abs(_signed(b)) & M),
    "(unsigned)(((unsigned long long)a << 32 | b) * ((unsigned long long)b << 32 | c) >> 29)"
    " + (unsigned)((((unsigned long long)a << 32 | b) + ((unsigned long long)b << 32 | c)) >> 32)"
    " + (((unsigned long long)a << 32 | b) < ((unsigned long long)b << 32 | c))": _each(_long),
    "__shfl_xor_sync(~0u, a, 5) + __shfl_sync(~0u, c, 7)":
        lambda a, b, c: [(int(a[i ^ 5]) + int(c[7])) & M for i in range(32)],
    "__ballot_sync(~0u, a & 1) + __reduce_max_sync(~0u, b)":
        lambda a, b, c: [(sum((int(v) & 1) << i for i, v in enumerate(a)) + int(b.max())) & M] * 32,
    "a << (b & 31) | a >> (c & 31)": _each(lambda a, b, c: a << (b & 31) | a >> (c & 31)),
}  # fmt: skip
"""Expressions of CUDA C++ on three random words, and what they are."""


@pytest.mark.parametrize("unroll", [len(INSTRUCTIONS), 1], ids=["in a row", "by a table of jumps"])
def test_instructions_do_what_they_do(unroll: int) -> None:
    """Those of the kernels, against NumPy and Python's integers, on random words."""
    cases = "".join(f"case {k}: return {text};\n" for k, text in enumerate(INSTRUCTIONS))
    before = f"""__device__ unsigned one(int what, unsigned a, unsigned b, unsigned c) {{
        switch (what) {{ {cases} default: return 0; }}
    }}"""
    kernel = f"""void k(const unsigned* in, unsigned* out) {{
        unsigned a = in[threadIdx.x], b = in[threadIdx.x + 32], c = in[threadIdx.x + 64];
        #pragma unroll {unroll}
        for (int what = 0; what < {len(INSTRUCTIONS)}; ++what) out[what * 32 + threadIdx.x] = one(what, a, b, c);
    }}"""
    words = np.random.default_rng(3).integers(0, 2**32, 96, np.uint32)
    out = np.zeros(len(INSTRUCTIONS) * 32, np.uint32)
    run(kernel, words, out, before=before)
    for (text, expected), found in zip(INSTRUCTIONS.items(), out.reshape(-1, 32), strict=True):
        assert found.tolist() == expected(*words.reshape(3, 32)), text
