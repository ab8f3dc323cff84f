"""Simulate the stages of one recipe: what a worker process does, and what it hands back as JSON.

    python -m bench.model.worker FOLDER ['{"recipe": "paper", ...}' ...]

Without a job it says which recipes the source tree has.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.model.backend import Launch, SimulatedBackend
from bench.model.machine import CARDS, PIPES, Multiprocessor
from bench.model.tree import SCENES, Renderer, renderer_of

CANDIDATES = 4
"""Images that are looked at for every image that is simulated."""
BUDGET, PROBE, FEWEST = 25e6, 3e6, 2
"""Warp instructions that are simulated at most, about: fewer images, and then fewer blocks of a launch."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to simulate.

    Args:
        recipe: name of a preset.
        images: simulated at most, of different codes.
        size: of a picture in pixels, None: the recipe's.
        element_bytes, channels_last: output format.
        seed: of the choice of images.
        machine: numbers of the multiprocessor that differ from the usual.
        batches: batches whose time is wanted too, in images.
        verify: whether to compare all bytes with the CPU renderer's.
    """

    recipe: str
    images: int = 12
    size: int | None = None
    element_bytes: int = 1
    channels_last: bool = False
    seed: int = 0
    machine: dict[str, float] = field(default_factory=dict)
    batches: tuple[int, ...] = ()
    verify: bool = False


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One kernel's part in an image. Cycles are one multiprocessor's."""

    kernel: str
    registers: int
    threads: int
    shared_bytes: int
    resident: int
    cycles: float
    busy: dict[str, float]
    """Share of the cycles that each unit was taken; "issue" is the schedulers'."""
    instructions: float
    """Of warps, an image."""
    bytes: float
    """Of global memory, touched at least once, an image."""
    atomic_passes: float
    """Of the load-store unit for an atomic instruction in shared memory; 0 where there are none."""
    phases: list[dict[str, Any]]
    """Between barriers: from and to instruction, times an image, cycles an image (blocks beside each other
    share them out)."""
    blocks: list[dict[str, Any]]
    """Stretches without a jump: first and last instruction, warp instructions and waiting an image."""
    lines: dict[str, list[float]]
    """Source line -> warp instructions and cycles that warps waited, an image."""


def measure(renderer: Renderer, job: Job) -> dict[str, Any]:
    """Simulate a job: `stages`, `batches` and what was verified."""
    begin = time.perf_counter()
    simulation = Simulation(renderer, job)
    index = simulation.choose()
    backend, out = simulation.render(index, rounds=2.0)
    found = stages(backend.launches, len(index))
    result: dict[str, Any] = {
        "job": asdict(job), "images": len(index), "stages": [asdict(s) for s in found],
        "batches": [simulation.batch(index, n, found) for n in job.batches],
    }  # fmt: skip
    if job.verify:
        result["verified"] = simulation.verify(index, out)
    return result | {"seconds": time.perf_counter() - begin}


