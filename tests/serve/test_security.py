from __future__ import annotations

import csv
import errno
import io
import json
import struct
import zlib
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from PIL import Image
from tests.support.datasets import exit_code, make_photo, write_photo
from tests.support.serving import BASE, client, copied, decide, items, key
from tests.support.stand_ins import FakeJudge, stand_in

from toeline.pipelines.settings import InspectRun
from toeline.serve.accounts import MOST_OF_PAIR, Accounts, TooMany
from toeline.serve.api import Limits, make_app
from toeline.serve.imports import finished, import_run
from toeline.serve.jobs import Model
from toeline.serve.store import Store
from toeline.serve.uploads import plain_name

PASSWORD = "a long enough password"
HOME = "http://server.example"


@pytest.fixture
def guarded(tmp_path: Path):
    """A server for others: ann is an engineer, bob a reviewer, eve a viewer."""
    folder = copied(tmp_path)
    store = Store.open(folder)
    accounts = Accounts(store)
    for name, role in (("ann", "engineer"), ("bob", "reviewer"), ("eve", "viewer")):
        accounts.add(name, role, PASSWORD)
    store.close()
    app = make_app(folder, host="0.0.0.0")
    with TestClient(app, base_url=HOME) as web:
        yield web


def log_in(web: TestClient, user: str, password: str = PASSWORD) -> str:
    said = web.post(f"{BASE}/login", json={"user": user, "password": password})
    assert said.status_code == 200, said.text
    token: str = said.json()["csrf"]
    web.headers["x-csrf-token"] = token
    return token


def test_passwords_are_hashed_at_the_full_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As argon2's own makers advise; the other tests of the service hash in no time."""
    monkeypatch.setattr("toeline.serve.accounts.PasswordHasher", PasswordHasher)
    store = Store.open(copied(tmp_path))
    accounts = Accounts(store)
    accounts.add("ann", "engineer", PASSWORD)
    kept = str(store.value("SELECT password FROM users WHERE name = 'ann'"))
    assert kept.startswith("$argon2id$")
    assert not PasswordHasher().check_needs_rehash(kept)
    assert (accounts.is_password("ann", PASSWORD), accounts.is_password("ann", PASSWORD[1:])) == (True, False)
    store.close()


def test_nobody_gets_anything_without_an_account(guarded: TestClient) -> None:
    paths = guarded.app.openapi()["paths"]
    for path, methods in paths.items():
        if path in ("/healthz", "/readyz", "/version", "/metrics", f"{BASE}/login", f"{BASE}/logout"):
            continue
        for method in methods:
            where = path.format(finding=1, photo=1, job=1, signoff=1, inspection=1)
            said = guarded.request(method, where, json={} if method == "post" else None)
            assert said.status_code in (401, 422), (method, path, said.status_code)
            assert said.status_code == 401 or method == "post", (method, path)
    assert guarded.get(f"{BASE}/findings").json()["code"] == "signed_out"


def test_roles(guarded: TestClient) -> None:
    log_in(guarded, "eve")
    one = items(guarded)[0]
    assert decide(guarded, one["id"]).status_code == 403
    guarded.post(f"{BASE}/logout")
    log_in(guarded, "bob")
    assert decide(guarded, one["id"]).status_code == 200
    assert guarded.get(f"{BASE}/events").json()["items"][0]["user"] == "bob"
    assert guarded.post(f"{BASE}/signoffs", json={"inspection": 1, "name": "Bob B"}).status_code == 403


def test_a_request_without_the_token_or_from_another_site_is_refused(guarded: TestClient) -> None:
    log_in(guarded, "bob")
    one = items(guarded)[0]["id"]
    token = guarded.headers.pop("x-csrf-token")
    assert decide(guarded, one).json()["code"] == "csrf"
    guarded.headers["x-csrf-token"] = token[:-1] + "x"
    assert decide(guarded, one).json()["code"] == "csrf"
    guarded.headers["x-csrf-token"] = token
    guarded.headers["origin"] = "http://evil.example"
    assert decide(guarded, one).json()["code"] == "csrf"
    guarded.headers["origin"] = HOME
    assert decide(guarded, one).status_code == 200


