"""A detector at its thresholds: every object and every box has one place, and the figures are the counts."""

from __future__ import annotations

from toeline.core.box import Box
from toeline.core.scene import Instance
from toeline.evaluate.detection import DetectedPhoto, confusion, seen, threshold_metrics, worst

KINDS = ("toe_drain", "rock_toe")


def instance(kind: str, x: float, score: float = 1.0) -> Instance:
    return Instance("1", kind, Box(x, 0, x + 10, 10), score)


def test_each_thing_stands_in_one_place() -> None:
    true = [instance("toe_drain", 0), instance("rock_toe", 50), instance("rock_toe", 100)]
    found = [
        instance("toe_drain", 1, 0.9),
        instance("toe_drain", 0, 0.8),  # a double: the first took the object
        instance("toe_drain", 50, 0.7),  # another type
        instance("rock_toe", 200, 0.6),
    ]
    one = seen(found, true)
    assert [(f.score, t.box.x1) for f, t in one.right] == [(0.9, 0)]
    assert [(f.score, t.box.x1) for f, t in one.swapped] == [(0.7, 50)]
    assert [t.box.x1 for t in one.missed] == [100]
    assert [f.score for f in one.false] == [0.8, 0.6]
    assert one.faults == 5
    assert confusion([one], KINDS).tolist() == [[1, 0, 0], [1, 0, 1], [1, 1, 0]]


def test_the_right_type_goes_before_the_better_place() -> None:
    true = [instance("toe_drain", 0), instance("rock_toe", 2)]
    one = seen([instance("rock_toe", 0, 0.9), instance("toe_drain", 2, 0.8)], true)
    assert len(one.right) == 2
    assert not one.swapped


def test_figures_count_all_types_and_each() -> None:
    photos = [
        seen(
            [instance("toe_drain", 0), instance("toe_drain", 50)], [instance("toe_drain", 0), instance("rock_toe", 50)]
        )
    ]
    found = {f.key: (f.count, f.n) for f in threshold_metrics(photos, KINDS, ["a"])}
    assert found["recall/all types"] == (1, 2)
    assert found["precision/all types"] == (1, 2)
    assert found["recall/toe_drain"] == (1, 1)
    assert found["precision/toe_drain"] == (1, 2)
    assert found["recall/rock_toe"] == (0, 1)
    assert found["precision/rock_toe"] == (0, 0)


def test_the_worst_come_first_and_the_faultless_not_at_all() -> None:
    fine, bad, worse = seen([], []), seen([], [instance("rock_toe", 0)]), seen([instance("rock_toe", 0)] * 2, [])
    photos: list[DetectedPhoto] = [fine, bad, worse, bad]
    assert worst(photos, 10) == [2, 1, 3]
    assert worst(photos, 1) == [2]
