"""The page: self-contained, escaped, complete, bounded."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from tests.support.cases import metric
from tests.support.results import FETCHES, RUN, TAXONOMY, finding, given, read

from toeline.core.finding import Problem, graded
from toeline.judge.decide import sure
from toeline.report import inspection_page as page_module
from toeline.report.document import run_facts
from toeline.report.inspection_page import TruthNotes, matrix, render_page, thumbnail
from toeline.report.tables import MOST_SHOWN, Totals

EVIL = '<script>alert("x")</script> & "quoted".jpg'


def test_nothing_is_fetched_from_anywhere(tmp_path: Path) -> None:
    html = render_page(given(tmp_path, "a.jpg", "b.jpg"))
    for tag, attributes in read(html).tags:
        for name, value in attributes.items():
            if name in FETCHES or (tag == "link" and name == "href"):
                assert value.startswith("data:"), f"<{tag} {name}={value[:60]!r}> loads something"
            if tag == "a" and name == "href":
                assert re.match(r"#|marked/", value), f"<a href={value!r}> leaves the folder"
    assert not re.search(r"https?://|//[a-z]|@import|url\((?!['\"]?data:)", re.sub(r"//.*", "", html, count=0))
    assert "default-src 'none'" in html


def test_names_from_outside_are_escaped_everywhere(tmp_path: Path) -> None:
    problems = [Problem(EVIL, f"photos/{EVIL}", f"what {EVIL}", f"todo {EVIL}", 3)]
    ground_truth = TruthNotes((metric(EVIL, 0.5, 0.4, 0.6, 9, majority_baseline=0.3),), EVIL, missed={EVIL: [EVIL]})
    html = render_page(given(tmp_path, EVIL, problems=problems, ground_truth=ground_truth, run={**RUN, "title": EVIL}))
    assert EVIL not in html
    assert "<script>alert" not in html
    assert read(html).scripts == 1
    assert read(html).all("article", "card")[0]["id"] == "p1"


def test_every_finding_has_a_row_and_a_place_that_it_links_to(tmp_path: Path) -> None:
    reader = read(render_page(given(tmp_path, "a.jpg", "b.jpg")))
    anchors = {a["id"] for _, a in reader.tags if "id" in a}
    links = [a["href"][1:] for a in reader.all("a") if a["href"].startswith("#")]
    assert {"p1-1", "p1-2", "p2-1", "p2-2"} <= set(links)
    assert set(links) <= anchors
    rows = [a for a in reader.all("tr") if "data-card" in a]
    assert [(a["data-card"], a["data-condition"], a["data-review"]) for a in rows] == [
        ("p1", "normal", "1"), ("p1", "normal", "1"), ("p2", "normal", "1"), ("p2", "normal", "1"),
    ]  # fmt: skip


def test_numbers_sort_as_numbers_and_every_column_has_a_cell(tmp_path: Path) -> None:
    html = render_page(given(tmp_path, "a.jpg"))
    table = html[html.index('<table class="findings sorted">') :]
    table = table[: table.index("</table>")]
    assert len(re.findall("<th ", table)) == 7
    assert all(len(re.findall("<td", row)) == 7 for row in table.split("<tr ")[1:])
    assert re.findall(r'data-sort="(0\.\d+)"', table) == ["0.75", "0.25", "0.5"] * 2


def test_what_the_detector_thought_is_told_where_it_thought_something(tmp_path: Path) -> None:
    page = given(tmp_path, "a.jpg")
    html = render_page(page)
    assert "The detector: rock toe damaged 50%, on the same place toe drain 0.25; rock toe 0.12" in html
    plain = [replace(f, detector_class="", detector_others=()) for f in page.findings]
    assert "The detector:" not in render_page(replace(page, findings=plain))


def test_links_to_odd_names_are_quoted(tmp_path: Path) -> None:
    reader = read(render_page(given(tmp_path, "berm 1/50%#a?.jpg")))
    assert "marked/berm%201/50%25%23a%3F.jpg" in {a["href"] for a in reader.all("a")}


def test_a_failed_photograph_and_its_problem_are_shown(tmp_path: Path) -> None:
    photos = [{"photo": "bad.jpg", "size": [0, 0], "failed": True}]
    problems = [Problem("bad.jpg", "photos/bad.jpg", "the file is empty", line=None)]
    html = render_page(given(tmp_path, photos=photos, problems=problems, findings=[]))
    assert "could not be inspected" in html
    assert "the file is empty" in html
    assert "Nothing was found on these photographs" in html


def test_the_page_stays_small_with_many_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "MOST_BYTES", 1)
    html = render_page(given(tmp_path, "a.jpg", "b.jpg", "c.jpg"))
    shown = [a for a in read(html).all("img") if a["src"].startswith("data:image/jpeg")]
    assert 1 <= len(shown) < 3
    assert f"only the first {len(shown)} of 3" in html
    assert html.count("Open the marked picture") == 3 - len(shown)


def test_a_thumbnail_is_no_larger_than_asked_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    Image.effect_noise((2000, 1000), 80).convert("RGB").save(tmp_path / "a.jpg")
    assert len(thumbnail(tmp_path / "a.jpg", 200)) < 20_000
    assert thumbnail(tmp_path / "none.jpg", 200) == ""


def test_counts_by_type_and_condition_leave_out_what_cannot_be(tmp_path: Path) -> None:
    by_kind = {row["kind"]: row for row in matrix(Totals.of([], [finding("a.jpg"), finding("b.jpg")]), TAXONOMY)}
    assert by_kind["rock toe"]["cells"] == [("normal", 2), ("blocked", None), ("damaged", 0)]
    assert (by_kind["rock toe"]["total"], by_kind["rock toe"]["review"]) == (2, 2)
    assert by_kind["vegetation"]["total"] == 0


def test_truth_marks_what_is_wrong(tmp_path: Path) -> None:
    ground_truth = TruthNotes(
        (metric("condition, given the type", 0.84, 0.76, 0.9, 58, majority_baseline=0.46), metric("found", 1, 1, 1, 9)),
        wrong={("a.jpg", "1"): "rock toe damaged"},
        extra=frozenset({("a.jpg", "2")}),
        missed={"a.jpg": ["vegetation"]},
    )
    html = render_page(given(tmp_path, "a.jpg", ground_truth=ground_truth))
    assert re.search(r"84.0%.*76.0% to 90.0%.*58.*46.0%", html, re.DOTALL)
    assert html.count("is rock toe damaged") == 2  # in the table and on the card
    assert html.count("nothing is there") == 2
    assert "Not found: vegetation" in html
    assert [a["data-wrong"] for a in read(html).all("tr") if "data-card" in a] == ["1", "1"]


def test_settings_are_told_flat_and_without_empty_ones() -> None:
    run = {
        "settings": {"photos": ["a/", "b/"], "boxes": None},
        "counts": {"findings": 0},
        "models": {"judge": {"x": 1}},
    }
    assert run_facts(run) == [("settings.photos", "a/, b/"), ("counts.findings", "0"), ("models.judge.x", "1")]


def test_the_work_list_shows_each_object_and_folds_types_of_one_answer(tmp_path: Path) -> None:
    plant = replace(finding("a.jpg", 3), type_name="vegetation", verdict=sure("vegetation", TAXONOMY))
    damaged = replace(finding("a.jpg", 2).verdict, class_name="rock toe damaged", condition="damaged")
    found = graded((finding("a.jpg"), replace(finding("a.jpg", 2), verdict=damaged), plant), (), TAXONOMY)
    html = render_page(given(tmp_path, "a.jpg", findings=found))
    work = html[html.index('<table class="work') : html.index('<h2 id="findings">')]
    assert work.count('<td class="crop"><img loading="lazy" decoding="async" src="data:image/jpeg;base64,') == 2
    assert "only answer" in work
    assert "100%" not in html[html.index("<main>") :]
    assert '<details class="single"><summary>1 vegetation</summary>' in html
    assert [a["data-single"] for a in read(html).all("tr") if "data-card" in a] == ["0", "0", "1"]


def test_boxes_of_labels_are_named_and_not_called_a_detector(tmp_path: Path) -> None:
    run = {**RUN, "models": {"detector": {"labels": "my labels"}}}
    found = [replace(f, score=1.0, detector_class="") for f in given(tmp_path, "a.jpg").findings]
    html = render_page(given(tmp_path, "a.jpg", findings=found, run=run))
    table = html[html.index('<table class="findings') : html.index('<h2 id="photographs">')]
    assert table.count("by --boxes") == 2
    assert "100%" not in table
    assert "Detector" not in table
    assert "Boxes come from labels (--boxes my labels)" in html


def test_pictures_stand_on_the_page_without_black_bars(tmp_path: Path) -> None:
    html = render_page(given(tmp_path, "a.jpg"))
    assert "#0d1014" not in html
    assert not re.search(r"\.card img \{[^}]*object-fit", html)


def test_a_page_of_5000_findings_is_bounded(tmp_path: Path) -> None:
    names = [f"{n}.jpg" for n in range(200)]
    damaged = replace(finding("x").verdict, class_name="rock toe damaged", condition="damaged")
    found = [f for n in names for f in (replace(finding(n, k), verdict=damaged) for k in range(25))]
    start = time.process_time()
    html = render_page(given(tmp_path, *names, findings=graded(found, (), TAXONOMY)))
    assert time.process_time() - start < 30
    assert html.count('class="crop"><img') == MOST_SHOWN
    assert len(html) < 16_000_000
