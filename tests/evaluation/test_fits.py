"""How many images and what sizes a method needs: what is refused before the grid could not be done, and what is just
allowed can; and cells whose scores rank nothing are no results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid import measure
from fracgen_eval.grid.plan import check_names, make_plan
from fracgen_eval.grid.result import CellResult, ImageScore, Judged
from fracgen_eval.grid.results import read_results
from fracgen_eval.grid.run import run_plan
from fracgen_eval.images import Geometry, load_images
from fracgen_eval.methods import Prediction, build_method, check_fit, others, settings_of
from fracgen_eval.methods.base import Settings, Table
from fracgen_eval.methods.cflow import CFlowSettings
from fracgen_eval.methods.engine import AnomalibSettings
from fracgen_eval.methods.fastflow import FastFlowSettings
from fracgen_eval.methods.settings import read_overrides
from fracgen_eval.methods.stfpm import Stfpm
from fracgen_eval.metrics import check_ranking
from fracgen_eval.predict.fitting import fit_model
from fracgen_eval.predict.request import Choice
from fracgen_eval.report import write_report
from fracgen_eval.weights.backbones import WeightsSpec
from numpy.typing import NDArray
from PIL import Image

from tests.evaluation.grids import Silent, files_of, request
from tests.evaluation.methods import made, pictures, random_weights
from tests.evaluation.support_table import small
from tests.fields import Fields
from tests.malformed import one_line
from tests.report.cells import add


def scores_of(method: str, settings: Table, images: int) -> NDArray[np.float32]:
    """Of four pictures, of a method fitted on so many."""
    fitted = build_method(method, random_weights(), settings)
    fitted.fit(pictures(images, side=fitted.geometry.side))
    return fitted.predict(pictures(4, seed=1, side=fitted.geometry.side)).scores


LEAST = [
    ("fastflow", 1, {"side": 16}),
    ("cflow", 1, {"side": 16, "condition": 4}),
    ("patchcore", 1, {"side": 17, "coreset": 0.12}),
    ("padim", 1, {"side": 17}),
    ("rd", 1, {}),
    ("rd", 2, {"side": 32, "batch": 2}),
    ("stfpm", 1, {"side": 17}),
    ("stfpm", 2, {"side": 16}),
    ("panda", 1, {"side": 16, "k": 5}),
    ("cutpaste", 2, {"side": 30}),
    ("anomalib:dfm", 2, {"pooling_kernel_size": 2}),
    ("anomalib:dfkde", 3, {"n_pca_components": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "images", "changes"), LEAST)
def test_the_least_that_is_allowed_gives_scores(method: str, images: int, changes: Fields) -> None:
    settings = small(method, **changes)
    check_fit(method, "resnet18", settings, images)
    check_ranking(scores_of(method, settings, images))


TOO_LITTLE = [
    ("patchcore", 1, {"side": 16, "coreset": 1.0}, "patchcore needs pictures of 17 px or more, and these have 16"),
    ("patchcore", 4, {"coreset": 0.003}, "0.003 of the 256 patches of 4 training images is no patch: use 0.0039"),
    ("patchcore", 1, {"side": 24}, "0.1 of the 9 patches of 1 training images is no patch: use 0.11 or more"),
    ("padim", 2, {"side": 16}, "padim needs pictures of 17 px or more, and these have 16: set image_size"),
    ("rd", 1, {"side": 32}, "rd cannot train on a batch of one image of 32 px, which is what 1 training images leave"),
    ("rd", 5, {"side": 32, "batch": 2}, "which is what 5 training images leave after batches of 2: change rd.batch"),
    ("rd", 4, {"side": 32, "batch": 1}, "which is what 4 training images leave after batches of 1"),
    ("stfpm", 1, {"side": 16}, "stfpm cannot train on a batch of one image of 16 px"),
    ("stfpm", 3, {"side": 8, "batch": 2}, "which is what 3 training images leave after batches of 2"),
    ("cutpaste", 1, {}, "cutpaste needs 2 training images or more, and there are 1: add some"),
    ("cutpaste", 4, {"side": 24}, "cutpaste needs pictures of 30 px or more, and these have 24"),
    ("cflow", 4, {"condition": 6}, "cflow.condition = 6: use a multiple of 4"),
    ("fastflow", 4, {"hidden_ratio": 0.01}, "= 0.01 leaves no channel .*, which have 32 at least: use 0.031"),
    ("anomalib:dfm", 1, {"pooling_kernel_size": 2}, "anomalib:dfm needs more than 1 training images, and there are 1"),
    ("anomalib:dfkde", 2, {"n_pca_components": 2}, r"more than 2 training images \(n_pca_components\), and there "),
]  # fmt: skip


@pytest.mark.parametrize(("method", "images", "changes", "message"), TOO_LITTLE)
def test_what_is_refused_could_not_be_done(
    method: str, images: int, changes: Fields, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = small(method, **changes)
    with one_line(message, EvaluationError):
        check_fit(method, "resnet18", settings, images)
    for kind in (Settings, CFlowSettings):
        monkeypatch.setattr(kind, "check_sizes", lambda _: None)
    monkeypatch.setattr(FastFlowSettings, "stages", AnomalibSettings.stages)
    with pytest.raises((ValueError, RuntimeError, IndexError, UserWarning)):  # scikit-learn warns of a single sample
        check_ranking(scores_of(method, settings, images))


def test_a_crop_larger_than_the_picture_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (80, 80)).save(tmp_path / "picture.png")
    settings = small("panda", resize=32, crop=64)
    with pytest.raises(EvaluationError, match=r"panda\.crop = 64 is more than panda\.resize = 32: crop that or less"):
        check_fit("panda", "resnet18", settings, 4)
    with pytest.raises((ValueError, RuntimeError), match=r"(?i)shape|size"):
        load_images([tmp_path / "picture.png"], settings_of("panda", settings).geometry)


@pytest.mark.parametrize(
    ("model", "side", "possible"),
    [("tf_efficientnet_lite0", 33, True), ("tf_efficientnet_lite0", 32, False), ("resnest14d", 64, False)],
)
def test_a_batch_of_one_is_judged_by_the_networks_own_normalisations(
    model: str, side: int, possible: bool
) -> None:
    """STFPM's student is a network like any other: from which side on a batch of one can be trained is its own."""
    settings = small("stfpm", side=side)
    student = made(Stfpm, "stfpm", random_weights(model), settings).module.model.get_submodule("student_model")
    if possible:
        check_fit("stfpm", model, settings, 1)
        student.train()(torch.rand(1, 3, side, side))
    else:
        with pytest.raises(EvaluationError, match="stfpm cannot train on a batch of one"):
            check_fit("stfpm", model, settings, 1)
        with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
            student.train()(torch.rand(1, 3, side, side))