def test_on_this_machine_another_site_can_do_nothing_either(tmp_path: Path) -> None:
    with client(copied(tmp_path)) as web:
        one = items(web)[0]["id"]
        form = {"finding": one, "version": 0, "action": "confirm", "key": key()}
        evil = web.post(f"{BASE}/decisions", json=form, headers={"origin": "http://evil.example"})
        assert evil.status_code == 403
        assert web.post(f"{BASE}/decisions", json=form, headers={"sec-fetch-site": "cross-site"}).status_code == 403
        rebound = web.get(f"{BASE}/findings", headers={"host": "evil.example"})  # DNS rebinding
        assert rebound.status_code == 403
        assert web.get(f"{BASE}/events").json()["items"] == []


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip", "x-forwarded-host"])
def test_behind_a_proxy_that_nobody_told_of_there_is_no_user_without_an_account(tmp_path: Path, header: str) -> None:
    """nginx sends its own address as the host, so that everybody would be the person at this machine."""
    with client(copied(tmp_path)) as web:
        said = web.get(f"{BASE}/findings", headers={"host": "127.0.0.1:8765", header: "203.0.113.9"})
        assert said.status_code == 403
        assert "--behind-proxy" in said.json()["detail"]


def test_nothing_but_pictures_is_kept_by_a_browser(tmp_path: Path) -> None:
    with client(copied(tmp_path)) as web:
        one = items(web)[0]
        for path in ("/review", f"{BASE}/findings", f"{BASE}/findings/{one['id']}", f"{BASE}/findings.csv?state=all"):
            assert web.get(path).headers["cache-control"] == "no-store", path
        crop = web.get(f"{BASE}/findings/{one['id']}/crop").headers
        assert "private" in crop["cache-control"]
        assert "cookie" in crop["vary"], "the next one who logs in there may not see it"
        assert web.get("/static/review.js").status_code == 404, "scripts have the fingerprint of a version"


@pytest.mark.parametrize("length", ["\u00b2", "-1", "1e3", "9" * 5000])
def test_a_length_that_is_no_number_is_refused(tmp_path: Path, length: str) -> None:
    with client(copied(tmp_path)) as web:
        header = {"content-length": length.encode("latin-1")}
        assert web.post(f"{BASE}/decisions", content=b"{}", headers=header).status_code == 413


def test_a_log_in_makes_a_new_session_and_a_log_out_ends_it(guarded: TestClient) -> None:
    guarded.cookies.set("toeline_session", "chosen-by-an-attacker")
    log_in(guarded, "bob")
    mine = [c for c in guarded.cookies.jar if c.name == "toeline_session" and c.value != "chosen-by-an-attacker"]
    assert len(mine) == 1
    guarded.cookies.clear()
    assert (
        guarded.get(f"{BASE}/session", headers={"cookie": "toeline_session=chosen-by-an-attacker"}).status_code == 401
    )
    header = {"cookie": f"toeline_session={mine[0].value}"}
    assert guarded.get(f"{BASE}/session", headers=header).json()["user"] == "bob"
    guarded.post(f"{BASE}/logout", headers=header)
    assert guarded.get(f"{BASE}/session", headers=header).status_code == 401


def test_a_stream_ends_with_the_session(guarded: TestClient) -> None:
    """Whoever logged out, or whose account was taken away, hears no more of a job.

    On a thread of its own: where a test in a browser ran before, its loop of events is still this thread's.
    """
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from fastapi import Request

    from toeline.serve.imports import insert
    from toeline.serve.working import follow

    app = guarded.app
    with app.state.store.write() as db:
        job = {"name": "seven", "user": "ann", "photos": "", "state": "running", "created": "now"}
        number = insert(db, "jobs", job)
    assert guarded.get(f"{BASE}/jobs/{number}/events").status_code == 401
    header = (b"authorization", f"Bearer {app.state.accounts.new_token('eve')}".encode())
    scope = {"type": "http", "method": "GET", "headers": [header], "app": app, "path": "/", "query_string": b""}

    async def quiet() -> dict[str, str]:
        await asyncio.sleep(3600)
        return {}

    async def hear() -> list[str]:
        stream, heard = follow(number, Request(scope, quiet), app.state.accounts.of_token("")).body_iterator, []
        async for piece in stream:
            heard.append(str(piece))
            app.state.accounts.remove("eve")
        return heard

    with ThreadPoolExecutor(1) as pool:
        (heard,) = pool.submit(lambda: asyncio.run(asyncio.wait_for(hear(), 20))).result()
    assert '"state": "running"' in heard


