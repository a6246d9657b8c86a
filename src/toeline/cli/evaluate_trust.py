"""Calibration of an evaluation: fitted on another split, written down, and in the plain values of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from toeline.cli.evaluate_run import Evaluated
from toeline.core.calibration import Calibration
from toeline.evaluate.calibration import (
    Reliability,
    ReviewPoint,
    calibrated,
    fit,
    reliability,
    review_at,
    review_curve,
    suggest,
)
from toeline.judge.choose import fingerprint
from toeline.report.scorecard_page import Section
from toeline.report.scorecard_plots import BandPoint, Bin
from toeline.report.scorecard_trust import Suggested, Trust, calibration_section

MOST_WRONG = 0.05  # of the answers that nobody looks at; on the calibration split


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


def trust_of(done: Evaluated, other: Evaluated | None) -> Trusted:
    """Measure the probabilities of `done`; with the cases of another split, fit there and measure again here."""
    before = reliability(done.cases)
    if other is None:
        return Trusted(before, review_curve(done.cases))
    made = replace(fit(other.cases, split=other.split.name), fitted_for=_whose(other.folder.run.get("models", {})))
    threshold = suggest(review_curve(calibrated(other.cases, made)), target_error=MOST_WRONG).threshold
    cases = calibrated(done.cases, made)
    return Trusted(
        before,
        review_curve(cases),
        reliability(cases),
        replace(made, review_below=min(threshold, 1.0)),
        review_at(cases, threshold),
    )


def _whose(models: Mapping[str, Any]) -> dict[str, Any]:
    """Whose answers they were, as `inspect --calibration` asks; nothing when only findings were there."""
    judge = models.get("judge")
    if not judge:
        return {}
    return {"judge": judge["model"], "fingerprint": fingerprint(judge), "prompt": judge["view"]["prompt"]}


def trust_section(trust: Trusted) -> list[Section]:
    """The section about probabilities; nothing when no object was asked about."""
    if not trust.before.n:
        return []
    suggested = None
    if trust.point:
        suggested = Suggested(_band([trust.point])[0], trust.point.kept, trust.point.wrong, MOST_WRONG)
    return [
        calibration_section(
            _trust(trust.before),
            _trust(trust.after) if trust.after else None,
            _band(trust.curve),
            fitted=_fitted(trust.calibration) if trust.calibration else "",
            suggested=suggested,
        )
    ]


def _trust(found: Reliability) -> Trust:
    return Trust(found.n, found.ece, found.ece_by_chance, found.brier, found.log_loss, [Bin(*b) for b in found.bins])


def _band(points: Sequence[ReviewPoint]) -> list[BandPoint]:
    return [BandPoint(p.threshold, p.review, p.errors_left) for p in points]


def _fitted(made: Calibration) -> str:
    on = made.fitted_on
    own = ", ".join(f"{kind.replace('_', ' ')} {t:.2f}" for kind, t in made.by_kind.items())
    return (
        f"Temperature {made.temperature:.2f}{f' (by type: {own})' if own else ''}, fitted on {on.get('objects', 0)} "
        f"objects of the split {on.get('split', '')}; it changes probabilities and never which answer is best."
    )