@pytest.mark.parametrize(
    ("methods", "changes", "message"),
    [
        (("panda", "anomalib:dfm"), {"shots": 1}, "^gravel: anomalib:dfm needs more than 1 training images"),
        (("cutpaste",), {"shots": 1}, "^gravel: cutpaste needs 2 training images"),
        (("padim",), {"overrides": {"padim": {"image_size": 16}}}, "padim needs pictures of 17 px"),
        (("patchcore",), {"overrides": {"patchcore": {"coreset": 1e-6}}}, "^gravel: patchcore.coreset = 1e-06 of the "),
        (("rd",), {"overrides": {"rd": {"image_size": 32, "batch": 10}}}, "^gravel: rd cannot train on a batch of one"),
    ],
)  # fmt: skip
def test_no_cell_begins_where_one_could_not_be_fitted(
    methods: tuple[str, ...], changes: Fields, message: str, surfaces: Path, tmp_path: Path
) -> None:
    """Of 12 training images 11 are fitted on, the others are kept back."""
    with pytest.raises(EvaluationError, match=message):
        make_plan(request(tmp_path / "out", surfaces, methods=methods, **changes))
    assert not (tmp_path / "out").exists()


def test_predict_refuses_too_few_pictures_before_it_fits(tmp_path: Path) -> None:
    Image.new("RGB", (80, 80)).save(tmp_path / "picture.png")
    with pytest.raises(EvaluationError, match="cutpaste needs 2 training images or more, and there are 1"):
        fit_model(Choice(method="cutpaste", weights=WeightsSpec("random")), tmp_path)


