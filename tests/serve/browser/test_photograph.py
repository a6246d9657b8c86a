"""The photograph of one finding: 20 megapixels, moved by keys, mouse and fingers; boxes; map; other photographs."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.support.serving_pages import get, press, saved, until

from toeline.core.box import Box
from toeline.core.reading import file_hash
from toeline.serve.store import Store

Visit = Callable[..., Any]
LARGE = (5472, 3648)
PATCH = Box(2600, 1700, 2900, 1900)  # stripes of one pixel, in the middle


@pytest.fixture(scope="session")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 megapixels: gray, but for stripes that a smaller picture cannot hold."""
    pixels = np.full((LARGE[1], LARGE[0]), 128, np.uint8)
    pixels[1500:2100, 2400:3100] = np.arange(700)[None, :] % 2 * 255
    file = tmp_path_factory.mktemp("large") / "large.png"
    Image.fromarray(pixels).save(file, compress_level=1)
    return file


@pytest.fixture
def large(store: Path, photograph: Path) -> None:
    """The first photograph of the store is a large one, and its first finding lies on the stripes."""
    opened = Store.open(store)
    with opened.write() as db:
        db.execute(
            "UPDATE photos SET path = ?, bytes = ?, sha256 = ?, width = ?, height = ? WHERE id = 1",
            (str(photograph).encode().hex(), photograph.stat().st_size, file_hash(photograph), *LARGE),
        )
        db.execute("UPDATE findings SET x1 = ?, y1 = ?, x2 = ?, y2 = ? WHERE id = 1", PATCH.xyxy)
    opened.close()


@pytest.fixture
def placed(store: Path) -> None:
    """Findings 1, 2, 4 and 7 have positions some meters apart; 1, 4 and 7 are one object on three photographs."""
    opened = Store.open(store)
    with opened.write() as db:
        for finding, meters in {1: 0, 2: 8, 4: 2, 7: 4}.items():
            db.execute(
                "UPDATE findings SET latitude = ?, longitude = 13.2, accuracy_m = 3, same = ? WHERE id = ?",
                (51.1 + meters / 111_320, "" if finding == 2 else "o1", finding),
            )
    opened.close()


def shown(page: Any, path: str = "/findings/1") -> Any:
    page.wait_for_selector(".box.current", state="attached")
    return page


def zoom(page: Any) -> float:
    """Screen pixels for a pixel of the photograph."""
    said: float = page.evaluate("new DOMMatrix(getComputedStyle(document.querySelector('.stage')).transform).a")
    return said


def moved(page: Any) -> tuple[float, float]:
    matrix = "new DOMMatrix(getComputedStyle(document.querySelector('.stage')).transform)"
    at = page.evaluate(f"[{matrix}.e, {matrix}.f]")
    return at[0], at[1]


def middle(page: Any) -> tuple[float, float]:
    at = page.query_selector("#viewer").bounding_box()
    return at["x"] + at["width"] / 2, at["y"] + at["height"] / 2


@pytest.mark.usefixtures("large")
def test_twenty_megapixels_are_sharp_at_full_zoom_and_asked_for_only_then(local: str, visit: Visit) -> None:
    asked: list[str] = []
    page = visit(local)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{local}/findings/1")
    shown(page)
    until(page, "document.querySelector('.stage img').naturalWidth === 1600")
    assert not [url for url in asked if "/photos/1/" in url and "width=1600" not in url]  # a phone keeps 7 MB, not 80
    press(page, "h")
    while zoom(page) < 1:
        press(page, "+")
    until(page, f"document.querySelector('.stage img').naturalWidth === {LARGE[0]}")
    page.wait_for_timeout(300)
    x, y = middle(page)
    picture = page.screenshot(clip={"x": x - 20, "y": y - 20, "width": 40, "height": 40})
    gray = np.asarray(Image.open(io.BytesIO(picture)).convert("L"), float)
    assert np.abs(np.diff(gray, axis=1)).max(axis=1).mean() > 100  # black beside white, where a smaller one is gray


@pytest.mark.usefixtures("large")
def test_keys_mouse_and_wheel_move_the_photograph(local: str, visit: Visit) -> None:
    page = shown(visit(local, "/findings/1"))
    press(page, "+", "+", "+", "+")
    before = moved(page)
    press(page, "Shift+ArrowRight", "Shift+ArrowDown")
    assert moved(page) == pytest.approx((before[0] - 80, before[1] - 80), abs=0.1)
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 80, y + 80, steps=5)
    page.mouse.up()
    assert moved(page) == pytest.approx(before, abs=8)  # the first three pixels are a click
    s = zoom(page)
    page.mouse.wheel(0, -300)
    until(page, f"new DOMMatrix(getComputedStyle(document.querySelector('.stage')).transform).a > {s}")
    at = zoom(page)
    press(page, "ArrowRight")  # another finding on the same photograph
    until(page, "!location.pathname.endsWith('/1')")
    assert zoom(page) == at


