"""Bytes of the CUDA renderer against the CPU renderer's, for every recipe."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from fracgen.draws import Stream
from fracgen.formulas.banks import Bank, make_bank
from fracgen.recipes.presets import PRESETS
from fracgen.recipes.recipe import BankSpec
from fracgen.rendering import golden
from fracgen.rendering.cpu.renderer import CpuRenderer
from fracgen.rendering.cuda.renderer import CudaRenderer

BATCH, FIRST_BATCH = 256, 16


def small_bank(name: str, codes: int = 2000, seed: int = 1) -> Bank:
    """A bank of a preset's kind, small enough to make at once."""
    spec = PRESETS[name].bank
    if isinstance(spec, BankSpec):
        spec = BankSpec(codes, codes if spec.codes == spec.classes else codes // 20, spec.maps)
    return make_bank(spec, seed)


def golden_hashes() -> dict[str, Any]:
    """`golden` of the results file: the stored hashes that the card's images do not have."""
    return {"differences": golden.differences(CudaRenderer)}


def check(images_per_recipe: int, seconds: float = 120.0) -> dict[str, Any]:
    """`parity` of the results file.

    A recipe that the CPU renders slowly is checked on fewer images: each has its share of the seconds.
    """
    recipes: dict[str, Any] = {}
    for name, preset in PRESETS.items():
        bank = small_bank(name)
        gpu, cpu = CudaRenderer(bank, preset.recipe), CpuRenderer(bank, preset.recipe)
        rng = np.random.default_rng(0)
        checked = mismatched = 0
        first_mismatch = None
        batch, end = min(FIRST_BATCH, images_per_recipe), time.monotonic() + seconds / len(PRESETS)
        while checked < images_per_recipe and (checked == 0 or time.monotonic() < end):
            index = rng.integers(0, 2**32, min(batch, images_per_recipe - checked), dtype=np.uint32)
            batch = min(2 * batch, BATCH)
            where = {"seed": int(rng.integers(2**63)), "epoch": checked, "stream": Stream(checked // BATCH % 2)}
            ours = gpu.render(index, masks=True, **where)
            theirs = cpu.render(index, masks=True, **where)
            for a, b in ((ours.images, theirs.images), (ours.masks, theirs.masks), (ours.codes, theirs.codes)):
                wrong = np.flatnonzero(a.cpu().numpy().reshape(-1) != b.reshape(-1))
                mismatched += len(wrong)
                if len(wrong) and first_mismatch is None:
                    first_mismatch = {"index": int(index[wrong[0] * len(index) // b.size]), **where}
            checked += len(index)
        recipes[name] = {"images": checked, "mismatched_bytes": mismatched, "first_mismatch": first_mismatch}
    return {
        "images_checked": sum(r["images"] for r in recipes.values()),
        "mismatched_bytes": sum(r["mismatched_bytes"] for r in recipes.values()),
        "recipes": recipes,
    }


def other_ways() -> dict[str, bool]:
    """The same bytes on a side stream, in a CUDA graph, into a given tensor, normalised, through DLPack."""
    from fracgen.rendering.normalise import table

    recipe = PRESETS["paper"].recipe
    renderer = CudaRenderer(small_bank("paper"), recipe)
    index = torch.arange(64, dtype=torch.int64, device="cuda")
    plain = renderer.render(index, seed=7).images
    same: dict[str, bool] = {}

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        other = renderer.render(index, seed=7).images
    side.synchronize()
    same["side_stream"] = torch.equal(plain, other)

    out = torch.zeros_like(plain)
    renderer.render(index, seed=7, out=out)
    same["given_tensor"] = torch.equal(plain, out)

    graph, captured = torch.cuda.CUDAGraph(), torch.zeros_like(plain)
    with torch.cuda.graph(graph):
        renderer.render(index, seed=7, out=captured)
    captured.zero_()
    graph.replay()
    same["cuda_graph"] = torch.equal(plain, captured)

    bf16 = renderer.render(index, seed=7, dtype=torch.bfloat16, channels_last=True).images
    values = table(recipe, torch.bfloat16).to("cuda")
    expected = torch.stack([values[c][plain[:, c].long()] for c in range(3)], 1)
    same["bfloat16_channels_last"] = torch.equal(bf16, expected)
    same["channels_last_strides"] = bf16.is_contiguous(memory_format=torch.channels_last)

    same["dlpack"] = torch.equal(plain, torch.from_dlpack(renderer.render_dlpack(index, seed=7)))

    from fracgen.order import order_keys, permute

    indices, labels = renderer.order(1000, 512, 1_000_000, seed=3, epoch=2, stride=2)
    positions = np.arange(512) * 2 + 1000
    expected_indices = permute(positions, 1_000_000, order_keys(3, 2)).astype(np.int32)
    same["epoch_order"] = np.array_equal(indices.cpu().numpy(), expected_indices)
    same["labels"] = np.array_equal(labels.cpu().numpy(), expected_indices.astype(np.int64) % renderer.bank.classes)
    return same
