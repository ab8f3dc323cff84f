"""What the acceptance run measures on a card. Results with the unit "differences" must be 0."""

from __future__ import annotations

import dataclasses
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fracgen.benchmarking.images import bench_loader, bench_render, small_bank, stage_seconds
from fracgen.benchmarking.record import Record, Results, Summary
from fracgen.draws import Stream
from fracgen.formulas.banks import Bank
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.order import order_keys, permute
from fracgen.recipes.presets import PRESETS
from fracgen.rendering import golden as hashes
from fracgen.rendering.cpu.renderer import CpuRenderer
from fracgen.rendering.cuda.formulas import make_pipeline
from fracgen.rendering.cuda.layout import Layout
from fracgen.rendering.cuda.nvrtc import compile_kernel, version
from fracgen.rendering.cuda.pipeline import OutputFormat
from fracgen.rendering.cuda.renderer import CudaBackend, CudaRenderer
from fracgen.rendering.cuda.sources import digest
from fracgen.rendering.normalise import table
from fracgen.rendering.parameters import Parameters

SCRATCH = 1 << 30
"""Room for a whole batch between the kernels: parts would add waves that do not fill the device."""
PREDICTED = Path(__file__).with_name("predicted.json")
"""Cycles by `python -m bench.machine_code`."""
BFLOAT16 = {"dtype": torch.bfloat16, "channels_last": True}
BATCH, FIRST_BATCH = 256, 16
CLOCK = r"""extern "C" __global__ void spin(long long cycles) {
    const long long begin = clock64();
    while (clock64() - begin < cycles);
}"""


def identity() -> dict[str, Any]:
    """What all results of a file must be of: the kernels' sources and the card."""
    properties = torch.cuda.get_device_properties(0)
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "-i", "0"]
    try:
        driver = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        driver = "unknown"
    device = {
        "name": properties.name, "capability": f"{properties.major}.{properties.minor}", "driver": driver,
        "multiprocessors": properties.multi_processor_count, "memory_gib": round(properties.total_memory / 2**30, 1),
        "nvrtc": ".".join(map(str, version())), "torch_cuda": torch.version.cuda,
    }  # fmt: skip
    return {"kernels": digest(), "device": device}


def compiled() -> Results:
    """Everything that other parts launch, compiled on all CPUs at once, and the CPU renderer beside it."""
    device = CudaBackend(torch.device("cuda", 0))
    wanted: list[tuple[str, str]] = []

    class Collector:
        def upload(self, array: Any) -> Any:
            return array

        def load(self, kernel: str, header: str) -> None:
            wanted.append((kernel, header))

    for preset in PRESETS.values():
        parameters = Parameters.of(preset.recipe)
        layout = Layout.choose(parameters, device.shared_memory)
        collector: Any = Collector()
        pipeline = make_pipeline(small_bank(preset, 40), parameters, layout, collector, 1)
        pipeline.prepare(OutputFormat())
        pipeline.prepare(OutputFormat(2, True))
        pipeline.function("order", OutputFormat())
    begin = time.perf_counter()
    with ThreadPoolExecutor() as pool:
        rendered = [pool.submit(_cpu_images, name) for name in PRESETS]
        list(pool.map(lambda job: compile_kernel(*job, device.arch), wanted))
        for future in rendered:
            future.result()
    return {"compilation": Summary.of("s", [time.perf_counter() - begin])}


def _cpu_images(name: str) -> None:
    CpuRenderer(small_bank(PRESETS[name], 40), PRESETS[name].recipe, threads=1).render([0])


def golden() -> Results:
    """Stored hashes that the card's images do not have."""
    wrong = [line.split(":")[0] for line in hashes.differences(CudaRenderer)]
    results = {"golden hashes": Summary.of("differences", [len(wrong)])}
    return results | {f"golden hash of {name}": Summary.of("differences", [1]) for name in wrong}


