"""The tables of scores in README.md and in the cards of the package's weights, written from stored results.

    python -m bench.tables            # write those that differ
    python -m bench.tables --check    # name them; exit code 1 where there are any
    python -m bench.tables --list     # of every table of numbers: where its results are, and what measures them anew

A table stands between `<!-- table NAME -->` and `<!-- end of table -->`. Results are what `python -m bench.study.scores
RESULTS -o FILE.json` made of the folders of `fracgen eval run`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict, cast

from fracgen_eval.report.tables import method_title
from fracgen_eval.report.text import ends

from bench.study.scores import AGAINST, Row
from fracgen.support.decode import read_json
from fracgen.support.files import whole_file

ROOT = Path(__file__).parents[1]
SCORES = Path("bench/study/scores")
EIGHT, PATCHCORE = "resnet18-eight-xeon-2026-11-29", "resnet18-patchcore-xeon-2026-11-29"
LITE0, VIT = "lite0-patchcore-xeon-2026-11-29", "vit-tiny-patchcore-epyc-2026-11-30"
GRID = "--weights fractal.{} --weights random" + "".join(f" --weights random-{n}" for n in range(1, 5))
ANEW = {
    EIGHT: f"fracgen eval run --method all --model resnet18 {GRID.format('twins_1')} --dataset surfaces "
    "--settings bench/study/eight.toml, then elpv with eight-elpv.toml; random networks have a seed each, "
    "fractal has 0,1,2",
    PATCHCORE: f"fracgen eval run --method patchcore --model resnet18 {GRID.format('twins_1')} --seeds 0,1,2 "
    "--dataset surfaces, with image_size = 128",
    LITE0: f"fracgen eval run --method patchcore --model tf_efficientnet_lite0 {GRID.format('distilled_1')} "
    "--weights imagenet --seeds 0,1,2 --dataset surfaces, then elpv, with image_size = 128",
    VIT: "fracgen eval run --method patchcore --model vit_tiny_patch16_224 --layers layer3,layer4 --settings "
    "bench/study/vit.toml --weights fractal.distilled_1 --weights random --dataset surfaces",
}
"""What measures the results of a file again."""
ELSEWHERE = {
    "docs/what-works.md": "bench/study/results: python -m bench.study.page; anew: python -m bench.study.run",
    "docs/evaluation.md#Networks": "no results: python -m tests.evaluation.support_table builds every pair anew",
    "docs/recipes.md": "no results: python docs/make_pictures.py",
    "bench/README.md#Beside other programs": "by hand, of bench/results/peers-*.json; python -m bench.peers",
}
"""Tables that others write; by document, or document#heading."""
UNSTORED = {
    "docs/own-pictures.md#What is promised": "python -m bench.study.promises",
    "bench/README.md#Cells beside plain Anomalib": "python -m bench.cells",
    "bench/README.md#Beside plain Anomalib": "python -m bench.study.plain_anomalib",
    "docs/evaluation.md#Models of plain transformers": "python -m tests.evaluation.support_table --fit, without times",
    "docs/evaluation.md#Is this harness right?": "limits, chosen; `fracgen report` compares with them",
    "docs/reproducing-the-paper.md#0. Measure first": "limits, chosen; fracgen bench measures what is held to them",
    "docs/weights.md#Weights in the package": "sizes of files",
    "docs/history.md": "measured once, by what each section names; the git tag bench-2026-11 has former benches",
}
"""Tables whose results were not kept, and what prints them anew."""


class Stored(TypedDict):
    """A table of a file of results."""

    title: str
    metric: str
    rows: list[Row]


def row(file: str, dataset: str, method: str, weights: str) -> Row | None:
    """Image AUROC of a method, by the beginning of its name, or of `all`; None where it was not measured."""
    tables: list[Stored] = read_json(ROOT / SCORES / f"{file}.json")["tables"]
    return next((
        one for table in tables if table["metric"] == "image_auroc" and f" on {dataset}" in table["title"].lower()
        for one in table["rows"] if one["method"].startswith(method) and one["weights"].partition(".")[0] == weights
    ), None)  # fmt: skip


def mean(of: Row | None) -> str:
    """The mean, with the worst and the best of several random networks."""
    drawn = list((of or {}).get("by_network", {}).values())
    return "" if of is None else f"{of['mean']:.1f}" + (
        f" ({min(drawn):.1f} to {max(drawn):.1f})" if len(drawn) > 1 else ""
    )


def gain(of: Row) -> str:
    """What weights gain over random ones, with its interval."""
    return f"{of['gain']:+.1f} {ends(of['gain_interval'])}"


class Line(NamedTuple):
    """A line of a table: what it is called, and of which results it is."""

    title: str
    file: str
    dataset: str
    method: str = "patchcore"

    def found(self) -> tuple[Row, Row, Row | None]:
        """Scores of random weights, of the package's, and of ImageNet's where they were measured."""
        random, fractal, imagenet = (row(*self[1:], name) for name in (AGAINST, "fractal", "imagenet"))
        assert random is not None
        assert fractal is not None
        return random, fractal, imagenet


def summary(lines: Sequence[Line]) -> Iterator[str]:
    """README's table."""
    yield "| network | test set | random | fractal | ImageNet | gap closed |"
    yield "|---|---|---|---|---|---|"
    for line in lines:
        random, fractal, imagenet = (one and cast("float", one["mean"]) for one in line.found())
        assert random is not None
        assert fractal is not None
        last = "not available offline | |"
        if imagenet:
            last = f"{imagenet:.1f} | {100 * (fractal - random) / (imagenet - random):.0f} % |"
        yield f"| {line.title} | {random:.1f} | **{fractal:.1f}** | {last}"


