"""Figures of reviewed findings, counted by hand and against other formulas."""

from __future__ import annotations

import numpy as np
import pytest

from toeline.core.box import Box
from toeline.core.statistics import Interval, difference, least_n, wilson
from toeline.core.taxonomy import Taxonomy
from toeline.evaluate.matching import Case
from toeline.evaluate.metric import MISSED, SHOWN, ClusterBootstrap, Metric, n_to_show, ratio
from toeline.evaluate.reviewed import (
    ACCURACY,
    BOTH_STAGES,
    GIVEN_TYPE,
    UNSEEN,
    AccuracyChange,
    DriftAnswer,
    Reviewed,
    class_given_type,
    proof_of,
    score_reviewed,
)

WORDS = Taxonomy.load()


def reviewed(photo: str, said: str, true: str = "", *, sent: bool = False) -> Reviewed:
    """A finding that was said to be `said`; `true` is what a person says, empty for no object; no `said`: added."""
    case = None
    if true:
        t, s = WORDS.class_of(true), WORDS.class_of(said) if said else None
        condition = s.condition if s else ""
        case = Case(photo, "", "1", t.type, Box(0, 0, 0, 0), t.name, t.condition, said, condition, 0.9, {said: 0.9})
    kind = WORDS.class_of(said).type if said else ""
    return Reviewed(photo, case, kind, said, added=not said, sent=sent)


ITEMS = [
    *(reviewed(f"p{n}", "rock toe", "rock toe") for n in range(6)),
    reviewed("p0", "rock toe", "rock toe damaged", sent=True),
    reviewed("p1", "rock toe", "toe drain"),  # of another type
    reviewed("p2", "rock toe damaged"),  # no object
    reviewed("p3", "vegetation", "vegetation"),
    reviewed("p4", "", "toe drain blocked"),  # added
]


def test_every_figure_is_what_counting_by_hand_gives() -> None:
    score = score_reviewed(ITEMS, WORDS)
    counted = {f.key: (f.count, f.n) for f in score.figures}
    assert counted[ACCURACY] == (7, 9)  # of findings that are objects
    assert counted[GIVEN_TYPE] == (7, 8)
    assert counted["condition_given_type"] == (6, 7)
    assert counted["objects"] == (9, 10)
    assert counted["found"] == (9, 10)
    assert counted[BOTH_STAGES] == (7, 10)
    assert counted[UNSEEN] == (2, 8)  # the other type and the one of nothing; vegetation leaves no choice
    assert counted["class/rock toe"] == (6, 6)
    assert counted["class/rock toe damaged"] == (0, 1)
    assert counted["precision/rock toe"] == (6, 8)
    assert counted["precision/rock toe damaged"] == (0, 1)
    assert counted["type/rock_toe"] == (6, 7)
    assert (score.decided, score.photographs) == (11, 6)
    assert score[ACCURACY].majority_baseline == pytest.approx(8 / 9)  # rock toe, toe drain and vegetation are right
    assert class_given_type(ITEMS, WORDS).interval == score[GIVEN_TYPE].interval
    assert all(f.interval.low <= f.value <= f.interval.high for f in score.figures if f.n)


def test_of_nothing_nothing_is_said() -> None:
    score = score_reviewed([reviewed("a", "rock toe")], WORDS)
    assert score[ACCURACY].n == 0
    assert score["objects"].value == 0
    assert "Nothing" in proof_of(score[ACCURACY], 0.8)["words"]
    assert "accuracy" not in {f["key"] for f in score.record()["figures"]}


def test_a_difference_covers_the_true_one_in_95_of_100_draws() -> None:
    rng, held = np.random.default_rng(1), 0
    for _ in range(2000):
        a, b = int(rng.binomial(60, 0.85)), int(rng.binomial(90, 0.75))
        low, high = difference(a / 60, wilson(a, 60), b / 90, wilson(b, 90))
        held += low <= -0.10 <= high
    assert 0.935 <= held / 2000 <= 0.97


def test_the_least_n_is_the_first_whose_interval_lies_above() -> None:
    for share, target in ((0.9, 0.8), (0.97, 0.9), (1.0, 0.95)):
        n = least_n(target, share=share)
        assert wilson(share * n, n).low > target
        assert wilson(share * (n - 1), n - 1).low <= target


def figure(right: int, n: int, photographs: int) -> Metric:
    rows = [int(k % n < right) for k in range(n)]
    return ratio(ACCURACY, "class", rows, [1] * n, ClusterBootstrap.of([f"{k % photographs}" for k in range(n)]))


@pytest.mark.parametrize(("right", "n", "photographs"), [(90, 100, 100), (54, 60, 30), (180, 200, 25)])
def test_as_many_more_like_these_show_the_target_and_fewer_do_not(right: int, n: int, photographs: int) -> None:
    """The same photographs once more, and again, until there are as many as were said."""
    needed = n_to_show(figure(right, n, photographs), 0.82)
    assert needed is not None
    times = needed / n
    labels = [f"{turn} {k % photographs}" for turn in range(int(np.ceil(times * 1.35))) for k in range(n)]
    rows = [int(k % n < right) for k in range(len(labels))]
    enough = ratio(ACCURACY, "class", rows, [1] * len(rows), ClusterBootstrap.of(labels))
    assert enough.interval.low > 0.82
    few = int(needed * 0.7)
    if few > n:
        less = ratio(ACCURACY, "class", rows[:few], [1] * few, ClusterBootstrap.of(labels[:few]))
        assert less.interval.low <= 0.82


def test_what_is_said_of_a_target() -> None:
    ok = figure(195, 200, 200)
    assert (proof_of(ok, 0.9)["verdict"], proof_of(ok, 0.9)["more"]) == (SHOWN, None)
    assert proof_of(figure(100, 200, 200), 0.9)["verdict"] == MISSED
    under = proof_of(figure(178, 200, 200), 0.9)
    assert under["more"] is None
    assert "cannot be proven: the figure lies under it" in under["words"]
    open_ = proof_of(figure(92, 100, 100), 0.88)
    assert open_["more"] == n_to_show(figure(92, 100, 100), 0.88) - 100
    assert f"About {open_['more']:,} more decisions" in open_["words"]
    assert "could not be by so few" in proof_of(figure(20, 20, 20), 0.9)["words"]
    assert "one photograph does not say" in proof_of(figure(9, 10, 1), 0.85)["words"]


def test_drift_is_told_when_the_interval_leaves_out_none() -> None:
    was = figure(180, 200, 200)
    assert AccuracyChange.of(was, figure(70, 100, 100)).answer is DriftAnswer.WORSE
    assert "to the worse" in AccuracyChange.of(was, figure(70, 100, 100)).words
    assert AccuracyChange.of(was, figure(88, 100, 100)).answer is DriftAnswer.NOT_SHOWN
    assert AccuracyChange.of(figure(70, 100, 100), was).answer is DriftAnswer.BETTER
    assert AccuracyChange.of(figure(70, 100, 100), was, at_most=True).answer is DriftAnswer.NOT_SHOWN
    assert AccuracyChange.of(was, figure(70, 100, 100), at_most=True).answer is DriftAnswer.WORSE
    assert AccuracyChange.of(was, was).interval.low < 0 < AccuracyChange.of(was, was).interval.high
    assert isinstance(AccuracyChange.of(was, was).interval, Interval)
