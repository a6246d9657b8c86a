"""Each relation on a drawing: one character is 10 by 10 pixels, a letter is the box that spans all its cells."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.relations import draw, said

from toeline.core.box import Box
from toeline.core.scene import Relation
from toeline.prompts.relations import NAMES, around, mirrored, nearest, relate

FACE = """
    ..............
    ......s.......
    ......s.......
    ......s.......
    rrrrr.s.......
    rrrrr.s.......
    ......s.......
    tttttttttttttt
"""


def test_above_and_below():
    held = relate(draw(FACE))
    assert "above" in said(held, "s", "t")
    assert "below" in said(held, "t", "s")
    assert "above" in said(held, "r", "t")
    assert "above" not in said(held, "t", "s")


def test_a_tall_drain_through_a_flat_toe_drain_is_still_above_it():
    scene = draw(
        """
        ..s..
        ..s..
        ..s..
        ..s..
        .....
        """,
        """
        .....
        .....
        .....
        ttttt
        .....
        """,
    )
    assert said(relate(scene), "s", "t") == {"above", "overlaps"}


def test_left_and_right_when_rows_are_shared_more_than_columns():
    held = relate(draw(FACE))
    assert said(held, "r", "s") & {"above", "below", "left_of", "right_of"} == {"left_of"}
    assert said(held, "s", "r") & {"above", "below", "left_of", "right_of"} == {"right_of"}


def test_on_a_diagonal_the_wider_gap_decides_and_vertical_wins_a_tie():
    steep = draw("r....\n.....\n.....\n.v...")
    level = draw("r....\n...v.")
    tie = draw("r...\n....\n..v.")
    assert "above" in said(relate(steep), "r", "v")
    assert "left_of" in said(relate(level), "r", "v")
    assert "above" in said(relate(tie), "r", "v")


def test_no_direction_between_boxes_about_one_center():
    scene = draw(
        """
        ..s..
        ..s..
        ..s..
        """,
        """
        .....
        rrrrr
        .....
        """,
    )
    assert said(relate(scene), "s", "r") == {"overlaps"}


def test_a_toe_drain_is_at_the_lower_end_of_the_slope_drain_that_reaches_it():
    held = relate(draw(FACE))
    assert "at_lower_end_of" in said(held, "t", "s")
    assert "at_lower_end_of" not in said(held, "s", "t")


@pytest.mark.parametrize(
    "picture",
    [
        "s....\ns....\n.....\n.....\nttttt",  # ends well before it
        "ttttt\n..s..\n..s..",  # begins at it
        "s....\ns....\ns.ttt",  # reaches the row, but far to the side
        "sssss\nttttt",  # lies along it
    ],
)
def test_not_at_the_lower_end(picture):
    assert "at_lower_end_of" not in said(relate(draw(picture)), "t", "s")


def test_of_two_berms_only_the_lower_toe_drain_is_at_the_end():
    scene = draw(
        """
        aaaaaaa
        .......
        ...s...
        ...s...
        ...s...
        ttttttt
        """,
        kinds={"a": "toe_drain"},
    )
    held = relate(scene)
    assert "at_lower_end_of" in said(held, "t", "s")
    assert "at_lower_end_of" not in said(held, "a", "s")
    assert nearest(scene, "s", "toe_drain").id == "t"


def test_which_known_types_take_part():
    rocks = draw(FACE, kinds={"t": "rock_toe"})
    assert "at_lower_end_of" not in said(relate(rocks), "t", "s")
    pipes = draw(FACE, kinds={"t": "ditch", "s": "pipe"})
    assert "at_lower_end_of" in said(relate(pipes), "t", "s")


def test_inside_overlaps_and_covers():
    scene = draw(
        """
        rrrrrrrr
        rrrrrrrr
        rrrrrrrr
        rrrrrrrr
        """,
        """
        ........
        .v......
        .v......
        ........
        """,
    )
    held = relate(scene)
    assert said(held, "v", "r") == {"inside", "overlaps"}, "a sixteenth of the stone is hidden: not covered"
    assert said(held, "r", "v") == {"overlaps"}


def test_vegetation_covers_the_drain_that_it_hides_in_part():
    scene = draw(
        """
        ...s...
        ...s...
        ...s...
        ...s...
        ...s...
        """,
        """
        .......
        ..vvvv.
        ..vvvv.
        .......
        .......
        """,
    )
    held = relate(scene)
    assert "covers" in said(held, "v", "s")
    assert "covers" not in said(held, "s", "v"), "a drain hides no vegetation"


def test_a_sliver_is_not_an_overlap():
    scene = draw("rrrrr.\n.....v")
    stone, bush = scene.instances
    scene = replace(scene, instances=(stone, replace(bush, box=Box(49.5, 9.5, 60, 20))))
    assert said(relate(scene), "r", "v") & {"overlaps", "next_to"} == {"next_to"}


def test_next_to_ends_at_a_share_of_the_diagonal():
    scene = draw(("." * 30 + "\n") * 40)  # 300 x 400 pixels: a diagonal of 500
    stone, bush = draw("r.\n.v").instances

    def apart_by(gap_px: float) -> set[str]:
        moved = replace(bush, box=Box(10 + gap_px, 0, 30 + gap_px, 10))
        return said(relate(replace(scene, instances=(stone, moved))), "r", "v")

    assert "next_to" in apart_by(20)
    assert "next_to" not in apart_by(20.5)


def test_the_lower_end_reaches_a_share_of_the_diagonal():
    scene = draw(("." * 30 + "\n") * 40)  # 300 x 400 pixels: a diagonal of 500
    drain, toe = draw("s\ns\ns\n.\nt").instances

    def ending_before(gap_px: float) -> set[str]:
        moved = replace(toe, box=Box(0, 30 + gap_px, 300, 60))
        return said(relate(replace(scene, instances=(drain, moved))), "t", "s")

    assert "at_lower_end_of" in ending_before(15)
    assert "at_lower_end_of" not in ending_before(15.5)


def test_a_box_labeled_twice_overlaps_itself_and_nothing_more():
    stone, bush = draw("rrrr\nrrrr").instances * 2
    scene = replace(draw("......\n......"), instances=(stone, replace(bush, id="r2")))
    assert said(relate(scene), "r", "r2") == {"overlaps"}
    shifted = replace(bush, id="r2", box=Box(1, 0, 41, 20))  # a direction needs a fifth of the side: 8 pixels
    assert said(relate(replace(scene, instances=(stone, shifted))), "r", "r2") == {"overlaps"}
    clear = replace(bush, id="r2", box=Box(8, 0, 48, 20))
    assert said(relate(replace(scene, instances=(stone, clear))), "r", "r2") == {"left_of", "overlaps"}


def test_vertical_wins_when_both_offsets_are_alike():
    stone, bush = draw("rr..\nrr..\n..vv\n..vv").instances
    scene = replace(draw("....\n" * 4), instances=(stone, replace(bush, box=Box(10, 10, 30, 30))))
    assert "above" in said(relate(scene), "r", "v")


def test_distance_to_a_corner_is_the_straight_line():
    scene = draw("r....\n.....\n.....\n....v")
    assert relate(scene)[0].distance * scene.diagonal == pytest.approx(10 * (3**2 + 2**2) ** 0.5)


def test_distance_is_isotropic_in_pixels():
    across = draw("r..v................")
    down = draw("r...................\n....................\n....................\nv...................")
    (first, *_), (second, *_) = relate(across), relate(down)
    assert first.distance * across.diagonal == pytest.approx(20)
    assert second.distance * down.diagonal == pytest.approx(20)


def test_the_names_are_the_ones_that_others_rely_on():
    assert set(NAMES) == {
        "above", "below", "left_of", "right_of", "at_lower_end_of", "inside", "overlaps", "covers", "next_to",
    }  # fmt: skip


def test_a_scene_with_fewer_than_two_things_has_no_relations():
    assert relate(draw("....")) == ()
    assert relate(draw("..v.")) == ()


def test_around_keeps_a_far_type_in_place_of_a_near_crowd():
    scene = draw(
        """
        s.abcd........
        ..............
        ttttttttttttt.
        """,
        kinds=dict.fromkeys("abcd", "vegetation"),
    )
    neighbors = list(dict.fromkeys(r.other for r in around(scene, "s", limit=2)))
    assert neighbors == ["a", "t"], "both are 10 pixels away, ties go by id"
    assert list(dict.fromkeys(r.other for r in around(scene, "d", limit=3))) == ["c", "t", "s"]


def test_around_says_the_telling_names_first_and_none_twice():
    scene = draw(FACE)
    assert [r.name for r in around(scene, "t") if r.other == "s"] == ["at_lower_end_of", "below"]
    nested = draw("rrrr\nrrrr\nrrrr", "....\n.vv.\n....")
    assert [r.name for r in around(nested, "v")] == ["covers", "inside"]


def test_around_with_no_room_or_a_wrong_question():
    scene = draw(FACE)
    assert around(scene, "s", limit=0) == ()
    with pytest.raises(ValueError, match="limit is -1"):
        around(scene, "s", limit=-1)
    with pytest.raises(KeyError):
        around(scene, "nobody")
    assert nearest(scene, "s", "vegetation") is None


def test_mirrored_moves_boxes_and_polygons():
    scene = draw("r...")
    stone = replace(scene.instances[0], polygon=((0.0, 0.0), (10.0, 0.0), (0.0, 10.0)))
    (seen,) = mirrored(replace(scene, instances=(stone,))).instances
    assert seen.box == Box(30, 0, 40, 10)
    assert seen.polygon == ((40.0, 0.0), (30.0, 0.0), (40.0, 10.0))


def test_relations_are_plain_records():
    scene = draw("r.v")
    assert relate(scene)[0] == Relation("r", "left_of", "v", 10 / scene.diagonal)
