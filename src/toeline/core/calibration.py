"""Temperature scaling of probabilities: how it is applied and fitted, and the record of it, calibration.json.

The one module of core that needs numpy and scipy, inside functions: every room that scales probabilities can import it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toeline.core.reading import number, read_json
from toeline.core.words import cut
from toeline.errors import OutputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

VERSION = 1
SMALLEST = 5e-7  # findings are written with six decimals: a probability of 0 is one under half of the last of them
USABLE = {"low": 1e-6, "high": 1e6}  # temperatures that leave something of the scores
TEMPERATURES = (0.05, 20.0)  # where a temperature is sought; beyond, scores are not calibrated any more


def normalized(scores: Mapping[str, float], *, temperature: float = 1.0, lowest: float = -math.inf) -> dict[str, float]:
    """Scores of one question as log-probabilities that sum to 1, after division by a temperature.

    Above 1 they become less sure, below 1 surer. `lowest` stands for any score below it, before the division.

    >>> {name: round(math.exp(p), 3) for name, p in normalized({"x": math.log(9), "y": 0.0}, temperature=2.0).items()}
    {'x': 0.75, 'y': 0.25}
    """
    from scipy.special import log_softmax

    values = log_softmax([max(score, lowest) / temperature for score in scores.values()])
    return dict(zip(scores, values.tolist(), strict=True))


def log_loss(scores: NDArray[Any], right: Sequence[int] | NDArray[Any]) -> float:
    """Mean of -log p of the right answers, in nats; 0 without questions.

    `scores` (n, answers) need not sum to 1 and are -inf where a question has no such answer; `right` (n,) are columns.
    """
    import numpy as np
    from scipy.special import logsumexp

    if not len(scores):
        return 0.0
    return float(np.mean(logsumexp(scores, axis=1) - scores[np.arange(len(scores)), right]))


def fit_temperature(
    rows: Sequence[ArrayLike] | NDArray[Any],
    right: Sequence[int] | NDArray[Any],
    *,
    bounds: tuple[float, float] = TEMPERATURES,
) -> float:
    """The temperature of least log loss (Guo et al. 2017), sought between `bounds`.

    `rows` are the scores of each question, of any length; `right` says which of them is the right answer's.
    """
    from scipy.optimize import minimize_scalar

    scores = padded(rows)
    low, high = map(math.log, bounds)
    found = minimize_scalar(
        lambda log_t: log_loss(scores / math.exp(log_t), right), bounds=(low, high), method="bounded"
    )
    return math.exp(found.x)


def padded(rows: Sequence[ArrayLike] | NDArray[Any]) -> NDArray[Any]:
    """(n, longest) rows of unequal length as one table, -inf where a row has ended."""
    import numpy as np

    sized = [np.asarray(row, dtype=np.float64) for row in rows]
    table = np.full((len(sized), max((len(row) for row in sized), default=0)), -np.inf)
    for line, row in zip(table, sized, strict=True):
        line[: len(row)] = row
    return table


class ReviewStep(NamedTuple):
    """With answers under `below` sent to a person, no more than `at_most` of the rest are wrong (an upper bound).

    On the held answers that it was learned from, `sent` is the share that goes to a person (unreadable answers are
    among them), and `wrong` the share of the rest that is wrong.
    """

    below: float
    at_most: float
    sent: float
    wrong: float


SEND_ALL = ReviewStep(1.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Calibration:
    """Temperatures for one judge, and under which probability a person should look.

    A judge's log-probabilities are divided by the temperature: over 1 makes it less sure, under 1 surer; which answer
    is best never changes. `by_kind` holds types that have one of their own. `fitted_on` says on what: split, counts,
    log loss before and after; `fitted_for` whose answers they were: the judge's name, its hashes and its prompt, empty
    when only findings were there. `review_below` is the threshold for `risk`, the share of wrong answers that nobody
    sees; `steps` give it for any other, the least work first (evaluate/calibration.py learns them). Files of before
    have neither. Raises ValueError for a temperature that is not positive.
    """

    temperature: float = 1.0
    by_kind: Mapping[str, float] = field(default_factory=dict)
    review_below: float | None = None
    fitted_on: Mapping[str, Any] = field(default_factory=dict)
    fitted_for: Mapping[str, Any] = field(default_factory=dict)
    risk: float | None = None
    steps: tuple[ReviewStep, ...] = ()

    def __post_init__(self) -> None:
        for value in (self.temperature, *self.by_kind.values()):
            if not value > 0:
                raise ValueError(f"a temperature of {value} is not positive")

    def of(self, kind: str) -> float:
        """The temperature for objects of a type."""
        return self.by_kind.get(kind, self.temperature)

    def step(self, risk: float) -> ReviewStep:
        """The least work that leaves at most `risk` wrong; SEND_ALL where no threshold is known to.

        >>> Calibration(steps=(ReviewStep(0, 0.3, 0, 0.25), ReviewStep(0.8, 0.1, 0.5, 0.06))).step(0.2).below
        0.8
        """
        return next((step for step in self.steps if step.at_most <= risk), SEND_ALL)

    def temper(self, probabilities: Mapping[str, float], kind: str) -> dict[str, float]:
        """The probabilities of one object's answers, calibrated; they sum to 1. As `normalized`, of probabilities.

        >>> Calibration(temperature=2.0).temper({"rock toe": 0.9, "rock toe damaged": 0.1}, "rock_toe")
        {'rock toe': 0.75, 'rock toe damaged': 0.25}
        """
        held = {name: max(p, SMALLEST) for name, p in probabilities.items()}
        top = max(held.values())  # weighs 1, so that something is left however low the temperature is
        weights = {name: (top / p) ** (-1 / self.of(kind)) for name, p in held.items()}
        return {name: weight / sum(weights.values()) for name, weight in weights.items()}

    def record(self) -> dict[str, Any]:
        """As calibration.json holds it."""
        return {
            "version": VERSION,
            "temperature": self.temperature,
            "by_type": dict(self.by_kind),
            "review_below": self.review_below,
            "review": {
                "risk": self.risk,
                **{name: [step[i] for step in self.steps] for i, name in enumerate(ReviewStep._fields)},
            },
            "fitted_on": dict(self.fitted_on),
            "fitted_for": dict(self.fitted_for),
        }


def calibration_from(record: Mapping[str, Any], called: str = "calibration.json") -> Calibration:
    """The calibration of a record. Raises OutputError, with the name of its file, for another version or no record."""
    try:
        if record["version"] != VERSION:
            raise ValueError(f"version {record['version']}")
        below, review = record["review_below"], record.get("review", {})  # older files have no "review"
        risk = review.get("risk")
        return Calibration(
            temperature=number(record["temperature"], "temperature", **USABLE),
            by_kind={kind: number(t, f"temperature of {kind}", **USABLE) for kind, t in record["by_type"].items()},
            review_below=None if below is None else number(below, "review_below", low=0, high=1),
            fitted_on=dict(record["fitted_on"]),
            fitted_for=dict(record.get("fitted_for", {})),  # older files do not say
            risk=None if risk is None else number(risk, "risk", low=0, high=1),
            steps=_steps(review),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as why:
        what = f"{cut(str(why))} is missing" if isinstance(why, KeyError) else cut(str(why), 200)
        raise OutputError(
            f"{called}: {what}. This Toeline reads calibrations of version {VERSION}: make it again with toeline "
            f"evaluate --calibrate."
        ) from None


def _steps(review: Mapping[str, Any]) -> tuple[ReviewStep, ...]:
    """Raises ValueError for columns of unequal length, and for steps that do not ask more work for less risk."""
    columns = [
        [number(value, f"{name} of review", low=0, high=1) for value in review.get(name, ())]
        for name in ReviewStep._fields
    ]
    steps = tuple(map(ReviewStep._make, zip(*columns, strict=True)))
    if any(b.below <= a.below or b.at_most >= a.at_most for a, b in pairwise(steps)):
        raise ValueError("the steps of review are not in order")
    return steps


def load_calibration(file: Path) -> Calibration:
    """Read a calibration.json. Raises OutputError, which names the file, for one that cannot be read or is none."""
    advice = "Name the calibration.json that toeline evaluate --calibrate wrote."
    return calibration_from(read_json(file, OutputError, advice=advice), str(file))