def test_settings_of_methods_that_are_not_run_are_left_alone(surfaces: Path, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('[panda]\nk = 3\n[stfpm]\nno_such = 1\n["anomalib:none_such"]\nx = 1\n')
    overrides = read_overrides(tmp_path / "s.toml")
    check_names(request(tmp_path / "out", surfaces, overrides=overrides))
    with pytest.raises(EvaluationError, match="unknown setting of stfpm 'no_such'"):
        check_names(request(tmp_path / "out", surfaces, methods=("panda", "stfpm"), overrides=overrides))
    with pytest.raises(EvaluationError, match="unknown model of Anomalib 'none_such'"):
        check_names(request(tmp_path / "out", surfaces, methods=("anomalib:none_such",), overrides=overrides))
    (tmp_path / "s.toml").write_text("[pandas]\nk = 3\n")
    with pytest.raises(EvaluationError, match="unknown method 'pandas'"):
        read_overrides(tmp_path / "s.toml")


class Stub:
    """A method whose prediction is given."""

    def __init__(self, prediction: Callable[[int], Prediction]) -> None:
        self.weights, self.geometry, self.prediction = random_weights(), Geometry(64), prediction

    def fit(self, images: torch.Tensor, watch: object = None) -> Table:
        return {}

    def predict(self, images: torch.Tensor, batch: int = 16) -> Prediction:
        return self.prediction(len(images))


def spread(number: int) -> NDArray[np.float32]:
    return np.linspace(0, 1, number, dtype=np.float32)


def maps(number: int) -> NDArray[np.float32]:
    return spread(number * 64 * 64).reshape(number, 64, 64)


DEGENERATE: dict[str, Callable[[int], Prediction]] = {
    "all 12 scores are 0.25, which is no result": lambda n: Prediction(np.full(n, 0.25, np.float32)),
    "1 of 12 scores are not finite, the method diverged": lambda n: Prediction(np.where(spread(n) < 1, 0.5, np.nan)),
    "12 of 12 scores are not finite": lambda n: Prediction(spread(n) + np.inf, maps(n)),
    "all 49152 values of the maps are 0, which is no result": lambda n: Prediction(spread(n), maps(n) * 0),
    "49152 of 49152 values of the maps are not finite": lambda n: Prediction(spread(n), maps(n) * np.nan),
    "all 12 scores of steps=0 are 1": lambda n: Prediction(spread(n), beside={"steps=0": np.ones(n, np.float32)}),
}


@pytest.mark.parametrize("message", DEGENERATE)
def test_scores_that_rank_nothing_are_a_failed_cell(
    message: str, surfaces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "build_method", lambda *_, **__: Stub(DEGENERATE[message]))
    reporter = Silent()
    assert run_plan(make_plan(request(tmp_path, surfaces)), reporter) == 1
    (result,) = files_of(tmp_path)
    assert result["status"] == "failed"
    assert message in result["error"]["message"]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("scores", [[0.0, 0.0, 0.0], [1.5, 1.5]])
def test_a_file_whose_scores_are_all_equal_is_run_again_and_not_reported(scores: list[float], tmp_path: Path) -> None:
    """As versions before this one wrote them."""
    images = [{"path": f"{n}.png", "defect": "good", "score": score} for n, score in enumerate(scores)]
    add(tmp_path, "patchcore", images=images, value=0.5)
    add(tmp_path, "padim", images=[image | {"score": n} for n, image in enumerate(images)], value=0.75)
    (_, bad), (_, good) = sorted(read_results(tmp_path), key=lambda pair: isinstance(pair[1], CellResult))
    assert f"all {len(scores)} scores are {scores[0]:g}, which is no result" in str(bad)
    assert isinstance(good, CellResult)
    assert good.metrics["image_auroc"] == 0.75
    done = write_report(tmp_path)
    assert any("which is no result" in problem for problem in done.problems)
    tables = "".join(path.read_text() for path in (tmp_path / "report").rglob("*.csv"))
    assert "padim,random,done,75," in tables
    assert "patchcore" not in tables


def test_one_image_or_unequal_ones_are_a_ranking() -> None:
    Judged(images=(ImageScore("a", "good", 1.0),))
    with pytest.raises(EvaluationError, match="all 2 scores are 1"):
        Judged(images=(ImageScore("a", "good", 1.0), ImageScore("b", "crack", 1.0)))
    check_ranking([1.0, np.nextafter(1.0, 2)])


def test_every_model_of_anomalib_with_a_least_number_exists() -> None:
    assert set(others.LEAST_IMAGES) <= set(others._classes())
