"""A scorecard's page and its Markdown twin: the same numbers, self-contained, escaped; its plots and crops."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cases import case, metric
from tests.support.datasets import make_photo
from tests.support.results import FETCHES, read

from toeline.core.box import Box
from toeline.core.calibration import Calibration
from toeline.core.finding import Problem
from toeline.evaluate.calibration import Bin, Reliability, ReviewPoint
from toeline.evaluate.matching import Case
from toeline.evaluate.results import Trusted
from toeline.report.document import Grid, Plot, ScorecardPage, Section, metric_cells, render_html, render_markdown
from toeline.report.draw import LEAST_PX, crop_window
from toeline.report.judge_page import (
    MOST_CROPS,
    MOST_IN_GROUP,
    confusion_section,
    cost_section,
    headline,
    marked_crop,
    mistake_groups,
    pairs_grid,
    trust_section,
)
from toeline.report.plots import band_plot, confusion_plot, reliability_plot

EVIL = '<script>alert("x")</script> & |pipe|.jpg'
RUN: dict[str, Any] = {
    "started_words": "1 May 2026, 09:00",
    "finished": "x",
    "settings": {"judge": "<b>", "split": "v"},
}
COLORS = {"rock toe": "#2e9e4f", "rock toe damaged": "#b4418e"}
FIGURE = metric(
    "condition, given the type",
    0.8375,
    0.7612,
    0.9034,
    58,
    majority_baseline=0.4601,
    train_majority_baseline=0.5,
    target=0.9,
    verdict="not shown",
)
FILES = {"a.jpg": Path("gone"), EVIL: Path("gone")}


def wrong(number: int, *, photo: str = "a.jpg", said: str = "rock toe", p: float = 0.9) -> Case:
    true = "rock toe damaged" if said == "rock toe" else "rock toe"
    return replace(case(true, said, photo=photo, instance_id=str(number), probability=p), box=Box(5, 5, 25, 15))


def page(*sections: Section, **more: Any) -> ScorecardPage:
    return ScorecardPage(**{"title": EVIL, "headline": "80 % of & more", "sections": sections, "run": RUN, **more})


def test_both_pages_hold_the_same_numbers(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    make_photo((60, 40)).save(photo)
    sections = (
        Section("Accuracy", ("Some text.",), (FIGURE, metric("nothing", math.nan, 0.0, 1.0, 0))),
        Section("Tables", grids=(Grid("Pairs", ("true", "said", "n"), (("a", "b", "17"),)),)),
        Section("Mistakes", mistakes=mistake_groups([wrong(1, p=0.875)], {"a.jpg": photo}, COLORS)),
    )
    given = page(
        *sections, tiles=[("4.25 s", "per photograph")], problems=[Problem("", "b.txt", "odd", "Correct it.", 3)]
    )
    html, text = render_html(given), render_markdown(given)
    for said in (
        "83.8%",
        "76.1% to 90.3%",
        "46.0%",
        "50.0%",
        "not shown",
        "17",
        "4.25 s",
        "b.txt, line 3",
        "settings.split",
    ):
        assert said in html, said
        assert said in text, said
    assert "87.5%" in text
    assert "data:image/jpeg;base64," in html


def test_the_page_fetches_nothing_and_escapes_what_it_is_given() -> None:
    mistakes = mistake_groups([wrong(1, photo=EVIL)], FILES, COLORS)
    plots = (Plot("<svg class='plot'></svg>", "What <b> it shows"),)
    html = render_html(page(Section("A <i> title", (EVIL,), plots=plots, mistakes=mistakes)))
    found = read(html)
    assert found.scripts == 0
    assert not found.all("i") or "<i> title" not in html
    assert [tag for tag, attrs in found.tags for name in attrs if name in FETCHES and tag != "link"] == []
    assert len(found.all("svg", "plot")) == 1
    anchors = {a["id"] for _, a in found.tags if "id" in a}
    assert {a["href"].removeprefix("#") for a in found.all("a")} <= anchors


def test_a_cell_cannot_break_a_table_of_the_text() -> None:
    text = render_markdown(page(Section("T", grids=(Grid("", ("a", "b"), ((EVIL, "x\ny"),)),))))
    row = next(line for line in text.splitlines() if "alert" in line and line.startswith("|"))
    assert len(re.split(r"(?<!\\)\|", row)) == 4


def test_the_most_frequent_pair_comes_first_and_in_it_the_most_confident() -> None:
    rare = [wrong(i, said="rock toe damaged", p=0.99) for i in range(2)]
    often = [wrong(i, p=0.5 + i / 100) for i in range(9)]
    first, second = mistake_groups([*rare, *often], FILES, COLORS)
    assert (first.said, first.count, len(first.shown)) == ("rock toe", 9, MOST_IN_GROUP)
    assert [m.instance_id for m in first.shown] == ["8", "7", "6", "5", "4", "3"]
    assert (second.count, second.shown[0].answers[0]) == (2, ("rock toe damaged", 0.99))


def test_crops_are_capped_over_all_pairs() -> None:
    many = [
        replace(wrong(n), true_class=f"true {n % 20}", said_class=f"said {n % 20}", probabilities={})
        for n in range(200)
    ]
    groups = mistake_groups(many, FILES, {f"true {n}": "#808080" for n in range(20)})
    assert sum(g.count for g in groups) == 200
    assert sum(len(g.shown) for g in groups) == MOST_CROPS


def test_an_unreadable_answer_has_no_probability_and_the_true_class_is_shown() -> None:
    chances = {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}
    one = replace(wrong(1), true_class="d", said_class="", probabilities=chances)
    (group,) = mistake_groups([one], FILES, {"d": "#808080"})
    assert group.said == "(unreadable)"
    assert [name for name, _ in group.shown[0].answers] == ["a", "b", "d"]


@given(
    st.tuples(st.floats(0, 300), st.floats(0, 200), st.floats(1, 300), st.floats(1, 200)),
    st.sampled_from([(320, 240), (40, 900), (6000, 4000)]),
)
def test_a_crop_lies_in_the_photograph_and_holds_its_object(
    place: tuple[float, float, float, float], size_wh: tuple[int, int]
) -> None:
    x, y, wide, high = place
    box = Box(x, y, x + wide, y + high).clipped(size_wh)
    window = crop_window(box, size_wh)
    assert 0 <= window.x1 < window.x2 <= size_wh[0]
    assert 0 <= window.y1 < window.y2 <= size_wh[1]
    assert window.width >= min(LEAST_PX, size_wh[0])
    assert window.intersection(box) == pytest.approx(box.area)


def test_the_box_is_drawn_where_the_object_is() -> None:
    crop = marked_crop(make_photo((400, 300)), Box(100, 100, 200, 150), "#ff0000")
    reds = [(x, y) for x in range(crop.width) for y in range(crop.height) if crop.getpixel((x, y)) == (255, 0, 0)]
    drawn = Box.around(reds)
    scale = crop.width / 180  # the window is 1.8 times the box's longer side
    assert (drawn.width / scale, drawn.height / scale) == pytest.approx((100, 50), abs=3)


def test_the_confusion_plot_says_counts_and_shares_of_the_row() -> None:
    plot = confusion_plot(["a", "b"], [[3, 1], [0, 4]], ["a", "b"], what="All")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", plot.svg)
    assert [t for t in texts if t.strip() and t not in ("a", "b", "true", "said")] == [
        "3",
        "75%",
        "1",
        "25%",
        "4",
        "100%",
    ]


def test_an_empty_column_of_unreadable_answers_is_left_out() -> None:
    for last, columns in ((0, 2), (5, 3)):
        section = confusion_section(["a", "b"], ["a", "b", "?"], [[1, 0, last], [0, 1, 0]], ("normal", [0, 1, -1]))
        assert len(section.grids[0].head) == 1 + columns
        assert section.grids[1].rows == (("normal", "1", "0"), ("not normal", "0", "1"))


def test_plots_of_probabilities_are_drawn_for_few_and_for_no_points() -> None:
    for bins in ([], [Bin(0.7, 0.5, 3)]):
        assert "<svg" in reliability_plot(bins, bins).svg
    assert "<svg" in band_plot([ReviewPoint(0.0, 0.0, 0.4, 9, 4)]).svg
    assert "under 0.80 to a person" in band_plot([], ReviewPoint(0.8, 0.9, 0.1, 9, 1)).svg


def test_probabilities_before_and_after_and_what_a_second_look_buys() -> None:
    before, after = (Reliability(9, error, 0.05, 0.6, 1.1, (Bin(0.7, 0.5, 9),)) for error in (0.3, 0.1))
    band = tuple(ReviewPoint(t / 10, t / 10, 0.5 - t / 20, 6, 2) for t in range(11))
    both = Trusted(before, band, after, Calibration(2.0, fitted_on={"split": "train", "objects": 9}), band[4])
    (section,) = trust_section(both)
    assert section.text[1].startswith("Temperature 2.00, fitted on 9 objects of the split train;")
    assert section.grids[0].rows[0] == ("calibration error (ECE)", "30.0%", "10.0%")
    assert "sends 40.0% to a person and leaves 2 of 6 wrong (30.0%)" in section.text[2]
    assert [row[0] for row in section.grids[2].rows] == ["0.0%", "10.0%", "20.0%", "30.0%", "50.0%", "70.0%"]
    (alone,) = trust_section(Trusted(before, band))
    assert "needs another split" in alone.text[1]
    assert alone.grids[0].head == ("measured", "as scored")
    (nobody,) = trust_section(replace(both, point=ReviewPoint(1.0, 1.0, 0.0, 0, 0)))
    assert "a person has to look at all of them" in nobody.text[2]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.56, 0.7, "shown to be better than"),
        (0.4, 0.54, "shown to be worse than"),
        (0.5, 0.6, "not shown to be better"),
    ],
)
def test_the_headline_says_how_it_stands_to_the_majority_class_baseline(low: float, high: float, said: str) -> None:
    figure = metric("x", 0.55, low, high, 100, majority_baseline=0.55, target=0.9, verdict="missed")
    words = headline(figure, where="9 photographs of valid")
    assert words.startswith(
        "Given the type, the judge named the right condition of 55 of 100 objects on 9 photographs of"
    )
    assert said in words
    assert words.endswith("More than 90% is the target: missed.")


def test_a_headline_without_objects_does_not_divide_by_them() -> None:
    assert "no object was judged" in headline(metric("x", math.nan, 0.0, 1.0, 0), where="3 photographs")


def test_a_metric_as_the_cells_of_a_table() -> None:
    given = metric("all", 0.5, 0.41, 0.59, 100, majority_baseline=0.25, target=0.9, verdict="not shown")
    assert metric_cells(given) == ("all", "50.0%", "41.0% to 59.0%", "100", "25.0%", "", "90%: not shown")
    assert metric_cells(replace(given, lower_is_better=True))[0] == "all (lower is better)"
    assert metric_cells(metric("none", math.nan, 0.0, 1.0, 0))[1:4] == ("", "", "0")


def test_costs_are_left_out_where_they_are_not_known() -> None:
    known = cost_section([1.0, 2.0, 6.0], 6, {"process": 2_000_000_000, "gpu": 0})
    assert dict(known.grids[0].rows)["seconds per object that was asked about"] == "1.500"
    assert dict(known.grids[0].rows)["most memory of the process"] == "2.00 GB (1.86 GiB)"
    assert cost_section([], 0, {}).grids[0].rows == ()


def test_pairs_of_mistakes_are_counted() -> None:
    assert pairs_grid([("a", "b"), ("c", "d"), ("c", "d")]).rows == (("c", "d", "2"), ("a", "b", "1"))


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>.jpg",
        "[x](javascript:alert(1)).jpg",
        "\\\\[x](data:y)",
        "![x](http://y)",
        "<javascript:x>",
    ],
)
def test_a_name_in_markdown_is_neither_html_nor_a_link(name: str) -> None:
    page = ScorecardPage(
        name,
        name,
        [Section(name, (name,), grids=(Grid(name, (name,), ((name,),)),))],
        {"data": name},
        problems=[Problem.in_file(Path(name), name)],
    )
    text = render_markdown(page)
    assert "<" not in text
    assert "[" not in text
