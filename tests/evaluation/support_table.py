"""The table of docs/evaluation.md that says which method runs on which network, made by building each pair.

`python -m tests.evaluation.support_table` writes it anew; with `--fit`, every pair is fitted and judges pictures too.
"""

from __future__ import annotations

import re
import string
import sys
from pathlib import Path
from unittest import mock

import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods import METHODS, Method, build_method
from fracgen_eval.methods.base import Table
from fracgen_eval.methods.tokens import MODELS

from tests.evaluation.methods import random_weights

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"
BEGIN, END = "<!-- support table -->\n", "<!-- end of it -->\n"
NETWORKS = (
    "resnet18", "tf_efficientnet_lite0", "convnext_atto", "mobilenetv4_conv_small", "hgnetv2_b0", "repvgg_a0",
    "fastvit_t8", "efficientvit_b0", "tiny_vit_5m_224", "swin_tiny_patch4_window7_224", "deit_tiny_patch16_224",
    "vit_tiny_patch16_224", "vit_small_patch14_dinov2", "vit_small_patch16_dinov3",
)  # fmt: skip
NAMED_HERE = ("anomaly_dino", "rad")
OTHERS = (*NAMED_HERE, *(f"anomalib:{name}" for name in MODELS if name not in NAMED_HERE), "efficient_ad")
SHORT: dict[str, Table] = {
    "fastflow": {"epochs": 1, "flow_steps": 1}, "cflow": {"epochs": 1, "fiber_batch": 256, "blocks": 1},
    "padim": {"features": 20}, "rd": {"epochs": 1}, "stfpm": {"epochs": 1},
    "panda": {"variant": "early", "max_steps": 1}, "cutpaste": {"steps": 1, "frozen_steps": 0, "batch": 2},
    **{name: {"epochs": 1} for name in OTHERS if name not in (*NAMED_HERE, "anomalib:super_add", "efficient_ad")},
}  # fmt: skip


def side_of(model: str) -> int:
    """A small side in pixels that the network takes."""
    return 56 if "patch14" in model else 64


def small(method: str, side: int = 64, **changes: object) -> Table:
    """Settings with which a method is quick on pictures of that side."""
    sides: Table = {"resize": side, "crop": side} if method == "panda" else {"image_size": side}
    tile: Table = {"patch_size": side, "patch_overlap": side // 4} if method == "anomalib:super_add" else {}
    return SHORT.get(method, {}) | tile | sides | changes


def built(method: str, model: str) -> Method | str:
    """The method on the network; or why not, with METHOD and NETWORK for the names."""
    try:
        return build_method(method, random_weights(model), small(method, side_of(model)))
    except EvaluationError as error:
        return str(error).replace(model, "NETWORK").replace(method, "METHOD")


def cell(method: str, model: str) -> str:
    """Number of frozen tensors, which are found to be the weights', or the line that refuses."""
    weights = random_weights(model)
    with mock.patch.multiple(torch.Tensor, uniform_=_zeros, normal_=_zeros, erfinv_=_same):  # most of the time
        made = built(method, model)
    if isinstance(made, str):
        return made
    held = made.frozen()
    assert all(torch.equal(tensor, weights.tensors[key]) for key, tensor in held.items()), f"{method} on {model}"
    return str(len(held))


def _zeros(tensor: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
    return tensor.zero_()


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def written() -> dict[str, dict[str, str]]:
    """The page's table: network -> method -> cell, letters replaced by their lines."""
    text = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    lines = dict(re.findall(r"^- \*\*([a-z])\*\*: (.*)$", text, re.MULTILINE))
    head, _, *rows = ([c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|"))
    return {row[0]: {m: lines.get(c, c) for m, c in zip(head[1:], row[1:], strict=True)} for row in rows}


def table() -> str:
    """The table in Markdown, and the lines that its letters stand for."""
    cells = {model: {method: cell(method, model) for method in (*METHODS, *OTHERS)} for model in NETWORKS}
    faults = dict.fromkeys(c for row in cells.values() for c in row.values() if not c.isdigit())
    letter = dict(zip(faults, string.ascii_lowercase, strict=False))
    heads = [method.rpartition(":")[2] for method in (*METHODS, *OTHERS)]
    rows = [["network", *heads], ["---"] * (len(heads) + 1)]
    rows += [[model, *(letter.get(c, c) for c in row.values())] for model, row in cells.items()]
    body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*body, "", *(f"- **{mark}**: {fault}" for fault, mark in letter.items())]) + "\n"


def main() -> None:
    """Write the table into the page."""
    if "--fit" in sys.argv:
        for model in NETWORKS:
            images = torch.randint(0, 256, (4, 3, side_of(model), side_of(model)), dtype=torch.uint8)
            for method in (*METHODS, *OTHERS):
                made = built(method, model)
                if not isinstance(made, str):
                    made.fit(images)
                    assert made.predict(images).scores.std() > 0, f"{method} on {model}"
                    print(model, method, flush=True)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
