"""Both stages as one: a miss is wrong, every error has one stage, floors have no more than the detector's boxes."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.matched import FAR, LEFT, RIGHT, said, true

from toeline.core.box import Box
from toeline.core.taxonomy import Taxonomy
from toeline.evaluate.classification import score
from toeline.evaluate.detection import Sorted, sort_out
from toeline.evaluate.end_to_end import error_breakdown, score_both, seen
from toeline.evaluate.matching import match

TAXONOMY = Taxonomy.load()
LOOSELY = Box(0, 0, 10, 3)  # IoU 0.3 with LEFT


def photos() -> list[Sorted]:
    """Right; wrong condition and missed; wrong type and two findings of nothing; badly placed."""
    return [
        sort_out(match("a.jpg", [said(1, "rock toe", LEFT)], [true(1, "rock toe", LEFT)])),
        sort_out(
            match(
                "b.jpg",
                [said(1, "slope drain", LEFT, photo="b.jpg")],
                [true(1, "slope drain blocked", LEFT), true(2, "rock toe damaged", RIGHT)],
            )
        ),
        sort_out(
            match(
                "c.jpg",
                [
                    said(1, "vegetation", LEFT, photo="c.jpg"),
                    said(2, "rock toe damaged", FAR, photo="c.jpg"),
                    said(3, "vegetation", RIGHT, photo="c.jpg"),
                ],
                [true(1, "rock toe", LEFT)],
            )
        ),
        sort_out(match("d.jpg", [said(1, "rock toe damaged", LOOSELY)], [true(1, "rock toe damaged", LEFT)])),
    ]


def test_every_true_object_is_there_once_and_a_miss_is_wrong() -> None:
    objects = seen(photos(), {"b.jpg": "line 2"})
    assert [(s.case.photo, s.case.instance_id, s.case.said_class, s.type_name) for s in objects] == [
        ("a.jpg", "1", "rock toe", "rock_toe"),
        ("b.jpg", "1", "slope drain", "slope_drain"),
        ("b.jpg", "2", "", ""),
        ("c.jpg", "1", "vegetation", "vegetation"),
        ("d.jpg", "1", "", ""),
    ]
    assert {s.case.flight_line for s in objects} == {"", "line 2"}
    card = score_both(objects, TAXONOMY, targets={"accuracy": 0.9})
    assert (card["accuracy"].count, card["accuracy"].n, card.objects) == (1, 5, 5)
    assert card["accuracy"].target == 0.9
    assert (card["missed_defects"].count, card["missed_defects"].n) == (3, 3)
    assert card.unreadable == 0
    assert card.asked == 3


def test_floors_see_the_detectors_types_and_no_pixel() -> None:
    card = score_both(seen(photos(), {}), TAXONOMY, targets={}, train=[("slope_drain", "slope drain blocked")])
    # Here the first class of rock_toe and the only one of slope_drain are said: a.jpg and b.jpg 1 are right.
    assert card["accuracy"].majority_baseline == pytest.approx(2 / 5)
    assert card["accuracy"].train_majority_baseline == pytest.approx(1 / 5)
    assert card["class/vegetation"].majority_baseline is None
    perfect = score([s.case for s in seen(photos(), {})], TAXONOMY, targets={})
    assert perfect["accuracy"].majority_baseline == pytest.approx(3 / 5)  # the majority class, given every true box


def test_errors_are_split_by_stage_and_add_up() -> None:
    found = error_breakdown(photos(), TAXONOMY)
    shares = {f.key: (f.count, f.n) for f in found.figures}
    assert shares == {
        "error/missed": (1, 5),
        "error/misplaced": (1, 5),
        "error/wrong_type": (1, 5),
        "error/wrong_condition": (1, 5),
        "error/false": (2, 6),
        "error/double": (0, 6),
        "findings_right": (1, 6),
        "alarms_on_defects": (0, 2),
        "as_it_is": (1, 5),
        "perfect_judge": (2, 5),
    }
    assert sum(b.objects for b in found.by_type.values()) == 5
    assert (found.by_type["rock_toe"].misplaced, found.by_type["rock_toe"].false) == (1, 1)
    assert found.by_type["vegetation"].false == 1


def test_an_alarm_is_real_when_its_object_is_not_normal_whatever_its_class() -> None:
    other = sort_out(match("a.jpg", [said(1, "slope drain damaged", LEFT)], [true(1, "slope drain blocked", LEFT)]))
    figures = {f.key: f for f in error_breakdown([other], TAXONOMY).figures}
    assert (figures["alarms_on_defects"].count, figures["alarms_on_defects"].n) == (1, 1)


def test_types_add_up_whatever_is_found() -> None:
    rng, made = np.random.default_rng(5), []
    names = ["rock toe", "rock toe damaged", "slope drain", "vegetation"]
    for number in range(40):
        boxes = [Box(x, y, x + 10, y + h) for x, y, h in rng.uniform((0, 0, 5), (7, 7, 15), (8, 3))]
        drawn = [(i, str(rng.choice(names)), b, rng.random()) for i, b in enumerate(boxes[:4])]
        findings = [said(i, name, b, score=sure, photo=f"{number}.jpg") for i, name, b, sure in drawn]
        instances = [true(i, str(rng.choice(names)), b) for i, b in enumerate(boxes[4:])]
        made.append(sort_out(match(f"{number}.jpg", findings, instances)))
    found = error_breakdown(made, TAXONOMY)
    for name in ("right", "wrong_condition", "wrong_type", "misplaced", "missed", "double", "false"):
        assert sum(getattr(b, name) for b in found.by_type.values()) == getattr(found.counts, name)
    card = score_both(seen(made, {}), TAXONOMY, targets={})
    assert card["accuracy"].count == found.counts.right


def test_nothing_at_all_is_no_fault() -> None:
    found = error_breakdown([], TAXONOMY)
    assert (found.counts.objects, found.errors[0].n) == (0, 0)
    assert score_both((), TAXONOMY, targets={})["accuracy"].n == 0
