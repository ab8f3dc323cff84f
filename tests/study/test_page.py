"""The study's page: what its numbers are made of, and that the committed page is that of the committed results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.study import run
from bench.study.arms import BESIDE, Arm, Measure, Result, comparison
from bench.study.page import PAGE, difference, draw, estimate, page, read
from bench.study.run import RESULTS


def result(arm: Arm, seed: int, *scores: float) -> Result:
    measure = Measure(
        dataset="surfaces", method="patchcore", limit=None, settings={"image_size": 128}, date="2026-11-25",
        machine="m", commit=None, metrics={f"c{number}": {"image_auroc": score} for number, score in enumerate(scores)},
    )  # fmt: skip
    return Result(arm=arm, name=arm.name, seed=seed, measures=[measure])


def test_an_estimate_has_the_interval_of_student_s_t() -> None:
    assert estimate([60.0, 62.0, 64.0]) == "62.0 ± 5.0 (3 seeds)"  # 4.303 * 2 / sqrt(3)
    assert estimate([60.0]) == "60.0 (1 seed, no interval)"


def test_a_difference_says_when_it_may_be_nothing() -> None:
    low, high = [50.0, 51.0, 52.0], [60.0, 61.0, 62.0]
    assert difference(high, low) == "+10.0 ± 2.3"  # Welch: 2.776 * sqrt(2 / 3)
    assert difference([50.5, 51.5, 53.0], low).endswith(", may be 0")
    assert difference(high, [50.0]) == "+11.0 (no interval)"


def test_the_page_sets_arms_beside_random_weights() -> None:
    random, trained = Arm("random"), Arm("paper", "full", "dense", 1000)
    results = [result(random, seed, 0.5, 0.54) for seed in (0, 1)]
    results += [result(trained, seed, 0.6, 0.7 + seed / 50) for seed in (0, 1)]
    text = page(results)
    assert "| resnet18 | random | | | 0 | 52.0 ± 0.0 (2 seeds) |  |" in text
    trained_row = "| resnet18 | paper, 100 classes, 64 px | full | dense | 1,000 | 65.5 ± 6.4 (2 seeds) | +13.5 ± 6.4 |"
    assert trained_row in text
    assert text.index("| paper") < text.index("| random")
    missing = text.split("## Not measured")[1].split("\n## ")[0]
    assert "; paper, none, class; " in missing
    assert "paper, full, dense" not in missing
    assert text.endswith("\n- patchcore, whole categories, image_size 128: m, 2026-11-25\n")


def test_an_arm_of_one_seed_is_named_and_not_shown() -> None:
    random, trained = Arm("random"), Arm("paper", "full", "dense", 1000)
    text = page([result(random, seed, 0.5 + seed / 10) for seed in (0, 1)] + [result(trained, 0, 0.6)])
    assert "| resnet18 | paper" not in text
    assert f"one seed so far, which decides nothing: {trained.name}." in text


def test_the_committed_page_is_that_of_the_committed_results() -> None:
    assert page(read(RESULTS)) == PAGE.read_text(), "write it anew: uv run python -m bench.study.page"


def test_the_means_are_drawn(tmp_path: Path) -> None:
    draw({Arm("random"): [50.0, 52.0], Arm("paper", samples=1000): [60.0, 62.0]}, tmp_path / "means.png")
    assert (tmp_path / "means.png").read_bytes().startswith(b"\x89PNG")


def test_a_method_is_added_to_a_result_and_what_was_measured_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "RESULTS", tmp_path)
    monkeypatch.setattr(run, "make_weights", lambda *_: tmp_path)
    settings = tmp_path / "settings.toml"
    settings.write_text("[cflow]\nepochs = 1\n[padim]\nimage_size = 64\n")
    asked = []

    def measured(*_: object, dataset: str, method: str, terms: run.Terms) -> dict[str, dict[str, float]]:
        asked.append((dataset, method))
        return {"c0": {"image_auroc": 0.7}}

    monkeypatch.setattr(run, "measure", measured)
    for methods in (["patchcore"], ["patchcore", "cflow"], ["patchcore", "cflow"]):
        run.finish(Arm("random"), 0, tmp_path, ["surfaces"], methods, run.Terms("60", settings))
    assert asked == [("surfaces", "patchcore"), ("surfaces", "cflow")]
    (path,) = tmp_path.glob("*.json")
    first, second = Result.read(path).measures
    assert (first.method, first.settings, first.metrics) == ("patchcore", {}, {"c0": {"image_auroc": 0.7}})
    assert (second.method, second.limit, second.settings) == ("cflow", "60", {"epochs": 1})


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    table = {"arm": {"recipe": "paper"}, "name": "a", "seed": 0, "schema": "other"}
    (tmp_path / "a.json").write_text(json.dumps(table))
    with pytest.raises(ValueError, match=r"a\.json is of schema 'other'"):
        read(tmp_path)


def test_every_arm_is_trained_as_the_command_line_understands(monkeypatch: pytest.MonkeyPatch) -> None:
    from fracgen.cli import call
    from fracgen.cli.pretrain import Pretraining, read_files

    given: list[Pretraining] = []
    monkeypatch.setattr("fracgen.cli.pretrain.train_here", given.append)
    arms = comparison(1000, "resnet18", 64)
    assert len({arm.name for arm in arms}) == len(arms) == 8
    for arm in arms[2:]:  # the first two are not trained
        assert call(["pretrain", *arm.training()]) == 0
        asked = read_files(given[-1]).config
        assert asked.preset == arm.recipe
        assert arm.objective == (BESIDE if asked.code_weight else asked.task)
        assert asked.epoch_size * (asked.shots if asked.task == "damage" else 1) == arm.samples
