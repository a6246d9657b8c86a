"""What people decided of findings as figures of the model that made them: accuracy, detection, drift, what is missing.

The ground truth is a person's answer. Who sees the model's answer tends to agree with it, and what is decided first is
what looked worst: so figures are of one kind of decision at a time, and each says which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from toeline.core.statistics import Interval, difference
from toeline.core.taxonomy import Taxonomy
from toeline.evaluate.classification import Scorecard, score
from toeline.evaluate.matching import Case
from toeline.evaluate.metric import (
    DRAWS,
    MISSED,
    NOT_PROVABLE,
    SHOWN,
    ClusterBootstrap,
    Metric,
    metric_record,
    n_to_show,
    ratio,
    with_target,
)

ACCURACY, BOTH_STAGES, UNSEEN = "accuracy", "both_stages", "wrong_unseen"
GIVEN_TYPE = "accuracy_given_type"
MOST_CELLS = 8_000_000  # of a bootstrap: draws times photographs; of many photographs fewer draws say the same
LEAST_DRAWS = 200


@dataclass(frozen=True)
class Reviewed:
    """One finding, or one object that a person added, with what a person said of it.

    `case` has the person's class as true and the model's as said; None for a finding that is no object. `said_type` and
    `said_class` are the model's, empty for what a person `added`. `sent` says whether it was sent to review. `photo` is
    equal for equal photographs alone.
    """

    photo: str
    case: Case | None
    said_type: str = ""
    said_class: str = ""
    added: bool = False
    sent: bool = False

    @property
    def right(self) -> bool:
        """Whether it was found, is there, and is of the class that the model said."""
        return not self.added and self.case is not None and self.case.right


@dataclass(frozen=True)
class ReviewScore:
    """Figures of one kind of decisions. `card` is over the findings that are objects."""

    decided: int
    photographs: int
    figures: tuple[Metric, ...]
    card: Scorecard

    def __getitem__(self, key: str) -> Metric:
        """The figure of that key. Raises KeyError."""
        for figure in self.figures:
            if figure.key == key:
                return figure
        raise KeyError(key)

    def record(self) -> dict[str, Any]:
        """As JSON. Figures that nothing counts in are left out."""
        confusion = {"names": list(self.card.confusion.names), "counts": [list(r) for r in self.card.confusion.counts]}
        return {
            "decided": self.decided,
            "photographs": self.photographs,
            "figures": [metric_record(f) for f in self.figures if f.n],
            "confusion": confusion,
        }


def score_reviewed(items: Sequence[Reviewed], taxonomy: Taxonomy) -> ReviewScore:
    """Every figure of these decisions, with intervals over whole photographs."""
    count = _Counted(items, taxonomy)
    judged = [(i, i.case) for i in items if i.case is not None and not i.added]
    cases, typed = [c for _, c in judged], [c for i, c in judged if i.said_type == c.type_name]
    card, given = (score(of, taxonomy, targets={}, draws=count.draws) for of in (cases, typed))
    again = (
        replace(given[ACCURACY], key=GIVEN_TYPE, label="class, where the type is right"),
        replace(given["condition_given_type"], label="condition, where the type is right"),
    )
    kept = [
        replace(f, label=f"{f.label}{KEPT[kind]}") for f in card.figures if (kind := f.key.partition("/")[0]) in KEPT
    ]
    figures = (card[ACCURACY], *again, *count.detection(), *kept, *map(count.precision, taxonomy.answers()))
    return ReviewScore(len(items), len({i.photo for i in items}), figures, card)


def class_given_type(items: Sequence[Reviewed], taxonomy: Taxonomy) -> Metric:
    """The one figure that is held against the promoted one: the right class, of objects whose type is right."""
    return _Counted(items, taxonomy).given_type()


KEPT = {
    "normal_or_not": "",
    "missed_defects": "",
    "false_alarms": "",
    "type": ", right class",
    "class": ", recall",
}
Flag = Callable[[Reviewed], bool]


class _Counted:
    """Shares of the same decisions, all with the same draws."""

    def __init__(self, items: Sequence[Reviewed], taxonomy: Taxonomy) -> None:
        self.items, self.taxonomy = items, taxonomy
        self.draws = min(DRAWS, max(LEAST_DRAWS, MOST_CELLS // max(1, len({i.photo for i in items}))))

    @cached_property
    def bootstrap(self) -> ClusterBootstrap:
        return ClusterBootstrap.of([i.photo for i in self.items], draws=self.draws)

    def share(self, key: str, label: str, among: Flag, hit: Flag, *, lower: bool = False) -> Metric:
        """Of those `among`, those that are a `hit`."""
        totals = [int(among(i)) for i in self.items]
        counts = [int(n and hit(i)) for i, n in zip(self.items, totals, strict=True)]
        return ratio(key, label, counts, totals, self.bootstrap, lower_is_better=lower)

    def given_type(self) -> Metric:
        return self.share(
            GIVEN_TYPE,
            "class, where the type is right",
            lambda i: not i.added and i.case is not None and i.case.type_name == i.said_type,
            lambda i: i.right,
        )

    def detection(self) -> Iterator[Metric]:
        """Whether findings are objects, whether objects were found, both together, and what nobody would have seen."""
        free = {t.name for t in self.taxonomy.types if len(self.taxonomy.answers(t.name)) > 1}
        yield self.share("objects", "findings that are objects", lambda i: not i.added, lambda i: i.case is not None)
        yield self.share("found", "objects that were found", lambda i: i.case is not None, lambda i: not i.added)
        yield self.share(
            BOTH_STAGES, "objects found, with the right class", lambda i: i.case is not None, lambda i: i.right
        )
        yield self.share(
            UNSEEN,
            "wrong, of those not sent to review",
            lambda i: not i.added and not i.sent and i.said_type in free,
            lambda i: not i.right,
            lower=True,
        )

    def precision(self, name: str) -> Metric:
        """Of the findings that were said to be of a class, those that are."""
        return self.share(f"precision/{name}", f"{name}, precision", lambda i: i.said_class == name, lambda i: i.right)


class DriftAnswer(StrEnum):
    """What an interval of a difference says."""

    WORSE = "worse"
    BETTER = "better"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True)
class AccuracyChange:
    """A running figure beside the one that the model was promoted with; the interval is of the difference.

    A running figure that can only be too good (`at_most`) shows no change to the better.
    """

    promoted: Metric
    running: Metric
    difference: float
    interval: Interval
    at_most: bool = False

    @classmethod
    def of(cls, promoted: Metric, running: Metric, *, at_most: bool = False) -> AccuracyChange:
        """The two were measured on different objects."""
        between = difference(promoted.value, promoted.interval, running.value, running.interval)
        return cls(promoted, running, running.value - promoted.value, between, at_most)

    @property
    def answer(self) -> DriftAnswer:
        """Whether the interval leaves out that nothing changed."""
        if self.interval.high < 0:
            return DriftAnswer.WORSE
        return DriftAnswer.BETTER if self.interval.low > 0 and not self.at_most else DriftAnswer.NOT_SHOWN

    @property
    def words(self) -> str:
        """In one sentence."""
        low, high = (100 * end for end in self.interval)
        most = "at most " if self.at_most else ""
        figures = (
            f"{most}{100 * self.running.value:.1f} % now, {100 * self.promoted.value:.1f} % when it was promoted: "
            f"{100 * self.difference:+.1f} points (95 % {low:+.1f} to {high:+.1f})"
        )
        told = {
            DriftAnswer.WORSE: "Drift is shown, to the worse",
            DriftAnswer.BETTER: "A change is shown, to the better",
            DriftAnswer.NOT_SHOWN: "No drift can be shown",
        }
        return f"{told[self.answer]}: {figures}."

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "answer": str(self.answer),
            "words": self.words,
            "difference": self.difference,
            "interval": list(self.interval),
            "promoted": metric_record(self.promoted),
            "running": metric_record(self.running),
        }


def proof_of(figure: Metric, target: float) -> dict[str, Any]:
    """What the figure says of a target: whether it is shown, and about how many more decisions would show it."""
    figure = with_target(figure, target)
    needed = None if figure.verdict in (SHOWN, MISSED) else n_to_show(figure, target)
    more = None if needed is None else max(1, needed - figure.n)
    return {
        "key": figure.key,
        "target": target,
        "verdict": figure.verdict,
        "n": figure.n,
        "more": more,
        "words": _proof_words(figure, target, more),
    }


def _proof_words(figure: Metric, target: float, more: int | None) -> str:
    goal = f"{100 * target:.1f} %"
    if not figure.n:
        return f"Nothing is decided that {goal} could be shown by."
    if figure.verdict == SHOWN:
        return f"More than {goal} is shown. Measured: {figure}."
    if figure.verdict == MISSED:
        return f"{goal} is missed: the whole interval lies under it. Measured: {figure}."
    if not figure.value > target:
        return f"{goal} cannot be proven: the figure lies under it. Measured: {figure}."
    if more is None:
        return f"{goal} is not shown, and one photograph does not say how many more would. Measured: {figure}."
    few = ", and could not be by so few" if figure.verdict == NOT_PROVABLE else ""
    return (
        f"{goal} is not shown{few}. About {more:,} more decisions would show it if the model is right as "
        f"often as so far: an estimate, for the share moves while it is counted. Measured: {figure}."
    )