def card(head: str, lines: Sequence[Line]) -> Iterator[str]:
    """A card's table, whose head says what it is; a fifth column is for ImageNet's weights."""
    yield head
    yield "|---" * (head.count("|") - 1) + "|"
    for line in lines:
        random, fractal, imagenet = line.found()
        best = f"**{mean(fractal)} {ends(fractal['interval'])}**"
        cells = [line.title, mean(random), best, gain(fractal), *([mean(imagenet)] if imagenet else [])]
        yield f"| {' | '.join(cells)} |"


def by_method(file: str) -> Iterator[str]:
    """Each of the eight methods on both data sets."""
    yield "| method | `surfaces`: random, fractal | gain | `elpv`: random, fractal | gain |"
    yield "|---|---|---|---|---|"
    for name in ("fastflow", "cflow", "patchcore", "padim", "rd", "stfpm", "cutpaste", "panda", "all"):
        cells = ["mean of all" if name == "all" else method_title(name)]
        for dataset in ("surfaces", "elpv"):
            random, fractal, _ = Line("", file, dataset, name).found()
            cells += [f"{random['mean']:.1f}, {fractal['mean']:.1f}", gain(fractal)]
        yield f"| {' | '.join(cells)} |"


class Written(NamedTuple):
    """A table that is written here."""

    document: str
    name: str
    files: Sequence[str]
    make: Callable[[], Iterator[str]]


CARDS = "fracgen/weights/{}/README.md"
RESNET18 = (
    Line("`surfaces`, ten categories, PatchCore", PATCHCORE, "surfaces"),
    Line("the same, mean of eight methods", EIGHT, "surfaces", "all"),
    Line("`elpv`, real solar cells, two categories, PatchCore", EIGHT, "elpv"),
    Line("the same, mean of eight methods", EIGHT, "elpv", "all"),
)
LITE0_LINES = (
    Line("`surfaces`, ten categories", LITE0, "surfaces"),
    Line("`elpv`, real solar cells, two categories", LITE0, "elpv"),
)
SUMMARY = (
    Line("EfficientNet-Lite0 | `surfaces`: defects drawn on ten photographed surfaces", LITE0, "surfaces"),
    Line("EfficientNet-Lite0 | `elpv`: real solar cells", LITE0, "elpv"),
    Line("ResNet-18 | `surfaces`", PATCHCORE, "surfaces"),
    Line("ResNet-18 | `elpv`", EIGHT, "elpv"),
    Line("ViT-Tiny, pictures at 224 px | `surfaces`", VIT, "surfaces"),
)
TABLES = (
    Written("README.md", "scores", (LITE0, PATCHCORE, EIGHT, VIT), lambda: summary(SUMMARY)),
    Written(CARDS.format("resnet18.twins_1"), "scores", (PATCHCORE, EIGHT), lambda: card(
        "| image AUROC, pictures at 128 px | random ResNet-18: mean (worst to best of five) | "
        "`fractal` ResNet-18 | gain |", RESNET18)),
    Written(CARDS.format("resnet18.twins_1"), "methods", (EIGHT,), lambda: by_method(EIGHT)),
    Written(CARDS.format("tf_efficientnet_lite0.distilled_1"), "scores", (LITE0,), lambda: card(
        "| image AUROC in PatchCore, pictures at 128 px | random EfficientNet-Lite0 | `fractal` | gain | ImageNet's |",
        LITE0_LINES)),
    Written(CARDS.format("vit_tiny_patch16_224.distilled_1"), "scores", (VIT,), lambda: card(
        "| image AUROC in PatchCore, pictures at 224 px, blocks 8 and 11 | random ViT-Tiny | `fractal` | gain |",
        (Line("`surfaces`, ten categories", VIT, "surfaces"),))),
)  # fmt: skip


def rewritten(table: Written) -> tuple[str, str]:
    """The document as it is, and with the table as its results have it. Raises ValueError where it has no place."""
    text = (ROOT / table.document).read_text()
    place = re.compile(rf"(?<=<!-- table {table.name} -->\n).*?(?=\n<!-- end of table -->)", re.DOTALL)
    if len(place.findall(text)) != 1:
        raise ValueError(f"{table.document}: no place between <!-- table {table.name} --> and <!-- end of table -->")
    return text, place.sub(lambda _: "\n".join(table.make()), text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, check or list; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args(arguments)
    if options.list:
        for table in TABLES:
            print(f"{table.document}, {table.name}")
            print(*(f"    {SCORES}/{file}.json\n        {ANEW[file]}" for file in table.files), sep="\n")
        print(*(f"{where}\n    {how}" for where, how in ELSEWHERE.items()), sep="\n")
        print(*(f"{where}\n    results not kept; {how}" for where, how in UNSTORED.items()), sep="\n")
        return 0
    differ = False
    for table in TABLES:
        before, after = rewritten(table)
        if before != after:
            differ = True
            print(f"{table.document}: table {table.name} is not what its results say", file=sys.stderr)
            if not options.check:
                with whole_file(ROOT / table.document) as file:
                    file.write(after.encode())
    return int(differ and options.check)


if __name__ == "__main__":
    sys.exit(main())
