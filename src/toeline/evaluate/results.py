"""What commands that measure give back: evaluations of judges and detectors, of both stages, trainings; as JSON too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from toeline.core.calibration import Calibration
from toeline.core.finding import Problem, grave
from toeline.core.run_folder import RunFolder
from toeline.core.scene import Instance
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.evaluate.average_precision import Precisions, precisions
from toeline.evaluate.calibration import (
    Reliability,
    ReviewPoint,
)
from toeline.evaluate.classification import HEADLINE, Scorecard, card_record
from toeline.evaluate.compare import Comparison, Difference
from toeline.evaluate.detection import DetectedPhoto as DetectionSeen
from toeline.evaluate.detection import Sorted, confusion, threshold_metrics
from toeline.evaluate.detection import seen as detection_seen
from toeline.evaluate.end_to_end import ErrorBreakdown, ObjectOutcome, StageError, worst_of
from toeline.evaluate.gate import Gate
from toeline.evaluate.matching import Case, Matched
from toeline.evaluate.metric import Metric, metric_record
from toeline.evaluate.spatial import Agreement, SpatialCard

if TYPE_CHECKING:
    from toeline.data.datasets import LabeledSplit
    from toeline.data.yolo import LabeledScene


@dataclass(frozen=True)
class Evaluated:
    """What one evaluation gave. `matched` is None on true boxes, where nothing can be missed or false.

    `unjudged` counts true objects that no finding is about. `already` photographs were done by an earlier start.
    """

    folder: RunFolder
    split: LabeledSplit
    cases: tuple[Case, ...]
    matched: tuple[Matched, ...] | None
    unjudged: int
    already: int


@dataclass(frozen=True)
class EvaluationResult:
    """An evaluation with its scorecard. `beside` holds further cards on the same split by name."""

    done: Evaluated
    card: Scorecard
    headline: str
    problems: tuple[Problem, ...]
    trust: Trusted
    stages: Stages | None = None
    beside: Mapping[str, Scorecard] = field(default_factory=dict)
    spatial: Spatial | None = None
    prompts: tuple[PromptResult, ...] = ()
    priors: tuple[PriorResult, ...] = ()

    @property
    def fine(self) -> bool:
        """Whether everything that was asked for was done."""
        return not grave(self.problems)


@dataclass(frozen=True)
class LearnResult:
    """What `toeline learn` came to. `before` are the models in the package on the validation split, `after` its own.

    `steps` holds what each step came to; `out_of_fold` is the average precision of the folds' detectors on photographs
    of train that they never saw; `doubts` are tables (title, head, rows) of where the judge was least sure of these.
    """

    record: Mapping[str, Any]
    steps: Mapping[str, Mapping[str, Any]]
    detector: DetectorMeasurement
    shipped: DetectorMeasurement
    out_of_fold: Precisions
    before: EvaluationResult
    after: EvaluationResult
    trust: Trusted
    doubts: Sequence[tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]]
    problems: tuple[Problem, ...]
    written: Mapping[str, str]

    @property
    def fine(self) -> bool:
        """Whether everything that was asked for was done."""
        return not grave(self.problems)

    def metrics(self) -> dict[str, Metric]:
        """The figures on the validation split that are quoted: detector, judge on true boxes, both stages."""
        stages = self.after.stages
        assert stages, "both stages were evaluated"
        assert stages.true_boxes, "and the judge on true boxes"
        return {
            "detector": self.detector.figure("map_50"),
            "judge": stages.true_boxes["accuracy"],
            "both_stages": stages.card["accuracy"],
        }

    @property
    def sentences(self) -> list[str]:
        """What it came to: both stages, then what they were, then who goes to a person."""
        m, stages, own, point = self.metrics(), self.before.stages, self.after.stages, self.trust.point
        assert stages, "both stages were evaluated"
        assert own, "in both"
        both, counts = m["both_stages"], own.error_breakdown.counts
        low, high = both.interval
        said = [
            f"The right class in the right place for {both.count or 0:,} of {both.n:,} objects on "
            f"{self.after.done.split.name}: {100 * both.value:.1f} % (95 % interval {100 * low:.1f} to "
            f"{100 * high:.1f}); the models in the package get {100 * stages.card['accuracy'].value:.1f} %.",
            f"{counts.false + counts.double:,} of {counts.findings:,} findings there are of nothing, or of an object "
            f"that another one has.",
        ]
        if point and self.trust.calibration and self.trust.calibration.risk is not None:
            said.append(
                f"For at most {100 * self.trust.calibration.risk:g} % wrong unseen, {100 * point.review:.0f} % of the "
                f"answers go to a person; of the other {point.kept:,} there, {point.wrong:,} are wrong."
            )
        return said

    def scores(self) -> dict[str, Any]:
        """As model.json and scorecard.json hold them."""
        point = self.trust.point
        return {
            "split": self.after.done.split.name,
            **{name: metric_record(metric) for name, metric in self.metrics().items()},
            "out_of_fold": {"map_50": self.steps["look"]["map_50"], "log_loss": self.steps["joined"]["log_loss"]},
            "judge_kept": self.steps["joined"]["kept"],
            "detections_by": self.steps["look"]["kept"],
            "counts": self.after.stages.error_breakdown.counts.record() if self.after.stages else {},
            "probabilities": {
                "before": self.trust.before.record(),
                "after": self.trust.after.record() if self.trust.after else None,
                "review": point._asdict() if point else None,
            },
        }


@dataclass(frozen=True)
class Stages:
    """What detected boxes come to. `card` is over all true objects, a miss being wrong; `true_boxes` beside it.

    `cost` compares both stages with true boxes on all objects, `off` the judge on found boxes with the judge on true
    ones, over objects that were found. None where true boxes were not evaluated.
    """

    card: Scorecard
    error_breakdown: ErrorBreakdown
    detector: tuple[Metric, ...]
    photos: tuple[Sorted, ...]
    objects: tuple[ObjectOutcome, ...]
    true_boxes: Scorecard | None = None
    cost: Comparison | None = None
    off: Comparison | None = None

    def worst(self, taxonomy: Taxonomy) -> dict[str, list[StageError]]:
        """All mistakes of both stages by their name, the worst first."""
        return worst_of(self.photos, taxonomy)

    def record(self) -> dict[str, Any]:
        """As scorecard.json holds it."""
        return {
            **self.error_breakdown.counts.record(),
            "figures": [metric_record(f) for f in (*self.detector, *self.error_breakdown.figures)],
            "both_stages": card_record(self.card),
        }


@dataclass(frozen=True)
class Spatial:
    """What was found out; None or empty with the reason in `left_out` where a part could not be measured."""

    questions: SpatialCard | None
    relations: tuple[Comparison, ...]
    boxes: tuple[Agreement, ...]
    left_out: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "questions": self.questions.record() if self.questions else None,
            "relations": [c.record() for c in self.relations],
            "boxes": [a.record() for a in self.boxes],
            "left_out": list(self.left_out),
        }


@dataclass(frozen=True)
class PromptResult:
    """One prompt: its scorecard, and its paired difference from the first, None for the first itself."""

    name: str
    card: Scorecard
    seconds: float
    against: Comparison | None


@dataclass(frozen=True)
class PriorResult:
    """What a prior correction changes with one prompt: both cards, of the same objects, and the paired difference.

    `prior` is its record as prior.json holds it; `measured` says whether it was taken over the photographs measured,
    `lacking` which types among them it does not know, whose answers stay as scored.
    """

    prompt: str
    prior: Mapping[str, Any]
    without: Scorecard
    card: Scorecard
    against: Comparison
    measured: bool
    lacking: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """As scorecard.json holds it."""
        both = {"without": self.without, "with": self.card}
        change = self.against[HEADLINE]
        return {
            "prompt": self.prompt,
            "source": self.prior["source"],
            "over_measured_photographs": self.measured,
            "types_without": list(self.lacking),
            "log_probabilities": self.prior["log_probabilities"],
            "objects": self.prior["objects"],
            **{name: metric_record(card[HEADLINE]) for name, card in both.items()},
            "accuracy": {name: metric_record(card["accuracy"]) for name, card in both.items()},
            "difference": {"value": change.difference, "interval": list(change.interval), "p": change.p_value},
        }


def best_of(rows: tuple[PromptResult, ...]) -> PromptResult:
    """The highest headline; among equals the first."""
    return max(rows, key=lambda row: row.card[HEADLINE].value)


@dataclass(frozen=True)
class Trusted:
    """Probabilities as they were scored, and after the temperature of another split, if there is one.

    `point` is what the threshold that was chosen on the other split does on this one.
    """

    before: Reliability
    curve: tuple[ReviewPoint, ...]
    after: Reliability | None = None
    calibration: Calibration | None = None
    point: ReviewPoint | None = None

    def record(self) -> dict[str, Any]:
        """As scorecard.json holds it."""
        return {
            "before": self.before.record(),
            "after": self.after.record() if self.after else None,
            "review": [p._asdict() for p in self.curve],
            "suggested": self.point._asdict() if self.point else None,
        }


@dataclass(frozen=True)
class DetectorMeasurement:
    """What a detector found on the photographs of a split that could be read, one row for each.

    `every` is with a threshold of EVERY_BOX; `used` is at the thresholds in use, settled as inspection does.
    """

    name: str
    kinds: tuple[str, ...]
    photos: tuple[LabeledScene, ...]
    every: tuple[tuple[Instance, ...], ...]
    used: tuple[tuple[Instance, ...], ...]
    problems: tuple[Problem, ...]
    seconds: float
    by_flight: bool = False

    @property
    def groups(self) -> list[str]:
        """What the bootstrap draws whole: photographs, or flight lines."""
        return [p.flight_line if self.by_flight else p.name for p in self.photos]

    @cached_property
    def precision(self) -> Precisions:
        return precisions(self.every, [p.instances for p in self.photos], self.kinds, self.groups)

    @cached_property
    def seen(self) -> tuple[DetectionSeen, ...]:
        return tuple(
            detection_seen(found, photo.instances) for found, photo in zip(self.used, self.photos, strict=True)
        )

    @cached_property
    def figures(self) -> tuple[Metric, ...]:
        """Average precision, then recall and precision at the thresholds in use."""
        return (*self.precision.figures(), *threshold_metrics(self.seen, self.kinds, self.groups))

    def figure(self, key: str) -> Metric:
        """The figure of that key. Raises KeyError."""
        return {f.key: f for f in self.figures}[key]

    def record(self) -> dict[str, Any]:
        """As scorecard.json holds it."""
        return {
            "detector": self.name,
            "photographs": len(self.photos),
            "objects": sum(len(p.instances) for p in self.photos),
            "figures": [metric_record(f) for f in self.figures],
            "confusion": {
                "rows": [*self.kinds, "nothing there"],
                "columns": [*self.kinds, "missed"],
                "counts": confusion(self.seen, self.kinds).tolist(),
            },
            "seconds_per_photograph": round(self.seconds / max(1, len(self.photos)), 4),
        }


@dataclass(frozen=True)
class DetectorEvaluation:
    """What a measurement came to. `written` maps what it is to where."""

    measured: DetectorMeasurement
    other: DetectorMeasurement | None
    problems: tuple[Problem, ...]
    written: Mapping[str, str]
    record: Mapping[str, Any]

    @property
    def fine(self) -> bool:
        """Whether everything that was asked for was done."""
        return not grave(self.problems)


@dataclass(frozen=True)
class BeforeAfter:
    """Both scorecards on the same objects, and what lies between them."""

    before: Scorecard
    after: Scorecard
    comparison: Comparison
    problems: tuple[Problem, ...] = ()

    @property
    def headline(self) -> Difference:
        """The difference in conditions rightly said, given the type."""
        return self.comparison[HEADLINE]

    @property
    def words(self) -> str:
        """What it came to, with the interval, and a warning when it became worse."""
        return said_of(self.headline, self.comparison.photographs)

    def record(self) -> dict[str, Any]:
        """As run.json holds it."""
        return {
            "words": self.words,
            "before": card_record(self.before),
            "after": card_record(self.after),
            "comparison": self.comparison.record(),
        }


def said_of(d: Difference, photographs: int) -> str:
    """One difference in words."""
    low, high = (100 * end for end in d.interval)
    figures = (
        f"conditions rightly said, given the type: {100 * d.first:.1f} % before, {100 * d.second:.1f} % after, a "
        f"difference of {100 * d.difference:+.1f} points (95 % {low:+.1f} to {high:+.1f}; {d.n} objects on "
        f"{some(photographs, 'photograph')}; {d.gained} gained, {d.lost} lost, McNemar p = {d.p_value:.3g})"
    )
    if low > 0:
        return f"Fine-tuning helped: {figures}."
    if high < 0:
        return f"Fine-tuning made it WORSE: {figures}. Do not use it; keep the judge as it was."
    if d.difference < 0:
        return f"Fine-tuning did not help, and may have made it worse: {figures}. Keep the judge as it was."
    return f"Whether fine-tuning helped is not shown: {figures}."


@dataclass(frozen=True)
class FinetuneResult:
    """What a fine-tuning came to. `before_after` is None without a validation split; `written` maps names to paths."""

    record: Mapping[str, Any]
    validations: tuple[Mapping[str, Any], ...] = ()
    before_after: BeforeAfter | None = None
    problems: tuple[Problem, ...] = ()
    written: Mapping[str, str] = field(default_factory=dict)

    @property
    def fine(self) -> bool:
        """Whether nothing was wrong with photographs and labels."""
        return not grave(self.problems)


@dataclass(frozen=True)
class DetectorTraining:
    """What a training came to. `written` maps what it is to where."""

    record: Mapping[str, Any]
    measured: DetectorMeasurement
    before: DetectorMeasurement | None
    problems: tuple[Problem, ...]
    written: Mapping[str, str]

    @property
    def fine(self) -> bool:
        """Whether everything that was asked for was done."""
        return not grave(self.problems)


@dataclass(frozen=True)
class Variant:
    """One judge of a gate: bytes of its weights on the disk, most memory, seconds per photograph, and how it scored.

    `gate` is None for the judge that the others are held against. `seconds` are None where they are not known.
    """

    name: str
    bytes: int
    memory: Mapping[str, int]
    seconds: float | None
    device: str
    dtype: str
    weights: Mapping[str, Any]
    card: Scorecard
    gate: Gate | None

    def record(self) -> dict[str, Any]:
        """As gate.json holds it."""
        return {
            "judge": self.name,
            "bytes": self.bytes,
            "memory": dict(self.memory),
            "seconds_per_photograph": self.seconds,
            "device": self.device,
            "dtype": self.dtype,
            "fingerprint": dict(self.weights),
            "accuracy": metric_record(self.card[HEADLINE]),
            "class": metric_record(self.card["accuracy"]),
            "gate": self.gate.record() if self.gate else None,
        }


@dataclass(frozen=True)
class GateResult:
    """What a gate came to: the old judge first, then the new ones, each with its answer; `answer` is the worst."""

    record: dict[str, Any]
    variants: tuple[Variant, ...]
    answer: str
    problems: tuple[Problem, ...]
    written: Mapping[str, str]

    def summary(self) -> dict[str, Any]:
        """As gate.json holds it."""
        return {"version": 1, "answer": self.answer, "judges": [v.record() for v in self.variants]}
