"""What is signed, how it is printed, what reopens it, and events that were cut off at the end."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.support.datasets import exit_code
from tests.support.results import finding, read
from tests.support.serving import BASE, client, copied, decide, items, key

from toeline import errors
from toeline.core.finding import Finding, graded
from toeline.core.taxonomy import Taxonomy
from toeline.report import pdf
from toeline.report.signed_page import CHAIN, PICTURED, SignedFinding, SignedReport, render_signed
from toeline.serve import signing
from toeline.serve.decisions import check
from toeline.serve.store import FILE, HEAD, NOTED, Store

WORDS = Taxonomy.load()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return copied(tmp_path)


@pytest.fixture
def web(store: Path) -> Iterator[TestClient]:
    with client(store) as made:
        yield made


def sign(web: TestClient, **more: Any) -> dict[str, Any]:
    answer = web.post(f"{BASE}/signoffs", json={"inspection": 1, "name": "Ann Smith", **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def faults(web: TestClient, *heads: str) -> list[str]:
    state = web.app.state  # type: ignore[attr-defined]
    return check(state.store, state.taxonomy, heads).faults


def signoffs(web: TestClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = web.get(f"{BASE}/signoffs").json()["items"]
    return found


# ---------------------------------------------------------------- the report


def test_the_report_holds_what_is_to_be_done_as_it_was_decided(web: TestClient) -> None:
    drain, toe, plant, *_ = items(web, sort="photo")
    decide(web, drain["id"])
    decide(web, toe["id"], "change", **{"class": "rock toe"})
    decide(web, plant["id"], "reject")
    made = sign(web, note="Walked the <berm>.")
    text = web.get(made["report"]).text
    assert sha256(text.encode()).hexdigest() == made["sha256"]
    assert made["chain"] in text
    assert CHAIN not in text
    assert "Walked the &lt;berm&gt;." in text
    assert "9 of 12 findings were decided by nobody" in text
    work = text[text.index("What is to be done") : text.index("What people changed")]
    assert work.count('<img src="data:image/jpeg;base64,') == 7  # four drains, three rock toes: one is sound
    assert "Clear the channel" in work
    assert "confirmed by local" in work
    section = text[text.index("What people changed") : text.index("Every finding")]
    changed = " ".join(re.sub(r"<[^>]+>", " ", section).split())
    assert "rock toe damaged rock toe local" in changed
    assert "vegetation no object local" in changed
    assert "slope drain" not in changed
    assert faults(web) == []
    assert faults(web, made["chain"]) == []


def test_a_photograph_that_is_gone_is_said_and_the_report_is_signed(
    web: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toeline.serve.decisions import Refused
    from toeline.serve.pixels import Pixels

    def gone(*_: Any, **__: Any) -> bytes:
        raise Refused(410, "gone", "is not there")

    monkeypatch.setattr(Pixels, "crop", gone)
    text = web.get(sign(web)["report"]).text
    assert "The photograph is not there any more." in text
    assert "<img" not in text


def damaged(number: int, probability: float) -> Finding:
    one = finding("a.jpg", number)
    verdict = replace(one.verdict, class_name="rock toe damaged", condition="damaged", probability=probability)
    return replace(one, verdict=verdict)


def test_thousands_of_decisions_keep_what_matters_in_front() -> None:
    found = graded([damaged(n, n / 5000) for n in range(1, 4001)], (), WORDS)
    urgent = replace(found[0], grade=replace(found[0].grade, immediate="water stands behind it"))
    answers = [
        SignedFinding(f, "rock toe damaged", "confirm", "ann", "2026-11-28T21:00:00Z", n) for n, f in enumerate(found)
    ]
    answers[0] = replace(answers[0], finding=urgent)
    answers[7] = replace(answers[7], said="rock toe", action="change")
    report = SignedReport("Inspection x", "Ann", "2026-11-28T21:00:00Z", "", 9, answers, WORDS, [("run", "abc")])
    text = render_signed(report)
    order = ["decided by a person", "By type and condition", "What is to be done", "What people changed",
             "<h2>Every finding", "How it can be checked"]  # fmt: skip
    assert sorted(order, key=text.index) == order
    assert re.findall(r"<h3>(\d+)\.", text) == [str(n) for n in range(1, PICTURED + 1)]
    first = text[text.index("<article>") : text.index("</article>")]
    assert "Cannot wait" in first
    assert "water stands behind it" in first
    assert len(text) < 4_000_000
    assert len(read(text).all("tr")) == 4000 + (4000 - PICTURED) + 1 + len(WORDS.types) + 4  # heads


def test_a_decision_while_it_is_drawn_up_is_in_the_report_or_it_is_not_signed(
    web: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft, times = signing.draft, [0]
    first, second, *_ = items(web)

    def slow(*given: Any) -> Any:
        made = draft(*given)
        times[0] += 1
        if times[0] == 1:
            decide(web, first["id"], "reject")
        return made

    monkeypatch.setattr(signing, "draft", slow)
    made = sign(web)
    assert (times[0], made["open"], made["valid"]) == (2, 11, True)

    def restless(*given: Any) -> Any:
        made = draft(*given)
        web.app.state.store.set_meta("x", "y")  # type: ignore[attr-defined]
        version = web.get(f"{BASE}/findings/{second['id']}").json()["item"]["version"]
        decide(web, second["id"], version=version)
        return made

    monkeypatch.setattr(signing, "draft", restless)
    answer = web.post(f"{BASE}/signoffs", json={"inspection": 1, "name": "Ann Smith"})
    assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    assert len(signoffs(web)) == 1


# ---------------------------------------------------------------- on paper


def test_without_a_printer_the_command_is_named(web: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "find_spec", lambda _: None)
    monkeypatch.setattr(pdf, "BROWSERS", ("no-such-browser",))
    monkeypatch.setattr(errors, "requirements", lambda: ["weasyprint>=68; extra == 'pdf'"])
    answer = web.get(sign(web)["pdf"])
    assert (answer.status_code, answer.json()["code"]) == (404, "no_printer")
    assert re.search(r"pip install 'weasyprint>=\d+'", answer.json()["detail"])
    assert "--pdf" not in answer.json()["detail"]
    assert web.get(f"{BASE}/signoffs/9/report.pdf").status_code == 404


def test_it_is_printed_once_and_names_the_hash_of_the_page(web: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def stand_in(html: str, file: Path) -> None:
        asked.append(html)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"%PDF-1.7 drawn")

    monkeypatch.setattr(signing, "printer", lambda *_: stand_in)
    made = sign(web)
    for _ in range(2):
        answer = web.get(made["pdf"])
        assert answer.content == b"%PDF-1.7 drawn"
        assert answer.headers["content-type"] == "application/pdf"
        assert made["sha256"][:12] in answer.headers["content-disposition"]
    assert len(asked) == 1
    assert f"SHA-256 <code>{made['sha256']}</code>" in asked[0]
    again = sign(web, note="second")
    with web.app.state.printing:  # type: ignore[attr-defined]
        assert web.get(again["pdf"]).status_code == 503


# ---------------------------------------------------------------- reopening


def test_only_what_changes_a_decision_reopens_and_it_is_said_who_did(web: TestClient) -> None:
    first, second, *_ = items(web)
    decide(web, first["id"])
    made = sign(web)
    decide(web, second["id"], "skip")
    web.post(f"{BASE}/undo", json={"key": key()})  # of the skip
    assert signoffs(web)[0]["valid"]
    listed = web.get(f"{BASE}/inspections").json()["items"][0]
    assert (listed["signed"], listed["signoff"]["id"]) == (True, made["id"])
    event = decide(web, first["id"], "change", version=1, **{"class": "rock toe"}).json()["event"]
    said = signoffs(web)[0]
    assert (said["valid"], said["reopened_by"], said["inspection_name"]) == (False, event, "flight7")
    assert (said["reopened"]["user"], said["reopened"]["action"]) == ("local", "change")
    assert said["reopened"]["finding"] == first["id"]
    assert not web.get(f"{BASE}/inspections").json()["items"][0]["signed"]
    assert web.get(made["report"]).status_code == 200  # what was signed stays as it was
    assert sign(web)["valid"]
    assert [s["valid"] for s in signoffs(web)] == [True, False]


def test_a_report_that_was_exchanged_is_found(store: Path) -> None:
    with client(store) as web:
        sign(web)
    with closing(sqlite3.connect(store / FILE)) as db:
        db.execute("DROP TRIGGER signoffs_stay")
        db.execute("UPDATE signoffs SET page = ?, sha256 = ?", (b"better", sha256(b"better").hexdigest()))
        db.commit()
    with client(store) as web:
        assert any("is not the one that was signed" in fault for fault in faults(web))


# ---------------------------------------------------------------- cut off at the end


def cut_off(store: Path, after: int, *, thorough: bool = False) -> None:
    """Take the last events away, as somebody would who can write the file, and set the findings right again."""
    with closing(sqlite3.connect(store / FILE)) as db:
        db.execute("DROP TRIGGER IF EXISTS events_last")
        gone = [row[0] for row in db.execute("SELECT finding FROM events WHERE id > ?", [after])]
        db.execute("DELETE FROM events WHERE id > ?", [after])
        for number in gone:
            db.execute(
                "UPDATE findings SET decided = 0, version = 0, now_event = 0, now_action = '', now_class = class,"
                " now_user = '' WHERE id = ?",
                [number],
            )
        if thorough:
            db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'events'", [after])
        db.commit()


def test_events_that_were_cut_off_are_found_as_far_as_anything_remembers_them(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with client(store) as web:
        for item in items(web)[:6]:
            decide(web, item["id"])
        head = web.get("/version").json()
        web.app.state.store.note_head()  # type: ignore[attr-defined]
    assert head["event"] == 6
    cut_off(store, 4)
    with client(store) as web:
        assert any("events 5 to 6: were there once" in fault for fault in faults(web))
    cut_off(store, 4, thorough=True)
    with client(store) as web:
        assert [fault for fault in faults(web) if fault.startswith(HEAD)]
    (store / HEAD).unlink()
    assert exit_code("serve", "check", "--store", str(store)) == 0  # nothing here remembers them: that is not pretended
    capsys.readouterr()
    assert exit_code("serve", "check", "--store", str(store), "--head", head["head"], "--json") == 1
    assert "is of no event of this store" in json.loads(capsys.readouterr().out)["faults"][0]
    assert exit_code("serve", "check", "--store", str(store), "--head", "nonsense") == 2


def test_the_last_event_is_noted_every_so_many(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    with client(store) as web, caplog.at_level("INFO", "toeline.serve"):
        for turn in range(NOTED // 12 + 1):
            for item in items(web, state="all"):
                decide(web, item["id"], version=turn)
        note = json.loads((store / HEAD).read_text())
        kept = web.app.state.store.value("SELECT hash FROM events WHERE id = ?", note["event"])  # type: ignore[attr-defined]
    assert note["event"] == NOTED
    assert note["hash"] == kept
    assert f"event {NOTED}, hash {kept}" in caplog.text


def test_a_backup_names_its_last_event_and_an_older_one_may_be_restored(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.sqlite"
    with client(store) as web:
        one, two, *_ = items(web)
        decide(web, one["id"])
        assert exit_code("serve", "backup", str(copy), "--store", str(store)) == 0
        decide(web, two["id"])
        web.app.state.store.note_head()  # type: ignore[attr-defined]
    beside = copy.with_name("copy.sqlite.head.json")
    assert json.loads(beside.read_text())["event"] == 1
    assert exit_code("serve", "check", "--store", str(store), "--head", str(beside)) == 0
    assert exit_code("serve", "restore", str(copy), "--store", str(store)) == 0
    assert "Events 2 to 2 of the store before are not in it" in capsys.readouterr().out
    assert exit_code("serve", "check", "--store", str(store)) == 0
    assert exit_code("serve", "check", "--store", str(store), "--head", str(store / f"{HEAD}.before")) == 1


def test_a_note_of_another_store_is_said(store: Path, tmp_path: Path) -> None:
    other = Store.open(tmp_path / "other")
    other.note_head()
    other.close()
    (store / HEAD).write_bytes((tmp_path / "other" / HEAD).read_bytes())
    with client(store) as web:
        assert any("is of another store" in fault for fault in faults(web))
