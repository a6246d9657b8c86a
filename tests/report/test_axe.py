"""No serious finding of axe on any kind of page, by day and by night. Contrast is tested without a browser too, in
test_seen_by_all.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.browser import serious
from tests.support.cases import metric
from tests.support.datasets import write_yolo
from tests.support.results import RUN, finding, given
from tests.support.visits import at, pose, said, shot, visit

from toeline.analysis.gallery import GalleryRun, choose, write_gallery
from toeline.core.finding import Problem, graded
from toeline.core.taxonomy import Taxonomy
from toeline.data.yolo import open_yolo
from toeline.evaluate.calibration import Bin
from toeline.judge.decide import sure
from toeline.report.document import Grid, Highlight, Mistake, MistakeGroup, ScorecardPage, Section, render_html
from toeline.report.inspection_page import Book, PagePart, TruthNotes, render_page
from toeline.report.plots import reliability_plot
from toeline.report.revisit import compared
from toeline.report.revisit_page import page_of
from toeline.report.tables import Totals

TAXONOMY = Taxonomy.load()
pytestmark = pytest.mark.slow


def inspection(folder: Path) -> Path:
    """With a map of nothing, problems, notes, truth, folded rows and both kinds of boxes."""
    plant = replace(finding("a.jpg", 3), type_name="vegetation", verdict=sure("vegetation", TAXONOMY))
    damaged = replace(finding("a.jpg", 2).verdict, class_name="rock toe damaged", condition="damaged")
    found = graded((finding("a.jpg"), replace(finding("a.jpg", 2), verdict=damaged), plant), (), TAXONOMY)
    truth = TruthNotes((metric("found", 0.8, 0.7, 0.9, 9, majority_baseline=0.3),), "A note.", {("a.jpg", "1"): "x"})
    problems = [Problem("", "a.txt", "odd", "Mend it.", 3), Problem("", "b.txt", "left out", note=True)]
    page = given(folder, "a.jpg", findings=found, ground_truth=truth, problems=problems)
    (folder / "report.html").write_text(render_page(page), encoding="utf-8")
    return folder / "report.html"


def paged(folder: Path) -> Path:
    """The contents of a report of several pages."""
    parts = (PagePart("report/0001.html", "DJI_0001.jpg", "DJI_0900.jpg", Totals()),)
    page = render_page(given(folder, "a.jpg", book=Book(Totals(), parts=parts)))
    (folder / "report.html").write_text(page, encoding="utf-8")
    return folder / "report.html"


PATH = "/srv/" + "a_folder_with_a_long_name/" * 4
LONG = Grid(
    f"{PATH} beside {PATH}", ("measured", "first", "second", "95 % interval", "n"), (("x", "1", "2", "3", "4"),)
)


def scorecard(folder: Path) -> Path:
    """With figures, plots, tables, mistakes and all moods."""
    bins = [Bin(0.5, 0.4, 10), Bin(0.9, 0.8, 20)]
    section = Section(
        "Measured",
        ("A paragraph.",),
        (metric("accuracy", 0.8, 0.7, 0.9, 9, majority_baseline=0.3),),
        (reliability_plot(bins, bins),),
        (
            Grid("A table", ("what", "n"), (("x", "–"), ("y", "3")), folded=True),
            Grid("", ("a", "b"), (("x", "1"),)),
            LONG,
        ),
        (MistakeGroup("rock toe", "rock toe damaged", 1, (Mistake("a.jpg", "1", "", (("rock toe", 0.4),), "odd"),)),),
    )
    points = [Highlight(mood, "One sentence.", "measured") for mood in ("bad", "careful", "good")]
    page = ScorecardPage("A scorecard", f"{PATH} is better.", (section,), RUN, (("3", "photographs"),), points=points)
    (folder / "report.html").write_text(render_html(page), encoding="utf-8")
    return folder / "report.html"


def revisit(folder: Path) -> Path:
    """With a map, cards with and without doubt, and tables."""
    before = [
        said("a.jpg", n, name, at(8 * n)) for n, name in enumerate(("rock toe", "rock toe damaged", "slope drain"))
    ]
    after = [said("a.jpg", n, "rock toe damaged", at(8 * n), p=0.9 - n / 5) for n in (0, 1, 5)]
    seen = [shot("a.jpg", pose(0)), shot("b.jpg", pose(40))]
    found = compared(visit("May", seen, before), visit("November", seen[:1], after, record={"settings": {"head": "x"}}))
    (folder / "report.html").write_text(render_html(page_of(found, {})), encoding="utf-8")
    return folder / "report.html"


def gallery(folder: Path) -> Path:
    """A page of a class."""
    rows = ["5 0.5 0.5 0.2 0.4", "3 0.1 0.1 0.9 0.1 0.9 0.5"]
    root = write_yolo(folder / "data", {"train": {"a.png": rows, "b.png": rows[:1]}})
    data = open_yolo(root, TAXONOMY, any_class=True)
    run = GalleryRun(per_class=60, photographs=300, per_problem=60, seed=0)
    write_gallery(choose(data, TAXONOMY, (), run), folder / "out")
    return folder / "out" / "pages" / "class-5.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("make", [inspection, scorecard, revisit, gallery], ids=lambda make: make.__name__)
def test_axe_has_no_serious_finding(make: Callable[[Path], Path], scheme: str, chromium: Any, tmp_path: Path) -> None:
    page = chromium.new_page(color_scheme=scheme)
    page.goto(make(tmp_path).as_uri())
    found = serious(page)
    page.close()
    assert found == []


@pytest.mark.parametrize("make", [paged, scorecard], ids=lambda make: make.__name__)
def test_tables_to_read_need_no_scrolling_at_400_pixels(
    make: Callable[[Path], Path], chromium: Any, tmp_path: Path
) -> None:
    page = chromium.new_page(viewport={"width": 400, "height": 900})
    page.goto(make(tmp_path).as_uri())
    wide = "all => all.map((one) => one.scrollWidth - one.clientWidth)"
    found = page.locator(".stack.read").evaluate_all(wide)
    whole = page.evaluate("document.documentElement.scrollWidth")
    page.close()
    assert found
    assert max(found) <= 0
    assert whole <= 400
