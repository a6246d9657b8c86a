"""Whether probabilities can be believed, how to calibrate them, and what review of the least sure saves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from toeline.core.calibration import SMALLEST, Calibration, ReviewStep, fit_temperature, log_loss
from toeline.evaluate.matching import Case
from toeline.evaluate.metric import Array, divided

BINS = 10
FOLDS = 5
RISK = 0.1  # share of wrong answers among those that nobody looks at, unless another is asked for
SURE = 0.9  # of the bounds by which thresholds are chosen: one-sided, so one choice in ten may leave more wrong
LEAST_STEP = 0.001  # of risk between two thresholds in calibration.json
CURVE_POINTS = 201  # of a review curve, at most
CHANCE_SETS = 200  # simulated, to see what the calibration error of a perfectly calibrated judge would be


class Bin(NamedTuple):
    """Objects whose answer has a probability of one range: its mean, the share that is right, and how many they are."""

    confidence: float
    accuracy: float
    n: int


class ReviewPoint(NamedTuple):
    """Answers under `threshold` go to a person, and so does every unreadable one: `review` is their share.

    Of the `kept` others `wrong` are wrong, a share of `errors_left`, 0 when none is kept.
    """

    threshold: float
    review: float
    errors_left: float
    kept: int
    wrong: int


@dataclass(frozen=True)
class Reliability:
    """How far probabilities can be believed, over the `n` objects that were asked about and answered readably.

    `ece` is the expected calibration error over bins of equal count; `ece_by_chance` is the mean of what a perfectly
    calibrated judge of the same probabilities shows on as many objects, for with few objects it is never 0. `brier` is
    summed over the answers, 0 to 2. All are NaN without objects.
    """

    n: int
    ece: float
    ece_by_chance: float
    brier: float
    log_loss: float
    bins: tuple[Bin, ...]

    def record(self) -> dict[str, Any]:
        """As JSON; what is not known is null."""
        numbers = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}
        return {**numbers, "bins": [b._asdict() for b in self.bins]}


def answered(cases: Sequence[Case]) -> list[Case]:
    """The cases that have probabilities to believe: asked, and answered readably."""
    return [c for c in cases if c.asked and c.readable]


def reliability(cases: Sequence[Case], *, bins: int = BINS, seed: int = 0) -> Reliability:
    """Calibration error, Brier score and log loss of the answers, with the table of a reliability plot."""
    from sklearn import metrics

    held = answered(cases)
    if not held:
        return Reliability(0, math.nan, math.nan, math.nan, math.nan, ())
    scores, true = log_matrix(held)
    chances, classes = np.exp(scores), range(scores.shape[1])
    sure, right = np.array([c.probability for c in held]), np.array([c.right for c in held])
    places, rng = _places(sure, bins), np.random.default_rng(seed)
    by_chance = [_ece(sure, rng.random(len(sure)) < sure, places) for _ in range(CHANCE_SETS)]
    return Reliability(
        n=len(held),
        ece=_ece(sure, right, places),
        ece_by_chance=float(np.mean(by_chance)),
        brier=float(metrics.brier_score_loss(true, chances, labels=classes, scale_by_half=False)),
        log_loss=float(metrics.log_loss(true, chances, labels=classes)),
        bins=_table(sure, right, places),
    )


def log_matrix(cases: Sequence[Case]) -> tuple[Array, npt.NDArray[np.intp]]:
    """(n, classes) log-probabilities, -inf for answers that were not legal, and (n,) the true class's column.

    No legal answer, and not the true one, is held to be less likely than SMALLEST; each row sums to 1.
    """
    names = sorted({name for c in cases for name in (*c.probabilities, c.true_class)})
    at = {name: i for i, name in enumerate(names)}
    chances = np.zeros((len(cases), max(2, len(names))))  # two columns at least, for scikit-learn
    for row, case in zip(chances, cases, strict=True):
        for name in (case.true_class, *case.probabilities):
            row[at[name]] = max(case.probabilities.get(name, 0.0), SMALLEST)
    with np.errstate(divide="ignore"):
        scores = np.log(chances / chances.sum(axis=1, keepdims=True))
    return scores, np.array([at[c.true_class] for c in cases], dtype=np.intp)


def _places(sure: Array, bins: int) -> npt.NDArray[np.intp]:
    """(n,) which bin each is in: bins of equal count, equal probabilities together (as scikit-learn's 'quantile')."""
    edges = np.quantile(sure, np.linspace(0, 1, bins + 1))
    return np.asarray(np.searchsorted(edges[1:-1], sure), dtype=np.intp)


def _sums(sure: Array, right: npt.ArrayLike, places: npt.NDArray[np.intp]) -> tuple[Array, Array, Array]:
    """By bin: summed probabilities, how many are right, how many there are."""
    size = int(places.max()) + 1
    weights = (sure, np.asarray(right, dtype=np.float64), np.ones(len(sure)))
    confident, correct, n = (np.bincount(places, weights=w, minlength=size).astype(np.float64) for w in weights)
    return confident, correct, n


def _ece(sure: Array, right: npt.ArrayLike, places: npt.NDArray[np.intp]) -> float:
    """Mean over objects of |share right - mean probability| of their bin (Guo et al. 2017; bins: Nixon et al. 2019)."""
    confident, correct, _ = _sums(sure, right, places)
    return float(np.abs(confident - correct).sum() / len(sure))


def _table(sure: Array, right: npt.ArrayLike, places: npt.NDArray[np.intp]) -> tuple[Bin, ...]:
    confident, correct, n = _sums(sure, right, places)
    rows = zip(divided(confident, n), divided(correct, n), n, strict=True)
    return tuple(Bin(float(p), float(share), int(count)) for p, share, count in rows if count)


def fit(cases: Sequence[Case], *, split: str, risk: float = RISK, folds: int = FOLDS) -> Calibration:
    """Temperatures that make the log loss of these cases least (Guo et al. 2017). Evaluate on another split.

    Types get their own only if that is better on held-out flight lines. Without an answered case nothing is changed.
    The thresholds for review are those of `review_steps`, after the temperatures.
    """
    held = answered(cases)
    if not held:
        return Calibration(fitted_on={"split": split, "objects": 0})
    kinds = sorted({c.type_name for c in held})
    whole = temperature_of(held)
    plain, split_up = _held_out(held, folds)
    own = len(kinds) > 1 and split_up < plain
    made = Calibration(whole, {k: temperature_of([c for c in held if c.type_name == k]) for k in kinds} if own else {})
    made = replace(made, risk=risk, steps=review_steps(calibrated(cases, made)))
    return replace(
        made,
        review_below=made.step(risk).below,
        fitted_on={
            "split": split,
            "objects": len(held),
            "photographs": len({c.photo for c in held}),
            "flight_lines": len({c.flight for c in held}),
            "log_loss_before": mean_loss(held, Calibration()),
            "log_loss_after": mean_loss(held, made),
        },
    )


def temperature_of(cases: Sequence[Case]) -> float:
    """The temperature at which the log loss is least, sought between TEMPERATURES."""
    return fit_temperature(*log_matrix(cases))


def mean_loss(cases: Sequence[Case], calibration: Calibration) -> float:
    """Mean log loss in nats under a calibration."""
    scores, true = log_matrix(cases)
    return log_loss(scores / np.array([[calibration.of(c.type_name)] for c in cases]), true)


def _held_out(cases: Sequence[Case], folds: int) -> tuple[float, float]:
    """Log loss on held-out flight lines, with one temperature and with one for each type; NaN with fewer than two."""
    from sklearn.model_selection import GroupKFold

    flights = [c.flight for c in cases]
    folds = min(folds, len(set(flights)))
    if folds < 2:
        return math.nan, math.nan
    losses = []
    for learn, hold in GroupKFold(folds).split(cases, groups=flights):
        seen, unseen = [cases[i] for i in learn], [cases[i] for i in hold]
        own = {k: temperature_of([c for c in seen if c.type_name == k]) for k in {c.type_name for c in seen}}
        plain = Calibration(temperature_of(seen))
        both = [mean_loss(unseen, c) * len(unseen) for c in (plain, replace(plain, by_kind=own))]
        losses.append(both)
    one, each = np.sum(losses, axis=0) / len(cases)
    return float(one), float(each)


def calibrated(cases: Sequence[Case], calibration: Calibration) -> list[Case]:
    """The same cases with calibrated probabilities; what was said stays as it is."""
    made = []
    for case in cases:
        chances = calibration.temper(case.probabilities, case.type_name) if case.asked and case.readable else None
        sure = chances.get(case.said_class, 0.0) if chances else case.probability
        made.append(replace(case, probabilities=chances or case.probabilities, probability=sure))
    return made


def review_at(cases: Sequence[Case], threshold: float) -> ReviewPoint:
    """What is left when a person sees every answer under `threshold`; of the objects that the judge was asked about.

    1 or more sends every answer.
    """
    asked = [c for c in cases if c.asked]
    kept = [c for c in asked if c.readable and c.probability >= threshold and threshold < 1]
    wrong = sum(not c.right for c in kept)
    share = 1 - len(kept) / len(asked) if asked else 0.0
    return ReviewPoint(threshold, share, wrong / len(kept) if kept else 0.0, len(kept), wrong)


def review_curve(cases: Sequence[Case], *, points: int = CURVE_POINTS) -> tuple[ReviewPoint, ...]:
    """Every threshold that changes something, from nobody's work to all of it; thinned to `points`."""
    seen = sorted({c.probability for c in answered(cases)})
    steps = [0.0, *seen[1:], math.nextafter(seen[-1], 2)] if seen else [0.0]
    chosen = np.unique(np.linspace(0, len(steps) - 1, min(points, len(steps))).round().astype(int))
    return tuple(review_at(cases, steps[i]) for i in chosen)


def review_steps(cases: Sequence[Case], *, sure: float = SURE) -> tuple[ReviewStep, ...]:
    """For every risk the least work that keeps it: answers under `below` go to a person, at most `at_most` of the rest
    are wrong. Of the calibrated answers that a judge gave without having been trained on them.

    One threshold for all types: a calibrated probability is the chance of being right, with two answers as with three,
    and refusing what is least likely right is the best rule for any risk (Chow 1970, "On optimum recognition error and
    reject tradeoff"). Thresholds for each type rest on fewer answers: they leave more wrong, or send far more.

    `at_most` is Clopper and Pearson's upper bound of the share wrong, as in "Selective classification for deep neural
    networks" (Geifman and El-Yaniv 2017), not the share that is wrong here: the threshold that just keeps a risk on the
    answers it is chosen on breaks it on others every second time. Their correction for having tried many thresholds is
    left out, as is stopping at the first bound that fails (Angelopoulos et al. 2021, "Learn then test"): thresholds
    near the chosen one are wrong about nearly the same answers, so that of answers drawn from their own probabilities
    a choice exceeds its risk one time in ten or less all the same, and both corrections send more to a person. The
    bound is for answers like these: on other flight lines of one site it is exceeded up to three times in ten
    (benchmarks/results/review.md).
    """
    from scipy.stats import beta

    asked = [c for c in cases if c.asked]
    held = sorted(answered(cases), key=lambda c: c.probability)
    chances, wrong = np.array([c.probability for c in held]), np.array([not c.right for c in held], dtype=np.int64)
    first = np.flatnonzero(np.diff(chances, prepend=-1.0) > 0)  # of equal probabilities
    first = first[chances[first] < 1]  # a threshold of 1 sends all
    kept = len(held) - first
    missed = wrong[::-1].cumsum()[::-1][first]
    bounds = np.where(missed < kept, beta.ppf(sure, missed + 1, np.maximum(kept - missed, 1)), 1.0)
    steps: list[ReviewStep] = []
    for at, bound, n, w in zip(first.tolist(), bounds.tolist(), kept.tolist(), missed.tolist(), strict=True):
        if not steps or bound < steps[-1].at_most - LEAST_STEP:
            steps.append(ReviewStep(float(chances[at]) if at else 0.0, bound, 1 - n / len(asked), w / n))
    return tuple(steps)
