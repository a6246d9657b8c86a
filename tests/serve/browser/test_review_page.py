"""The review in a browser: by keys, undone, by two at once, without a connection, signed and exported."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.serving_pages import PASSWORD, PHOTOS, decided, get, press, saved, sign_in, tiles, until

Visit = Callable[..., Any]
ALL = 3 * PHOTOS


def test_forty_findings_by_keyboard_alone(shared: str, visit: Visit) -> None:
    page = visit(shared)
    assert "/login?next=%2Freview" in page.url
    sign_in(page, "bob")
    start = time.perf_counter()
    for _ in range(8):
        press(page, "Enter")  # confirmed
    for _ in range(4):
        press(page, "n", "c")
    press(page, "o")  # one after the other, now
    for _ in range(6):
        name = page.text_content("#verdict b") or ""
        press(page, "6" if "drain" in name else "4")  # normal, of either type
    press(page, "g", "Space", "ArrowRight", "Space", "ArrowRight", "Space", "Enter")  # three together
    press(page, "o")
    for _ in range(5):
        press(page, "Enter", ".")  # five confirmed, five skipped
    press(page, "g", "a", "Enter")  # the rest of the page, skipped ones too
    saved(page)
    took = time.perf_counter() - start
    progress = get(page, "/progress")
    print(f"\n{progress['decided']} findings decided in {took:.1f} s")
    assert progress["decided"] >= 40
    assert took < 60
    said = progress["by_action"]
    assert (said["reject"], said["unsure"], said["change"]) == (4, 4, 6)
    assert sum(said.values()) == progress["decided"]
    assert {u["user"] for u in progress["by_user"]} == {"bob"}


def test_undo_takes_back_what_one_key_decided(local: str, visit: Visit) -> None:
    page = visit(local)
    before = tiles(page)
    press(page, "Shift+ArrowRight", "Shift+ArrowRight", "Enter", "n")
    saved(page)
    assert decided(page) == 4
    assert not set(before[:4]) & set(tiles(page))
    press(page, "u")
    saved(page)
    assert (decided(page), tiles(page)[0]) == (3, before[3])
    press(page, "o", "u")  # from the single view too
    saved(page)
    assert decided(page) == 0
    press(page, "Escape")
    assert tiles(page) == before
    events = get(page, "/events")["items"]
    assert [e["action"] for e in events] == ["confirm"] * 3 + ["reject"] + ["undo"] * 4


def test_undo_after_a_reload_takes_the_last_decision(local: str, visit: Visit) -> None:
    page = visit(local)
    first = tiles(page)[0]
    press(page, "Enter")
    saved(page)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert first not in tiles(page)
    press(page, "u")
    page.wait_for_selector(f'[data-id="{first}"]')
    assert decided(page) == 0


def test_two_reviewers_are_told_who_was_first(shared: str, visit: Visit) -> None:
    ann, bob = visit(shared), visit(shared)
    sign_in(ann, "ann")
    sign_in(bob, "bob")
    ids = tiles(ann)
    assert ids == tiles(bob)
    press(ann, "8", "Enter")  # slope drain damaged, and the second one confirmed
    saved(ann)
    press(bob, "ArrowRight", "ArrowRight", "Space", "ArrowLeft", "ArrowLeft", "Space", "Enter")  # first and third
    saved(bob)
    note = bob.text_content("#faults") or ""
    assert "ann decided this first: changed to slope drain damaged" in note
    assert "Your answer (" in note
    answers = {i["id"]: i["decision"] for i in get(bob, "/findings?state=decided")["items"]}
    assert (answers[ids[0]]["user"], answers[ids[0]]["class"]) == ("ann", "slope drain damaged")
    assert (answers[ids[1]]["user"], answers[ids[2]]["user"]) == ("ann", "bob")
    bob.click("#faults >> text=Look at it")
    assert "by ann" in (bob.text_content("#verdict") or "")
    press(bob, "g")
    until(bob, f"!document.querySelector('[data-id=\"{ids[1]}\"][role=option]')")  # told without a decision


def test_a_lost_connection_loses_nothing(local: str, visit: Visit) -> None:
    page = visit(local)
    page.wait_for_load_state("networkidle")
    page.context.set_offline(True)
    press(page, "Enter", "Enter", "n", "o", "c", "8")
    until(page, "document.querySelector('#saved').textContent.includes('5 decisions not saved yet')")
    assert "kept in this browser" in (page.text_content("#saved") or "")
    press(
        page, "u", "u"
    )  # two of them: taken out where they were never tried to be sent, else an undo waits behind them
    page.close(run_before_unload=False)
    page.context.set_offline(False)
    again = page.context.new_page()
    again.goto(f"{local}/review")
    again.wait_for_selector("html[data-ready]")
    saved(again)
    assert get(again, "/progress")["by_action"] == {"confirm": 2, "reject": 1}
    assert len(tiles(again)) == 36
    actions = [e["action"] for e in get(again, "/events")["items"]]
    assert actions[:3] == ["confirm", "confirm", "reject"]
    assert len(actions[3:]) == 2 * actions.count("undo")


def test_an_answer_that_is_lost_makes_no_second_event(local: str, visit: Visit) -> None:
    page = visit(local)
    lost = []

    def lose_the_first(route: Any) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route.fetch().status)
            route.abort()

    page.route("**/api/v1/decisions**", lose_the_first)
    press(page, "Enter")
    page.wait_for_selector('#saved[data-state="warn"]')
    saved(page)
    assert lost == [200]
    assert len(get(page, "/events")["items"]) == 1


def test_a_reload_in_the_middle_sends_the_rest(local: str, visit: Visit) -> None:
    page = visit(local)
    page.route("**/api/v1/decisions**", lambda route: route.abort())
    press(page, "Enter", "Enter", "Enter")
    page.wait_for_selector('#saved[data-count="3"]')
    page.unroute("**/api/v1/decisions**")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    saved(page)
    assert decided(page) == 3


def test_a_digit_of_another_type_is_asked_twice(local: str, visit: Visit) -> None:
    page = visit(local)
    press(page, "4")  # rock toe, on a slope drain
    assert "Press 4 again to change the type" in (page.text_content("#said") or "")
    assert page.get_attribute("#saved", "data-count") == "0"
    press(page, "4")
    saved(page)
    assert get(page, "/findings?state=decided")["items"][0]["decision"]["class"] == "rock toe"


def test_mouse_selects_by_click_and_by_a_frame(local: str, visit: Visit) -> None:
    page = visit(local)
    options = page.query_selector_all("[role=option]")
    options[4].click()
    assert options[4].get_attribute("aria-selected") == "true"
    first, last = options[0].bounding_box(), options[2].bounding_box()
    page.mouse.move(first["x"] + 20, first["y"] + 20)
    page.mouse.down()
    page.mouse.move(last["x"] + 20, last["y"] + 60, steps=4)
    page.mouse.up()
    assert page.eval_on_selector_all('[aria-selected="true"]', "all => all.length") == 3
    page.click("text=Not an object")
    press(page, "Enter")  # the keys go on after a click
    saved(page)
    assert get(page, "/progress")["by_action"] == {"confirm": 1, "reject": 3}


def test_filters_are_in_the_address(local: str, visit: Visit) -> None:
    page = visit(local)
    page.click("#more-filters")
    page.select_option('select[name="type"]', "vegetation")
    until(page, "document.querySelectorAll('[role=option]').length === 15")
    page.select_option('select[name="sort"]', "least_sure")
    assert "type=vegetation" in page.url
    assert "sort=least_sure" in page.url
    other = visit(local, page.url.removeprefix(local))
    until(other, "document.querySelectorAll('[role=option]').length === 15")
    assert other.input_value('select[name="type"]') == "vegetation"
    press(other, "Escape", "o")
    other.go_back()
    assert other.is_visible("#grid")


def test_zoom_and_hidden_marks_stay_from_one_finding_to_the_next(local: str, visit: Visit) -> None:
    page = visit(local, "/findings/1")
    page.wait_for_selector(".box.current")
    press(page, "+", "+", "+", "h")
    zoom = page.text_content("#zoom")
    assert zoom != "fit"
    press(page, "ArrowRight")
    until(page, "!location.pathname.endsWith('/1')")
    page.wait_for_selector(".box.current", state="attached")
    assert page.text_content("#zoom") == zoom
    assert page.get_attribute('[data-do="marks"]', "aria-pressed") == "true"
    assert page.evaluate("getComputedStyle(document.querySelector('.stage svg')).visibility") == "hidden"
    press(page, "0")
    assert page.text_content("#zoom") == "fit"


def test_a_box_is_mended_and_another_added(local: str, visit: Visit) -> None:
    page = visit(local, "/findings/1")
    page.wait_for_selector(".box.current")
    old = get(page, "/findings/1")["item"]["box"]
    press(page, "d", "ArrowRight", "ArrowDown", "Shift+ArrowRight", "Enter", "7")  # mended, then its class
    saved(page)
    item = get(page, "/findings/1")["item"]
    new = item["decision"]["box"]
    assert new[0] > old[0]
    assert new[1] > old[1]
    assert new[2] - new[0] > old[2] - old[0]
    assert item["decision"]["action"] == "confirm"
    at = page.query_selector("#viewer").bounding_box()
    press(page, "d")
    page.mouse.move(at["x"] + at["width"] * 0.5, at["y"] + at["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(at["x"] + at["width"] * 0.6, at["y"] + at["height"] * 0.5, steps=4)
    page.mouse.up()
    page.select_option("#editor select", "Toe drain")
    page.click("text=Add as a new object")
    saved(page)
    added = [i for i in get(page, "/findings?state=decided&per_page=500")["items"] if i["added"]]
    assert [i["decision"]["class"] for i in added] == ["Toe drain"]
    wide = added[0]["box"][2] - added[0]["box"][0]
    assert wide == pytest.approx(0.1 * at["width"] * 480 / at["height"], rel=0.35)


def test_signed_and_reopened(shared: str, visit: Visit) -> None:
    page = visit(shared, "/sign-off")
    sign_in(page, "ann")
    assert f"{ALL} findings still open" in (page.text_content("#frozen") or "")
    page.fill("#sign [name=name]", "Ann Smith")
    page.fill("#sign [name=password]", "not the password")
    page.click("text=Sign this inspection")
    page.wait_for_selector("#said:visible")
    assert "password" in (page.text_content("#said") or "")
    page.fill("#sign [name=password]", PASSWORD)
    page.click("text=Sign this inspection")
    page.wait_for_selector("#signed >> text=✓ holds")
    report = page.context.request.get(shared + page.get_attribute("#signed a", "href"))
    assert "Ann Smith" in report.text()
    page.goto(f"{shared}/review")
    page.wait_for_selector("html[data-ready]")
    assert page.text_content("#signed") == ""
    press(page, "Enter")
    saved(page)
    page.wait_for_selector("#signed >> text=flight7, signed by Ann Smith, is reopened")
    page.click("#signed >> text=Sign it again")
    page.wait_for_selector("#signed >> text=reopened")
    told = page.text_content("#signed") or ""
    assert "by ann" in told
    assert "confirmed (decision" in told


def test_exports_follow_the_filter(local: str, visit: Visit, tmp_path: Path) -> None:
    page = visit(local)
    press(page, "Enter", "Enter", "n")
    saved(page)
    page.click("#exports summary")
    with page.expect_download() as got:
        page.click("#exports >> text=CSV")
    got.value.save_as(tmp_path / "findings.csv")
    assert len((tmp_path / "findings.csv").read_text(encoding="utf-8-sig").splitlines()) == 4
    hrefs = page.eval_on_selector_all("#exports a", "all => all.map(a => a.href)")
    assert len(hrefs) == 4
    assert all(page.context.request.get(href).ok for href in hrefs)


def test_the_second_review_hides_the_answer(shared: str, visit: Visit) -> None:
    ann = visit(shared)
    sign_in(ann, "ann")
    for _ in range(4):
        press(ann, "Enter")
    saved(ann)
    ann.goto(f"{shared}/agreement")
    ann.wait_for_selector("html[data-ready]")
    ann.fill("[name=share]", "100")
    ann.click("text=Draw a sample")
    ann.wait_for_selector("#drawn >> text=4 findings of 4 drawn")
    bob = visit(shared, "/blind")
    sign_in(bob, "bob")
    bob.wait_for_selector("#verdict >> text=answer hidden")
    assert "%" not in (bob.text_content("#verdict") or "")
    assert bob.query_selector(".bars") is None
    press(bob, "Enter")
    assert "choose a class" in (bob.text_content("#said") or "")
    for _ in range(4):
        press(bob, "8")
    bob.wait_for_selector("#single-title >> text=Nothing is left of the sample")
    saved(bob)
    bob.goto(f"{shared}/agreement")
    bob.wait_for_selector("text=findings answered by two")
    assert "8 %" not in (bob.text_content("#agreement-page") or "")
    assert get(bob, "/agreement")["pairs"] == 4


def test_a_viewer_looks_and_cannot_decide(shared: str, visit: Visit) -> None:
    page = visit(shared)
    sign_in(page, "vic")
    assert not page.is_visible("text=Not an object")
    press(page, "Enter")
    assert "role reviewer" in (page.text_content("#said") or "")
    assert decided(page) == 0
    assert page.goto(f"{shared}/blind").status == 403


@pytest.mark.parametrize(
    "evil", ["https://evil.example/x", "//evil.example/x", "javascript:alert(1)", "/\\evil.example"]
)
def test_signing_in_leads_nowhere_else(shared: str, visit: Visit, evil: str) -> None:
    page = visit(shared, f"/login?next={evil}")
    sign_in(page, "bob")
    page.wait_for_url("**/review")
    assert page.url.startswith(shared)
