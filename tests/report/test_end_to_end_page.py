"""Both stages on a page: which boxes are drawn, what is shown of each kind of mistake, and figures side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.cases import metric
from tests.support.datasets import write_photo

from toeline.core.box import Box
from toeline.evaluate.end_to_end import StageError
from toeline.report.document import ScorecardPage, render_html, render_markdown
from toeline.report.end_to_end_page import (
    FOUND_COLOR,
    MOST_SHOWN,
    TRUE_COLOR,
    Beside,
    beside_section,
    both_marked,
    worst_section,
)

RUN = {"started_words": "1 May 2026, 09:00", "finished": "x"}


def error(number: int = 1, **more: object) -> StageError:
    given = {"true": Box(5, 5, 20, 20), "found": None, "is_class": "rock toe", "said": "", "sure": 0.0, **more}
    return StageError("a.jpg", str(number), **given)  # type: ignore[arg-type]


def has(image: Image.Image, color: str) -> bool:
    wanted = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((np.abs(np.asarray(image).astype(int) - wanted).max(axis=2) < 12).any())


@pytest.mark.parametrize(("true", "found"), [(True, True), (True, False), (False, True)])
def test_only_the_boxes_that_there_are_are_drawn(true: bool, found: bool) -> None:
    image = Image.new("RGB", (300, 300), "#404040")
    box, off = Box(100, 100, 180, 160), Box(130, 110, 220, 190)
    shown = both_marked(image, box if true else None, off if found else None)
    assert (has(shown, TRUE_COLOR), has(shown, FOUND_COLOR)) == (true, found)


def test_the_picture_holds_both_boxes_however_far_apart() -> None:
    image = Image.new("RGB", (600, 400), "#404040")
    shown = both_marked(image, Box(0, 0, 30, 30), Box(560, 360, 599, 399))
    assert has(shown.crop((0, 0, 60, 60)), TRUE_COLOR)
    assert has(shown.crop((shown.width - 60, shown.height - 60, *shown.size)), FOUND_COLOR)


def test_each_kind_of_mistake_has_its_pictures_and_says_how_many_there_are(tmp_path: Path) -> None:
    file = write_photo(tmp_path / "a.jpg", (60, 60))
    missed = [error(n) for n in range(MOST_SHOWN + 2)]
    nothing = [error(true=None, found=Box(1, 1, 9, 9), is_class="", said="vegetation", sure=0.625)]
    section = worst_section({"missed": missed, "false": nothing, "wrong_condition": []}, {"a.jpg": file})
    page = ScorecardPage("t", "h", [section], RUN)
    html, text = render_html(page), render_markdown(page)
    assert html.count("data:image/jpeg;base64,") == MOST_SHOWN + 1
    assert "Detector: not found" in html
    assert f"{len(missed)}, {MOST_SHOWN} shown" in html
    assert "nothing is there" in html
    assert "was called" not in html
    assert "### Detector: finding of nothing (1)" in text
    assert "| a.jpg | 1 | vegetation 62.5% | nothing is there |" in text


def test_a_photograph_that_is_gone_leaves_its_words(tmp_path: Path) -> None:
    (group,) = worst_section({"missed": [error()]}, {"a.jpg": tmp_path / "gone.jpg"}).mistakes
    assert (group.shown[0].picture, group.shown[0].note) == ("", "is rock toe")


def test_no_mistakes_are_said_to_be_none() -> None:
    assert worst_section({"wrong_condition": []}, {}).text == ("There are no mistakes.",)


def test_figures_stand_side_by_side_and_what_is_not_known_is_empty() -> None:
    figure = metric("class", 0.5, 0.41, 0.59, 100)
    rows = [Beside(figure, figure, figure, "-3.0 (-5.0 to 0.0)"), Beside(figure, None, None)]
    (grid,) = beside_section({"": rows}, ()).grids
    said = "50.0% (41.0 to 59.0)"
    assert grid.rows == (
        ("class", "100", said, said, "-3.0 (-5.0 to 0.0)", said, "100"),
        ("class", "100", said, "", "", "", "0"),
    )
