"""The same object in several photographs: near, of one type, never two of one photograph, and the same every time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from toeline.core.geo import Meters
from toeline.report.geolocate import LocatedFinding, groups_of, within


def seen(*rows: str) -> list[LocatedFinding]:
    """seen("a toe_drain 0 0 3") is a toe drain on photograph a, at 0 east, 0 north, right to 3 m."""
    words = [row.split() for row in rows]
    return [LocatedFinding(p, kind, Meters(float(x), float(y)), float(e)) for p, kind, x, y, e in words]


instances = st.lists(
    st.builds(
        LocatedFinding,
        photo=st.sampled_from("abcde"),
        type_name=st.sampled_from(["toe_drain", "rock_toe"]),
        at=st.builds(Meters, st.floats(-30, 30), st.floats(-30, 30)),
        error_m=st.floats(1, 25),
    ),
    max_size=25,
)


def test_near_ones_of_one_type_in_two_photographs_are_one() -> None:
    assert groups_of(seen("a toe_drain 0 0 3", "b toe_drain 3 0 3", "c toe_drain 1 1 3")) == [[0, 1, 2]]


def test_other_types_other_places_and_the_same_photograph_are_not() -> None:
    assert groups_of(seen("a toe_drain 0 0 3", "b rock_toe 0 0 3")) == []
    assert groups_of(seen("a toe_drain 0 0 3", "b toe_drain 5 0 3")) == []
    assert groups_of(seen("a toe_drain 0 0 3", "a toe_drain 1 0 3")) == []


def test_two_drains_side_by_side_find_their_own_partners() -> None:
    rows = seen("a slope_drain 0 0 4", "a slope_drain 5 0 4", "b slope_drain 1 0 4", "b slope_drain 6 0 4")
    assert groups_of(rows) == [[0, 2], [1, 3]]


def test_a_row_of_near_neighbors_is_no_chain() -> None:
    rows = [f"{chr(97 + i)} slope_drain {3 * i} 0 3" for i in range(6)]
    found = groups_of(seen(*rows))
    assert [len(g) for g in found] == [2, 2, 2]


def test_what_is_too_uncertain_is_left_alone() -> None:
    assert groups_of(seen("a toe_drain 0 0 21", "b toe_drain 0 0 21")) == []


@given(instances)
def test_groups_keep_their_promises(rows: list[LocatedFinding]) -> None:
    groups = groups_of(rows)
    assert groups == groups_of(list(rows))
    members = [i for g in groups for i in g]
    assert len(members) == len(set(members))
    for group in groups:
        assert len(group) > 1
        assert len({rows[i].photo for i in group}) == len(group)
        assert len({rows[i].type_name for i in group}) == 1
        assert all(within(rows[i], rows[j]) for i in group for j in group if i != j)


@given(instances)
def test_no_two_that_could_be_one_are_both_alone(rows: list[LocatedFinding]) -> None:
    """The cells lose no pair."""
    alone = set(range(len(rows))) - {i for g in groups_of(rows) for i in g}
    for i in alone:
        for j in alone:
            a, b = rows[i], rows[j]
            certain = max(a.error_m, b.error_m) <= 20
            assert not (i < j and certain and a.type_name == b.type_name and a.photo != b.photo and within(a, b))
