"""What the acceptance run measures on a card. Results with the unit "differences" must be 0."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch

from fracgen.benchmarking.images import Options, bench_loader, bench_render, small_bank, stage_seconds
from fracgen.benchmarking.record import Record, Results, Summary
from fracgen.draws import Stream
from fracgen.order import order_keys, permute
from fracgen.recipes.presets import PRESETS
from fracgen.recipes.recipe import Preset
from fracgen.rendering import golden as hashes
from fracgen.rendering.cpu.renderer import CpuRenderer
from fracgen.rendering.cuda.nvrtc import version
from fracgen.rendering.cuda.pipeline import OutputFormat
from fracgen.rendering.cuda.renderer import CudaRenderer
from fracgen.rendering.cuda.sources import digest
from fracgen.rendering.normalize import table

SCRATCH = 1 << 30
"""Room for a whole batch between the kernels: parts would add waves that do not fill the device."""
PREDICTED = Path(__file__).with_name("predicted.json")
"""Cycles by `python -m bench.machine_code`."""
BFLOAT16: Options = {"dtype": torch.bfloat16, "channels_last": True}
BATCH, FIRST_BATCH = 256, 16
CLOCK = r"""extern "C" __global__ void spin(long long cycles) {
    const long long begin = clock64();
    while (clock64() - begin < cycles);
}"""


class Where(TypedDict):
    """Which images; see `Renderer.render`."""

    seed: int
    epoch: int
    stream: Stream


def identity() -> dict[str, object]:
    """What all results of a file are of: the kernels' sources, and the card with what drives it."""
    import cupy

    properties = torch.cuda.get_device_properties(0)
    device = {
        "name": properties.name, "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count, "memory": f"{properties.total_memory >> 30} GiB",
        "driver's CUDA": cupy.cuda.runtime.driverGetVersion(), "torch's CUDA": torch.version.cuda,
        "NVRTC": ".".join(map(str, version())),
    }  # fmt: skip
    return {"kernels": digest(), "device": device}


def compiled() -> Results:
    """Everything that the other parts run, compiled on all CPUs at once: kernels for the card, stages for the CPU."""
    begin = time.perf_counter()
    with ThreadPoolExecutor() as pool:
        kernels = pool.map(_compile, [*PRESETS.values(), *map(_small, PRESETS.values())])
        for preset in PRESETS.values():  # in this thread, beside the others
            CpuRenderer(small_bank(preset, 40), preset.recipe, threads=1).render([0])
        list(kernels)
    return {"compilation": Summary.of("s", [time.perf_counter() - begin])}


def _compile(preset: Preset) -> None:
    CudaRenderer(small_bank(preset, 40), preset.recipe).pipeline.prepare(OutputFormat(2, True))


def _small(preset: Preset) -> Preset:
    return replace(preset, recipe=replace(preset.recipe.at_size(64), points=5000))


def small() -> Results:
    """What runs under the sanitizers: small images of every recipe, and a histogram that shared memory cannot hold."""
    large = replace(PRESETS["paper"], recipe=replace(PRESETS["paper"].recipe.at_size(600), points=5000))
    for preset in (*map(_small, PRESETS.values()), large):
        CudaRenderer(small_bank(preset, 40), preset.recipe).render(range(3), masks=True).images.cpu()
    return {"small images": Summary.of("images", [3 * len(PRESETS) + 3])}


def golden() -> Results:
    """Stored hashes that the card's images do not have."""
    wrong = [line.split(":")[0] for line in hashes.differences(CudaRenderer, sizes=False)]
    results = {"golden hashes": Summary.of("differences", [len(wrong)])}
    return results | {f"golden hash of {name}": Summary.of("differences", [1]) for name in wrong}