def test_guesses_at_once_are_counted_one_by_one(guarded: TestClient) -> None:
    """Each takes 64 MB; and what is checked before it is counted would let all of them through."""
    from concurrent.futures import ThreadPoolExecutor
    from contextlib import suppress

    accounts, tried = guarded.app.state.accounts, []
    real = accounts.is_password
    accounts.is_password = lambda *words: (tried.append(words), real(*words))[1]

    def guess(number: int) -> None:
        with suppress(TooMany):
            accounts.log_in("ann", f"guess {number}", "10.0.0.1")

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(guess, range(40)))
    assert len(tried) == MOST_OF_PAIR


def test_the_cookie_is_for_the_server_alone(guarded: TestClient) -> None:
    said = guarded.post(f"{BASE}/login", json={"user": "bob", "password": PASSWORD}).headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said


def test_guessing_is_stopped(guarded: TestClient) -> None:
    codes = [
        guarded.post(f"{BASE}/login", json={"user": "ann", "password": f"guess {n}"}).status_code
        for n in range(MOST_OF_PAIR + 2)
    ]
    assert codes == [401] * MOST_OF_PAIR + [429] * 2
    right = guarded.post(f"{BASE}/login", json={"user": "ann", "password": PASSWORD})
    assert right.status_code == 429
    assert int(right.headers["retry-after"]) > 0
    assert guarded.post(f"{BASE}/login", json={"user": "bob", "password": PASSWORD}).status_code == 200


def test_a_token_is_for_machines_and_is_not_kept_as_it_is(guarded: TestClient) -> None:
    store = guarded.app.state.store
    token = guarded.app.state.accounts.new_token("bob", "crane")
    header = {"authorization": f"Bearer {token}"}
    assert guarded.get(f"{BASE}/session", headers=header).json()["user"] == "bob"
    assert token not in json.dumps([tuple(row) for row in store.rows("SELECT * FROM tokens")])
    assert PASSWORD not in json.dumps([tuple(row) for row in store.rows("SELECT * FROM users")])
    guarded.app.state.accounts.remove("bob")
    assert guarded.get(f"{BASE}/session", headers=header).status_code == 401


def test_another_address_needs_an_engineer_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in (["--host", "0.0.0.0"], ["--behind-proxy"]):
        assert exit_code("serve", "--store", str(copied(tmp_path / more[0])), *more) == 2
        assert "toeline serve user add" in " ".join(capsys.readouterr().err.split())


EVIL = ["' OR 1=1 --", "1; DROP TABLE events", '"; SELECT * FROM users; --', "%' UNION SELECT password FROM users --"]


@pytest.mark.parametrize("text", EVIL)
def test_no_text_is_run_as_sql(tmp_path: Path, text: str) -> None:
    with client(copied(tmp_path)) as web:
        for name in ("q", "type", "class", "condition", "severity", "action", "user"):
            assert items(web, **{name: text}) == []
        assert web.get(f"{BASE}/findings", params={"sort": text}).status_code == 422
        assert web.get(f"{BASE}/events", params={"user": text}).json()["items"] == []
        assert len(items(web)) == 12


def test_names_of_files_are_text_and_never_formulas_or_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, FakeJudge())
    names = ["=HYPERLINK(1).jpg", "<img src=x onerror=alert(1)>.jpg", "@SUM(1).jpg"]
    for at, name in enumerate(names):
        write_photo(tmp_path / "photos" / name, (60, 60), seed=at)
    exif = Image.Exif()
    exif[0x010E] = "<script>alert(1)</script>"
    make_photo((60, 60), 9).save(tmp_path / "photos" / "exif.jpg", exif=exif)
    assert exit_code("inspect", str(tmp_path / "photos"), "--out", str(tmp_path / "run")) == 0
    store = Store.open(tmp_path / "store")
    import_run(store, finished(tmp_path / "run"), name="<script>alert(2)</script>")
    store.close()
    with client(tmp_path / "store") as web:
        for one in items(web):
            decide(web, one["id"])
        table = list(csv.reader(io.StringIO(web.get(f"{BASE}/findings.csv").content.decode("utf-8-sig"))))
        assert not [cell for row in table for cell in row if cell[:1] in "=@+" and cell]
        found = web.get(f"{BASE}/findings", params={"state": "all"})
        assert found.headers["content-type"] == "application/json"
        assert found.headers["x-content-type-options"] == "nosniff"
        signed = web.post(f"{BASE}/signoffs", json={"inspection": 1, "name": "<script>x</script>"}).json()
        page = web.get(signed["report"]).text
        assert "<script>alert" not in page
        assert "<script>x" not in page
        assert "onerror=alert(1)>" not in page.replace("&lt;", "").replace("&gt;", "") or "&lt;img" in page
        assert "default-src 'self'" in web.get(signed["report"]).headers["content-security-policy"]