class Simulation:
    """A recipe's pipeline on the simulated multiprocessor."""

    def __init__(self, renderer: Renderer, job: Job) -> None:
        self.renderer, self.job = renderer, job
        preset = renderer.PRESETS[job.recipe]
        self.recipe = preset.recipe if job.size is None else preset.recipe.at_size(job.size)
        self.bank = small_bank(renderer, preset.bank)
        self.parameters = renderer.Parameters.of(self.recipe)
        self.layout = renderer.Layout.choose(self.parameters, 227 * 1024)
        self.form = renderer.OutputFormat(job.element_bytes, job.channels_last)
        self.machine = Multiprocessor(**job.machine)

    def render(
        self, index: Any, rounds: float, share: float | None = None, launches: int = 99, budget: float = BUDGET
    ) -> tuple[Any, Any]:
        """Run the pipeline; see `SimulatedBackend` for rounds, share and launches. The backend and the images."""
        budget = 0 if self.job.verify else budget
        backend = SimulatedBackend(self.renderer.compile_kernel, self.machine, rounds, share, launches, budget)
        backend.images = len(index)
        pipeline = self.renderer.make_pipeline(self.bank, self.parameters, self.layout, backend, 1 << 30)
        parameters, n, job = self.parameters, len(index), self.job
        nbytes = n * parameters.views * 3 * parameters.size**2 * job.element_bytes
        out, codes = backend.empty(nbytes)[:nbytes], backend.empty(n * parameters.max_objects * 4)
        values = None
        if job.element_bytes > 1:
            values = backend.upload(np.arange(3 * 256).astype({2: np.uint16, 4: np.uint32}[job.element_bytes]))
        pictures, found = out.reshape(n, -1), codes[: n * parameters.max_objects * 4].reshape(n, -1)
        pipeline.run(
            backend.upload(index), n, key=self.renderer.seed_key(0), epoch=0, stream=0, out=pictures, masks=None,
            codes=found, values=values, form=self.form,
        )  # fmt: skip
        return backend, out

    def choose(self) -> Any:
        """Indices of images: as many blurred ones and attractors as the recipe has in the mean."""
        job, parameters = self.job, self.parameters
        candidates = np.random.default_rng(job.seed).integers(0, 2**32, CANDIDATES * job.images, dtype=np.uint32)
        probe, _ = self.render(candidates[:1], rounds=0.0, budget=PROBE)
        issued = sum(x.run.issued / x.run.blocks * x.grid[0] * x.grid[1] for x in probe.launches)
        n = min(job.images, max(FEWEST, int(BUDGET / issued)))
        candidates = candidates[: CANDIDATES * n]
        backend, _ = self.render(candidates, rounds=0.0, launches=1)  # the first draws the scenes
        fields = self.renderer.SCENE_FIELDS
        scenes = [v for (name, _), v in backend.memory_of.items() if name in SCENES]
        if not scenes:
            return candidates[:n]
        records = scenes[0].view(np.int32)
        shape = (len(candidates), parameters.views, fields)
        first = records[: math.prod(shape)].reshape(shape)[:, 0]  # of each sample's first view
        blurred, objects = first[:, self.renderer.BLUR] > 0, first[:, self.renderer.OBJECTS]
        chosen: list[int] = []
        for k in range(n):
            wanted = parameters.min_objects + (k * (parameters.max_objects - parameters.min_objects + 1)) // n
            blur = int((k + 1) * parameters.blur_probability) > int(k * parameters.blur_probability)
            distance = np.abs(objects - wanted) + 0.5 * (blurred != blur)
            distance[chosen] = np.inf
            chosen.append(int(np.argmin(distance)))
        return candidates[chosen]

    def batch(self, index: Any, images: int, full: list[Stage]) -> dict[str, float]:
        """Cycles of each stage for a batch of so many images: what the fullest multiprocessor gets of it.

        More than were simulated anyway are taken to cost what those did.
        """
        cycles: dict[str, float] = {"images": images}
        share = images / CARDS[0].multiprocessors
        if share > len(index) or len(index) < self.job.images:  # or an image is too long to go through again
            return cycles | {stage.kernel: stage.cycles * max(1.0, share) for stage in full}
        backend, _ = self.render(index, rounds=0.0, share=share)
        for launch in backend.launches:
            cycles[launch.kernel] = cycles.get(launch.kernel, 0) + launch.run.cycles
        return cycles

    def verify(self, index: Any, out: Any) -> dict[str, Any]:
        """How many bytes differ from the CPU renderer's."""
        images = self.renderer.CpuRenderer(self.bank, self.recipe, 1).render(index).images
        wrong = int((out != images.reshape(-1)).sum())
        return {"images": len(index), "bytes": int(images.size), "mismatched_bytes": wrong}



def small_bank(renderer: Renderer, spec: Any) -> Any:
    """A bank of a preset's kind, small enough to make at once; codes that are not sampled are few anyway."""
    if not hasattr(spec, "maps"):
        return renderer.make_bank(spec, 1)
    own = spec.codes == spec.classes
    return renderer.CodeBank.from_spec(renderer.BankSpec(2000, 2000 if own else 100, spec.maps), 1)


def stages(launches: list[Launch], images: int) -> list[Stage]:
    """Figures an image, by kernel, in the order of their first launch."""
    by_kernel: dict[str, list[Launch]] = {}
    for launch in launches:
        by_kernel.setdefault(launch.kernel, []).append(launch)
    return [_stage(kernel, own, images) for kernel, own in by_kernel.items()]


