"""Detected boxes against true ones: every object and every finding under one name, and the sums add up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.matched import FAR, LEFT, RIGHT, said, true

from toeline.core.box import Box
from toeline.core.finding import Verdict
from toeline.evaluate.detection import breakdown, detection_metrics, sort_out
from toeline.evaluate.matching import match

LOOSELY = Box(0, 0, 10, 3)  # IoU 0.3 with LEFT


@pytest.mark.parametrize(
    ("findings", "instances", "names"),
    [
        ([said(1, "rock toe", LEFT)], [true(1, "rock toe", LEFT)], {"right": 1}),
        ([said(1, "rock toe", LEFT)], [true(1, "rock toe damaged", LEFT)], {"wrong_condition": 1}),
        ([said(1, "vegetation", LEFT)], [true(1, "rock toe", LEFT)], {"wrong_type": 1}),
        ([said(1, "rock toe", LOOSELY)], [true(1, "rock toe", LEFT)], {"misplaced": 1}),
        ([said(1, "vegetation", LOOSELY)], [true(1, "rock toe", LEFT)], {"missed": 1, "false": 1}),
        ([], [true(1, "rock toe", LEFT)], {"missed": 1}),
        ([said(1, "rock toe", FAR)], [], {"false": 1}),
        (
            [said(1, "rock toe", LEFT), said(2, "rock toe", LEFT)],
            [true(1, "rock toe", LEFT)],
            {"right": 1, "double": 1},
        ),
        (
            [said(1, "rock toe", LEFT), said(2, "vegetation", LEFT)],
            [true(1, "rock toe", LEFT)],
            {"right": 1, "false": 1},
        ),
    ],
)
def test_each_object_and_each_finding_has_one_name(findings: list, instances: list, names: dict[str, int]) -> None:
    counts = breakdown([sort_out(match("a.jpg", findings, instances))])
    told = {
        k: v
        for k, v in counts.record().items()
        if v and k in ("right", "wrong_condition", "wrong_type", "misplaced", "missed", "double", "false")
    }
    assert told == names
    assert (counts.objects, counts.findings) == (len(instances), len(findings))


def test_a_judge_that_overrules_a_wrong_type_is_right() -> None:
    overruled = replace(said(1, "toe drain", LEFT), verdict=Verdict("slope drain", "normal", 1.0, {"slope drain": 1.0}))
    counts = breakdown([sort_out(match("a.jpg", [overruled], [true(1, "slope drain", LEFT)]))])
    assert (counts.right, counts.wrong_type) == (1, 0)


def test_the_sums_add_up_whatever_is_found() -> None:
    rng, photos, found, there = np.random.default_rng(2), [], 0, 0
    names = ["rock toe", "rock toe damaged", "slope drain", "vegetation"]

    def box() -> Box:
        x, y = rng.uniform(0, 7, 2)
        return Box(x, y, x + 10, y + rng.uniform(5, 15))

    for number in range(60):
        findings = [said(i, str(rng.choice(names)), box(), score=rng.random()) for i in range(rng.integers(0, 6))]
        instances = [true(i, str(rng.choice(names)), box()) for i in range(rng.integers(0, 6))]
        photos.append(sort_out(match(f"{number}.jpg", findings, instances)))
        found, there = found + len(findings), there + len(instances)
    counts = breakdown(photos)
    assert (counts.findings, counts.objects) == (found, there)
    assert counts.lost_by_detector + counts.lost_by_judge + counts.right == there
    assert min(counts.missed, counts.wrong_type, counts.misplaced, counts.double, counts.false) > 0


def test_detector_alone_and_both_stages_worked_by_hand() -> None:
    matched = [
        match("a.jpg", [said(1, "rock toe", LEFT)], [true(1, "rock toe", LEFT), true(2, "vegetation", RIGHT)]),
        match("b.jpg", [said(1, "slope drain", LEFT)], [true(1, "slope drain blocked", LEFT)]),
        match("c.jpg", [said(1, "vegetation", LEFT)], []),
    ]
    figures = {f.key: f for f in detection_metrics(matched)}
    assert [(f.count, f.n) for f in (figures["objects_found"], figures["findings_real"])] == [(2, 3), (2, 3)]
    ends = ("end_to_end_f1", "end_to_end", "end_to_end_precision")
    assert [figures[key].value for key in ends] == pytest.approx([1 / 3] * 3)
    assert detection_metrics([])[2].value == 0.0


def test_flight_lines_can_be_resampled_instead_of_photographs() -> None:
    matched = [match(f"{i}.jpg", [said(1, "rock toe", LEFT)] * (i % 2), [true(1, "rock toe", LEFT)]) for i in range(20)]
    by_photo = detection_metrics(matched)[0]
    by_flight = detection_metrics(matched, groups={f"{i}.jpg": str(i % 2) for i in range(20)})[0]
    assert by_photo.clustered.low > 0.2
    assert by_flight.clustered == (0.0, 1.0)
