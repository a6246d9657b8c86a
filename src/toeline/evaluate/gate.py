"""Whether a smaller judge is as good as the one it comes from: both on the same objects, held against a few rules.

Three answers: promoted, refused, and not provable with these objects. The last is given where the measured loss is
within a rule and its interval is not; then the number of objects that would prove it is said.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toeline.core.calibration import SMALLEST, Calibration
from toeline.core.reading import number, read_toml, whole
from toeline.core.statistics import Interval
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.errors import ToelineError
from toeline.evaluate.calibration import Reliability, calibrated, fit, reliability
from toeline.evaluate.classification import HEADLINE, Cluster, Coded
from toeline.evaluate.compare import Comparison, Difference, Run, compare, paired_interval
from toeline.evaluate.matching import Case
from toeline.evaluate.metric import DRAWS, NOT_PROVABLE, ClusterBootstrap, hull, share_of

DEFAULTS = Path(__file__).with_name("gate.toml")
PROMOTED, REFUSED = "promoted", "refused"
HOLDS, BROKEN = "holds", "broken"
MOST_OBJECTS = 10_000_000  # that would prove something; beyond, nobody labels them
EVEN = 1e-9  # two shares that differ by less are the same


@dataclass(frozen=True, kw_only=True)
class GateRules:
    """What must be kept; gate.toml says what each means. No rule on log-probabilities with `log_probability` None."""

    loss_points: float
    kept: float
    class_loss_points: float
    class_objects: int
    more_missed: int
    log_probability: float | None = None

    @classmethod
    def load(cls, file: Path | None = None) -> GateRules:
        """The rules of a file, and those of the package for what it leaves out. Raises ToelineError."""
        given = tomllib.loads(DEFAULTS.read_text(encoding="utf-8"))
        if file is None:
            return cls(**given)
        advice = f"It may hold {', '.join(f.name for f in fields(cls))}: see docs/quantize.md."
        own = read_toml(file, ToelineError, advice=advice)
        try:
            if odd := sorted(own.keys() - {f.name for f in fields(cls)}):
                raise ValueError(f"{odd[0]!r} is no rule")
            return cls(**{name: _checked(name, value) for name, value in {**given, **own}.items()})
        except ValueError as why:
            raise ToelineError(f"{file}: {why}. {advice}") from None


def _checked(name: str, value: object) -> Any:
    """The value of a rule. Raises ValueError."""
    if name in ("class_objects", "more_missed"):
        return whole(value, name, low=int(name == "class_objects"), high=1_000_000)
    return number(value, name, low=0, high={"kept": 1, "log_probability": 100}.get(name, 100))


class RuleAnswer(NamedTuple):
    """What one rule asks, what was measured, and whether it holds, is broken, or cannot be proven.

    `needed` is how many objects like these would prove it; None where that is not known, or no number would.
    """

    rule: str
    asked: str
    measured: str
    answer: str
    needed: int | None = None


class Drift(NamedTuple):
    """How far log-probabilities of the legal answers moved, over `n` objects: the farthest and where, and the mean.

    Probabilities under SMALLEST count as that.
    """

    n: int
    largest: float
    mean: float
    photo: str = ""
    instance_id: str = ""
    answer: str = ""


class Kept(NamedTuple):
    """New accuracy divided by old, with its 95 % interval; NaN and no limits where the old one is 0."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Gate:
    """One judge held against another. `changed` are the objects whose answer changed, as old and new case.

    `calibrations` and `trust` are of old and new: temperatures fitted on these very objects, and the probabilities
    before and after them. With `allowed` a judge passes for which nothing is broken and not all is proven.
    """

    comparison: Comparison
    rules: GateRules
    answers: tuple[RuleAnswer, ...]
    kept: Kept
    drift: Drift
    changed: tuple[tuple[Case, Case], ...]
    calibrations: tuple[Calibration, Calibration]
    trust: tuple[tuple[Reliability, Reliability], tuple[Reliability, Reliability]]
    allowed: bool = False

    @property
    def answer(self) -> str:
        """Promoted, refused, or not provable with this n."""
        found = {rule.answer for rule in self.answers}
        return REFUSED if BROKEN in found else NOT_PROVABLE if NOT_PROVABLE in found else PROMOTED

    @property
    def passes(self) -> bool:
        """Whether the new judge may be used."""
        return self.answer == PROMOTED or (self.allowed and self.answer == NOT_PROVABLE)

    @property
    def sentence(self) -> str:
        """The answer with the reasons for it."""
        new, answer = self.comparison.second, self.answer
        if answer == PROMOTED:
            return f"{new} is promoted: every rule holds on {some(self.comparison.objects, 'object')}."
        open_ = [r for r in self.answers if r.answer == (BROKEN if answer == REFUSED else NOT_PROVABLE)]
        reasons = "; ".join(f"{r.asked}, and {r.measured}" for r in open_)
        if answer == REFUSED:
            return f"{new} is refused: {reasons}."
        said = f"Whether {new} is as good is not provable with this n: {reasons}."
        if needed := [r.needed for r in open_ if r.needed]:
            said += f" About {max(needed):,} objects that come out like these would prove what can be counted so."
        return said + (" It was allowed all the same (--allow-unproven)." if self.allowed else "")

    def record(self) -> dict[str, Any]:
        """As gate.json holds it."""
        return {
            "answer": self.answer,
            "allowed_unproven": self.allowed and self.answer == NOT_PROVABLE,
            "sentence": self.sentence,
            "rules": asdict(self.rules),
            "answers": [rule._asdict() for rule in self.answers],
            "kept": {"value": _known(self.kept.value), "interval": [_known(end) for end in self.kept.interval]},
            "log_probabilities": {k: _known(v) for k, v in self.drift._asdict().items()},
            "changed": len(self.changed),
            "comparison": self.comparison.record(),
            "calibrations": [made.record() for made in self.calibrations],
            "probabilities": [[trust.record() for trust in pair] for pair in self.trust],
        }


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def hold_against(
    old: Run,
    new: Run,
    taxonomy: Taxonomy,
    rules: GateRules,
    *,
    split: str,
    cluster: Cluster = "photo",
    allowed: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> Gate:
    """The new run held against the old one, object by object. Raises OutputError for runs on different objects."""
    comparison = compare(old, new, taxonomy, cluster=cluster, draws=draws, seed=seed)
    by_key = {case.key: case for case in new.cases}
    pairs = [(case, by_key[case.key]) for case in old.cases]
    labels = [a.photo if cluster == "photo" else a.flight for a, _ in pairs]
    kept = kept_of(pairs, comparison[HEADLINE], taxonomy, ClusterBootstrap.of(labels, draws=draws, seed=seed))
    drift = drift_of(pairs)
    sides = [[a for a, _ in pairs], [b for _, b in pairs]]
    made = [fit(cases, split=split) for cases in sides]
    trust = [(reliability(c), reliability(calibrated(c, m))) for c, m in zip(sides, made, strict=True)]
    return Gate(
        comparison=comparison,
        rules=rules,
        answers=tuple(answers_of(comparison, kept, drift, rules)),
        kept=kept,
        drift=drift,
        changed=tuple((a, b) for a, b in pairs if a.said_class != b.said_class),
        calibrations=(made[0], made[1]),
        trust=(trust[0], trust[1]),
        allowed=allowed,
    )


def kept_of(
    pairs: Sequence[tuple[Case, Case]], accuracy: Difference, taxonomy: Taxonomy, bootstrap: ClusterBootstrap
) -> Kept:
    """How much of the old accuracy the new judge keeps; clusters are drawn whole, as for the difference.

    Where next to nothing changed the bootstrap is too sure: the interval takes in that of Agresti and Min's formula for
    the difference, divided by the old accuracy.
    """
    if not accuracy.n or not accuracy.first:
        return Kept(math.nan, Interval(-math.inf, math.inf))
    among = Coded([a for a, _ in pairs], taxonomy).choice
    right = np.array([[b.right, a.right] for a, b in pairs]) & among[:, None]
    drawn = bootstrap.interval(right, share_of, among=among, limits=Interval(0.0, math.inf))
    formula = Interval(*(1 + end / accuracy.first for end in _formula(accuracy)))
    return Kept(accuracy.second / accuracy.first, hull(drawn, formula))


def _formula(d: Difference) -> Interval:
    return paired_interval(d.gained or 0, d.lost or 0, d.n)


def drift_of(pairs: Sequence[tuple[Case, Case]]) -> Drift:
    """How far log-probabilities moved, over objects that both judges were asked about and answered readably."""
    found: list[tuple[float, str, str, str]] = []
    held = [(a, b) for a, b in pairs if a.asked and b.asked and a.readable and b.readable]
    for a, b in held:
        for name in a.probabilities.keys() | b.probabilities.keys():
            was, now = (math.log(max(c.probabilities.get(name, 0.0), SMALLEST)) for c in (a, b))
            found.append((abs(now - was), a.photo, a.instance_id, name))
    if not found:
        return Drift(0, math.nan, math.nan)
    largest, *where = max(found)
    return Drift(len(held), largest, float(np.mean([change for change, *_ in found])), *where)


def answers_of(comparison: Comparison, kept: Kept, drift: Drift, rules: GateRules) -> Iterator[RuleAnswer]:
    """Every rule with its answer, in the order of gate.toml."""
    yield _loss(comparison[HEADLINE], rules)
    yield _kept(comparison[HEADLINE], kept, rules)
    yield _classes(comparison, rules)
    yield _missed(comparison["missed_defects"], rules)
    if rules.log_probability is not None:
        yield _moved(drift, rules.log_probability)


def _loss(d: Difference, rules: GateRules) -> RuleAnswer:
    asked = f"the accuracy must not fall by more than {rules.loss_points:g} points, interval included"
    if not d.n:
        return RuleAnswer("loss_points", asked, "no object leaves a choice", NOT_PROVABLE)
    low, high = (100 * end for end in d.interval)
    measured = f"it changed by {100 * d.difference:+.1f} (95 % {low:+.1f} to {high:+.1f}, n = {d.n:,})"
    return RuleAnswer("loss_points", asked, measured, *_within(d, d.interval.low, -rules.loss_points / 100))


def _kept(d: Difference, kept: Kept, rules: GateRules) -> RuleAnswer:
    asked = f"more than {100 * rules.kept:g} % of the accuracy must be kept, interval included"
    if math.isnan(kept.value):
        return RuleAnswer("kept", asked, "the old judge has nothing right that could be kept", NOT_PROVABLE)
    low, high = (100 * end for end in kept.interval)
    measured = f"{100 * kept.value:.1f} % was kept (95 % {low:.1f} to {high:.1f}, n = {d.n:,})"
    low_end, limit = ((share - 1) * d.first for share in (kept.interval.low, rules.kept))
    return RuleAnswer("kept", asked, measured, *_within(d, low_end, limit))


def _within(d: Difference, low: float, limit: float) -> tuple[str, int | None]:
    """Whether a change of accuracy whose interval ends at `low` is within `limit`, and how many objects would prove."""
    if low >= limit:
        return HOLDS, None
    if d.difference < limit - EVEN:
        return BROKEN, None
    return NOT_PROVABLE, objects_needed(d, low, limit)


def objects_needed(d: Difference, low: float, limit: float) -> int | None:
    """The fewest objects, gained and lost as often as these, whose interval would end at or above `limit`.

    `low` is where it ends now; what makes it wider than the formula for independent objects does so with more of them
    too. None when no number would do, or more than MOST_OBJECTS.
    """
    now = _formula(d).low
    wider = max(1.0, ((d.difference - low) / (d.difference - now)) ** 2) if d.difference > now else 1.0

    def proves(n: int) -> bool:
        like = n / wider
        gained, lost = ((count or 0) / d.n * like for count in (d.gained, d.lost))
        return paired_interval(gained, lost, like).low >= limit

    most = d.n
    while not proves(most):
        most *= 2
        if most > MOST_OBJECTS:
            return None
    least = most // 2
    while least + 1 < most:
        middle = (least + most) // 2
        least, most = (least, middle) if proves(middle) else (middle, most)
    return most


def _classes(comparison: Comparison, rules: GateRules) -> RuleAnswer:
    asked = f"no class of {rules.class_objects} objects or more may lose more than {rules.class_loss_points:g} points"
    classes = [d for d in comparison.differences if d.key.startswith("class/")]
    tested = [d for d in classes if d.n >= rules.class_objects]
    if not tested:
        return RuleAnswer("class_loss_points", asked, "no class has so many", NOT_PROVABLE)
    worst = sorted(tested, key=lambda d: d.difference)
    lost = [d for d in worst if d.difference < -rules.class_loss_points / 100 - EVEN]
    measured = ", ".join(f"{d.label} changed by {100 * d.difference:+.1f} (n = {d.n:,})" for d in lost or worst[:1])
    few = [d.label for d in classes if 0 < d.n < rules.class_objects]
    if few and not lost:
        measured += f"; too few of {', '.join(few)} to ask"
    return RuleAnswer("class_loss_points", asked, measured, BROKEN if lost else HOLDS)


def _missed(d: Difference, rules: GateRules) -> RuleAnswer:
    more = f"no more than {rules.more_missed} more defects" if rules.more_missed else "no more defects than before"
    asked = f"{more} may be missed"
    if not d.n:
        return RuleAnswer("more_missed", asked, "the split holds none", NOT_PROVABLE)
    first, second = (round(share * d.n) for share in (d.first, d.second))
    measured = f"{second:,} of {d.n:,} were, and {first:,} before"
    return RuleAnswer("more_missed", asked, measured, BROKEN if second - first > rules.more_missed else HOLDS)


def _moved(drift: Drift, most: float) -> RuleAnswer:
    asked = f"no log-probability may change by more than {most:g}"
    if not drift.n:
        return RuleAnswer("log_probability", asked, "no object was asked about", NOT_PROVABLE)
    measured = f"one changed by {drift.largest:.3f} ({drift.photo}, object {drift.instance_id}, {drift.answer})"
    return RuleAnswer("log_probability", asked, measured, BROKEN if drift.largest > most else HOLDS)


def worst_of(answers: Sequence[str]) -> str:
    """The answer for several judges together: refused before not provable before promoted."""
    return next((a for a in (REFUSED, NOT_PROVABLE) if a in answers), PROMOTED)