def parity(images: int, seconds: float) -> Results:
    """Bytes of images, masks and codes that differ from the CPU renderer's, in so many images of every recipe.

    A recipe that the CPU renders slowly is checked on fewer: each has its share of the seconds. Where bytes differ, the
    first buffer between kernels that differs from what the binaries mean is named.
    """
    results = {}
    for name, preset in PRESETS.items():
        bank = small_bank(preset)
        gpu, cpu = CudaRenderer(bank, preset.recipe), CpuRenderer(bank, preset.recipe)
        rng, checked, wrong = np.random.default_rng(0), 0, 0
        end = time.monotonic() + seconds / len(PRESETS)
        while checked < images and (checked == 0 or time.monotonic() < end) and not wrong:
            n = min(FIRST_BATCH if checked == 0 else BATCH, images - checked)
            index = rng.integers(0, 2**32, n, dtype=np.uint32)
            where = {"seed": int(rng.integers(2**63)), "epoch": checked, "stream": Stream(checked // BATCH % 2)}
            ours = gpu.render(index, masks=True, **where).on_host()
            theirs = cpu.render(index, masks=True, **where)
            for a, b in ((ours.images, theirs.images), (ours.masks, theirs.masks), (ours.codes, theirs.codes)):
                apart = np.flatnonzero(a.reshape(-1) != b.reshape(-1))
                if len(apart) and not wrong:
                    first = int(index[apart[0] * n // b.size])
                    place = first_difference(gpu, first, where)
                    results[f"`{name}` sample {first}, {where}: {place}"] = Summary.of("differences", [1])
                wrong += len(apart)
            checked += n
        results[f"`{name}` images compared"] = Summary.of("images", [checked])
        results[f"`{name}` bytes unlike the CPU renderer's"] = Summary.of("differences", [wrong])
    return results


def first_difference(gpu: CudaRenderer, sample: int, where: dict[str, Any]) -> str:
    """The first buffer of a sample in which the card differs from the simulated machine code, and the first byte."""
    from bench.machine_code.backend import run

    buffers: dict[str, torch.Tensor] = {}
    backend: Any = gpu.pipeline.backend

    def scratch(name: str, nbytes: int) -> torch.Tensor:
        # Filled with the same rubbish as there: not every byte is written.
        buffers[name] = torch.full((max(16, nbytes),), 0xCD, dtype=torch.uint8, device=gpu.device)
        return buffers[name]

    backend.scratch = scratch
    try:
        images = gpu.render([sample], **where).images
    finally:
        del backend.scratch
    simulated, expected = run(gpu.bank, gpu.recipe, [sample], **where)
    for name, own in [*buffers.items(), ("images", images)]:
        there = expected if name == "images" else simulated.buffers[name]
        apart = np.flatnonzero(own.cpu().numpy().reshape(-1) != there.reshape(-1))
        if len(apart):
            return f"{name} differs from byte {apart[0]} on, {len(apart)} of {there.size}"
    return "no buffer differs when the sample is rendered alone"


def stages(batch: int) -> Results:
    """Cycles of one multiprocessor for an image of `paper`, beside the predictions.

    The clock is that of a loop of known length right after a batch, so it is the clock under load.
    """
    renderer = CudaRenderer(small_bank(PRESETS["paper"]), PRESETS["paper"].recipe, scratch_bytes=SCRATCH)
    index = torch.arange(batch, dtype=torch.int32, device="cuda")
    runs = [stage_seconds(renderer, index) for _ in range(9)]
    clock = clock_hz()
    scale = clock * torch.cuda.get_device_properties(0).multi_processor_count / batch
    results = {"clock": Summary.of("GHz", [clock / 1e9])}
    predicted = Record.read(PREDICTED).results
    for name in runs[0]:
        results[f"`paper` {name}"] = Summary.of("cycles/image", [run[name] * scale for run in runs])
        results[f"`paper` {name}, predicted"] = predicted[f"`paper` {name}"]
    results["`paper`"] = Summary.of("cycles/image", [sum(run.values()) * scale for run in runs])
    return results | {"`paper`, predicted": predicted["`paper`"]}


def clock_hz(cycles: int = 20_000_000) -> float:
    """The multiprocessors' clock: cycles that a loop counts, over its time."""
    import cupy

    count = torch.cuda.get_device_properties(0).multi_processor_count
    spin = cupy.RawModule(code=CLOCK).get_function("spin")
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    with cupy.cuda.Stream.from_external(torch.cuda.current_stream()):
        for _ in range(2):  # the first is the warm-up
            begin.record()
            spin((count,), (32,), (np.int64(cycles),))
            end.record()
    end.synchronize()
    return cycles / (begin.elapsed_time(end) / 1e3)


def chaos_game(batch: int) -> Results:
    """Points a second of the chaos game alone.

    The attractor kernel also makes densities; the difference between 100,000 points and 1,024, which costs the same
    otherwise, is the game's own time.
    """
    bank, recipe = small_bank(PRESETS["paper"]), PRESETS["paper"].recipe
    index = torch.arange(batch, dtype=torch.int32, device="cuda")
    times = []
    for points in (1024, recipe.points):
        renderer = CudaRenderer(bank, dataclasses.replace(recipe, points=points), scratch_bytes=2 * SCRATCH)
        times.append([stage_seconds(renderer, index)["attractor"] for _ in range(9)])
    few = float(np.median(times[0]))
    drawn = (recipe.points - 1024) * batch
    return {
        "chaos game alone": Summary.of("points/s", [drawn / (t - few) for t in times[1]]),
        "chaos game with densities": Summary.of("points/s", [recipe.points * batch / t for t in times[1]]),
    }


def other_ways() -> Results:
    """The same bytes on a side stream, in a CUDA graph, into a given tensor, normalised, through DLPack."""
    recipe = PRESETS["paper"].recipe
    renderer = CudaRenderer(small_bank(PRESETS["paper"]), recipe)
    index = torch.arange(64, dtype=torch.int64, device="cuda")
    plain = renderer.render(index, seed=7).images
    same: dict[str, bool] = {}

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        other = renderer.render(index, seed=7).images
    side.synchronize()
    same["on a side stream"] = torch.equal(plain, other)

    out, captured, graph = torch.zeros_like(plain), torch.zeros_like(plain), torch.cuda.CUDAGraph()
    renderer.render(index, seed=7, out=out)
    same["into a given tensor"] = torch.equal(plain, out)
    with torch.cuda.graph(graph):
        renderer.render(index, seed=7, out=captured)
    captured.zero_()
    graph.replay()
    same["in a CUDA graph"] = torch.equal(plain, captured)

    bfloat16 = renderer.render(index, seed=7, **BFLOAT16).images
    values = table(recipe, torch.bfloat16).to("cuda")
    expected = torch.stack([values[c][plain[:, c].long()] for c in range(3)], 1)
    same["in bfloat16"] = torch.equal(bfloat16, expected)
    same["with channels last"] = bfloat16.is_contiguous(memory_format=torch.channels_last)
    same["through DLPack"] = torch.equal(plain, torch.from_dlpack(renderer.render_dlpack(index, seed=7)))

    indices, labels = renderer.order(1000, 512, 1_000_000, seed=3, epoch=2, stride=2)
    positions = permute(np.arange(512) * 2 + 1000, 1_000_000, order_keys(3, 2)).astype(np.int32)
    same["an epoch's order"] = np.array_equal(indices.cpu().numpy(), positions)
    same["its labels"] = np.array_equal(labels.cpu().numpy(), positions.astype(np.int64) % renderer.bank.classes)
    return {f"the same bytes {way}": Summary.of("differences", [0 if equal else 1]) for way, equal in same.items()}


def render() -> Results:
    """Images a second of every recipe, in uint8 and in bfloat16 with its channels last, in batches of about 20 ms."""
    wave = torch.cuda.get_device_properties(0).multi_processor_count
    results = {}
    for name, preset in PRESETS.items():
        for kind, output in (("uint8", {}), ("bfloat16 channels-last", BFLOAT16)):
            quick = bench_render(preset, device="cuda", batch=wave, rounds=1, **output).results["images"].median
            batch = max(1, round(20e-3 * quick / wave)) * wave
            measured = bench_render(preset, device="cuda", batch=batch, rounds=5, **output).results
            results |= {f"`{name}` {kind}: {what}": measured[what] for what in measured if what not in ("time", "rays")}
    return results


def epoch(images: int, batch: int) -> Results:
    """A whole epoch of labelled images through the batch API, wall clock.

    Every batch lands in a tensor of its own on the device; nothing comes to the host.
    """
    bank: Bank = CodeBank.sample(100_000, seed=0, classes=1000)
    renderer = CudaRenderer(bank, PRESETS["paper"].recipe, scratch_bytes=SCRATCH)
    for number, total in enumerate((4 * batch, images)):  # the first is the warm-up
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for first in range(0, total, batch):
            indices, _ = renderer.order(first, min(batch, total - first), images, epoch=number)
            renderer.render(indices, epoch=number)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
    return {f"an epoch of {images:,} labelled images of {bank.classes:,} classes": Summary.of("s", [seconds])}


def loader(batches: Sequence[int]) -> Results:
    """Images a second that `FractalLoader` hands over, drained."""
    found = bench_loader(PRESETS["paper"], device="cuda", batch=list(batches), rounds=3).results
    return {f"loader, {name}": rate for name, rate in found.items()}


def train(batch: int, rounds: int) -> Results:
    """A step of a WideResNet50-2 at 256 px with live rendering against one on a resident batch."""
    from fracgen.benchmarking.train import bench_train, config_for

    config = config_for("paper", "wide_resnet50_2", batch, 256)
    found = bench_train(config, device="cuda", steps=10, rounds=rounds).results
    return {f"WideResNet50-2, batch {batch}: {name}": result for name, result in found.items()}


def small() -> Results:
    """What runs under the sanitizers: small images of every recipe, and a histogram that shared memory has no room for."""
    for preset in PRESETS.values():
        recipe = dataclasses.replace(preset.recipe.at_size(64), points=5000)
        CudaRenderer(small_bank(preset, 40), recipe).render(range(3), masks=True).images.cpu()
    large = dataclasses.replace(PRESETS["paper"].recipe.at_size(600), points=5000)
    CudaRenderer(small_bank(PRESETS["paper"], 40), large).render(range(2)).images.cpu()
    return {"small images": Summary.of("images", [3 * len(PRESETS) + 2])}
