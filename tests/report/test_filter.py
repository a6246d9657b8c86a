"""The report in a browser: filters act on everything, folded rows, and nothing is cut on a telephone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.support.browser import ran
from tests.support.flown import POSE_DOWN
from tests.support.results import finding, given

from toeline.core.finding import Finding, graded
from toeline.core.geo import GeoPosition
from toeline.core.taxonomy import Taxonomy
from toeline.judge.decide import sure
from toeline.report.geolocate import Located, MapMark, Shot
from toeline.report.inspection_page import render_page

TAXONOMY = Taxonomy.load()
pytestmark = pytest.mark.slow  # starts a browser, once
SCRIPT = """
  const shown = (css) => [...document.querySelectorAll(css)].filter((one) => one.getClientRects().length > 0).length;
  const state = () => ({
    work: shown("table.work tbody tr"), rows: shown("table.findings tbody tr"), marks: shown(".map .marks path"),
    cards: shown("article.card"), objects: document.querySelector("[data-counts=all] dd").textContent,
    said: document.querySelector(".tools output").textContent,
  });
  const set = (name, value) => {
    const field = document.querySelector(".tools").elements[name];
    if (field.type === "checkbox") field.checked = value; else field.value = value;
    document.querySelector(".tools").dispatchEvent(new Event("input"));
  };
  const said = { before: state() };
  set("condition", "damaged"); set("words", "a.jpg"); said.one = state();
  set("review", true); said.none = state();
  set("condition", ""); set("words", ""); set("review", false);
  set("single", true); said.asked = state();
  set("single", false); set("kind", "vegetation"); said.chosen = state();
  said.open = document.querySelectorAll("details.single[open]").length;
  set("kind", "");

  const all = (css, root = document) => [...root.querySelectorAll(css)];
  const head = all("table.work thead button").find((one) => one.textContent === "Photograph");
  const order = () => all("table.work tbody tr:not([hidden]) td.where").map((cell) => cell.title);
  head.click(); said.up = order(); head.click(); said.down = order();

  const frame = document.createElement("iframe");
  frame.style.cssText = "width:400px;height:900px;border:0";
  frame.srcdoc = document.documentElement.outerHTML.replace(/<script>.*?<\\/script>/gs, "");
  document.body.replaceChildren(frame);
  await new Promise((done) => frame.addEventListener("load", done));
  const hides = (one) => frame.contentWindow.getComputedStyle(one).overflowX !== "visible";
  said.cut = all("body, .scroll, .tiles, main *", frame.contentDocument)
    .filter((one) => one.scrollWidth > one.clientWidth + 1 && hides(one))
    .map((one) => `${one.localName}.${one.className} ${one.scrollWidth} > ${one.clientWidth}`);
  return said;
"""


def damaged(photo: str, number: int) -> Finding:
    one = finding(photo, number)
    return replace(one, verdict=replace(one.verdict, class_name="rock toe damaged", condition="damaged", review=""))


def plant(photo: str, number: int) -> Finding:
    return replace(finding(photo, number), type_name="vegetation", verdict=sure("vegetation", TAXONOMY))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What SCRIPT saw: two photographs with a normal, a damaged and a single-answer finding each, on a map."""
    folder, names = tmp_path_factory.mktemp("page"), ("a.jpg", "b.jpg")
    found = [f for n in names for f in graded((finding(n, 1), damaged(n, 2), plant(n, 3)), (), TAXONOMY)]
    shots = tuple(Shot(n, (64, 48), POSE_DOWN) for n in names)
    at = GeoPosition(POSE_DOWN.latitude, POSE_DOWN.longitude, "camera", None)
    marks = tuple(
        MapMark(f.photo, f.instance_id, f.type_name, f.verdict.condition, 1.0, False, at, False, f.verdict.asked)
        for f in found
    )
    html = render_page(given(folder, *names, findings=found, located=Located(shots, marks, 2)))
    (folder / "report.html").write_text(html, encoding="utf-8")
    return ran(folder / "report.html", SCRIPT)


def test_a_filter_acts_on_both_lists_the_map_the_counts_and_the_photographs(told: Any) -> None:
    said = "4 of 6 findings, 2 folded away"
    assert told["before"] == {"work": 2, "rows": 4, "marks": 4, "cards": 2, "objects": "6", "said": said}
    said = "1 of 6 findings"
    assert told["one"] == {"work": 1, "rows": 1, "marks": 1, "cards": 1, "objects": "1", "said": said}
    assert [told["none"][name] for name in ("rows", "marks", "cards", "objects")] == [0, 0, 0, "0"]


def test_vegetation_is_folded_away_unless_it_is_asked_for(told: Any) -> None:
    assert [told["asked"][name] for name in ("rows", "marks", "work")] == [6, 6, 4]
    assert [told["chosen"][name] for name in ("rows", "marks", "objects")] == [2, 2, "2"]
    assert told["open"] == 2


def test_the_work_list_is_sorted_by_its_heads(told: Any) -> None:
    assert (told["up"], told["down"]) == (["a.jpg", "b.jpg"], ["b.jpg", "a.jpg"])


def test_nothing_is_cut_at_400_pixels(told: Any) -> None:
    assert told["cut"] == []
