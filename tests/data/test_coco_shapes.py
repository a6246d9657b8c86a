"""Turned boxes, run-length masks and polygons of COCO, each against values worked out by hand or by pycocotools."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as pycoco

from toeline.data.coco_shapes import area, as_number, clipped, join, read_shape
from toeline.data.labels import Points

SIZE = (400, 300)
CVAT = {"bbox": [180, 50, 40, 200], "segmentation": [], "attributes": {"rotation": 45.0}}


def shape(a: dict[str, Any], size: tuple[int, int] = SIZE) -> tuple[tuple[float, ...], Points, list[str], list[str]]:
    """Box, polygon, problems and notes."""
    found, said = read_shape(a, size)
    assert found is not None, said
    box, polygon = found
    return box.xyxy, polygon, [r.text for r in said if not r.note], [r.text for r in said if r.note]


def nothing(a: dict[str, Any], size: tuple[int, int] = SIZE) -> str:
    found, said = read_shape(a, size)
    assert found is None
    return said[-1].text


# Turned boxes


def test_a_turned_box_is_its_polygon_and_the_box_around_it() -> None:
    box, polygon, problems, notes = shape(CVAT)
    half = (40 + 200) * math.sqrt(0.5) / 2
    assert box == pytest.approx((200 - half, 150 - half, 200 + half, 150 + half))
    assert area(polygon) == pytest.approx(40 * 200)
    assert not problems
    assert not notes


def test_degrees_are_clockwise_as_seen() -> None:
    _, polygon, _, _ = shape({"bbox": [100, 100, 100, 20], "attributes": {"rotation": 30}})
    right_end = [y for x, y in polygon if x > 150]
    assert min(right_end) > 110  # y grows downward: the right end of a flat box has gone down


@pytest.mark.parametrize("degrees", [0, None, 180, 360, -180, "0", 0.0])
def test_half_turns_leave_a_box_a_box(degrees: Any) -> None:
    box, polygon, problems, _ = shape({**CVAT, "attributes": {"rotation": degrees}})
    assert (box, polygon, problems) == ((180, 50, 220, 250), (), [])


@pytest.mark.parametrize("degrees", [405, -315, "45", 45])
def test_degrees_may_be_in_quotes_and_beyond_a_turn(degrees: Any) -> None:
    assert shape({**CVAT, "attributes": {"rotation": degrees}})[0] == pytest.approx(shape(CVAT)[0])


@pytest.mark.parametrize("degrees", ["x", True, [45], float("nan"), 1e308, {}])
def test_a_rotation_that_is_no_number_is_told(degrees: Any) -> None:
    assert "its rotation" in nothing({**CVAT, "attributes": {"rotation": degrees}})


def test_a_turned_box_is_cut_at_the_border_and_not_pushed_in() -> None:
    box, polygon, problems, _ = shape({"bbox": [-50, 100, 100, 100], "attributes": {"rotation": 45}})
    assert box == pytest.approx((0, 150 - 50 * math.sqrt(2), 50 * math.sqrt(2), 150 + 50 * math.sqrt(2)))
    assert area(polygon) == pytest.approx(100 * 100 / 2)
    assert "beyond its border; cut off there" in problems[0]


def test_a_turned_box_outside_is_told() -> None:
    assert "lies outside" in nothing({"bbox": [900, 100, 100, 10], "attributes": {"rotation": 45}})


def test_rotation_at_top_level_is_read_and_the_assumption_told() -> None:
    box, _, problems, _ = shape({"bbox": [180, 50, 40, 200], "rotation": 45})
    assert box == pytest.approx(shape(CVAT)[0])
    assert "is taken as CVAT's: degrees clockwise" in problems[0]
    assert "attributes.rotation is 45 and its rotation 30" in nothing({**CVAT, "rotation": 30})


TURNED: list[dict[str, Any]] = [
    {"angle": 0.7}, {"attributes": {"Rotation": 30}}, {"attributes": {"angle": "0.5"}}, {"rbox": [5, 5, 9, 4, 30]},
    {"attributes": [{"name": "rotation", "value": 30}]}, {"extra": {"rotation": 45}}, {"rotated_bbox": [1, 1, 9, 4, 1]},
]  # fmt: skip


@pytest.mark.parametrize("a", [{"bbox": [180, 50, 40, 200, 45]}, *({"bbox": [1, 1, 9, 9], **a} for a in TURNED)])
def test_an_angle_of_unknown_meaning_is_not_guessed(a: dict[str, Any]) -> None:
    assert "nothing says whether" in nothing(a)
    assert "Export polygons, or CVAT's attributes.rotation" in nothing(a)
    assert shape({**a, "segmentation": [[10, 10, 50, 10, 50, 50]]})[0] == (10, 10, 50, 50)  # a polygon needs no angle


def test_a_box_that_is_not_turned_needs_no_angle() -> None:
    for a in (
        {"angle": 0},
        {"attributes": {"Rotation": 0.0, "angle": "left"}},
        {"rbox": None},
        {"extra": {"theta": ""}},
    ):
        assert shape({"bbox": [1, 1, 9, 9], **a})[0] == (1, 1, 10, 10)


def test_a_bbox_whose_area_is_that_of_two_corners_is_told() -> None:
    assert "its area of 100 is that of corners 10, 10 and 20, 20" in nothing({"bbox": [10, 10, 20, 20], "area": 100})
    for told in (400, 396, 0, None, 250, "x"):  # also a mask's area, which is less than its box
        assert shape({"bbox": [10, 10, 20, 20], "area": told})[0] == (10, 10, 30, 30)


def test_the_corners_of_the_unturned_box_are_turned_and_any_other_polygon_is_not() -> None:
    unturned = [[180, 50, 220, 50, 220, 250, 180, 250]]
    assert shape({**CVAT, "segmentation": unturned})[0] == pytest.approx(shape(CVAT)[0])
    turned = [[v for p in shape(CVAT)[1] for v in p]]
    box, polygon, problems, _ = shape({**CVAT, "segmentation": turned})
    assert box == pytest.approx(shape(CVAT)[0])
    assert len(polygon) == 4
    assert not problems


@given(st.lists(st.tuples(st.floats(-50, 450), st.floats(-50, 350)), min_size=3, max_size=3))
def test_what_is_cut_lies_inside_and_is_no_larger(corners: list[tuple[float, float]]) -> None:
    found = clipped(tuple(corners), SIZE)
    assert all(-1e-9 <= x <= 400 + 1e-9 and -1e-9 <= y <= 300 + 1e-9 for x, y in found)
    assert not found or area(found) <= area(tuple(corners)) + 1e-6


# Masks


def rle(mask: np.ndarray[Any, Any], *, text: bool) -> dict[str, Any]:
    """As pycocotools writes it: `counts` as text, or as a list."""
    found = pycoco.encode(np.asfortranarray(mask, dtype=np.uint8))
    size = [int(v) for v in found["size"]]
    if text:
        return {"size": size, "counts": found["counts"].decode()}
    flat = np.concatenate([[0], mask.ravel(order="F"), [2]])
    ends = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], ends])).tolist()
    return {"size": size, "counts": counts}


masks = st.tuples(st.integers(1, 14), st.integers(1, 14), st.integers(0, 2**32 - 1), st.floats(0.05, 0.95)).map(
    lambda v: (np.random.default_rng(v[2]).random((v[0], v[1])) < v[3]).astype(np.uint8)
)


@given(masks, st.booleans())
def test_a_mask_has_its_own_box_and_no_pixel_less(mask: np.ndarray[Any, Any], text: bool) -> None:
    high, wide = mask.shape
    if not mask.any():
        assert "empty" in nothing({"segmentation": rle(mask, text=text)}, (wide, high))
        return
    box, polygon, problems, notes = shape({"segmentation": rle(mask, text=text), "iscrowd": 1}, (wide, high))
    x, y, w, h = pycoco.toBbox(pycoco.encode(np.asfortranarray(mask)))
    assert box == (x, y, x + w, y + h)
    assert "iscrowd" in notes[0]
    holes = [s for s in (*problems, *notes) if "holes" in s]
    assert (area(polygon) == mask.sum()) is not bool(holes)
    assert area(polygon) >= mask.sum()


def test_a_rectangle_is_four_corners_on_the_edges_of_its_pixels() -> None:
    mask = np.zeros((300, 400), dtype=np.uint8)
    mask[30:60, 100:250] = 1
    for text in (True, False):
        box, polygon, problems, _ = shape({"segmentation": rle(mask, text=text), "bbox": [100, 30, 150, 30]})
        assert box == (100, 30, 250, 60)
        assert set(polygon) == {(100, 30), (250, 30), (250, 60), (100, 60)}
        assert not problems


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools' own
def test_a_circle_has_the_area_that_pycocotools_gives() -> None:
    y, x = np.mgrid[:300, :400]
    mask = ((x - 200) ** 2 + (y - 150) ** 2 < 90**2).astype(np.uint8)
    found = rle(mask, text=True)
    _, polygon, _, _ = shape({"segmentation": found})
    assert area(polygon) == int(pycoco.area({**found, "counts": found["counts"].encode()}))
    back = pycoco.decode(pycoco.merge(pycoco.frPyObjects([[v for p in polygon for v in p]], 300, 400)))
    assert np.count_nonzero(back != mask) < 0.02 * mask.sum()


def test_parts_are_joined_and_holes_are_told() -> None:
    mask = np.zeros((300, 400), dtype=np.uint8)
    mask[10:50, 10:50] = mask[100:200, 100:200] = 1
    mask[120:180, 120:180] = 0
    box, polygon, problems, _ = shape({"segmentation": rle(mask, text=True)})
    assert box == (10, 10, 200, 200)
    assert area(polygon) == 40 * 40 + 100 * 100
    assert any("2 parts are joined" in text for text in problems)
    assert any("its holes, 45.0% of its area, are filled" in text for text in problems)


LARGE = {"counts": [0, *[5 * 10**8, 0] * 20], "size": [100_000, 100_000]}
BAD_MASKS: list[tuple[dict[str, Any], str]] = [
    ({"counts": [100, 20], "size": [400, 300]}, r"has the size [400, 300], and the photograph [300, 400]"),
    ({"counts": [100, 20], "size": "big"}, "has the size 'big'"),
    ({"counts": [100, 20]}, "has the size None"),
    (LARGE, "has the size"),
    ({"counts": [100, 20], "size": [300, 400]}, "covers 120 pixels of the photograph's 120000"),
    ({"counts": [120001, -1], "size": [300, 400]}, "covers 120000 pixels"),
    ({"counts": [120000], "size": [300, 400]}, "is empty"),
    ({"counts": [], "size": [300, 400]}, "cannot be read"),
    ({"counts": [None], "size": [300, 400]}, "cannot be read"),
    ({"counts": "", "size": [300, 400]}, "cannot be read"),
    ({"counts": "abc", "size": [300, 400]}, "cannot be read"),
    ({"counts": "o" * 100_000, "size": [300, 400]}, "cannot be read"),
    ({"counts": "0\n1", "size": [300, 400]}, "cannot be read"),
    ({"counts": 5, "size": [300, 400]}, "cannot be read"),
    ({}, "has the size None"),
]


@pytest.mark.parametrize(("mask", "told"), BAD_MASKS)
def test_masks_that_cannot_be_read_are_told_and_the_box_is_kept(mask: dict[str, Any], told: str) -> None:
    box, polygon, problems, _ = shape({"segmentation": mask or {"x": 1}, "bbox": [1, 2, 30, 40]})
    assert (box, polygon) == ((1, 2, 31, 42), ())
    assert told in problems[0]
    assert problems[0].endswith("its box is kept.")
    assert "left out" in nothing({"segmentation": mask or {"x": 1}})


def test_a_mask_larger_than_memory_is_refused() -> None:
    assert "larger than" in nothing({"segmentation": LARGE}, (100_000, 100_000))


def test_a_small_mask_on_a_large_photograph_costs_little() -> None:
    runs = [30_000 * 5 + 100, 50, 10**9 - 30_000 * 5 - 150]
    box, _, _, _ = shape({"segmentation": {"counts": runs, "size": [10_000, 100_000]}}, (100_000, 10_000))
    assert box == (15, 100, 16, 150)


# Polygons


@pytest.mark.parametrize(
    "found",
    [
        [[10, 10, 50, 10, 50, 50]],
        [10, 10, 50, 10, 50, 50],
        [["10", "10", "50", "10", "50", "50.0"]],
        [[10, 10], [50, 10], [50, 50]],
        [[[10, 10], [50, 10], [50, 50]]],
    ],
)
def test_one_polygon_however_it_is_nested(found: Any) -> None:
    assert shape({"segmentation": found})[1] == ((10, 10), (50, 10), (50, 50))


@pytest.mark.parametrize(
    "found", ["[[1, 2, 3, 4, 5, 6]]", 5, [[None] * 6], [[1e308] * 6], [[True] * 6], [[1, 2, 3, 4, 5, "nan"]], [[[[1]]]]]
)
def test_polygons_that_are_none_are_told(found: Any) -> None:
    assert "have no three corners of two numbers" in nothing({"segmentation": found})


def test_a_bbox_at_another_place_than_its_polygon_is_told() -> None:
    _, _, problems, _ = shape({"segmentation": [[10, 10, 50, 10, 50, 50]], "bbox": [200, 200, 40, 40]})
    assert "its bbox is at another place" in problems[0]


def test_two_rings_of_many_corners_are_joined_and_more_are_refused() -> None:
    turns = np.linspace(0, 2 * np.pi, 5_000, endpoint=False)
    ring = np.stack([200 + 100 * np.cos(turns), 150 + 100 * np.sin(turns)], axis=1)
    rings = [ring.ravel().tolist(), (ring * 0.5).ravel().tolist()]
    _, polygon, _, _ = shape({"segmentation": rings})
    assert len(polygon) == 10_002
    assert "15,000 corners, and the limit is 10,000" in nothing({"segmentation": [*rings, rings[0]]})


def test_parts_without_number_are_told() -> None:
    triangles = [[x % 390, x // 390, x % 390 + 2, x // 390, x % 390, x // 390 + 2] for x in range(3_000)]
    told = nothing({"segmentation": triangles})
    assert "its 3,000 parts are too many to be joined" in told


@given(st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_joined_parts_keep_their_area(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = []
    for i in range(count):
        turns = np.sort(rng.random(5)) * 2 * np.pi
        parts.append(tuple((100 * i + 40 * math.cos(t), 40 * math.sin(t)) for t in turns))
    assert area(join(parts)) == pytest.approx(sum(map(area, parts)))


@pytest.mark.parametrize("value", [True, None, "", "x", "1,5", [1], 10**400, "9" * 39, float("inf")])
def test_what_is_no_number(value: Any) -> None:
    assert as_number(value) is None
