"""Two visits compared: what is the same object, what became of it, and how sure that is."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from tests.support.visits import ORIGIN, SIZE, WORDS, at, pose, said, shot, visit

from toeline.core.box import Box
from toeline.core.finding import Finding, Verdict
from toeline.core.geo import Meters, moved
from toeline.core.severity import NO_GRADING, UNGRADED
from toeline.core.taxonomy import Taxonomy
from toeline.report.camera_geometry import pixel_of
from toeline.report.document import render_html, render_markdown
from toeline.report.revisit import Revisit, VisitChange, compared
from toeline.report.revisit_page import COLUMNS, page_of, record, rows
from toeline.report.tables import to_csv
from toeline.report.visit_pictures import place_wanted
from toeline.report.visits import PersonsAnswer, Seen, Visit, objects_of

ROW = [shot(f"a{n}.jpg", pose(40 * n)) for n in range(4)]  # the ground from 26 m west to 146 m east, overlapping
LATER = [shot(f"b{n}.jpg", pose(40 * n + 3)) for n in range(4)]


def told(before: list[Finding], after: list[Finding], **more: object) -> Revisit:
    return compared(visit("May", ROW, before), visit("November", LATER, after), **more)  # type: ignore[arg-type]


def only(found: Revisit) -> VisitChange:
    assert len(found.changes) == 1, [c.status for c in found.changes]
    return found.changes[0]


def statuses(found: Revisit) -> list[str]:
    return [c.words for c in found.changes]


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        ("slope drain", "slope drain", "same"),
        ("slope drain", "slope drain blocked", "worse"),
        ("slope drain damaged", "slope drain", "better"),
        ("slope drain blocked", "slope drain damaged", "changed"),  # both are of one severity
        ("Toe drain- Damaged", "Toe drain- Blocked", "worse"),
        ("vegetation", "vegetation", "same"),
    ],
)
def test_one_object_seen_again(before: str, after: str, status: str) -> None:
    change = only(told([said("a1.jpg", 1, before, at(40))], [said("b1.jpg", 7, after, at(43, 1))]))
    assert (change.words, change.way) == (status, "position")
    assert change.distance_m == pytest.approx(10**0.5, abs=0.01)


def test_the_same_type_within_both_accuracies_and_no_farther() -> None:
    # accuracies of 3 m each: 8.48 m is twice what both may be off together
    for east, status in ((8.4, ["same"]), (8.6, ["new", "gone"])):
        found = told([said("a1.jpg", 1, "rock toe", at(40))], [said("b1.jpg", 1, "rock toe", at(40 + east))])
        assert statuses(found) == status
    near = told([said("a1.jpg", 1, "rock toe", at(40))], [said("b1.jpg", 1, "slope drain", at(49))])
    assert statuses(near) == ["new", "gone"]


def test_another_type_in_its_place_is_told_and_makes_both_doubtful() -> None:
    found = told([said("a1.jpg", 1, "rock toe", at(40))], [said("b1.jpg", 1, "slope drain", at(41))])
    assert statuses(found) == ["perhaps new", "perhaps gone"]
    assert found.changes[0].perhaps == ("a rock toe was found in its place",)


def test_a_row_of_drains_that_lies_a_little_off_is_paired_as_a_row() -> None:
    # each lies as near to its neighbor as to itself: taken one by one, the nearest would be the wrong one
    before = [said("a1.jpg", n, "slope drain", at(30 + 6 * n)) for n in range(4)]
    after = [said("b1.jpg", n, "slope drain", at(34 + 6 * n)) for n in range(4)]
    found = told(before, after)
    assert [(c.before.finding.id, c.after.finding.id) for c in found.changes if c.before and c.after] == [
        (str(n), str(n)) for n in range(4)
    ]
    assert statuses(found) == ["same"] * 4


def test_a_neighbor_in_another_condition_that_fits_as_well_makes_a_change_doubtful() -> None:
    before = [said("a1.jpg", 1, "slope drain", at(40)), said("a1.jpg", 2, "slope drain blocked", at(42))]
    after = [said("b1.jpg", 1, "slope drain blocked", at(40.9)), said("b1.jpg", 2, "slope drain", at(41.1))]
    found = told(before, after)
    assert set(statuses(found)) == {"perhaps worse", "perhaps better"}
    assert all("another slope drain in another condition" in c.perhaps[-1] for c in found.changes)


def test_what_was_not_photographed_is_not_gone_and_not_new() -> None:
    before = [said("a0.jpg", 1, "rock toe", at(0)), said("a3.jpg", 1, "rock toe", at(120))]
    found = compared(visit("May", ROW, before), visit("November", LATER[:3], []))
    assert {c.before.finding.photo: c.status for c in found.changes if c.before} == {
        "a0.jpg": "gone",
        "a3.jpg": "not seen again",
    }
    assert "not photographed" in found.changes[1].why
    back = compared(visit("November", LATER[:3], []), visit("May", ROW, before))
    assert {c.after.finding.photo: c.status for c in back.changes if c.after} == {
        "a0.jpg": "new",
        "a3.jpg": "first seen",
    }


def test_at_the_edge_of_what_was_photographed_nothing_is_certainly_gone() -> None:
    edge = 40 * 3 + 3 + 0.5 * 53.3 - 1  # a meter inside the last photograph of the second visit
    found = told([said("a3.jpg", 1, "rock toe", at(edge))], [])
    assert statuses(found) == ["perhaps gone"]
    assert found.changes[0].perhaps == ("its place is at the edge of what was photographed",)


def test_a_photograph_that_failed_shows_nothing() -> None:
    later = [{**s, "failed": True} if s["photo"] == "b3.jpg" else s for s in LATER]
    found = compared(visit("May", ROW, [said("a3.jpg", 1, "rock toe", at(135))]), visit("November", later, []))
    assert statuses(found) == ["not seen again"]
    assert "1 photograph of the second visit could not be inspected" in str(found.problems[0])


def test_an_object_on_several_photographs_counts_once() -> None:
    before = [said(f"a{n}.jpg", 1, "rock toe", at(50 + n, group="g1")) for n in (1, 2)]
    after = [said(f"b{n}.jpg", 4, "rock toe damaged", at(50 + n, group="g9")) for n in (1, 2)]
    change = only(told(before, after))
    assert (change.words, len(change.either.members)) == ("worse", 2)
    assert rows(told(before, after))[0]["after_photographs"] == 2


def test_photographs_of_one_object_that_disagree_are_averaged_and_doubtful() -> None:
    two = [
        said("a1.jpg", 1, "rock toe", at(50, group="g1"), p=0.9),
        said("a2.jpg", 1, "rock toe damaged", at(51, group="g1"), p=0.6),
    ]
    (its,) = objects_of(visit("May", ROW, two), WORDS)
    assert its.odds == pytest.approx({"rock toe": 0.65, "rock toe damaged": 0.35})
    assert (its.class_name, its.review) == (
        "rock toe",
        "its photographs are judged differently: rock toe and rock toe damaged",
    )


def test_the_probability_of_a_change_is_that_of_two_independent_answers() -> None:
    change = only(
        told(
            [said("a1.jpg", 1, "slope drain", at(40), p=0.8)], [said("b1.jpg", 1, "slope drain blocked", at(40), p=0.7)]
        )
    )
    # normal .8, blocked .1, damaged .1; then blocked .7, normal .15, damaged .15
    assert change.p_differs == pytest.approx(1 - (0.8 * 0.15 + 0.1 * 0.7 + 0.1 * 0.15))
    assert change.p_told == pytest.approx(0.8 * 0.85)  # normal, then either of the two that are worse
    assert change.perhaps == ("the two answers make it 68 % likely, less than 80 %",)
    sure = told([change.before.finding], [change.after.finding], sure=0.65)  # type: ignore[union-attr]
    assert statuses(sure) == ["worse"]


def test_what_is_to_be_reviewed_is_doubtful_on_either_side() -> None:
    clear, unclear = (
        said("a1.jpg", 1, "rock toe", at(40)),
        said("b1.jpg", 1, "rock toe damaged", at(40), review="a tie"),
    )
    assert only(told([clear], [unclear])).perhaps == ("the second visit's answer is to be reviewed (a tie)",)
    weak = said("a1.jpg", 1, "rock toe", at(40), score=0.4)
    assert only(told([weak], [])).perhaps == ("the detector was 40 % sure of it, less than 80 %",)


def test_without_an_answer_nothing_is_told_of_the_condition() -> None:
    silent = replace(said("b1.jpg", 1, "rock toe", at(40)), verdict=Verdict("", "", 0.0, {}, review="unreadable"))
    change = only(told([said("a1.jpg", 1, "rock toe", at(40))], [silent]))
    assert (change.status, change.p_differs, change.p_told) == ("unclear", None, None)


BOX = (100.0, 100.0, 160.0, 140.0)


def named(*findings: Finding, shots: tuple[str, ...] = ("berm north.jpg", "berm south.jpg"), sha: str = "") -> Visit:
    return visit("v", [shot(name, sha256=sha and f"{sha} {name}") for name in shots], findings)


def test_without_positions_boxes_on_photographs_of_one_name_are_paired() -> None:
    before = named(said("berm north.jpg", 1, "rock toe", box=BOX), said("berm south.jpg", 1, "rock toe", box=BOX))
    after = named(said("berm north.jpg", 5, "rock toe damaged", box=(110, 105, 170, 145)))
    found = compared(before, after)
    assert [(c.words, c.way) for c in found.changes] == [("worse", "name"), ("gone", "")]
    assert found.changes[0].overlap == pytest.approx(50 * 35 / (2 * 2400 - 50 * 35))
    assert found.ways == {"name": 1}
    # the view was not taken again: not gone
    assert statuses(compared(before, named(shots=("berm north.jpg",))))[-1] == "not seen again"


def test_boxes_are_compared_in_shares_of_their_photographs() -> None:
    before = visit("v", [shot("x.jpg")], [said("x.jpg", 1, "rock toe", box=BOX)])
    large = visit("w", [shot("x.jpg", size=[800, 600])], [said("x.jpg", 1, "rock toe", box=(200, 200, 320, 280))])
    assert only(compared(before, large)).overlap == pytest.approx(1)


def test_the_same_photograph_under_another_name_is_known_by_its_content() -> None:
    before = visit("v", [shot("x.jpg", sha256="1")], [said("x.jpg", 1, "rock toe")])
    after = visit("w", [shot("y.jpg", sha256="1")], [said("y.jpg", 1, "rock toe")])
    assert (only(compared(before, after)).way, only(compared(before, after)).words) == ("content", "same")


def test_copies_of_a_photograph_show_its_objects_once() -> None:
    found = [said("x.jpg", 1, "rock toe"), said("x.jpg", 2, "rock toe", box=(200, 100, 260, 140))]
    copied = [*found, *(replace(finding, photo="copy.jpg") for finding in found)]
    once = visit("v", [shot("x.jpg", sha256="1")], found)
    twice = visit("w", [shot("x.jpg", sha256="1"), shot("copy.jpg", sha256="1")], copied)
    for pair in ((once, twice), (twice, once), (twice, twice)):
        assert statuses(compared(*pair)) == ["same", "same"]
    moved_box = [*found, replace(found[0], photo="copy.jpg", box=Box(300, 200, 360, 260))]
    other = visit("w", twice.progress, moved_box)  # boxes of label files may be others on a copy
    assert statuses(compared(once, other)) == ["new", "same", "same"]
    unlike = visit("w", [shot("x.jpg", sha256="1"), shot("copy.jpg", sha256="2")], copied)
    assert len(objects_of(unlike, WORDS)) == 4


def test_where_nothing_was_seen_twice_nothing_is_told_to_be_as_it_was() -> None:
    apart = compared(visit("v", [shot("x.jpg")], [said("x.jpg", 1, "rock toe")]), visit("w", [shot("y.jpg")], []))
    assert page_of(apart, {}).headline == "Not known: no object was seen in both visits."


def test_photographs_of_one_name_that_were_taken_elsewhere_are_two() -> None:
    # positions of cameras, without height: where the objects are is not known
    def flown(east: float) -> Visit:
        place = replace(pose(east), height_m=None)
        return visit("v", [shot("DJI_0001.jpg", place)], [said("DJI_0001.jpg", 1, "rock toe")])

    assert statuses(compared(flown(0), flown(10))) == ["same"]
    assert statuses(compared(flown(0), flown(30))) == ["not seen again", "first seen"]


def test_a_place_that_photographs_without_a_position_may_show_is_not_known() -> None:
    later = [LATER[0], shot("b9.jpg")]
    found = compared(visit("May", ROW, [said("a3.jpg", 1, "rock toe", at(120))]), visit("November", later, []))
    assert "not known: 1 photograph of the second visit may show it" in only(found).why


def test_the_same_run_twice_has_no_change() -> None:
    twins = [said("a1.jpg", n, c, at(40)) for n, c in ((1, "rock toe"), (2, "rock toe damaged"), (3, "rock toe"))]
    more = [said("a2.jpg", n, "slope drain blocked", at(80 + n)) for n in range(5)]
    one = visit("May", ROW, twins + more)
    found = compared(one, one)
    assert set(statuses(found)) == {"same"}
    assert all(c.before.finding == c.after.finding for c in found.changes if c.before and c.after)
    assert (len(found.changes), found.differences, found.problems) == (8, (), ())


def test_photographs_of_unknown_size_show_no_ground() -> None:
    sizeless = [shot("b1.jpg", pose(40), size=[0, 0])]
    found = compared(visit("May", ROW, [said("a1.jpg", 1, "rock toe", at(40))]), visit("November", sizeless, []))
    assert statuses(found) == ["not seen again"]
    assert "not known" in only(found).why


def test_empty_visits() -> None:
    nothing = compared(visit("May", ROW, []), visit("November", LATER, []))
    assert (nothing.changes, nothing.problems) == ((), ())
    assert "Nothing changed" in page_of(nothing, {}).headline


def scattered(seed: int) -> tuple[list[Finding], list[Finding]]:
    rng = random.Random(seed)
    sides: tuple[list[Finding], list[Finding]] = ([], [])
    for n in range(40):
        east, north, kind = rng.uniform(-20, 140), rng.uniform(-15, 15), rng.choice(WORDS.types).name
        for side, letter in zip(sides, "ab", strict=True):
            if rng.random() < 0.85:
                place = at(east + rng.gauss(0, 2), north + rng.gauss(0, 2))
                answer = rng.choice(WORDS.answers(kind))
                side.append(said(f"{letter}{n % 4}.jpg", n, answer, place, p=rng.uniform(0.5, 0.99)))
    return sides


MIRROR = {"new": "gone", "gone": "new", "worse": "better", "better": "worse",
          "first seen": "not seen again", "not seen again": "first seen"}  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_neither_the_order_nor_the_direction_decides_what_is_found(seed: int) -> None:
    before, after = scattered(seed)
    found = record(told(before, after))
    assert found == record(told(before, after))
    rng = random.Random(seed)
    shuffled = [rng.sample(list(its), len(its)) for its in (ROW, before, LATER, after)]
    again = compared(visit("May", shuffled[0], shuffled[1]), visit("November", shuffled[2], shuffled[3]))  # type: ignore[arg-type]
    assert json.dumps(record(again)) == json.dumps(found)
    back = compared(visit("November", LATER, after), visit("May", ROW, before))
    mirrored = sorted(MIRROR.get(c.status, c.status) for c in back.changes)
    assert mirrored == sorted(c["change"] for c in found["changes"])


@pytest.mark.parametrize("seed", range(3))
def test_every_object_is_in_exactly_one_change(seed: int) -> None:
    before, after = scattered(seed)
    found = told(before, after)
    for side, its in (("before", before), ("after", after)):
        kept = [getattr(c, side).finding for c in found.changes if getattr(c, side)]
        assert sorted((f.photo, f.id) for f in kept) == sorted((f.photo, f.id) for f in its)


def decided(finding: Finding, action: str, class_name: str = "", **more: object) -> PersonsAnswer:
    return PersonsAnswer(finding.photo, finding.id, action, class_name, user="ann", time="2026-05-01", **more)  # type: ignore[arg-type]


def test_what_people_decided_replaces_the_model() -> None:
    drain, stone, ghost = (
        said("a1.jpg", n, c, at(30 + 20 * n), p=0.6, review="unsure")
        for n, c in ((0, "slope drain"), (1, "rock toe"), (2, "rock toe"))
    )
    later = [said("b1.jpg", 1, "slope drain", at(30)), said("b1.jpg", 2, "rock toe", at(50))]
    reviewed = [decided(drain, "change", "slope drain blocked"), decided(stone, "unsure"), decided(ghost, "reject")]
    found = compared(visit("May", ROW, [drain, stone, ghost], reviewed=reviewed), visit("November", LATER, later))
    assert statuses(found) == ["unclear", "better"]
    row = rows(found)[1]
    assert (row["before_by"], row["after_by"], row["before_probability"]) == ("ann, 2026-05-01", "model", 1.0)
    assert "decisions of people are known of the first visit alone" in found.differences


def test_an_object_that_a_person_added_is_placed_by_its_photograph() -> None:
    # the photograph shows 53.3 m on 400 pixels: the middle of this box is 6.67 m east of the camera at 40 m
    added = PersonsAnswer("a1.jpg", "+1", "add", "rock toe", Box(240, 140, 260, 160), "ann", "2026-05-01")
    found = compared(
        visit("May", ROW, [], reviewed=[added]), visit("November", LATER, [said("b1.jpg", 1, "rock toe", at(46.7))])
    )
    assert only(found).words == "same"
    assert only(found).distance_m == pytest.approx(0.03, abs=0.1)


def test_an_added_object_on_two_photographs_is_one() -> None:
    both = [
        PersonsAnswer(f"a{n}.jpg", "+1", "add", "rock toe", Box(190 + x, 140, 210 + x, 160), "ann", "2026")
        for n, x in ((1, 150), (2, -150))  # 20 m east of the one camera, 20 m west of the other
    ]
    assert len(objects_of(visit("May", ROW, [], reviewed=both), WORDS)) == 1


def test_other_models_taxonomies_and_thresholds_are_told() -> None:
    one = {
        "settings": {"thresholds": [], "weights": {"a": "1"}, "taxonomy_sha256": "x" * 64},
        "versions": {"toeline": "0.1"},
    }
    two = {
        "settings": {"thresholds": ["0.4"], "weights": {"a": "2"}, "taxonomy_sha256": "y" * 64},
        "versions": {"toeline": "0.2"},
    }
    found = compared(visit("May", ROW, [], record=one), visit("November", LATER, [], record=two))
    text = "; ".join(found.differences)
    assert all(part in text for part in ("fingerprint", "thresholds was [], now ['0.4']", "taxonomy", "0.1, then 0.2"))
    assert text in page_of(found, {}).points[0].text


def test_a_type_that_the_other_visit_could_not_name_is_not_gone() -> None:
    less = Taxonomy("less", WORDS.types[1:], WORDS.conditions, tuple(c for c in WORDS.classes if c.type != "toe_drain"))
    later = replace(visit("November", LATER, []), taxonomy=less)
    found = compared(visit("May", ROW, [said("a1.jpg", 1, "Toe drain", at(40))]), later, words=WORDS)
    assert only(found).why == "the taxonomy of the second visit has no such type"
    assert only(found).status == "not seen again"


def test_without_severities_no_change_is_worse() -> None:
    plain = replace(WORDS, grading=NO_GRADING)
    answers = (("a1.jpg", "rock toe"), ("b1.jpg", "rock toe damaged"))
    bare = [replace(said(photo, 1, name, at(40)), grade=UNGRADED) for photo, name in answers]
    found = compared(visit("May", ROW, bare[:1]), visit("November", LATER, bare[1:]), words=plain)
    assert statuses(found) == ["changed"]
    assert "no severities" in str(found.problems[0])


def test_sites_that_do_not_overlap_are_a_problem() -> None:
    far = [shot("c.jpg", pose(5000))]
    before = [said("a1.jpg", n, "rock toe", at(40 + 9 * n)) for n in range(6)]
    after = [said("c.jpg", n, "rock toe", at(5000 + 9 * n)) for n in range(6)]
    found = compared(visit("May", ROW, before), visit("elsewhere", far, after))
    assert {c.status for c in found.changes} == {"not seen again", "first seen"}
    assert "only 0 of 6 objects were found in both visits" in str(found.problems[0])


def test_cells_that_would_run_as_a_formula_are_quoted() -> None:
    evil = "=HYPERLINK(1).jpg"
    found = compared(visit("v", [shot(evil)], [said(evil, 1, "rock toe")]), visit("w", [shot(evil)], []))
    text = to_csv(rows(found), COLUMNS).decode("utf-8-sig")
    assert f"'{evil}" in text
    assert f",{evil}" not in text


def test_the_page_says_perhaps_in_words_and_holds_no_code_of_names() -> None:
    evil = "<script>alert(1)</script>.jpg"
    before = visit("<b>May", [shot(evil)], [said(evil, 1, "rock toe", p=0.6)])
    after = visit("November", [shot(evil)], [said(evil, 1, "rock toe damaged", p=0.6)])
    page = page_of(compared(before, after), {(0, "before"): "data:image/jpeg;base64,AA"})
    html = render_html(page)
    assert "perhaps worse" in html
    assert "▼" in html
    assert "<script>alert" not in html
    assert "<b>May" not in html
    assert html.count("data:image/jpeg;base64,AA") == 1
    assert "no picture" in html
    assert "perhaps worse" in render_markdown(page)


def test_the_place_of_what_is_gone_is_cut_where_its_position_falls_in_the_other_photograph() -> None:
    place, own = replace(pose(10), yaw=90), shot("a.jpg", pose(0))
    other = shot("b.jpg", place)
    (its,) = objects_of(visit("May", [own], [said("a.jpg", 1, "rock toe", at(12, 3), box=(280, 110, 300, 120))]), WORDS)
    wanted = place_wanted(its, own, other, "key")
    assert wanted is not None
    # the camera looks down with its upper side to the east: 2 m ahead of it, 3 m to its left, 7.5 pixels a meter
    assert wanted.box.center == pytest.approx((200 - 3 * 7.5, 150 - 2 * 7.5), abs=0.1)
    assert wanted.box.width == pytest.approx(20 + 3 * 7.5, abs=0.1)  # its own box, and what the position may be off
    assert place_wanted(its, own, shot("c.jpg", pose(80)), "key") is None
    bare = place_wanted(replace(its), own, shot("d.jpg", size=[800, 600]), "key")
    assert bare is not None
    assert (bare.box, bare.outlined) == (Box(560, 220, 600, 240), False)


def test_the_map_has_a_sign_with_a_link_for_each_change_that_has_a_place() -> None:
    found = told([said("a1.jpg", 1, "rock toe", at(40))], [said("b1.jpg", 1, "rock toe damaged", at(40), p=0.6)])
    html = render_html(page_of(found, {}))
    assert (
        html.count('<g class="mark bad doubtful">')
        == html.count('<a href="#change-1" aria-label="perhaps worse: ')
        == 1
    )
    assert html.count('id="change-1"') == 1
    assert (html.count('<polygon class="first"'), html.count('<polygon class="second"')) == (4, 4)
    before = visit("May", [shot("x.jpg")], [said("x.jpg", 1, "rock toe")])
    assert "<svg" not in render_html(page_of(compared(before, before), {}))


def test_names_on_the_map_are_no_code() -> None:
    evil = '"><script>alert(1)</script>.jpg'
    found = compared(visit("May", [shot(evil, pose(0))], [said(evil, 1, "rock toe", at(0))]), visit("Nov", LATER, []))
    assert "<script>alert" not in render_html(page_of(found, {}))


def test_a_point_of_the_ground_is_found_again_in_a_photograph() -> None:
    place = replace(pose(0), yaw=30, pitch=-70)
    seen = Seen.of(visit("v", [shot("a.jpg", place)], []), ORIGIN)
    for east, north in ((0.0, 3.0), (5.0, 12.0), (-4.0, 20.0)):
        point = moved(ORIGIN, Meters(east, north))
        assert (pixel_of(place, SIZE, point) is not None) == bool(seen.covering(point))
    assert pixel_of(place, SIZE, moved(ORIGIN, Meters(0, -60))) is None
    corners = tuple(tuple(moved(ORIGIN, Meters(x, y))) for x, y in ((0, 20), (40, 20), (40, 0), (0, 0)))
    assert pixel_of(replace(place, corners=corners), SIZE, moved(ORIGIN, Meters(10, 15))) == pytest.approx(
        (100, 75), abs=0.01
    )  # type: ignore[arg-type]
