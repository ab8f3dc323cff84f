"""The cycle model: what it simulates is what a card would run, and it sees what makes kernels slower."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.gpu.figures import predictions
from bench.model import document
from bench.model.backend import SimulatedBackend, program
from bench.model.disassembly import UnknownInstruction, parse
from bench.model.machine import Multiprocessor, resident_blocks
from bench.model.predict import Prediction, predict
from bench.model.simulator import SimulationError
from bench.model.tree import ROOT, source_tree

HAND_COUNTED = {"scout": 9_000, "attractor": 76_700, "noise": 54_000, "compose": 60_500}
"""Cycles an image of the kernels of commit f7d4f6f, from an earlier simulation by hand-picked stretches of code."""


@cache
def paper(tree: str | None = None, **options: Any) -> Prediction:
    with source_tree(tree) as folder:
        return predict(folder, ("paper",), {"images": 12, **options}, batches=())["paper"]


def cycles(prediction: Prediction) -> dict[str, float]:
    return {stage["kernel"]: stage["cycles"] for stage in prediction.stages}


def test_the_simulated_binaries_render_the_cpu_renderers_bytes():
    """Also says that the compiler kept to the arithmetic that the kernels spell out."""
    recipes = ("paper", "fractal4ad", "multi-formula")
    for name, prediction in predict(ROOT, recipes, {"images": 2, "verify": True}).items():
        assert prediction.verified == {**prediction.verified, "mismatched_bytes": 0}, name
        assert prediction.verified["bytes"] > 0


def test_it_agrees_with_an_earlier_count_of_the_first_kernels():
    if subprocess.run(["git", "-C", str(ROOT), "cat-file", "-e", "f7d4f6f"], capture_output=True).returncode:
        pytest.skip("this clone has no commit f7d4f6f")
    found = cycles(paper("f7d4f6f"))
    assert found == pytest.approx(HAND_COUNTED, rel=0.1)
    assert sum(found.values()) == pytest.approx(198_000, rel=0.05)


def test_the_document_shows_these_kernels():
    """After a change of the kernels: `python -m bench.model --write`."""
    now = cycles(paper())
    assert document.written_cycles() == pytest.approx({**now, "all": sum(now.values())}, rel=0.02)
    assert predictions()["recipes"]["paper uint8"]["cycles"] == pytest.approx(now, rel=0.02)


def test_a_slower_instruction_mix_is_seen(tmp_path):
    """Five times the rounds of Philox: whatever draws is slower; without noise, composing carries out what it did."""
    for part in ("fracgen", "kernels"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    header = tmp_path / "kernels" / "arithmetic.cuh"
    planted = header.read_text().replace("round < 7", "round < 35")
    assert planted != header.read_text()
    header.write_text(planted)
    slow, usual = paper(str(tmp_path)), paper()
    issued = [sum(stage["instructions"] for stage in p.stages) for p in (slow, usual)]
    assert issued[0] > 1.1 * issued[1]
    assert slow.cycles > 1.1 * usual.cycles
    assert cycles(slow)["compose"] > 1.1 * cycles(usual)["compose"]
    bare = [predict(Path(tree), ("fractaldb",), {"images": 4}, batches=())["fractaldb"] for tree in (tmp_path, ROOT)]
    composing = [next(s["instructions"] for s in p.stages if s["kernel"] == "compose") for p in bare]
    assert composing[0] == composing[1]  # cycles may differ a little: the compiler orders instructions anew


def test_occupancy_follows_the_limits_of_the_architecture():
    assert resident_blocks(64, 54, 724) == 18, "registers: 9 warps a scheduler"
    assert resident_blocks(1024, 32, 0) == 2
    assert resident_blocks(1024, 33, 0) == 1
    assert resident_blocks(32, 16, 0) == 32, "no more blocks than that"
    assert resident_blocks(192, 40, 26_280) == 8, "shared memory, with a kilobyte a block"


# Small kernels of our own.


def run(source: str, *arguments: Any, threads: int = 32, shared: int = 0, before: str = "", **machine: Any) -> Any:
    """Compile a kernel `k` and simulate one launch; arrays among the arguments are changed in place."""
    from cupy.cuda import nvrtc

    compiling = nvrtc.createProgram(f'{before}\nextern "C" __global__ {source}', "k.cu", [], [])
    nvrtc.compileProgram(compiling, ("--gpu-architecture=sm_90", "-std=c++17", "-default-device"))
    backend = SimulatedBackend(lambda *_: Path(), Multiprocessor(**machine), rounds=0)
    own = [backend.upload(a) if isinstance(a, np.ndarray) and a.ndim else a for a in arguments]
    kernel = program(bytes(nvrtc.getCUBIN(compiling)) + b"\0", "k")
    backend.launch(kernel, (1, 1), threads, shared, *own)
    for a, b in zip(arguments, own, strict=True):
        if isinstance(a, np.ndarray) and a.ndim:
            a[...] = b
    return backend.launches[0].run


def test_bank_conflicts_and_collisions_cost_passes():
    source = """void k(int stride, unsigned* out) {
        __shared__ unsigned cells[1024];
        for (int i = threadIdx.x; i < 1024; i += 32) cells[i] = 0;
        __syncwarp();
        unsigned at = threadIdx.x * stride % 1024;
        for (int i = 0; i < 64; ++i) atomicAdd(&cells[at], 1u);
        __syncwarp();
        out[threadIdx.x] = cells[at];
    }"""
    passes = {}
    for stride in (1, 2, 32, 0):
        out = np.zeros(32, np.uint32)
        seen = run(source, np.int32(stride), out)
        passes[stride] = seen.atomic_wavefronts / seen.atomic_instructions
        assert (out == (64 * 32 if stride == 0 else 64)).all()
    assert passes == {1: 1, 2: 2, 32: 32, 0: 32}


def test_a_wide_load_goes_by_quarters_unless_told_otherwise():
    source = """void k(const int* rows, float* out) {
        __shared__ float4 table[8];
        if (threadIdx.x < 8) table[threadIdx.x] = make_float4(threadIdx.x, 1, 2, 3);
        __syncwarp();
        int row = rows[threadIdx.x];
        float sum = 0;
        for (int i = 0; i < 100; ++i) { float4 v = table[row]; sum += v.x + v.y; row = (row + (int)v.z) & 7; }
        out[threadIdx.x] = sum;
    }"""
    rows, out = (np.arange(32) % 8).astype(np.int32), np.zeros(32, np.float32)
    apart = run(source, rows, out).busy["load-store"]
    together = run(source, rows, out, merge_wide_loads=1).busy["load-store"]
    assert apart - together == pytest.approx(300, abs=10)


def test_threads_that_part_meet_again():
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


def test_what_a_card_would_fault_on_is_named():
    with pytest.raises(SimulationError, match=r"global memory access out of bounds.*STG"):
        run("void k(int* o, int far) { o[(long long)threadIdx.x * far] = 1; }", np.zeros(4, int), np.int32(1 << 30))
    with pytest.raises(SimulationError, match=r"shared memory access out of bounds.*STS"):
        run("void k(int* out, int far) { extern __shared__ int s[]; s[threadIdx.x + far] = 1; __syncthreads(); "
            "out[threadIdx.x] = s[far]; }", np.zeros(32, np.int32), np.int32(4000), shared=1024)  # fmt: skip


def test_an_instruction_without_a_meaning_is_named():
    text = ".text.k:\n        /*0000*/  FROB R1, R2 ;  /* 0x0000000000000000 */\n  /* 0x0000000000000000 */\n"
    with pytest.raises(UnknownInstruction, match="FROB"):
        parse(text, "k")


def test_the_command_answers_mistakes_in_one_line():
    mistakes = ((["--kernels", "nowhere"], "neither a folder"), (["--details", "brew"], "no kernel"))
    for arguments, words in mistakes:
        command = [sys.executable, "-m", "bench.model", "--images", "1", "--recipes", "fractaldb", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_the_command_writes_what_it_found(tmp_path):
    command = [sys.executable, "-m", "bench.model", "--images", "1", "--recipes", "fractaldb"]
    done = subprocess.run([*command, "--json", str(tmp_path / "m.json")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| `fractaldb` |" in done.stdout
    found = json.loads((tmp_path / "m.json").read_text())
    assert found["fractaldb"]["stages"][0]["kernel"] == "scout"


@pytest.mark.parametrize("unroll", [17, 1], ids=["in a row", "by a table of jumps"])
def test_instructions_do_what_they_do(unroll):
    """Those that a kernel may come to use, against NumPy, on random words."""
    source = """
    __device__ unsigned one(int what, unsigned a, unsigned b, unsigned c) {
        float fa = __int_as_float(a & 0xBFFFFFFFu), fb = __int_as_float(b & 0xBFFFFFFFu);
        switch (what) {
            case 0: return __vmaxu2(a, b);
            case 1: return __byte_perm(a, b, c);
            case 2: return __popc(a) + 64 * __clz(b) + 4096 * __ffs(c & 0xFFFF00);
            case 3: return __brev(a) ^ __funnelshift_r(a, b, c);
            case 4: return __umulhi(a, b) + (unsigned)__mulhi((int)a, (int)c);
            case 5: return a / (b >> 12 | 1) + a % (c >> 20 | 1);
            case 6: return (unsigned)((int)a / (int)(b >> 16 | 1));
            case 7: return __float_as_int(__fdiv_rn(fa, fb));
            case 8: return __float_as_int(__fsqrt_rn(fabsf(fa)));
            case 9: return __dp4a(a, b, c);
            case 10: return min((int)a, (int)b) ^ max(a, c) ^ (unsigned)abs((int)b);
            case 11: { unsigned long long v = (unsigned long long)a << 32 | b, w = (unsigned long long)b << 32 | c;
                       return (unsigned)((v * w >> 29) + (v + w >> 32) + (v < w)); }
            case 12: return __float_as_int(__fmaf_rn(fa, fb, fb)) ^ __float_as_int(__saturatef(fa));
            case 13: return (unsigned)(int)(fa * 1e-3f) + __float2uint_rz(fabsf(fb));
            case 14: return __shfl_xor_sync(~0u, a, 5) + __shfl_down_sync(~0u, b, 3) + __shfl_sync(~0u, c, 7);
            case 15: return __ballot_sync(~0u, a & 1) + __reduce_max_sync(~0u, b) + __reduce_add_sync(~0u, c & 255);
            default: return a << (b & 31) | a >> (c & 31);
        }
    }
    __global__ void k(const unsigned* in, unsigned* out) {
        unsigned a = in[threadIdx.x], b = in[threadIdx.x + 32], c = in[threadIdx.x + 64];
        #pragma unroll UNROLL
        for (int what = 0; what < 17; ++what) out[what * 32 + threadIdx.x] = one(what, a, b, c);
    }""".replace("UNROLL", str(unroll))
    words, out = np.random.default_rng(3).integers(0, 2**32, 96, np.uint32), np.zeros(17 * 32, np.uint32)
    head, _, kernel = source.rpartition("__global__")
    run(kernel, words, out, before=head)
    for what, (found, expected) in enumerate(zip(out.reshape(17, 32), _expected(*words.reshape(3, 32)), strict=True)):
        assert found.tolist() == expected, what


def _expected(a: Any, b: Any, c: Any) -> list[list[int]]:
    """The same in Python's integers and NumPy's floats."""
    m, s = 2**32 - 1, lambda v: int(np.uint32(v).view(np.int32))
    fa, fb = ((v & np.uint32(0xBFFFFFFF)).view(np.float32) for v in (a, b))
    rows = list(zip(*(v.tolist() for v in (a, b, c)), strict=True))

    def bits(v: Any) -> Any:
        return np.asarray(v, np.float32).view(np.uint32)

    def permute(x: int, y: int, z: int) -> int:
        both = (y << 32 | x).to_bytes(8, "little")
        return int.from_bytes(bytes(both[z >> 4 * k & 7] for k in range(4)), "little")

    def first_bit(v: int) -> int:
        return (v & -v).bit_length()

    def dot(x: int, y: int, z: int) -> int:
        return (z + sum((x >> k & 255) * (y >> k & 255) for k in (0, 8, 16, 24))) & m

    def long(x: int, y: int, z: int) -> int:
        v, w = x << 32 | y, y << 32 | z
        return ((v * w & 2**64 - 1) >> 29) + ((v + w & 2**64 - 1) >> 32) + (v < w) & m

    fused = (fa.astype(np.float64) * fb + fb).astype(np.float32)  # double holds the product; the sum may round twice
    ballot = sum((x & 1) << i for i, (x, _, _) in enumerate(rows))
    with np.errstate(all="ignore"):
        quotient, root = fa / fb, np.sqrt(np.abs(fa))
        truncated = [(int(x * np.float32(1e-3)) + int(abs(y))) & m for x, y in zip(fa, fb, strict=True)]
    return [
        [max(x & 65535, y & 65535) | max(x >> 16, y >> 16) << 16 for x, y, _ in rows],
        [permute(*r) for r in rows],
        [x.bit_count() + 64 * (32 - y.bit_length()) + 4096 * first_bit(z & 0xFFFF00) for x, y, z in rows],
        [int(f"{x:032b}"[::-1], 2) ^ ((y << 32 | x) >> (z & 31) & m) for x, y, z in rows],
        [(x * y >> 32) + (s(x) * s(z) >> 32) & m for x, y, z in rows],
        [x // (y >> 12 | 1) + x % (z >> 20 | 1) & m for x, y, z in rows],
        [int(s(x) / (y >> 16 | 1)) & m for x, y, _ in rows],
        bits(quotient).tolist(), bits(root).tolist(), [dot(*r) for r in rows],
        [(min(s(x), s(y)) & m) ^ max(x, z) ^ (abs(s(y)) & m) for x, y, z in rows],
        [long(*r) for r in rows],
        (bits(fused) ^ bits(np.clip(fa, 0, 1))).tolist(), truncated,
        [(rows[i ^ 5][0] + (rows[i + 3] if i + 3 < 32 else rows[i])[1] + rows[7][2]) & m for i in range(32)],
        [(ballot + int(b.max()) + sum(z & 255 for *_, z in rows)) & m] * 32,
        [(x << (y & 31) | x >> (z & 31)) & m for x, y, z in rows],
    ]  # fmt: skip