def bomb(wide: int, high: int) -> bytes:
    """A PNG of few bytes that says it has many pixels."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(b"\0" * 1000)) + part(b"IEND", b"")


def jpeg(size_wh: tuple[int, int] = (60, 60)) -> bytes:
    buffer = io.BytesIO()
    make_photo(size_wh).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stand_in(monkeypatch, FakeJudge())
    (tmp_path / "flights" / "one").mkdir(parents=True)
    write_photo(tmp_path / "flights" / "one" / "a.jpg", (60, 60))
    write_photo(tmp_path / "secret" / "b.jpg", (60, 60))
    (tmp_path / "flights" / "out").symlink_to(tmp_path / "secret")
    limits = Limits(photo_bytes=300_000, upload_bytes=400_000, pixels=1_000_000)
    with client(
        tmp_path / "store", model=Model(InspectRun(photos=())), photos=[tmp_path / "flights"], limits=limits
    ) as web:
        yield web


@pytest.mark.parametrize(
    "typed", ["../secret", "/etc", "one/../../secret", "out", "\0", "one/a.jpg", "nowhere", "~", "//etc"]
)
def test_a_folder_outside_is_never_inspected(working: TestClient, typed: str) -> None:
    said = working.post(f"{BASE}/jobs", data={"name": "x", "folder": typed})
    assert said.status_code == 422
    assert working.get(f"{BASE}/jobs").json()["items"] == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", 422),
        (b"<svg onload=alert(1)>", 422),
        (b"GIF89a", 422),
        (b"\xff\xd8\xff" + b"\0" * 100, 422),
        (bomb(60_000, 60_000), 413),
        (bomb(1200, 1200), 413),
        (b"x" * 350_000, 413),
    ],
)
def test_what_is_no_photograph_or_too_large_is_refused_before_it_is_decoded(
    working: TestClient, content: bytes, code: int
) -> None:
    for address, field in (("inspect", "file"), ("jobs", "files")):
        said = working.post(f"{BASE}/{address}", files={field: ("a.jpg", content, "image/jpeg")})
        assert said.status_code == code, said.text
    store = working.app.state.store.folder
    assert not list(store.glob("uploads/*/*"))
    assert not list(store.glob("quick/*"))


def test_an_upload_is_kept_under_a_name_of_our_own(working: TestClient) -> None:
    name = "../../../etc/<b>evil</b>\x00.php"
    made = working.post(f"{BASE}/jobs", files=[("files", (name, jpeg(), "text/html"))])
    assert made.status_code == 202, made.text
    (file,) = (working.app.state.store.folder / "uploads" / f"job-{made.json()['id']}").iterdir()
    assert file.suffix == ".jpg"
    assert file.name.startswith("0001-")
    assert plain_name("C:\\photos\\a b.jpg", 2) == "0002-a-b"


def test_a_body_that_says_too_little_of_its_length_is_cut_off(working: TestClient) -> None:
    def pieces():
        for _ in range(30):
            yield b" " * 100_000

    said = working.post(f"{BASE}/decisions", content=pieces(), headers={"content-type": "application/json"})
    assert said.status_code == 413


@pytest.mark.parametrize("address", ["inspect", "jobs"])
def test_an_upload_for_which_there_is_no_room_is_told_so(
    working: TestClient, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Not "invalid": the photograph is good, and may be sent again when there is room."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/spooled")

    field = "file" if address == "inspect" else "files"
    for broken in ("toeline.serve.uploads.shutil.copyfileobj", "starlette.formparsers.MultiPartParser.parse"):
        with monkeypatch.context() as patch:
            patch.setattr(broken, full)
            said = working.post(f"{BASE}/{address}", files={field: ("a.jpg", jpeg(), "image/jpeg")})
        assert (said.status_code, said.json()["code"]) == (507, "full"), broken
        assert "/tmp" not in said.text
    assert working.get(f"{BASE}/jobs").json()["items"] == []
    assert not list(working.app.state.store.folder.glob("uploads/*/*"))


@pytest.mark.parametrize("size_wh", [(70_000, 9), (3, 30_000)])
def test_a_photograph_of_an_odd_form_is_shown_and_breaks_nothing(working: TestClient, size_wh: tuple[int, int]) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", size_wh).save(buffer, "PNG")
    said = working.post(f"{BASE}/inspect?format=marked", files={"file": ("a.png", buffer.getvalue(), "image/png")})
    assert said.status_code in (200, 422), said.text
