"""Log-probabilities of class names become a Verdict, with the reasons why a person should look.

Knows the taxonomy; knows no model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from toeline.core.calibration import Calibration
from toeline.core.finding import Verdict
from toeline.core.scene import Detection
from toeline.core.taxonomy import Taxonomy

REVIEW_BELOW = 0.5  # without a calibration: below it the best answer is less likely than all others together
LEAD = 0.2  # and so is a smaller lead over the second answer: of two answers the best one never has less than 0.5
WEAK = 0.2  # of the way from the detector's threshold to 1: what is not beyond is a weak detection
TIE = 0.2  # of the confidence: another type that comes as near is a near tie
# What LEAD and WEAK separate is measured inside a train split: benchmarks/results/review.md. The shipped detector tells
# of no other types there, so TIE is as much as LEAD.


@dataclass(frozen=True)
class Floor:
    """Under which probability of the best answer, and under which lead over the second, a person should look.

    `risk` is the share of wrong answers that `below` was chosen for, None when it was not. 1 sends every answer.
    """

    below: float = REVIEW_BELOW
    lead: float = LEAD
    risk: float | None = None

    @classmethod
    def chosen(
        cls, review_below: float | None = None, calibration: Calibration | None = None, risk: float | None = None
    ) -> Floor:
        """A probability that was asked for, else what the calibration says for a risk, else the one without either.

        A calibrated probability is the chance of being right, whatever the number of answers: it needs no lead (Chow
        1970). Raises ValueError for a risk without a calibration that knows its thresholds.
        """
        if review_below is not None:
            return cls(review_below, 0.0)
        if risk is not None:
            if not (calibration and calibration.steps):
                raise ValueError("a risk needs a calibration that says which threshold keeps it")
            return cls(calibration.step(risk).below, 0.0, risk)
        if calibration and calibration.review_below is not None:
            return cls(calibration.review_below, 0.0, calibration.risk)
        return cls()

    def reasons(self, shares: Mapping[str, float], best: str) -> Iterator[str]:
        """Why a person should look at an answer."""
        wanted = f" for at most {100 * self.risk:g} % wrong" if self.risk is not None else ""
        second = max((name for name in shares if name != best), key=shares.__getitem__, default=best)
        if self.below >= 1:
            yield f"best is {best} at {shares[best]:.2f}, and no answer is sure enough{wanted}"
        elif shares[best] < self.below:
            yield f"best is {best} at {shares[best]:.2f}, under the review threshold of {self.below:.2f}{wanted}"
        elif second != best and shares[best] - shares[second] < self.lead:
            yield f"best is {best} at {shares[best]:.2f}, with {second} close behind at {shares[second]:.2f}"


def decide(
    log_probs: Mapping[str, float],
    taxonomy: Taxonomy,
    *,
    kind: str = "",
    review_below: float | None = None,
    calibration: Calibration | None = None,
    risk: float | None = None,
) -> Verdict:
    """The most probable class name; among equals the first, so that equal scores decide alike on every machine.

    `log_probs` need not be normalized: the probabilities of the verdict sum to 1. The verdict asks for review as
    `Floor.chosen` says of `review_below`, `calibration` and `risk`, after the temperature of `calibration`; and when
    `kind` is given (the type that Stage 1 saw) and the answer is of another type. Raises ValueError for no scores at
    all or scores that are not numbers, TaxonomyError for an unknown class name.

    >>> decide({"rock toe": -0.1, "rock toe damaged": -2.35}, Taxonomy.load(), review_below=0.95).review
    'best is rock toe at 0.90, under the review threshold of 0.95'
    >>> decide({"rock toe": -0.6, "rock toe damaged": -0.8}, Taxonomy.load()).review
    'best is rock toe at 0.55, with rock toe damaged close behind at 0.45'
    """
    best, scored = _best(log_probs), probabilities(log_probs)
    shares = calibration.temper(scored, kind) if calibration else scored  # which answer is best never changes by it
    found = taxonomy.class_of(best)
    reasons = [*Floor.chosen(review_below, calibration, risk).reasons(shares, best)]
    if kind and found.type != kind:
        reasons.append(f"detected as {taxonomy.spoken(kind)}, judged as {taxonomy.spoken(found.type)}")
    return Verdict(
        best,
        found.condition,
        shares[best],
        shares,
        review="; ".join(reasons),
        uncalibrated=scored if calibration else {},
    )


LEAST = 1e-12  # stands for a probability of 0, and keeps an answer before its equals
DETECTORS = re.compile(r"(?:^|; )(weakly detected: at \d.*|detected as (?:(?!; ).)+ at \d\.\d\d, and as .*)$")


def decided_again(
    verdict: Verdict,
    taxonomy: Taxonomy,
    *,
    kind: str,
    before: Calibration | None = None,
    review_below: float | None = None,
    calibration: Calibration | None = None,
    risk: float | None = None,
) -> Verdict:
    """The verdict by another rule or calibration, from the probabilities that it holds; the answer stays.

    `before` is the calibration that made them, for findings of before `uncalibrated` was kept. What the detector gave
    as reasons stays.

    >>> was = decide({"rock toe": -0.1, "rock toe damaged": -2.35}, Taxonomy.load(), review_below=0.95)
    >>> decided_again(was, Taxonomy.load(), kind="rock_toe", review_below=0.8).review
    ''
    """
    if not verdict.asked or not verdict.readable:
        return verdict
    scored = verdict.uncalibrated or verdict.probabilities
    if before and not verdict.uncalibrated:
        undone = {name: 1 / t for name, t in before.by_kind.items()}
        scored = Calibration(1 / before.temperature, undone).temper(scored, kind)
    said = {name: math.log(max(p, LEAST)) + (name == verdict.class_name) * LEAST for name, p in scored.items()}
    made = decide(said, taxonomy, kind=kind, review_below=review_below, calibration=calibration, risk=risk)
    kept = DETECTORS.search(verdict.review)
    return replace(made, review="; ".join(filter(None, (made.review, kept[1] if kept else ""))))


def doubtful(verdict: Verdict, seen: Detection, limits: Mapping[str, float], taxonomy: Taxonomy) -> Verdict:
    """The verdict with the reasons that the detector gives: it was hardly sure, or nearly as sure of another type.

    `limits` are the detector's thresholds by type; one that is not known makes no detection weak. So do boxes of
    people, whose confidence is 1.
    """
    instance, spoken = seen.instance, taxonomy.spoken
    limit = limits.get(instance.type_name)
    reasons = [verdict.review] if verdict.review else []
    if limit is not None and instance.score < limit + WEAK * (1 - limit):
        reasons.append(f"weakly detected: at {instance.score:.2f}, little over the threshold of {limit:.2f}")
    others = [o for o in seen.others if o.type_name != instance.type_name]
    rival = max(others, key=lambda o: o.score, default=None)
    if rival and rival.score > (1 - TIE) * instance.score:
        was = f"{spoken(instance.type_name)} at {instance.score:.2f}"
        reasons.append(f"detected as {was}, and as {spoken(rival.type_name)} at {rival.score:.2f}")
    return replace(verdict, review="; ".join(reasons))


def probabilities(log_probs: Mapping[str, float]) -> dict[str, float]:
    """Scores made to sum to 1. Raises ValueError as `decide` does.

    >>> probabilities({"yes": 0.0, "no": 0.0})
    {'yes': 0.5, 'no': 0.5}
    """
    from scipy.special import softmax

    _best(log_probs)
    return dict(zip(log_probs, softmax(list(log_probs.values())).tolist(), strict=True))


def _best(log_probs: Mapping[str, float]) -> str:
    if not log_probs or any(math.isnan(score) or score == math.inf for score in log_probs.values()):
        raise ValueError(f"these are not log-probabilities: {dict(log_probs)}")
    best = max(log_probs, key=log_probs.__getitem__)
    if log_probs[best] == -math.inf:
        raise ValueError(f"every answer is impossible: {dict(log_probs)}")
    return best


def unreadable() -> Verdict:
    """The verdict on a thing whose generated answer was none of the names: no class, and a person should look.

    >>> unreadable().class_name, unreadable().readable
    ('', False)
    """
    return Verdict("", "", 0.0, {}, review="the answer was none of the class names")


def sure(class_name: str, taxonomy: Taxonomy) -> Verdict:
    """The verdict on a thing whose type leaves one answer, which nobody was asked for.

    >>> sure("vegetation", Taxonomy.load()).asked
    False
    """
    found = taxonomy.class_of(class_name)
    return Verdict(found.name, found.condition, 1.0, {found.name: 1.0}, asked=False)
