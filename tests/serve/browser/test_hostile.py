"""Names that want to be scripts, keys held down, double clicks, the back button, made-up addresses, a large store."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.browser import serious
from tests.support.serving_pages import decided, get, press, saved, served, sign_in, tiles, until

from toeline.serve.store import Store

Visit = Callable[..., Any]
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202egpj.exe\u2069\u0007&amp;" + "long" * 110
PAGES = ("/review", "/review?state=all", "/findings/1", "/progress", "/agreement", "/sign-off", "/jobs")
MANY = 100_000


def write(store: Path, *statements: tuple[str, tuple[Any, ...]]) -> None:
    opened = Store.open(store)
    with opened.write() as db:
        for sql, values in statements:
            db.execute(sql, values)
    opened.close()


@pytest.fixture
def evil(store: Path) -> None:
    write(
        store,
        ("UPDATE photos SET name = ? WHERE id = 1", (EVIL,)),
        ("UPDATE inspections SET name = ?", (EVIL,)),
        ("UPDATE findings SET object = ?, review = 1, review_reason = ?, severity = 'high', action = ?, immediate = ?"
         " WHERE id = 1", (EVIL, EVIL, EVIL, EVIL)),
        ("INSERT INTO jobs (name, user, photos, state, created, message) VALUES (?, ?, '', 'failed',"
         " '2026-11-28T12:00:00Z', ?)", (EVIL[:120], EVIL[:60], EVIL)),
    )  # fmt: skip


@pytest.mark.usefixtures("evil")
@pytest.mark.parametrize("width", [1400, 400])
def test_names_stay_names(local: str, visit: Visit, width: int) -> None:
    page = visit(local, width=width)
    ran: list[str] = []
    page.on("dialog", lambda dialog: (ran.append(dialog.message), dialog.dismiss()))
    press(page, "Enter")
    saved(page)
    page.goto(f"{local}/sign-off")
    page.wait_for_selector("html[data-ready]")
    page.fill("#sign [name=name]", EVIL[:120])
    page.click("text=Sign this inspection")
    page.wait_for_selector("#said:not([hidden])")  # what cannot be seen is refused in a name
    page.fill("#sign [name=name]", re.sub(r"[\u202e\u2069\u0007]", "", EVIL)[:120])
    page.click("text=Sign this inspection")
    page.wait_for_selector("#signed tbody tr")
    for path in PAGES:
        page.goto(local + path)
        page.wait_for_selector("html[data-ready]")
        page.wait_for_load_state("networkidle")
        assert page.query_selector("img[src=x]") is None
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        text = page.evaluate(
            "document.body.innerText + [...document.querySelectorAll('[aria-label]')].map((e) => e.ariaLabel)"
        )
        assert not set("\u202e\u2069\u0007") & set(text), path
    assert ran == []


@pytest.mark.usefixtures("evil")
def test_a_long_name_leaves_the_keys_in_sight(local: str, visit: Visit) -> None:
    page = visit(local, "/findings/1", width=400)
    for button in ("confirm", "undo"):
        assert page.query_selector(f'.dock [data-do="{button}"]').bounding_box()["y"] < 800


def test_a_key_that_is_held_down_decides_one_finding(local: str, visit: Visit) -> None:
    page = visit(local)
    for key in ("Enter", "n", "8"):
        for _ in range(10):
            page.keyboard.down(key)
        page.keyboard.up(key)
    saved(page)
    assert decided(page) == 3
    for _ in range(10):
        page.keyboard.down("u")
    page.keyboard.up("u")
    saved(page)
    assert decided(page) == 2
    for _ in range(4):
        page.keyboard.down("ArrowRight")  # moving is not deciding
    assert page.evaluate("[...document.querySelectorAll('[role=option]')].indexOf(document.activeElement)") == 4


def test_a_double_click_decides_one_finding(local: str, visit: Visit) -> None:
    page = visit(local, "/findings/1")
    page.dblclick('[data-do="confirm"]')
    saved(page)
    page.dblclick("[data-digit]:not(.foreign) >> nth=1")
    saved(page)
    assert decided(page) == 2
    page.click(".foreign >> nth=0")
    page.click(".foreign >> nth=0")  # quickly again, as it is asked to
    saved(page)
    assert decided(page) == 3
    page.click('[data-do="grid"]')
    page.dblclick("[role=option] >> nth=1")  # opens it
    page.wait_for_url("**/findings/*")
    assert decided(page) == 3


def test_a_double_click_signs_once(local: str, visit: Visit) -> None:
    page = visit(local, "/sign-off")
    page.fill("#sign [name=name]", "Ann Smith")
    page.dblclick("text=Sign this inspection")
    page.wait_for_selector("#signed >> text=✓ holds")
    assert len(get(page, "/signoffs")["items"]) == 1


def test_back_and_forward_lead_where_they_led(local: str, visit: Visit) -> None:
    page = visit(local)
    first, second = tiles(page)[:2]
    press(page, "o", "ArrowRight")
    page.go_back()
    page.wait_for_url(f"**/findings/{first}")
    until(page, f"document.querySelector('.box.current')?.dataset.id === '{first}'")
    press(page, "Enter")  # decided: the next one takes its place in the history
    page.wait_for_url(f"**/findings/{second}")
    page.go_back()
    page.wait_for_url("**/review")
    assert first not in tiles(page)
    page.go_forward()
    page.wait_for_url(f"**/findings/{second}")
    page.goto(f"{local}/progress")
    page.go_back()
    page.wait_for_selector("html[data-ready]")
    until(page, f"document.querySelector('.box.current')?.dataset.id === '{second}'")
    saved(page)
    assert decided(page) == 1


def test_an_address_that_was_made_up_is_told(local: str, visit: Visit) -> None:
    page = visit(local)
    for query in ("state=bogus", "sort=bogus", "inspection=abc", "photo=-1"):
        page.goto(f"{local}/review?{query}")
        page.click("#empty >> text=All undecided findings")
        page.wait_for_selector("[role=option]")
        assert page.url == f"{local}/review"


def test_a_finding_that_is_not_there_leads_to_the_grid(local: str, visit: Visit) -> None:
    page = visit(local, "/findings/999999")
    page.wait_for_selector("#faults >> text=finding 999999: there is none")
    assert len(tiles(page)) == 36


def test_an_empty_store_says_what_to_do(chromium: Any, visit: Visit, tmp_path: Path) -> None:
    with served(tmp_path / "empty") as address:
        page = visit(address)
        page.wait_for_selector("#empty >> text=toeline serve import")
        for path in ("/progress", "/sign-off"):
            page.goto(address + path)
            page.wait_for_selector("main >> text=toeline serve import")
            assert serious(page) == []
        page.goto(f"{address}/agreement")
        page.wait_for_selector("main >> text=No finding was answered by two people yet")
        assert not page.is_visible("#to-blind")


@pytest.fixture
def crowded(store: Path) -> Iterator[str]:
    """A server over 100,000 findings."""
    opened = Store.open(store)
    with opened.write() as db:
        names = [r[1] for r in db.execute("PRAGMA table_info(findings)") if r[1] not in ("id", "object")]
        db.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO findings"
            f" (object, {', '.join(names)}) SELECT 'x' || n.i, {', '.join(f'f.{name}' for name in names)}"
            " FROM n JOIN findings f ON f.id = 1 + n.i % 45",
            [MANY - 45],
        )
    opened.close()
    with served(store) as address:
        yield address


def test_a_hundred_thousand_findings_stay_quick(crowded: str, visit: Visit) -> None:
    start = time.perf_counter()
    page = visit(crowded)
    loaded = time.perf_counter() - start
    page.wait_for_selector("#count >> text=0 of 100,000 findings decided")
    nodes = page.evaluate("document.querySelectorAll('*').length")
    start = time.perf_counter()
    for at in range(1, 13):
        press(page, "PageDown")
        page.wait_for_selector(f"#empty >> text={36 * at + 1}–{36 * at + 36} of 100,000")
    turned = time.perf_counter() - start
    page.context.set_offline(True)
    press(page, "a", "Enter", "a", "c", "Enter", "n")
    until(page, "document.querySelector('#saved').dataset.count === '74'")
    page.context.set_offline(False)
    saved(page)
    print(f"\nloaded in {loaded:.1f} s, 12 pages in {turned:.1f} s, {nodes} nodes")
    assert (
        page.evaluate("document.querySelectorAll('*').length") < nodes + 50
    )  # a page of the grid, however many there are
    assert nodes < 1500
    assert decided(page) == 74
    assert max(loaded, turned) < 90  # some seconds on two idle cores


def test_a_viewer_and_the_blind_review_have_no_serious_finding(shared: str, visit: Visit) -> None:
    page = visit(shared, width=400)
    sign_in(page, "vic")
    assert serious(page) == []
    page.goto(f"{shared}/jobs")
    page.wait_for_selector("html[data-ready]")
    assert serious(page) == []
    bob = visit(shared, "/blind")
    sign_in(bob, "bob")
    bob.wait_for_selector("text=Nothing is left of the sample")
    assert serious(bob) == []
