"""Make each arm's weights and measure them: one command, which goes on where it was stopped.

    python -m bench.study.run -o STUDY [--samples 64000] [--seeds 0,1,2] [--datasets surfaces,elpv]
                              [--methods patchcore,stfpm] [--only NAME ...]

Each arm and seed is one file in bench/study/results/ when it is finished. What lies in STUDY (runs, weights,
cells of the evaluation) lets a stopped one go on: `fracgen pretrain --resume auto` and the grid of
`fracgen eval run` both do. `python -m bench.study.page` then writes docs/what-works.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

from bench.study.arms import Arm, Measure, Result, comparison
from fracgen.benchmarking.record import Machine
from fracgen.support.decode import read_json, read_toml
from fracgen.support.files import whole_file
from fracgen.support.provenance import commit
from fracgen.training.built_in import weights_file

CODES = {"ofdb": "fractaldb", "twins": "paper"}
"""Recipes of whose codes presets of `fracgen pretrain` that are none are made."""
RESULTS = Path(__file__).parent / "results"


def fracgen(*arguments: str) -> None:
    """Run a command of fracgen's. Raises CalledProcessError where it fails."""
    subprocess.run([sys.executable, "-m", "fracgen", *arguments], check=True)


def make_weights(arm: Arm, seed: int, folder: Path) -> Path:
    """The weights file of an arm and seed, trained or drawn, or the package's own."""
    if arm.recipe == "built-in":
        return weights_file(arm.model)
    target = folder / "weights" / "model.safetensors"
    if target.is_file():
        return target
    if arm.recipe == "random":
        return draw_weights(arm, seed, target)
    run, bank = folder / "run", folder / "bank.safetensors"
    if not bank.is_file():
        recipe = CODES.get(arm.recipe, arm.recipe)
        sizes = [] if recipe == "mandelbulb" else ["--codes", str(arm.codes), "--classes", str(arm.classes)]
        fracgen("sample", "--recipe", recipe, *sizes, "-o", str(bank))
    fracgen("pretrain", *arm.training(), "--bank", str(bank), "--seed", str(seed), "-o", str(run), "--resume", "auto")
    fracgen("export", str(run), "--no-classifier", "-o", str(target.parent))
    return target


def draw_weights(arm: Arm, seed: int, target: Path) -> Path:
    """Weights as a fresh network has them, in a file with the same normalisation as the trained ones."""
    from safetensors.torch import save

    from fracgen.networks import create, last_layer

    model = create(arm.model, 1000, 224, seed)
    classifier = last_layer(model, 1000)
    tensors = {k: v.contiguous() for k, v in model.state_dict().items() if not k.startswith(classifier + ".")}
    target.parent.mkdir(parents=True, exist_ok=True)
    head = {"architecture": arm.model, "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    target.with_name("config.json").write_text(json.dumps(head))
    with whole_file(target) as file:
        file.write(save(tensors, {"format": "pt"}))
    return target


@dataclass(frozen=True)
class Terms:
    """Under which a method is run."""

    limit: str | None = None
    """Of `fracgen eval run`: images a category."""
    settings: Path | None = None
    """A file of methods' settings."""

    def options(self) -> list[str]:
        """Of `fracgen eval run`."""
        limit = ["--limit", self.limit] if self.limit else []
        return limit + (["--settings", str(self.settings)] if self.settings else [])

    def own(self, method: str) -> dict[str, object]:
        """The settings of a method that are not its usual ones."""
        settings: dict[str, dict[str, object]] = read_toml(self.settings) if self.settings else {}
        return settings.get(method, {})


def measure(
    arm: Arm, seed: int, weights: Path, folder: Path, *, dataset: str, method: str, terms: Terms
) -> dict[str, dict[str, float]]:
    """Metrics by category. Cells are kept in a folder for just these weights and terms, so that none is mixed in."""
    from fracgen_eval.grid.results import read_table

    known = json.dumps({"limit": terms.limit, "settings": terms.own(method)}, sort_keys=True).encode()
    out = folder / "eval" / dataset / method / hashlib.sha256(weights.read_bytes() + known).hexdigest()[:12]
    fracgen("eval", "run", "--method", method, "--weights", f"study={weights}", "--model", arm.model,
            "--dataset", dataset, "--seeds", str(seed), "-o", str(out), *terms.options())  # fmt: skip
    cells, problems = read_table(out)
    assert not problems, problems
    return {cell.category: dict(cell.result.metrics) for cell in cells.itertuples()}


def finish(arm: Arm, seed: int, folder: Path, datasets: Sequence[str], methods: Sequence[str], terms: Terms) -> None:
    """Every measure of one arm and seed that its file does not have yet; what it has is kept."""
    path = RESULTS / f"{arm.name}-seed{seed}.json"
    result = Result.read(path) if path.is_file() else Result(arm=arm, name=arm.name, seed=seed)
    there = {(m.dataset, m.method) for m in result.measures}
    missing = [pair for pair in product(datasets, methods) if pair not in there]
    if not missing:
        return
    listed = ", ".join(f"{method} on {dataset}" for dataset, method in missing)
    print(f"study: {arm.name}, seed {seed}: {listed}", file=sys.stderr, flush=True)
    weights = make_weights(arm, seed, folder)
    if arm.recipe != "random":
        own = read_json(weights.with_name("config.json"))["fracgen"]
        result = replace(result, images_seen=own["images_seen"], validation=own["validation"])
    RESULTS.mkdir(exist_ok=True)
    for dataset, method in missing:
        metrics = measure(arm, seed, weights, folder, dataset=dataset, method=method, terms=terms)
        measured = Measure(
            dataset=dataset, method=method, limit=terms.limit, settings=terms.own(method),
            date=time.strftime("%Y-%m-%d"), machine=Machine.here().processor, commit=commit(), metrics=metrics,
        )  # fmt: skip
        result = replace(result, measures=[*result.measures, measured])
        with whole_file(path) as file:
            file.write(json.dumps(asdict(result), indent=1).encode() + b"\n")


def main() -> None:
    """All arms, seed by seed, so that a study that is stopped has compared all arms on fewer seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=64_000)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--datasets", default="surfaces,elpv")
    parser.add_argument("--methods", default="patchcore,stfpm")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--only", nargs="*", help="arms by name, without their number of samples")
    parser.add_argument("--limit", help="of `fracgen eval run`: images a category")
    parser.add_argument("--settings", type=Path, help="of `fracgen eval run`: settings of methods")
    options = parser.parse_args()
    arms = comparison(options.samples, options.model, options.size)
    named = {arm.line: arm for arm in arms}
    if unknown := [name for name in options.only or () if name not in named]:
        parser.error(f"unknown arm {unknown[0]!r}: use one of {', '.join(named)}")
    arms = [named[name] for name in options.only or named]
    terms = Terms(options.limit, options.settings)
    for seed in (int(number) for number in options.seeds.split(",")):
        for arm in arms:
            folder = options.output / arm.name / f"seed{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            try:
                finish(arm, seed, folder, options.datasets.split(","), options.methods.split(","), terms)
            except subprocess.CalledProcessError as error:
                sys.exit(f"study: {arm.name}, seed {seed}: a command failed, with exit code {error.returncode}")


if __name__ == "__main__":
    main()