@pytest.mark.usefixtures("large")
def test_two_fingers_zoom_on_a_phone(local: str, visit: Visit) -> None:
    page = shown(visit(local, "/findings/1", width=400, has_touch=True, is_mobile=True))
    page.evaluate("document.querySelector('#viewer').scrollIntoView({block: 'center'})")
    x, y = middle(page)
    s = zoom(page)
    client = page.context.new_cdp_session(page)

    def touch(kind: str, apart: float) -> None:
        points = [] if kind == "touchEnd" else [{"x": x - apart, "y": y, "id": 1}, {"x": x + apart, "y": y, "id": 2}]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 20)
    for apart in (30, 40, 60):
        touch("touchMove", apart)
    touch("touchEnd", 0)
    until(page, f"new DOMMatrix(getComputedStyle(document.querySelector('.stage')).transform).a > {2 * s}")
    assert page.evaluate("visualViewport.scale") == 1  # the photograph, not the page
    before = moved(page)
    client.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for dx in (10, 20, 40):
        client.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x - dx, "y": y}]})
    client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    until(page, f"new DOMMatrix(getComputedStyle(document.querySelector('.stage')).transform).e < {before[0]}")


def test_what_comes_next_is_read_ahead(local: str, visit: Visit) -> None:
    page = visit(local)
    page.wait_for_load_state("networkidle")
    press(page, "o")
    page.wait_for_load_state("networkidle")
    page.context.set_offline(True)
    press(page, "Enter")
    page.wait_for_selector(".box.current", state="attached")
    until(page, "document.querySelector('.stage img').naturalWidth > 0")
    until(page, "document.querySelector('#crop').naturalWidth > 0")
    assert not page.is_visible("#viewer .gone")
    page.context.set_offline(False)
    saved(page)


def test_a_photograph_that_is_gone_is_told_and_the_review_goes_on(local: str, visit: Visit, store: Path) -> None:
    opened = Store.open(store)
    with opened.write() as db:
        db.execute("UPDATE photos SET path = ?", (b"/nowhere/a.jpg".hex(),))
    opened.close()
    page = shown(visit(local, "/findings/1"))
    assert "Bring it back" in (page.text_content("#viewer .gone") or "")
    page.wait_for_selector("#crop-gone:visible")
    press(page, "Enter")
    saved(page)
    assert get(page, "/progress")["decided"] == 1


def test_a_box_is_never_drawn_on_another_photograph(local: str, visit: Visit) -> None:
    page = shown(visit(local, "/findings/1"))
    page.route(
        "**/api/v1/findings/*", lambda route: route.abort() if route.request.method == "GET" else route.continue_()
    )
    page.route("**/api/v1/photos/*", lambda route: route.abort())
    page.evaluate("history.replaceState(null, '', '/findings/1?sort=photo')")
    for _ in range(9):  # past what was read ahead
        press(page, "ArrowRight")
    page.wait_for_selector("#facts .note")
    press(page, "d")
    assert not page.is_visible("#editor")
    assert "not there yet" in (page.text_content("#said[role=status]") or "")


def test_a_handle_is_dragged_and_the_old_box_comes_back_by_undo(local: str, visit: Visit) -> None:
    page = shown(visit(local, "/findings/1"))
    press(page, "d")
    handle = page.query_selector("[data-handle=se]").bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y - 30, steps=4)
    page.mouse.up()
    page.click("text=Save as the box of this finding")
    saved(page)
    item = get(page, "/findings/1")["item"]
    assert item["decision"]["box"][:2] == pytest.approx(item["box"][:2], abs=0.1)
    assert item["decision"]["box"][2] > item["box"][2]
    assert item["decision"]["box"][3] < item["box"][3]
    press(page, "u")
    saved(page)
    assert get(page, "/findings/1")["item"]["decision"] is None


def test_a_class_that_is_clicked_takes_the_drawn_box_along(local: str, visit: Visit) -> None:
    page = shown(visit(local, "/findings/1"))
    press(page, "d", "ArrowRight", "7")
    assert "Enter saves the box" in (page.text_content("#said[role=status]") or "")
    page.click('[data-digit="8"]')
    saved(page)
    item = get(page, "/findings/1")["item"]
    assert item["decision"]["class"] == "slope drain damaged"
    assert item["decision"]["box"][0] > item["box"][0]


def test_an_object_is_added_by_keys_alone(local: str, visit: Visit) -> None:
    page = shown(visit(local, "/findings/1"))
    press(page, "d", "ArrowRight", "ArrowRight", "Shift+ArrowDown")
    press(page, "Tab", "Tab")  # past Save, to the classes
    assert page.evaluate("document.activeElement.ariaLabel") == "Class of the new object"
    page.keyboard.type("veg")
    press(page, "Tab", "Enter")
    saved(page)
    added = [i for i in get(page, "/findings?state=decided")["items"] if i["added"]]
    assert [i["class"] for i in added] == ["vegetation"]
    press(page, "u")
    saved(page)
    assert get(page, "/findings?state=all")["total"] == 45


@pytest.mark.usefixtures("placed")
def test_the_map_and_the_same_object_on_other_photographs(local: str, visit: Visit) -> None:
    page = shown(visit(local, "/findings/1"))
    assert "Map with 3 other objects" in page.get_attribute(".map", "aria-label")
    assert "51.100000, 13.200000 ± 3 m" in (page.text_content("#facts") or "")
    marks = page.eval_on_selector_all(".map g", "all => all.map((g) => g.getBoundingClientRect().top)")
    assert marks[0] < marks[-1]  # the second lies north of this one, which is drawn last
    section = page.query_selector("section:has(> h3:text('Same object on other photographs'))")
    assert [b.text_content().split(", ")[1] for b in section.query_selector_all("button")] == ["2 m", "4 m"]
    section.query_selector("button").click()
    page.wait_for_url("**/findings/4")
    assert "DJI_0001" in (page.text_content("#single-title") or "")
