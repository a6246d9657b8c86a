"""Log-probabilities of class names become a Verdict. Knows the taxonomy; knows no model."""

from __future__ import annotations

import math
from collections.abc import Mapping

from toeline.core.calibration import Calibration
from toeline.core.finding import Verdict
from toeline.core.taxonomy import Taxonomy

REVIEW_BELOW = 0.5  # below it the best answer is less likely than all others together


def decide(
    log_probs: Mapping[str, float],
    taxonomy: Taxonomy,
    *,
    kind: str = "",
    review_below: float = REVIEW_BELOW,
    calibration: Calibration | None = None,
) -> Verdict:
    """The most probable class name; among equals the first, so that equal scores decide alike on every machine.

    `log_probs` need not be normalized: the probabilities of the verdict sum to 1. The verdict asks for review when its
    probability, after `calibration`, is under `review_below`, or when `kind` is given (the type that Stage 1 saw) and
    the answer is of another type. Raises ValueError for no scores at all or scores that are not numbers, TaxonomyError
    for an unknown class name.

    >>> decide({"rock toe": -0.1, "rock toe damaged": -2.35}, Taxonomy.load(), review_below=0.95).review
    'best is rock toe at 0.90, under the floor of 0.95'
    """
    best, shares = _best(log_probs), probabilities(log_probs)
    if calibration:  # which answer is best never changes by it
        shares = calibration.temper(shares, kind)
    found = taxonomy.class_of(best)
    reasons = []
    if shares[best] < review_below:
        reasons.append(f"best is {best} at {shares[best]:.2f}, under the floor of {review_below:.2f}")
    if kind and found.type != kind:
        reasons.append(f"detected as {taxonomy.spoken(kind)}, judged as {taxonomy.spoken(found.type)}")
    return Verdict(best, found.condition, shares[best], shares, review="; ".join(reasons))


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