def parity(images: int, seconds: float) -> Results:
    """Bytes of images, masks and codes that differ from the CPU renderer's, in so many images of every recipe.

    A recipe that the CPU renders slowly is checked on fewer: each has its share of the seconds. Where bytes differ, the
    first buffer between kernels that is not what the binaries mean is named.
    """
    results = {}
    for name, preset in PRESETS.items():
        bank = small_bank(preset)
        gpu, cpu = CudaRenderer(bank, preset.recipe), CpuRenderer(bank, preset.recipe)
        rng, checked, wrong = np.random.default_rng(0), 0, 0
        end = time.monotonic() + seconds / len(PRESETS)
        while checked < images and (checked == 0 or time.monotonic() < end) and not wrong:
            n = min(BATCH if checked else FIRST_BATCH, images - checked)
            index = rng.integers(0, 2**32, n, dtype=np.uint32)
            where = Where(seed=int(rng.integers(2**63)), epoch=checked, stream=Stream(checked // BATCH % 2))
            ours, theirs = (r.render(index, masks=True, **where).numpy() for r in (gpu, cpu))
            for a, b in ((ours.images, theirs.images), (ours.masks, theirs.masks), (ours.codes, theirs.codes)):
                apart = np.flatnonzero(a.reshape(-1) != b.reshape(-1))
                if len(apart) and not wrong:
                    sample = int(index[apart[0] * n // b.size])
                    found = f"`{name}` sample {sample}, {where}: {first_difference(gpu, sample, where)}"
                    results[found] = Summary.of("differences", [1])
                wrong += len(apart)
            checked += n
        results[f"`{name}` images compared"] = Summary.of("images", [checked])
        results[f"`{name}` bytes unlike the CPU renderer's"] = Summary.of("differences", [wrong])
    return results


def first_difference(gpu: CudaRenderer, sample: int, where: Where) -> str:
    """The first buffer of a sample in which the card differs from the simulated machine code, and the first byte."""
    from bench.machine_code.backend import run

    buffers: dict[str, torch.Tensor] = {}

    def scratch(name: str, nbytes: int) -> torch.Tensor:
        # Full of the same rubbish as there: not every byte is written.
        buffers[name] = torch.full((max(16, nbytes),), 0xCD, dtype=torch.uint8, device=gpu.device)
        return buffers[name]

    backend = vars(gpu.pipeline.backend)
    backend["scratch"] = scratch  # in the place of the method, for a while
    try:
        buffers["images"] = gpu.render([sample], **where).images
    finally:
        del backend["scratch"]
    simulated, expected = run(gpu.bank, gpu.recipe, [sample], **where)
    for name, own in buffers.items():
        there = expected if name == "images" else simulated.buffers[name]
        apart = np.flatnonzero(own.cpu().numpy().reshape(-1) != there.reshape(-1))
        if len(apart):
            return f"{name} differs from byte {apart[0]} on, in {len(apart)} of {there.size}"
    return "no buffer differs when the sample is rendered alone"


def stages(batch: int) -> Results:
    """Cycles of one multiprocessor for an image of `paper`, beside the predictions.

    The clock is that of a loop of known length right after the batches, so it is the clock under load.
    """
    renderer = CudaRenderer(small_bank(PRESETS["paper"]), PRESETS["paper"].recipe, scratch_bytes=SCRATCH)
    index = torch.arange(batch, dtype=torch.int32, device="cuda")
    runs = [stage_seconds(renderer, index) for _ in range(9)]
    clock = clock_hz()
    scale = clock * torch.cuda.get_device_properties(0).multi_processor_count / batch
    seconds = {f"`paper` {name}": [run[name] for run in runs] for name in runs[0]}
    seconds["`paper`"] = [sum(run.values()) for run in runs]
    results, predicted = {"clock": Summary.of("GHz", [clock / 1e9])}, Record.read(PREDICTED).results
    for name, values in seconds.items():
        results[name] = Summary.of("cycles/image", [value * scale for value in values])
        results[f"{name}, predicted"] = predicted[name]
    return results


def clock_hz(cycles: int = 20_000_000) -> float:
    """The multiprocessors' clock: cycles that a loop counts, over its time."""
    import cupy

    count = torch.cuda.get_device_properties(0).multi_processor_count
    spin = cupy.RawModule(code=CLOCK).get_function("spin")
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with cupy.cuda.Stream.from_external(torch.cuda.current_stream()):
        for _ in range(2):  # the first is the warm-up
            begin.record()
            spin((count,), (32,), (np.int64(cycles),))
            end.record()
    end.synchronize()
    return cycles / (float(begin.elapsed_time(end)) / 1e3)


def chaos_game(batch: int) -> Results:
    """Points a second of the chaos game alone.

    The attractor kernel also makes densities; the difference between 100,000 points and 1,024, which costs the same
    otherwise, is the game's own time.
    """
    bank, recipe = small_bank(PRESETS["paper"]), PRESETS["paper"].recipe
    index = torch.arange(batch, dtype=torch.int32, device="cuda")
    times = []
    for points in (1024, recipe.points):
        renderer = CudaRenderer(bank, replace(recipe, points=points), scratch_bytes=2 * SCRATCH)
        times.append([stage_seconds(renderer, index)["attractor"] for _ in range(9)])
    few, drawn = float(np.median(times[0])), (recipe.points - 1024) * batch
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
    side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    given, captured = torch.zeros_like(plain), torch.zeros_like(plain)
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        aside = renderer.render(index, seed=7).images
    side.synchronize()
    renderer.render(index, seed=7, out=given)
    with torch.cuda.graph(graph):
        renderer.render(index, seed=7, out=captured)
    captured.zero_()
    graph.replay()
    halves = renderer.render(index, seed=7, **BFLOAT16).images
    values = table(recipe, torch.bfloat16).to("cuda")
    indices, labels = renderer.order(1000, 512, 1_000_000, seed=3, epoch=2, stride=2)
    order = permute(np.arange(512) * 2 + 1000, 1_000_000, order_keys(3, 2)).astype(np.int32)
    same = {
        "on a side stream": torch.equal(plain, aside),
        "into a given tensor": torch.equal(plain, given),
        "in a CUDA graph": torch.equal(plain, captured),
        "in bfloat16": torch.equal(halves, torch.stack([values[c][plain[:, c].long()] for c in range(3)], 1)),
        "with channels last": halves.is_contiguous(memory_format=torch.channels_last),
        "through DLPack": torch.equal(plain, torch.utils.dlpack.from_dlpack(renderer.render(index, seed=7).images)),
        "in an epoch's order": np.array_equal(indices.cpu().numpy(), order),
        "with its labels": np.array_equal(labels.cpu().numpy(), order.astype(np.int64) % renderer.bank.classes),
    }
    return {f"the same {way}": Summary.of("differences", [0 if equal else 1]) for way, equal in same.items()}


def render() -> Results:
    """Images a second of every recipe, in uint8 and in bfloat16 with its channels last, in batches of about 20 ms."""
    wave = torch.cuda.get_device_properties(0).multi_processor_count
    results: Results = {}
    kinds: dict[str, Options] = {"uint8": {}, "bfloat16 channels-last": BFLOAT16}
    for name, preset in PRESETS.items():
        for kind, output in kinds.items():
            rate = bench_render(preset, device="cuda", batch=wave, rounds=1, **output).results["images"].median
            batch = max(1, round(20e-3 * rate / wave)) * wave
            found = bench_render(preset, device="cuda", batch=batch, rounds=5, **output).results
            results |= {f"`{name}` {kind}: {what}": result for what, result in found.items()}
    return results


def loader(batches: Sequence[int], images: int) -> Results:
    """Images a second that `FractalLoader` hands over, drained: each a whole epoch of labelled images."""
    epoch = -(-images // max(batches))
    found = bench_loader(PRESETS["paper"], device="cuda", batch=batches, batches=epoch, rounds=3).results
    return {f"epoch of {epoch * max(batches):,}, {name}": rate for name, rate in found.items()}


def train(batch: int, rounds: int) -> Results:
    """A step of a WideResNet50-2 at 256 px with live rendering against one on a resident batch."""
    from fracgen.benchmarking.train import bench_train, config_for

    config = config_for("paper", "wide_resnet50_2", batch, 256)
    found = bench_train(config, device="cuda", steps=10, rounds=rounds).results
    return {f"WideResNet50-2, batch {batch}: {name}": result for name, result in found.items()}
