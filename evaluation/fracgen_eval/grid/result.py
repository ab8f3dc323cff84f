"""What came of a cell, with a type for each part; the JSON file is one flat table of all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from fracgen.support.decode import from_json
from fracgen_eval.grid.cell import Cell
from fracgen_eval.metrics import check_ranking

SCHEMA = "fracgen-eval-cell/1"
DONE, FAILED = "done", "failed"
PAPER_METRICS = ("image_auroc", "pixel_auroc", "aupro")
METRIC_NAMES = {
    "image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "AUPRO", "image_ap": "image AP",
    "image_f1_max": "image F1-max", "pg_2": "PG2", "pg_5": "PG5", "pb_2": "PB2", "pb_5": "PB5",
    "false_alarms": "false alarms", "detections": "detections", "aupro_05": "AUPRO to 0.05", "pixel_ap": "pixel AP",
    "pixel_f1_max": "pixel F1-max", "iou_max": "IoU-max", "aupimo": "AUPIMO", "au_spro": "AU-sPRO to 0.05",
    "seg_f1": "SegF1",
}  # fmt: skip
"""Names for people, the paper's three metrics first."""
METRICS = tuple(METRIC_NAMES)
IMAGE_METRICS = tuple(m for m in METRICS if m.startswith(("image_", "pg_", "pb_", "false_", "detections")))
"""Those that need no maps."""
LOWER = ("false_alarms",)
"""Those of which less is better."""


@dataclass(frozen=True)
class Scores:
    """The numbers of a finished cell, each in [0, 1]."""

    metrics: dict[str, float]
    """Over all test images, by name; a metric that does not exist for the cell is not there."""
    by_defect: dict[str, dict[str, float]] = field(default_factory=dict)
    """The same over the good test images and those of one defect type."""
    beside: dict[str, dict[str, float]] = field(default_factory=dict)
    """Metrics of variants that are reported beside the method, such as CutPaste's `steps=0`."""
    aupro_definition: str | None = None
    replicates: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Bootstrap replicates over test images of each of `metrics`, see `fracgen_eval.metrics.bootstrap`: those of cells
    with the same test images are paired."""


@dataclass(frozen=True)
class Training:
    """What the method was fitted on."""

    weights: dict[str, object] = field(default_factory=dict)
    """What the weights say about themselves, see `Weights.describe`."""
    fit: dict[str, object] = field(default_factory=dict)
    """Facts that the method records, such as the epochs run."""
    train_images: int | None = None
    held_out_images: int | None = None


@dataclass(frozen=True)
class ImageScore:
    """One test image: its path within the category, its defect type, and its score in the method's own unit."""

    path: str
    defect: str
    score: float


@dataclass(frozen=True)
class Threshold:
    """Where a map is cut into a predicted mask, `map >= value`, or an image is taken for anomalous, `score > value`, in
    the method's own unit, and how that was chosen."""

    value: float
    rule: str = ""


@dataclass(frozen=True)
class Judged:
    """The test images one by one, for galleries."""

    side: int | None = None
    """Of the maps, in pixels."""
    maps: str | None = None
    """File of the maps, below the result folder; None where they were not kept."""
    mask_threshold: Threshold | None = None
    image_threshold: Threshold | None = None
    """Above it an image is taken for anomalous; None where no normal images were kept back."""
    images: tuple[ImageScore, ...] = ()

    def __post_init__(self) -> None:
        check_ranking([image.score for image in self.images])


@dataclass(frozen=True)
class Measurement:
    """A finished cell."""

    scores: Scores
    training: Training = Training()
    judged: Judged = Judged()
    published: bool = False
    """Copied from a publication rather than measured."""


@dataclass(frozen=True)
class Failure:
    """A cell that ended in an error."""

    type: str = "unknown error"
    message: str = ""
    traceback: str = ""


@dataclass(frozen=True)
class Cost:
    """Seconds and peak memory of this process; None where it is not known."""

    fit_s: float | None = None
    predict_s: float | None = None
    metrics_s: float | None = None
    wall_s: float | None = None
    peak_memory_mb: int | None = None
    peak_gpu_memory_mb: int | None = None


@dataclass(frozen=True)
class Origin:
    """Where and when a cell was run."""

    device: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    machine: str | None = None
    finished: str | None = None
    """ISO 8601."""
    job: str | None = None
    """SLURM's number of it, such as 41_3; None outside."""


@dataclass(frozen=True)
class CellResult:
    """A cell and what came of it."""

    cell: Cell
    outcome: Measurement | Failure
    cost: Cost = Cost()
    origin: Origin = Origin()

    @property
    def status(self) -> str:
        """`done` or `failed`."""
        return FAILED if isinstance(self.outcome, Failure) else DONE

    @property
    def metrics(self) -> dict[str, float]:
        """In [0, 1], by name; none of a cell that failed."""
        return {} if isinstance(self.outcome, Failure) else self.outcome.scores.metrics

    def to_json(self) -> dict[str, object]:
        """The flat table of a result's file."""
        head = {"schema": SCHEMA, "cell": self.cell.to_json() | {"digest": self.cell.digest}, "status": self.status}
        if isinstance(self.outcome, Failure):
            body: dict[str, object] = {"error": dataclasses.asdict(self.outcome)}
        else:
            parts = (self.outcome.scores, self.outcome.training, self.outcome.judged)
            body = {k: v for part in parts for k, v in dataclasses.asdict(part).items()}
            body |= {"published": True} if self.outcome.published else {}
        tail = dataclasses.asdict(self.cost) | dataclasses.asdict(self.origin)
        return head | body | {key: value for key, value in tail.items() if value not in (None, {})}

    @classmethod
    def from_json(cls, table: Mapping[str, object]) -> CellResult:
        """The inverse of `to_json`.

        Raises:
            ValueError: a value is missing or of another type, or a metric or a replicate is out of [0, 1]; the message
                names it.
        """
        head = from_json(_Head, table)
        outcome: Measurement | Failure
        if head.status == FAILED:
            outcome = head.error or Failure()
        else:
            scores = from_json(Scores, table)
            outcome = Measurement(scores, from_json(Training, table), from_json(Judged, table), head.published)
            for group in (scores.metrics, *scores.by_defect.values(), *scores.beside.values()):
                if outside := [name for name, number in group.items() if not 0 <= number <= 1]:
                    raise ValueError(f"{outside[0]} is {group[outside[0]]}, out of [0, 1]")
            for name, drawn in scores.replicates.items():
                if len(drawn) < 2 or min(drawn) < 0 or max(drawn) > 1:
                    raise ValueError(f"the replicates of {name} are not two or more numbers in [0, 1]")
        return cls(Cell.from_json(head.cell), outcome, from_json(Cost, table), from_json(Origin, table))


@dataclass(frozen=True)
class _Head:
    status: str
    cell: dict[str, object]
    error: Failure | None = None
    published: bool = False
