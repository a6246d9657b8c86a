"""What is worth a label: the order of known doubts, and a list that is spread over flight lines and frames."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from toeline.analysis.suggest import SeenObject, SeenPhoto, assess, class_needs, doubt, doubted, line_needs, suggestions
from toeline.analysis.table import ObjectTable
from toeline.core.geo import Meters, Point, moved
from toeline.core.taxonomy import Taxonomy
from toeline.data.yolo import flight_line, frame_number

TAXONOMY = Taxonomy.load()


def drain(share: float = 0.99, **more: object) -> SeenObject:
    given = {"answers": {"slope drain": share, "slope drain blocked": 1 - share}, "confidence": 0.999, **more}
    return SeenObject("slope drain 1", threshold=0.4, **given)  # type: ignore[arg-type]


def photo(name: str, *objects: SeenObject, position: Point | None = None) -> SeenPhoto:
    return SeenPhoto(name, flight_line(Path(name)), objects, position)


def order(*photos: SeenPhoto, n: int = 100, labeled: tuple[SeenPhoto, ...] = ()) -> list[str]:
    return [s.photo for s in suggestions(photos, n, labeled=labeled)]


def test_the_most_doubtful_comes_first_and_equals_by_name() -> None:
    lines = {"a_1.jpg": 0.95, "b_1.jpg": 0.55, "c_1.jpg": 0.7, "e_1.jpg": 0.85, "d_1.jpg": 0.85}
    seen = [photo(name, drain(share)) for name, share in lines.items()]
    assert order(*seen) == ["b_1.jpg", "c_1.jpg", "d_1.jpg", "e_1.jpg", "a_1.jpg"]
    assert order(*reversed(seen)) == order(*seen)
    assert order(*seen, n=2) == ["b_1.jpg", "c_1.jpg"]


@pytest.mark.parametrize(
    ("seen", "uncertainty", "words"),
    [
        (drain(0.5), 1.0, "1 close answer: slope drain 1 is slope drain 0.50 or slope drain blocked 0.50"),
        (drain(0.75), 0.25, "1 close answer: slope drain 1 is slope drain 0.75 or slope drain blocked 0.25"),
        (drain(confidence=0.4), 1.0, "1 weak detection: slope drain 1 at 0.40 (threshold 0.40)"),
        (drain(confidence=2 / 3), 0.25, "1 weak detection: slope drain 1 at 0.67 (threshold 0.40)"),  # odds 3 to 1
        (
            drain(confidence=0.95, rival=("toe drain", 0.9)),
            0.9025,
            "1 close type: slope drain 1 at 0.95, toe drain at 0.90",
        ),
        (drain(answers={}, readable=False), 1.0, "1 unreadable answer: slope drain 1"),
        (drain(1.0), 0.0, "nothing on it is in doubt"),
        (SeenObject("vegetation 1", answers={"vegetation": 1.0}), 0.0, "nothing on it is in doubt"),
    ],
)
def test_every_doubt_has_its_uncertainty_and_its_reason(seen: SeenObject, uncertainty: float, words: str) -> None:
    value, why = assess(photo("a.jpg", seen))
    assert value == pytest.approx(uncertainty, abs=2e-3)
    assert why == (words,)


def test_an_object_counts_by_its_largest_doubt_and_a_photograph_by_the_sum() -> None:
    weak_and_torn = drain(0.5, confidence=0.4)
    assert assess(photo("a.jpg", weak_and_torn))[0] == 1.0
    value, why = assess(photo("a.jpg", weak_and_torn, weak_and_torn, drain(1.0)))
    assert value == pytest.approx(2.0, abs=1e-3)
    assert [reason.split(":")[0] for reason in why] == ["2 weak detections", "2 close answers"]


def test_doubt_is_a_share() -> None:
    shares = np.linspace(0, 1, 11)
    assert all(0 <= doubt(a, b) <= 1 for a in shares for b in shares)


def test_a_photograph_without_a_detection_counts_as_one_undecided_object() -> None:
    seen = [photo("a_1.jpg", drain(0.9)), photo("b_1.jpg"), photo("c_1.jpg", drain(0.5), drain(0.5))]
    found = suggestions(seen, 3)
    assert [s.photo for s in found] == ["c_1.jpg", "b_1.jpg", "a_1.jpg"]
    assert found[1].why == ("nothing was found: it is empty, or all was overlooked",)


def test_fifty_are_not_fifty_frames_of_one_flight_line() -> None:
    one = [photo(f"B0_{i:04}.jpg", drain(0.52)) for i in range(200)]  # the most doubtful of all
    others = [photo(f"{line}_{i:04}.jpg", drain(0.6)) for line in ("B1", "B2", "R6") for i in range(40)]
    found = suggestions([*one, *others], 50)
    per_line = Counter(s.flight_line for s in found)
    assert per_line.keys() == {"B0", "B1", "B2", "R6"}
    assert max(per_line.values()) <= 25
    assert {s.flight_line for s in found[:4]} == per_line.keys()
    frames = sorted(frame_number(Path(s.photo)) or 0 for s in found if s.flight_line == "B0")
    assert min(b - a for a, b in pairwise(frames)) >= 5


def test_a_near_frame_comes_later_and_says_why() -> None:
    found = suggestions([photo(f"B0_{i}.jpg", drain(0.5 + i / 1000)) for i in (10, 11, 40)], 3)
    assert [s.photo for s in found] == ["B0_10.jpg", "B0_40.jpg", "B0_11.jpg"]
    assert found[2].why[-1] == "near B0_10.jpg, suggested already"
    assert found[0].uncertainty > found[2].uncertainty > found[2].adds


def test_positions_say_what_is_near_before_frames_do() -> None:
    start = Point(-33.92, 18.42)
    east = [moved(start, Meters(meters, 0)) for meters in (0, 3, 500)]
    apart = photo("B0_2.jpg", drain(0.51), position=east[2])
    beside = photo("B7_900.jpg", drain(0.505), position=east[1])
    assert order(photo("B0_1.jpg", drain(0.5), position=east[0]), beside, apart) == [
        "B0_1.jpg",
        "B0_2.jpg",  # the next frame, half a kilometer on
        "B7_900.jpg",  # another flight line over the same place
    ]


def test_labeled_photographs_count_as_taken_and_are_not_suggested() -> None:
    labeled = tuple(SeenPhoto(f"B0_{i}.jpg", "B0") for i in range(0, 100, 10))
    left = [SeenPhoto(name, name.split("_")[0]) for name in ("B0_5.jpg", "B0_11.jpg", "B1_1.jpg")]
    found = suggestions(left, 10, labeled=labeled)
    assert [s.photo for s in found] == ["B1_1.jpg", "B0_5.jpg", "B0_11.jpg"]
    assert found[1].why == ("2 of 12 of its flight line are not labeled",)
    assert found[2].why[1] == "near B0_10.jpg, labeled already"


def test_nothing_gives_nothing() -> None:
    assert suggestions([], 5) == []
    assert suggestions([], 5, labeled=[photo("a.jpg")]) == []


def test_doubts_are_counted_by_class_and_by_flight_line() -> None:
    seen = [photo("B0_1.jpg", drain(0.5), drain(0.99)), photo("B1_1.jpg", drain(0.2)), photo("B1_9.jpg")]
    by_class, by_line = doubted(seen)
    assert [(n.name, n.n, n.photos, n.spread, n.words) for n in by_class] == [
        ("slope drain", 2, 1, 1, "1 of 2"),
        ("slope drain blocked", 1, 1, 1, ""),
    ]
    assert [(n.name, n.words) for n in by_line] == [("B0", "1 of 2"), ("B1", "")]


def table(rows: list[tuple[str, str, str, list[str]]], *, known: list[bool] | None = None) -> ObjectTable:
    """Photographs as (split, flight line, name, class names)."""
    classes = [c.name for c in TAXONOMY.classes]
    kinds = [t.name for t in TAXONOMY.types]
    splits, groups = (tuple(dict.fromkeys(row[at] for row in rows)) for at in (0, 1))
    names = [name for row in rows for name in row[3]]
    return ObjectTable(
        taxonomy=TAXONOMY,
        splits=splits,
        groups=groups,
        photos=tuple(row[2] for row in rows),
        label_files=tuple(f"{row[2]}.txt" for row in rows),
        split=np.array([splits.index(row[0]) for row in rows]),
        group=np.array([groups.index(row[1]) for row in rows]),
        size_wh=np.full((len(rows), 2), 100.0),
        known=np.array(known or [True] * len(rows)),
        photo=np.repeat(np.arange(len(rows)), [len(row[3]) for row in rows]),
        kind=np.array([kinds.index(TAXONOMY.class_of(name).type) for name in names]),
        cls=np.array([classes.index(name) for name in names]),
        line=np.arange(len(names)) + 1,
        boxes=np.tile([0.0, 0.0, 10.0, 10.0], (len(names), 1)),
    )


def test_a_class_says_what_it_lacks() -> None:
    rows = [("train", f"L{i % 5}", f"{i}.jpg", ["rock toe"] * 2 + ["vegetation"] * 3) for i in range(40)]
    rows += [("train", "L9", "one.jpg", ["slope drain"] * 10), ("valid", "V", "v.jpg", ["rock toe"] * 5)]
    needs = {need.name: need for need in class_needs(table(rows), 0.9)}
    assert needs["Toe drain"].words == "none at all: photograph it first, it cannot be learned"
    assert needs["slope drain"].words == (
        "on one flight line: label another, or it cannot be learned and measured apart; about 4 photographs more with "
        "it, for 50 objects; 35 more in valid, to show 90 %"
    )
    assert (needs["rock toe"].n, needs["rock toe"].photos, needs["rock toe"].spread) == (85, 41, 6)
    assert needs["rock toe"].words == "30 more in valid, to show 90 %"
    assert needs["vegetation"].words == ""  # one class: there is nothing to show
    assert [need.n for need in class_needs(table(rows), 0.9)] == sorted(need.n for need in needs.values())


def test_a_flight_line_says_how_much_of_it_is_labeled() -> None:
    rows = [("train", "A", "a.jpg", ["rock toe"]), ("train", "B", "b.jpg", []), ("train", "B", "c.jpg", ["rock toe"])]
    needs = line_needs(table(rows, known=[True, False, True]))
    assert [(n.name, n.n, n.photos, n.words) for n in needs] == [
        ("A", 1, 1, ""),
        ("B", 1, 1, "1 of 2 are not labeled"),
    ]
