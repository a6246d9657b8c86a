"""Every page: for screen readers and keys (axe), on a phone, in light and dark, and from this server alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.support.browser import serious

Visit = Callable[..., Any]
PATHS = (
    "/review",
    "/review?state=all",
    "/findings/1",
    "/progress",
    "/agreement",
    "/accuracy",
    "/sign-off",
    "/jobs",
    "/login",
)
PICTURES = os.environ.get("TOELINE_SCREENSHOTS")  # a folder: every page is kept there, to be looked at


def settled(page: Any) -> None:
    page.wait_for_load_state("networkidle")
    if "/findings/" in page.url:
        page.wait_for_selector(".box.current")


def keep(page: Any, name: str) -> None:
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{PICTURES}/{name}.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_no_serious_finding_of_axe(local: str, visit: Visit, width: int, scheme: str) -> None:
    page = visit(local, width=width, color_scheme=scheme, has_touch=width == 400)
    page.keyboard.press("Enter")
    page.wait_for_selector('#saved[data-count="0"]', state="attached")
    found: list[str] = []
    for path in PATHS:
        page.goto(local + path)
        if path != "/login":
            page.wait_for_selector("html[data-ready]")
        settled(page)
        keep(page, f"{path.strip('/').replace('/', '-').replace('?', '-')}-{width}-{scheme}")
        if (width == 1400) == (scheme == "light"):  # each width and each set of colors once; both have all pictures
            found += [f"{path}: {one}" for one in serious(page)]
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} is wider than the window"
    assert not found, "\n".join(found)


def test_the_help_and_the_editor_are_fit_for_axe(local: str, visit: Visit) -> None:
    page = visit(local, "/findings/1")
    settled(page)
    page.keyboard.press("d")
    found = serious(page)
    keep(page, "editor-1400-light")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.is_visible("#help")
    keep(page, "help-1400-light")
    assert found + serious(page) == []
    page.keyboard.press("?")
    assert not page.is_visible("#help")


def test_nothing_comes_from_another_server(local: str, visit: Visit) -> None:
    asked: set[str] = set()
    page = visit(local)
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    for path in PATHS:
        page.goto(local + path)
        settled(page)
    assert asked <= {urlsplit(local).netloc, ""}  # "": data:


def test_a_phone_decides_by_touch(local: str, visit: Visit) -> None:
    page = visit(local, width=400, has_touch=True, is_mobile=True)
    page.tap("[role=option] >> nth=0")
    page.tap("[role=option] >> nth=2")
    assert "Confirm 2" in (page.text_content('[data-do="confirm"]') or "")
    page.tap('[data-do="reject"]')
    page.wait_for_selector('#saved[data-count="0"]', state="attached")
    progress = page.context.request.get(f"{local}/api/v1/progress").json()
    assert progress["by_action"] == {"reject": 2}


def test_the_focus_is_seen_and_told(local: str, visit: Visit) -> None:
    page = visit(local)
    page.keyboard.press("ArrowRight")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    name, role = page.evaluate("[document.activeElement.ariaLabel, document.activeElement.role]")
    assert (outline, role) == ("solid", "option")
    assert "object 2 on DJI_0000.jpg" in name
    page.keyboard.press("n")
    assert "not an object" in (page.text_content("#said[role=status]") or "")
    assert page.evaluate("document.activeElement.role") == "option"


def test_the_theme_can_be_chosen_and_stays(local: str, visit: Visit) -> None:
    page = visit(local, color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.click("#theme")
    assert page.text_content("#theme-name") == "Dark"
    assert page.evaluate(paper) != light
    page.goto(f"{local}/progress")
    assert page.evaluate(paper) != light
