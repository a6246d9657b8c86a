"""Both stages as one: every true object with what the report says of it, a miss being wrong; errors by stage.

Works on photographs that `sort_out` has sorted, so that each object and each finding has exactly one name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from toeline.core.box import Box
from toeline.core.finding import Finding
from toeline.core.ground_truth import TrueInstance
from toeline.core.taxonomy import Taxonomy
from toeline.evaluate.classification import Cluster, Scorecard, most_common, normal_condition, score
from toeline.evaluate.detection import Breakdown, Sorted, breakdown
from toeline.evaluate.matching import Case, judged, unsaid
from toeline.evaluate.metric import DRAWS, ClusterBootstrap, Metric, ratio

OBJECTS = {  # what went wrong with a true object, and in which stage
    "missed": "detector: not found",
    "misplaced": "detector: badly placed",
    "wrong_type": "detector: wrong type",
    "wrong_condition": "judge: wrong condition",
}
FINDINGS = {"false": "detector: finding of nothing", "double": "detector: second finding"}

Pairs = Sequence[tuple[str, str]]
Count = Callable[[Breakdown], int]


@dataclass(frozen=True)
class ObjectOutcome:
    """A true object, what the report says of it, and the type that the detector saw there; empty if it saw nothing."""

    case: Case
    type_name: str


def seen(photos: Sequence[Sorted], groups: Mapping[str, str]) -> tuple[ObjectOutcome, ...]:
    """Every true object once, by photograph and id. Nothing is said of one that was missed or badly placed.

    `groups` are the flight lines of the photographs.
    """
    return tuple(one for photo in photos for one in _seen(photo, groups.get(photo.photo, "")))


def _seen(photo: Sorted, group: str) -> Iterator[ObjectOutcome]:
    answered = [
        ObjectOutcome(judged(finding, true, group=group), finding.type_name)
        for finding, true in (*photo.right, *photo.wrong_condition, *photo.wrong_type)
    ]
    silent = [*photo.missed, *(true for _, true in photo.misplaced)]
    yield from sorted(
        (*answered, *(ObjectOutcome(unsaid(photo.photo, t, group=group), "") for t in silent)), key=lambda s: s.case.key
    )


def score_both(
    objects: Sequence[ObjectOutcome],
    taxonomy: Taxonomy,
    *,
    targets: Mapping[str, float],
    train: Pairs = (),
    cluster: Cluster = "photo",
    draws: int = DRAWS,
    seed: int = 0,
) -> Scorecard:
    """The scorecard over all true objects. Its majority-class baselines have the detector's boxes.

    They say the most common class of the type that was detected, as counted here and on the train split.
    """
    card = score([s.case for s in objects], taxonomy, targets=targets, cluster=cluster, draws=draws, seed=seed)
    here = [(s.case.type_name, s.case.true_class) for s in objects]
    majority_baselines, trained = (
        _majority_baselines(objects, pairs, taxonomy) if pairs else {} for pairs in (here, train)
    )
    figures = (
        replace(f, majority_baseline=majority_baselines.get(f.key), train_majority_baseline=trained.get(f.key))
        for f in card.figures
    )
    return replace(
        card,
        figures=tuple(f if f.n else replace(f, majority_baseline=None, train_majority_baseline=None) for f in figures),
    )


def _majority_baselines(objects: Sequence[ObjectOutcome], pairs: Pairs, taxonomy: Taxonomy) -> dict[str, float]:
    """Figure key -> its value when each found object gets the most common class of its detected type."""
    said = _majority_baseline(objects, most_common(pairs, taxonomy))
    card = score(said, taxonomy, targets={}, draws=1)
    return {f.key: f.value for f in card.figures if f.majority_baseline is not None}


def _majority_baseline(objects: Sequence[ObjectOutcome], table: Mapping[str, str]) -> list[Case]:
    return [replace(s.case, said_class=table.get(s.type_name, "")) for s in objects]


@dataclass(frozen=True)
class ErrorBreakdown:
    """Where errors come from: counts, the same by true or said type, and shares with intervals.

    `errors`: of true objects, what went wrong; of findings, those of nothing. `trust`: what can be believed of the
    report. `ceilings`: what would be right if one stage made no mistake.
    """

    counts: Breakdown
    by_type: Mapping[str, Breakdown]
    errors: tuple[Metric, ...]
    trust: tuple[Metric, ...]
    ceilings: tuple[Metric, ...]

    @property
    def figures(self) -> tuple[Metric, ...]:
        """All shares."""
        return (*self.errors, *self.trust, *self.ceilings)


def error_breakdown(
    photos: Sequence[Sorted],
    taxonomy: Taxonomy,
    *,
    groups: Mapping[str, str] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> ErrorBreakdown:
    """Counts and shares, one row for each photograph; `groups` maps photographs to flight lines, to resample those."""
    bootstrap = ClusterBootstrap.of([(groups or {}).get(p.photo) or p.photo for p in photos], draws=draws, seed=seed)
    each = [breakdown([p]) for p in photos]

    def share(key: str, label: str, of: Count, n: Count) -> Metric:
        return ratio(key, label, [of(b) for b in each], [n(b) for b in each], bootstrap)

    there, said = attrgetter("objects"), attrgetter("findings")
    errors = [share(f"error/{k}", label, attrgetter(k), there) for k, label in OBJECTS.items()]
    errors += [share(f"error/{k}", label, attrgetter(k), said) for k, label in FINDINGS.items()]
    alarms = [_alarms(p, normal_condition(taxonomy)) for p in photos]
    real, raised = [a for a, _ in alarms], [n for _, n in alarms]
    trust = (
        share("findings_right", "findings with class and place right", attrgetter("right"), said),
        ratio("alarms_on_defects", "alarms on a defect", real, raised, bootstrap),
    )
    ceilings = (
        share("as_it_is", "as it is", attrgetter("right"), there),
        share("perfect_judge", "if the judge made no mistake", lambda b: b.right + b.wrong_condition, there),
    )
    kinds = {t.name: breakdown([_of_type(p, t.name) for p in photos]) for t in taxonomy.types}
    return ErrorBreakdown(breakdown(photos), kinds, tuple(errors), trust, ceilings)


def _alarms(photo: Sorted, normal: str) -> tuple[int, int]:
    """Findings that are not normal: how many stand on an object that is not normal either, and how many there are."""
    placed = (*photo.right, *photo.wrong_condition, *photo.wrong_type)
    said = [f for f, _ in (*placed, *photo.misplaced)] + [*photo.double, *photo.false]
    real = sum(_is_alarm(f, normal) and t.ground_truth.condition != normal for f, t in placed)
    return real, sum(_is_alarm(f, normal) for f in said)


def _is_alarm(finding: Finding, normal: str) -> bool:
    return finding.verdict.readable and finding.verdict.condition != normal


def _of_type(photo: Sorted, kind: str) -> Sorted:
    """What concerns one type: objects that are of it, and findings of nothing that say it."""
    pairs = {
        name: tuple(p for p in getattr(photo, name) if p[1].ground_truth.type_name == kind)
        for name in ("right", "wrong_condition", "wrong_type", "misplaced")
    }
    return Sorted(
        photo=photo.photo,
        **pairs,
        missed=tuple(t for t in photo.missed if t.ground_truth.type_name == kind),
        double=tuple(f for f in photo.double if f.type_name == kind),
        false=tuple(f for f in photo.false if f.type_name == kind),
    )


@dataclass(frozen=True)
class StageError:
    """One mistake of a stage: boxes in pixels of the photograph, None where there is none.

    `is_class` is empty for a finding of nothing, `said` for an object that was not found. `sure` is the probability of
    the judge's answer for its mistakes, else the detector's confidence.
    """

    photo: str
    instance_id: str
    true: Box | None
    found: Box | None
    is_class: str
    said: str
    sure: float

    @classmethod
    def of(cls, photo: str, finding: Finding | None, true: TrueInstance | None, sure: float) -> StageError:
        """Of a pair, or of what has no counterpart."""
        return cls(
            photo=photo,
            instance_id=true.instance.id if true else finding.instance_id if finding else "",
            true=true.instance.box if true else None,
            found=finding.box if finding else None,
            is_class=true.ground_truth.class_name if true else "",
            said=finding.verdict.class_name if finding else "",
            sure=sure,
        )

    def record(self) -> dict[str, Any]:
        """As integration.json holds it."""
        return {
            "photo": self.photo,
            "id": self.instance_id,
            "is": self.is_class,
            "said": self.said,
            "sure": round(self.sure, 4),
            "true_box": list(self.true.xyxy) if self.true else None,
            "found_box": list(self.found.xyxy) if self.found else None,
        }


def worst_of(photos: Sequence[Sorted], taxonomy: Taxonomy) -> dict[str, list[StageError]]:
    """All mistakes by their name (see OBJECTS and FINDINGS), the worst first.

    How sure the judge was counts for its own mistakes, how sure the detector was for the rest. What was not found is
    ordered by how severe the taxonomy calls it, then by size.
    """
    make = StageError.of
    missed = [make(p.photo, None, t, 0.0) for p in photos for t in p.missed]
    by_name = {"missed": sorted(missed, key=lambda e: (-_severity(e.is_class, taxonomy), -_area(e), e.photo))}
    for name in ("misplaced", "wrong_type"):
        by_name[name] = [make(p.photo, f, t, f.score) for p in photos for f, t in getattr(p, name)]
    by_name["wrong_condition"] = [
        make(p.photo, f, t, f.verdict.probability) for p in photos for f, t in p.wrong_condition
    ]
    for name in ("false", "double"):
        by_name[name] = [make(p.photo, f, None, f.score) for p in photos for f in getattr(p, name)]
    return {k: ones if k == "missed" else sorted(ones, key=lambda e: -e.sure) for k, ones in by_name.items()}


def _severity(class_name: str, taxonomy: Taxonomy) -> int:
    """The rank on the taxonomy's scale; without one, 1 for a class that is not normal."""
    severity = taxonomy.grading.of(class_name).severity
    if severity:
        return taxonomy.grading.rank(severity)
    return int(taxonomy.class_of(class_name).condition != normal_condition(taxonomy))


def _area(one: StageError) -> float:
    return one.true.area if one.true else 0.0
