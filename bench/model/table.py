"""The model's answer as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.model.machine import ASSUMPTIONS, CARDS
from bench.model.predict import GAP_S, Prediction, bound

Old = dict[str, Prediction] | None


def report(
    new: dict[str, Prediction], old: Old = None, label: str = "before", if_wrong: dict[str, Prediction] | None = None
) -> str:
    """All tables: stages of the first recipe, recipes, batches, assumptions.

    Args:
        new: predictions by recipe.
        old: those of another source tree, shown beside them.
        label: what the other tree is called.
        if_wrong: the first recipe under other assumptions.
    """
    first = next(iter(new.values()))
    parts = [
        f"Stages of `{first.recipe}`, cycles of one multiprocessor an image:",
        *stage_rows(first, old.get(first.recipe) if old else None, label), "",
        "Recipes:", *recipe_rows(new, old, label),
    ]  # fmt: skip
    if first.batches:
        parts += ["", f"A batch of `{first.recipe}`, and so what its host work may take at most:", *batch_rows(first)]
    parts += ["", "Assumed:", *(f"- {line}" for line in ASSUMPTIONS)]
    parts += [f"- {GAP_S * 1e6:.0f} microsecond between the launches of a batch; full batches as if there were none."]
    if if_wrong:
        parts += ["", f"And `{first.recipe}` where an assumption is wrong:", *wrong_rows(first, if_wrong)]
    return "\n".join(parts) + "\n"


def stage_rows(new: Prediction, old: Prediction | None, label: str) -> Iterator[str]:
    """One row a kernel."""
    before = {s["kernel"]: s["cycles"] for s in old.stages} if old else {}
    extra = f" {label} |" if old else ""
    yield f"| stage | registers | threads | blocks | instructions | bound by | issue |{extra} cycles |"
    yield "|---|---|---|---|---|---|---|---|" + ("---|" if old else "")
    for s in new.stages:
        unit, share = bound(s, CARDS[0])
        was = f" {before.get(s['kernel'], 0):,.0f} |" if old else ""
        atomics = f", {s['atomic_passes']:.2f} passes an atomic" if s["atomic_passes"] else ""
        yield (
            f"| {s['kernel']} | {s['registers']} | {s['threads']} | {s['resident']} | {s['instructions']:,.0f} "
            f"| {unit} {share:.0%}{atomics} | {s['busy']['issue']:.0%} |{was} {s['cycles']:,.0f} |"
        )
    was = f" {old.cycles:,.0f} |" if old else ""
    yield f"| all | | | | {sum(s['instructions'] for s in new.stages):,.0f} | | |{was} {new.cycles:,.0f} |"


def recipe_rows(new: dict[str, Prediction], old: Old, label: str) -> Iterator[str]:
    """One row a recipe: cycles of each kernel, images a second on each card."""
    kernels = list(dict.fromkeys(s["kernel"] for p in new.values() for s in p.stages))
    extra = [f"{label}, all"] if old else []
    heads = ["recipe", *kernels, *extra, "all", *(f"images/s {card.name}" for card in CARDS)]
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for name, p in new.items():
        cycles = {s["kernel"]: f"{s['cycles']:,.0f}" for s in p.stages}
        was = [f"{old[name].cycles:,.0f}" if name in old else ""] if old else []
        rates = (f"{p.images_per_s(card):,.0f}" for card in CARDS)
        cells = [f"`{name}`", *(cycles.get(k, "") for k in kernels), *was, f"{p.cycles:,.0f}", *rates]
        yield f"| {' | '.join(cells)} |"


def wrong_rows(usual: Prediction, if_wrong: dict[str, Prediction]) -> Iterator[str]:
    """One row an assumption: cycles of each kernel, and of all."""
    kernels = [s["kernel"] for s in usual.stages]
    yield f"| if | {' | '.join(kernels)} | all |"
    yield "|---|" + "---|" * (len(kernels) + 1)
    for label, p in if_wrong.items():
        cells = " | ".join(f"{s['cycles']:,.0f}" for s in p.stages)
        yield f"| {label} | {cells} | {p.cycles:,.0f} ({p.cycles / usual.cycles - 1:+.0%}) |"


def batch_rows(p: Prediction) -> Iterator[str]:
    """One row a batch size: time and rate on each card."""
    yield "| batch | " + " | ".join(f"{card.name}, microseconds | images/s" for card in CARDS) + " |"
    yield "|---|" + "---|---|" * len(CARDS)
    for b in p.batches:
        n = int(b["images"])
        times = [p.batch_seconds(card, n) for card in CARDS]
        yield f"| {n:,} | " + " | ".join(f"{t * 1e6:,.0f} | {n / t:,.0f}" for t in times) + " |"


def details(p: Prediction, kernel: str, folder: Path, longest: int = 20) -> str:
    """Where a kernel's cycles go: between barriers, in stretches without a jump, by lines of the source.

    Args:
        p: of the recipe.
        kernel: its name.
        folder: of the source tree.
        longest: stretches and lines to show.

    Raises:
        ValueError: the recipe has no such kernel.
    """
    stage = next((s for s in p.stages if s["kernel"] == kernel), None)
    if stage is None:
        raise ValueError(f"{p.recipe} has no kernel {kernel!r}: use one of {', '.join(s['kernel'] for s in p.stages)}")
    lines = [f"`{kernel}` of `{p.recipe}`, an image:", "", "| barrier to barrier | times | cycles |", "|---|---|---|"]
    lines += [f"| {x['from']} - {x['to']} | {x['times']:.1f} | {x['cycles']:,.0f} |" for x in stage["phases"]]
    lines += ["", "| instructions | | issued | lanes | waited before |", "|---|---|---|---|---|"]
    blocks = sorted(stage["blocks"], key=lambda b: -b["instructions"])[:longest]
    for b in sorted(blocks, key=lambda b: b["first"]):
        kind = "loop" if b["loop"] else ""
        figures = f"{b['instructions']:,.0f} | {b['lanes']:.1f} | {b['waited']:,.0f}"
        lines.append(f"| {b['first']} - {b['last']} | {kind} | {figures} |")
    texts = {f.name: f.read_text().splitlines() for f in (folder / "kernels").rglob("*.cu*")}
    lines += ["", "| line | issued | waited before | |", "|---|---|---|---|"]
    most = sorted(stage["lines"].items(), key=lambda item: -item[1][0])[:longest]
    for place, (issued, waited) in most:
        file, _, number = place.partition(":")
        text = texts[file][int(number) - 1].strip().replace("|", "\\|") if file in texts else ""
        lines.append(f"| {place} | {issued:,.0f} | {waited:,.0f} | `{text[:70]}` |")
    busy = ", ".join(f"{unit} {share:.0%}" for unit, share in stage["busy"].items())
    return "\n".join([*lines, "", f"Busy: {busy}."]) + "\n"
