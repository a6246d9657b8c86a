"""What a reviewer loses when the disk is full, the session ends, or somebody else signs in: nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.serving_pages import decided, get, press, saved, serving, sign_in, tiles, until

from toeline.serve.api import make_app
from toeline.serve.store import Store, StoreFull

Visit = Callable[..., Any]


@pytest.fixture
def opened(store: Path) -> Iterator[tuple[str, Store]]:
    """A server for this machine, and the store that it writes into."""
    app = make_app(store)
    with serving(app) as address:
        yield address, app.state.store


@pytest.fixture
def accounts(store: Path) -> Iterator[tuple[str, Store]]:
    """A server with accounts, and its store."""
    app = make_app(store, host="0.0.0.0")
    with serving(app) as address:
        yield address, app.state.store


def unsaved(page: Any, count: int, text: str) -> None:
    page.wait_for_selector(f'#saved[data-state="warn"][data-count="{count}"]')
    assert text in (page.text_content("#saved") or "")


def fill(store: Store) -> None:
    """Use up what is free inside the file."""
    while True:
        with store.write() as db:
            db.execute("INSERT INTO filler VALUES (zeroblob(4000))")


def test_a_full_disk_is_told_and_the_queue_is_kept(opened: tuple[str, Store], visit: Visit) -> None:
    address, store = opened
    page = visit(address)
    with store.write() as db:
        db.execute("CREATE TABLE filler (bytes BLOB)")
        (pages,) = db.execute("PRAGMA page_count").fetchone()
    store._writer.execute(f"PRAGMA max_page_count = {pages}")  # type: ignore[union-attr]
    with pytest.raises(StoreFull):
        fill(store)
    press(page, "a", "Enter")
    unsaved(page, 36, "disk is full")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    unsaved(page, 36, "kept in this browser")
    assert len(tiles(page)) == 9  # what was decided stays decided on the page
    store._writer.execute("PRAGMA max_page_count = 1000000")  # type: ignore[union-attr]
    saved(page)
    assert decided(page) == 36


def test_a_session_that_ends_in_the_middle_loses_nothing(accounts: tuple[str, Store], visit: Visit) -> None:
    address, store = accounts
    page = visit(address, "/review?sort=least_sure")
    sign_in(page, "bob")
    press(page, "Enter")
    saved(page)
    with store.write() as db:
        db.execute("DELETE FROM sessions")
    press(page, "n", "c", "Enter")
    unsaved(page, 3, "You are signed out")
    page.click("#saved >> text=Sign in")
    page.wait_for_selector("#login")
    sign_in(page, "bob")
    assert page.url == f"{address}/review?sort=least_sure"
    saved(page)
    assert get(page, "/progress")["by_action"] == {"confirm": 2, "reject": 1, "unsure": 1}


def test_a_session_that_ends_before_a_load_leads_to_the_sign_in_and_back(
    accounts: tuple[str, Store], visit: Visit
) -> None:
    address, store = accounts
    page = visit(address, "/jobs")
    sign_in(page, "ann")
    with store.write() as db:
        db.execute("DELETE FROM sessions")
    page.goto(f"{address}/sign-off?inspection=1")
    assert "/login?next=%2Fsign-off%3Finspection%3D1" in page.url
    sign_in(page, "ann")
    assert page.url == f"{address}/sign-off?inspection=1"


def test_decisions_are_never_sent_in_the_name_of_another(accounts: tuple[str, Store], visit: Visit) -> None:
    address, _ = accounts
    ann = visit(address)
    sign_in(ann, "ann")
    other = ann.context.new_page()
    other.goto(f"{address}/login")
    sign_in(other, "bob")
    press(ann, "Enter", "n")
    unsaved(ann, 2, "Somebody else is signed in now")
    assert get(other, "/events")["items"] == []
    other.goto(f"{address}/login")
    sign_in(other, "ann")  # it is she again: whichever of her windows comes first sends them
    saved(other)
    events = get(other, "/events")["items"]
    assert [(e["user"], e["action"]) for e in events] == [("ann", "confirm"), ("ann", "reject")]


def test_two_windows_of_one_person_agree(local: str, visit: Visit) -> None:
    first = visit(local)
    second = first.context.new_page()
    second.goto(f"{local}/review")
    second.wait_for_selector("html[data-ready]")
    ids = tiles(first)
    press(first, "Enter", "n")
    saved(first)
    until(second, f"!document.querySelector('[data-id=\"{ids[1]}\"][role=option]')")
    assert ids[0] not in tiles(second)
    press(second, "Enter")
    saved(second)
    until(first, f"!document.querySelector('[data-id=\"{ids[2]}\"][role=option]')")
    press(second, "u")
    until(first, f"document.querySelector('[data-id=\"{ids[2]}\"][role=option]')")
    saved(first)
    assert len(get(first, "/events")["items"]) == 4  # three decisions, one undone, none sent twice


def test_two_windows_without_a_word_between_them_are_told(local: str, visit: Visit) -> None:
    first, second = visit(local), visit(local)  # two browsers of one person: no channel
    press(first, "Enter")
    saved(first)
    press(second, "n")
    saved(second)
    second.wait_for_selector("#faults .note")
    assert "You, in another window, decided this first" in (second.text_content("#faults") or "")
    assert get(first, "/progress")["by_action"] == {"confirm": 1}


def test_many_that_others_decided_first_are_all_told(local: str, visit: Visit) -> None:
    first, second = visit(local), visit(local)
    press(first, "a", "Enter")
    saved(first)
    press(second, "a", "n")
    saved(second)
    until(second, "document.querySelectorAll('#faults .note').length === 36")
    second.click("#faults >> text=Dismiss all >> nth=0")
    assert second.query_selector("#faults .note") is None
    assert get(first, "/progress")["by_action"] == {"confirm": 36}


def test_a_list_that_cannot_be_read_is_tried_again(local: str, visit: Visit) -> None:
    page = visit(local)
    page.route("**/api/v1/findings?**", lambda route: route.abort())
    page.click("#more-filters")
    page.select_option("select[name=type]", "vegetation")
    page.wait_for_selector("#empty >> text=There is no connection")
    page.unroute("**/api/v1/findings?**")
    page.click("text=Try again")
    page.wait_for_selector("[role=option]")
    assert len(tiles(page)) == 15


def test_signing_out_without_a_connection_is_told(shared: str, visit: Visit) -> None:
    page = visit(shared)
    sign_in(page, "bob")
    page.on("dialog", lambda dialog: dialog.accept())
    page.context.set_offline(True)
    with page.expect_event("dialog") as told:
        page.click("#logout")
    assert "still signed in" in told.value.message
    page.context.set_offline(False)
    page.click("#logout")
    page.wait_for_url("**/login")
    page.goto(f"{shared}/review")
    assert "/login" in page.url
