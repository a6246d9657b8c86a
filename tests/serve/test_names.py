"""Names of people, inspections, jobs and tokens are one line of plain text, whoever sends them."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from tests.support.datasets import exit_code
from tests.support.serving import BASE, client, copied, drawn

from toeline.errors import SetupError
from toeline.serve.names import plain, plain_note, typed
from toeline.serve.store import Store

LINES = ["Ann\nSmith", "Ann\r", "Ann\tSmith"]  # a remark may have them
ODD = ["\x1b[31mAnn", "Ann\x00", "Ann\u202egpj", "Ann\u2028Smith", "   ", "\ufeffAnn", "Ann\u3164"]
UNSEEN = ["\u200c\u200d", "\u2800\u2800", "\u115f\u1160", "\ufe0f\ufe0f", " \u0301"]
GOOD = ["Zoë Ångström", "李小龍", "O'Neil <QA>", "نیم\u200cفاصله", "क्\u200dष", "👩\u200d🔧 Kim"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return copied(tmp_path)


@pytest.mark.parametrize("text", ODD + LINES + UNSEEN)
def test_an_odd_name_is_refused_wherever_one_is_given(
    text: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with client(store) as web:
        by_name = web.post(f"{BASE}/signoffs", json={"inspection": 1, "name": text})
        by_note = web.post(f"{BASE}/signoffs", json={"inspection": 1, "name": "Ann", "note": text})
        signed = web.get(f"{BASE}/signoffs").json()["items"]
    assert (by_name.status_code, by_name.json()["where"]) == (422, ["body", "name"])
    assert by_note.status_code == (201 if text in LINES else 422)
    assert len(signed) == (text in LINES)
    if "\x00" not in text:  # which no command line can hold
        assert exit_code("serve", "import", str(drawn() / "run"), "--store", str(store), "--name", text) == 2
        assert "--name" in capsys.readouterr().err
    with pytest.raises(SetupError, match="--note"):
        typed(text, "--note")


def test_a_name_to_sign_with_has_two_characters_that_count(store: Path) -> None:
    with client(store) as web:
        for name in ("A", " A", "A \u00a0"):
            said = web.post(f"{BASE}/signoffs", json={"inspection": 1, "name": name})
            assert (said.status_code, said.json()["where"]) == (422, ["body", "name"])
        described = web.get(f"{BASE}/openapi.json").json()["components"]["schemas"]["SignForm"]["properties"]["name"]
    assert (described["minLength"], described["maxLength"]) == (2, 120)


def test_a_job_and_a_token_are_named_by_the_same_rule(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with client(store) as web:
        answer = web.post(f"{BASE}/jobs", data={"name": "a\nb", "folder": "x"})
        assert (answer.status_code, answer.json()["where"]) == (422, ["body", "name"])
        assert "which cannot be seen" in answer.json()["detail"]
    monkeypatch.setattr("sys.stdin", io.StringIO("long enough password\n"))
    assert exit_code("serve", "user", "add", "ann", "--store", str(store), "--password-stdin") == 0
    assert exit_code("serve", "user", "token", "ann", "--store", str(store), "--note", "a\nb") == 2
    assert exit_code("serve", "user", "token", "ann", "--store", str(store), "--note", "x" * 121) == 2
    assert exit_code("serve", "user", "add", "ann\n", "--store", str(store), "--password-stdin") == 2


@pytest.mark.parametrize("name", GOOD)
def test_names_of_people_everywhere_are_taken(name: str, store: Path) -> None:
    assert plain(name) == name
    with client(store) as web:
        made = web.post(f"{BASE}/signoffs", json={"inspection": 1, "name": f" {name}  ", "note": "One.\r\n\tTwo."})
        assert made.status_code == 201
        assert made.json()["name"] == name
        assert made.json()["note"] == "One.\r\n\tTwo."
    assert plain_note("") == ""


def test_a_folder_with_an_odd_name_is_shown_with_escapes(tmp_path: Path) -> None:
    run = tmp_path / "flight\n\x1b[31m7"
    shutil.copytree(drawn() / "run", run)
    assert exit_code("serve", "import", str(run), "--store", str(tmp_path / "store")) == 0
    store = Store.open(tmp_path / "store")
    assert store.value("SELECT name FROM inspections") == r"flight\n\x1b[31m7"
    assert json.loads(store.value("SELECT run FROM inspections"))
    store.close()
