"""Spatial reasoning: yes/no questions about pairs, and relations from detected boxes against those from true ones.

Relations in the prompt are measured by `compare_all` of runs with relations given, removed, shuffled and falsified.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from toeline.core.scene import Instance, Relation, Scene
from toeline.errors import OutputError
from toeline.evaluate.classification import Cluster
from toeline.evaluate.matching import Matched
from toeline.evaluate.metric import DRAWS, ClusterBootstrap, Metric, metric_record, ratio, with_target
from toeline.prompts.relations import relate

VERSION = 1
TARGET = 0.85  # to be exceeded, set by the owner of the nine classes


@dataclass(frozen=True)
class SpatialCase:
    """One yes/no question about objects of a photograph, its true answer, and what was said.

    `template` names the question, as `at_lower_end_of`; `subject` and `other` are ids, and so is `third` where a
    question is about three. `probability_yes` is 0 to 1.
    """

    photo: str
    group: str
    template: str
    subject: str
    other: str
    truth: bool
    said: bool
    probability_yes: float
    third: str = ""

    @property
    def right(self) -> bool:
        """Whether the answer is true."""
        return self.said == self.truth


@dataclass(frozen=True)
class Balance:
    """What needs no picture: of `n` questions of a template, the share whose true answer is yes, and that was said."""

    template: str
    n: int
    true_yes: float
    said_yes: float


@dataclass(frozen=True)
class SpatialCard:
    """Accuracy over all questions (`spatial`) and for each template (`spatial/NAME`), with the proof of balance.

    The `majority_baseline` of a figure is the accuracy of always saying yes, or always no: for the whole, the better of
    the two for each template.
    """

    figures: tuple[Metric, ...]
    balance: tuple[Balance, ...]
    questions: int
    photographs: int
    cluster: Cluster
    clusters: int
    draws: int
    seed: int

    @property
    def overall(self) -> Metric:
        """Over all questions."""
        return self.figures[0]

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "version": VERSION, "figures": [metric_record(f) for f in self.figures]}


def score_spatial(
    cases: Sequence[SpatialCase],
    *,
    target: float | None = TARGET,
    cluster: Cluster = "photo",
    draws: int = DRAWS,
    seed: int = 0,
) -> SpatialCard:
    """Accuracy of yes/no answers with clustered intervals, and whether guessing could have done it."""
    labels = [c.photo if cluster == "photo" else c.group or c.photo for c in cases]
    bootstrap = ClusterBootstrap.of(labels, draws=draws, seed=seed)
    templates = sorted({c.template for c in cases})

    def figure(key: str, label: str, chosen: set[str]) -> Metric:
        among = [c.template in chosen for c in cases]
        hits = [c.right and held for c, held in zip(cases, among, strict=True)]
        measured = ratio(key, label, hits, among, bootstrap)
        return replace(measured, majority_baseline=guessed([c for c in cases if c.template in chosen]))

    overall = with_target(figure("spatial", "spatial questions", set(templates)), target)
    return SpatialCard(
        figures=(overall, *(figure(f"spatial/{t}", t.replace("_", " "), {t}) for t in templates)),
        balance=tuple(balance_of(t, [c for c in cases if c.template == t]) for t in templates),
        questions=len(cases),
        photographs=len({c.photo for c in cases}),
        cluster=cluster,
        clusters=bootstrap.clusters,
        draws=draws,
        seed=seed,
    )


def guessed(cases: Sequence[SpatialCase]) -> float | None:
    """Accuracy of the one answer for each template that is right more often; None without questions."""
    counts = Counter((c.template, c.truth) for c in cases)
    best = sum(max(counts[t, True], counts[t, False]) for t in {c.template for c in cases})
    return best / len(cases) if cases else None


def balance_of(template: str, cases: Sequence[SpatialCase]) -> Balance:
    """How often yes is true, and how often it was said."""
    n = len(cases)
    return Balance(template, n, sum(c.truth for c in cases) / n, sum(c.said for c in cases) / n)


def spatial_from(record: Mapping[str, Any]) -> SpatialCase:
    """The case of one line of spatial.jsonl, as `dataclasses.asdict` writes it. Raises OutputError."""
    try:
        return SpatialCase(**record)
    except TypeError as why:
        raise OutputError(f"spatial.jsonl: {why}. Run toeline evaluate again.") from None


@dataclass(frozen=True)
class Agreement:
    """One relation name, over objects that were found: precision and recall of what detected boxes say.

    Each relation is one of subject, name and other. `precision`: of the relations of detected boxes, those that true
    boxes have too; `recall`: of those of true boxes, the ones that detected boxes have too.
    """

    name: str
    precision: Metric
    recall: Metric

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"name": self.name, "precision": metric_record(self.precision), "recall": metric_record(self.recall)}


def relations_of(matched: Matched, size_wh: tuple[int, int]) -> tuple[set[Relation], set[Relation]]:
    """Relations from true and from detected boxes of one photograph, among objects that were found, by true id.

    `size_wh` is the photograph's size in pixels. Distances are set to 0, so that relations can be compared.
    """
    true = [Instance(t.instance.id, t.ground_truth.type_name, t.instance.box) for _, t in matched.pairs]
    found = [Instance(t.instance.id, f.type_name, f.box) for f, t in matched.pairs]
    path = Path(matched.photo)
    both = [relate(Scene(path, size_wh, tuple(instances))) for instances in (true, found)]
    kept = [{replace(r, distance=0.0) for r in relations} for relations in both]
    return kept[0], kept[1]


def agreement(
    photos: Iterable[tuple[Matched, tuple[int, int]]],
    *,
    groups: Mapping[str, str] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[Agreement, ...]:
    """For `all` names together and for each relation name, how far detected boxes say what true boxes say.

    `photos` gives each photograph's match and size in pixels; `groups` maps photographs to flight lines, to resample
    those instead of photographs.
    """
    held = [(m.photo, *relations_of(m, size)) for m, size in photos]
    labels = [(groups or {}).get(photo) or photo for photo, *_ in held]
    bootstrap = ClusterBootstrap.of(labels, draws=draws, seed=seed)
    names = sorted({r.name for _, true, found in held for r in (*true, *found)})

    def one(name: str, chosen: set[str]) -> Agreement:
        rows = [[{r for r in side if r.name in chosen} for side in (true, found)] for _, true, found in held]
        shared = [len(true & found) for true, found in rows]
        spoken = name.replace("_", " ")
        precision = ratio(f"precision/{name}", f"{spoken}, precision", shared, [len(f) for _, f in rows], bootstrap)
        recall = ratio(f"recall/{name}", f"{spoken}, recall", shared, [len(t) for t, _ in rows], bootstrap)
        return Agreement(name, precision, recall)

    return (one("all", set(names)), *(one(name, {name}) for name in names))
