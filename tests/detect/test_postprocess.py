"""One detection per object: which of two boxes on one place stays, and what is told of the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.support.stand_ins import FakeDetector

from toeline.core.box import Box
from toeline.core.scene import Alternative, Detection, Instance
from toeline.detect.detector import Label
from toeline.detect.postprocess import OTHER_TYPE_IOU, SAME_TYPE_IOU, detections, find_settled, settle
from toeline.errors import ModelError

Outline = tuple[tuple[float, float], ...]


def see(kind: str, score: float, *xyxy: float, says: str = "", polygon: Outline = ()) -> Detection:
    return Detection(Instance("?", kind, Box(*xyxy), score, polygon), says)


def told(found: list[Detection]) -> list[tuple[str, str, float, list[tuple[str, str, float]]]]:
    return [
        (
            s.instance.id,
            s.instance.type_name,
            s.instance.score,
            [(g.type_name, g.class_name, g.score) for g in s.others],
        )
        for s in found
    ]


def test_of_two_types_on_one_place_the_more_confident_stays_and_tells_the_other() -> None:
    found = settle([see("toe_drain", 0.4, 0, 0, 100, 20), see("slope_drain", 0.7, 1, 0, 100, 20)])
    assert told(found) == [("1", "slope_drain", 0.7, [("toe_drain", "", 0.4)])]


def test_classes_of_one_type_on_one_object_are_one_object_of_the_most_confident_class() -> None:
    places = ((0, 0, 100, 20), (0, 1, 98, 20), (2, 0, 100, 21))
    names = ("slope drain", "slope drain blocked", "slope drain damaged")
    found = settle(
        [see("slope_drain", p, *xy, says=n) for p, xy, n in zip((0.3, 0.6, 0.5), places, names, strict=True)]
    )
    assert [(s.class_name, s.instance.score) for s in found] == [("slope drain blocked", 0.6)]
    assert found[0].others == (
        Alternative("slope_drain", 0.5, "slope drain damaged"),
        Alternative("slope_drain", 0.3, "slope drain"),
    )


def test_the_same_said_again_is_no_news() -> None:
    (one,) = settle([see("rock_toe", p, 0, 0, 50, 10, says="rock toe") for p in (0.9, 0.8, 0.7)])
    assert one.others == ()
    twice = settle([see("rock_toe", 0.9, 0, 0, 9, 9), *(see("toe_drain", p, 0, 0, 9, 9) for p in (0.5, 0.4))])
    assert told(twice) == [("1", "rock_toe", 0.9, [("toe_drain", "", 0.5)])]


@pytest.mark.parametrize(("kind", "limit"), [("toe_drain", SAME_TYPE_IOU), ("rock_toe", OTHER_TYPE_IOU)])
def test_boxes_up_to_the_limit_are_two_objects(kind: str, limit: float) -> None:
    def iou_of(iou: float) -> list[Detection]:
        return settle([see("toe_drain", 0.9, 0, 0, 100, 10), see(kind, 0.8, 0, 0, 100 * iou, 10)])

    assert len(iou_of(limit - 0.01)) == 2
    assert len(iou_of(limit + 0.01)) == 1


def test_what_goes_is_told_to_the_one_that_it_overlaps_most() -> None:
    left, right = see("toe_drain", 0.9, 0, 0, 100, 10), see("rock_toe", 0.8, 20, 0, 120, 10)
    between = see("slope_drain", 0.5, 12, 0, 112, 10)
    found = settle([left, right, between], other=0.7)
    assert [s.instance.type_name for s in found if s.others] == ["rock_toe"]


def test_a_box_that_went_suppresses_nothing() -> None:
    chain = [see(kind, p, x, 0, x + 100, 10) for kind, p, x in (("a", 0.9, 0), ("b", 0.8, 12), ("c", 0.7, 24))]
    assert [s.instance.type_name for s in settle(chain)] == ["a", "c"]


def test_slanted_drains_side_by_side_are_two_as_far_as_outlines_are_known() -> None:
    """Their boxes have an IoU of 0.67, their outlines of nearly none."""
    one: Outline = ((0, 0), (10, 0), (100, 90), (100, 100), (90, 100), (0, 10))
    two: Outline = tuple((x + 20, y) for x, y in one)
    pair = [see("slope_drain", p, *Box.around(o).xyxy, polygon=o) for p, o in ((0.9, one), (0.8, two))]
    assert len(settle(pair)) == 2
    assert len(settle([replace(s, instance=replace(s.instance, polygon=())) for s in pair])) == 1
    again = see("slope_drain", 0.7, *Box.around(one).xyxy, polygon=tuple((x + 1, y) for x, y in one))
    assert len(settle([*pair, again])) == 2


KINDS = ("toe_drain", "slope_drain", "vegetation")


@st.composite
def seen(draw: st.DrawFn) -> list[Detection]:
    """Boxes on a coarse grid, so that many coincide, and confidences of which many are equal."""
    cells = st.integers(0, 3)
    rows = draw(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 4), cells, cells), max_size=12))
    return [see(kind, p / 4, x, y, x + 3, y + 3) for kind, p, x, y in rows]


@given(seen())
def test_nothing_that_stays_overlaps_and_nothing_is_forgotten(found: list[Detection]) -> None:
    kept = settle(found)
    for i, a in enumerate(kept):
        for b in kept[:i]:
            limit = SAME_TYPE_IOU if a.instance.type_name == b.instance.type_name else OTHER_TYPE_IOU
            assert a.instance.box.iou(b.instance.box) <= limit
    said = {s.instance.type_name for s in kept} | {g.type_name for s in kept for g in s.others}
    assert said == {s.instance.type_name for s in found}
    assert [s.instance.id for s in kept] == [str(n) for n in range(1, len(kept) + 1)]
    assert [s.instance.score for s in kept] == sorted((s.instance.score for s in kept), reverse=True)


@given(seen())
def test_settling_twice_changes_nothing(found: list[Detection]) -> None:
    once = settle(found)
    assert settle(once) == once == settle(found)


def test_any_detector_is_settled_photograph_by_photograph() -> None:
    class Doubled(FakeDetector):
        def find(self, images: object) -> list[list[Detection]]:
            found = super().find(images)  # type: ignore[arg-type]
            return [
                [*one, *(replace(s, instance=replace(s.instance, type_name="toe_drain", score=0.1)) for s in one)]
                for one in found
            ]

    sizes = ((100, 50), (10, 10), (60, 60))
    photos = [Image.new("RGB", size) for size in sizes]
    found = find_settled(Doubled(), photos)
    assert [len(one) for one in found] == [3, 0, 3]
    assert {g.type_name for one in found for s in one for g in s.others} == {"toe_drain"}


@pytest.mark.parametrize(
    ("x2", "score", "what"),
    [(np.nan, 0.9, "not a number of pixels"), (1e30, 0.9, "not a number of pixels"), (9, np.nan, "1 conf")],
)
def test_a_network_that_gives_no_numbers_is_not_one_that_finds_nothing(x2: float, score: float, what: str) -> None:
    with pytest.raises(ModelError, match=what):
        detections(
            np.array([[0, 0, x2, 9]]), np.array([score]), np.array([0]),
            labels={0: Label("toe_drain")}, limits={"toe_drain": 0.5}, size_wh=(20, 20),
        )  # fmt: skip