def _stage(kernel: str, launches: list[Launch], images: int) -> Stage:
    def an_image(value: Any) -> float:
        """Sum over the launches of a count of the run, per image: blocks may have been simulated more than once."""
        return float(sum(value(x) * x.grid[0] * x.grid[1] / x.run.blocks for x in launches)) / images

    cycles = an_image(lambda x: x.run.full_cycles)
    busy = {"issue": an_image(lambda x: x.run.issued) / 4 / cycles}
    for unit in PIPES:
        if unit not in ("none", "control"):
            lanes = 1 if unit == "load-store" else 4
            busy[unit] = an_image(lambda x, u=unit: x.run.busy[u]) / lanes / cycles
    # Float instructions spread over both pipes; what only one of them can do comes on top.
    busy["float"] = (busy["float"] + busy["float heavy"]) / 2
    last = launches[-1]
    atomics = sum(x.run.atomic_instructions for x in launches)
    return Stage(
        kernel=kernel, registers=last.program.registers, threads=last.threads,
        shared_bytes=last.program.shared_bytes + last.shared_bytes - 1024, resident=last.run.resident, cycles=cycles,
        busy=busy, instructions=an_image(lambda x: x.run.issued),
        bytes=sum((x.run.read_bytes + x.run.written_bytes) * _part(x) for x in launches) / images,
        atomic_passes=sum(x.run.atomic_wavefronts for x in launches) / atomics if atomics else 0.0,
        phases=phases(last, images), blocks=basic_blocks(last, images), lines=source_lines(launches, images),
    )  # fmt: skip


def _part(launch: Launch) -> float:
    """What a sample of a launch's blocks is multiplied by; blocks that ran twice touched nothing new."""
    return max(1.0, launch.grid[0] * launch.grid[1] / launch.run.blocks)


def phases(launch: Launch, images: int) -> list[dict[str, Any]]:
    """Stretches between barriers, with their share of the cycles."""
    run = launch.run
    scale = launch.grid[0] * launch.grid[1] / run.blocks / images
    return [
        {"from": a, "to": b, "times": count * scale, "cycles": cycles * scale / run.resident}
        for (a, b), (count, cycles) in sorted(run.spans.items())
    ]  # fmt: skip


def basic_blocks(launch: Launch, images: int) -> list[dict[str, Any]]:
    """Stretches without a jump in or out that took part, by the control flow of the disassembly."""
    code, run = launch.program.code, launch.run
    jumps = np.flatnonzero(code["jump"] >= 0)
    starts = {0, *(int(t) for t in code["jump"][jumps]), *(int(j) + 1 for j in jumps)}
    edges = [*sorted(s for s in starts if s < len(code)), len(code)]
    scale = launch.grid[0] * launch.grid[1] / run.blocks / images
    out = []
    for first, end in itertools.pairwise(edges):
        executed = int(run.executed[first:end].sum())
        if executed:
            back = any(code["jump"][j] == first for j in jumps if first <= j < end)
            out.append({
                "first": first, "last": end - 1, "loop": back, "instructions": executed * scale,
                "lanes": float(run.lanes[first:end].sum()) / executed,
                "waited": float(run.waited[first:end].sum()) * scale,
            })  # fmt: skip
    return out


def source_lines(launches: list[Launch], images: int) -> dict[str, list[float]]:
    """Where in the source instructions come from and warps wait."""
    out: dict[str, list[float]] = {}
    for launch in launches:
        run = launch.run
        scale = launch.grid[0] * launch.grid[1] / run.blocks / images
        for line, executed, waited in zip(launch.program.lines, run.executed, run.waited, strict=True):
            if executed:
                sums = out.setdefault(line, [0.0, 0.0])
                sums[0] += int(executed) * scale
                sums[1] += int(waited) * scale
    return out


def main() -> None:
    renderer = renderer_of(Path(sys.argv[1]))
    if not sys.argv[2:]:
        print(json.dumps(list(renderer.PRESETS)))
    for text in sys.argv[2:]:
        job = json.loads(text)
        print(json.dumps(measure(renderer, Job(**job | {"batches": tuple(job.get("batches", ()))}))), flush=True)


if __name__ == "__main__":
    main()
