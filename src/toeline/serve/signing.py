"""Routes of the second review and of sign-offs: an engineer's name under what was decided, frozen with its hashes."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from toeline.errors import SetupError
from toeline.report.pdf import printer
from toeline.report.signed_page import CHAIN, printed
from toeline.serve.accounts import Who
from toeline.serve.blind import Blind
from toeline.serve.decisions import Decision, Refused, append, genesis, known, required
from toeline.serve.forms import MOST_ID, Anything, BlindForm, DoneSaid, Id, SignForm
from toeline.serve.imports import insert
from toeline.serve.listing import SIGNED, said_of
from toeline.serve.reviewing import FAULTS, HTML, PageNumber, PerPage
from toeline.serve.signed import Draft, draft
from toeline.serve.store import Row, Store, dumps
from toeline.serve.who import ENGINEER, REVIEWER, VIEWER

router = APIRouter(responses=FAULTS, tags=["sign-off"])
PAPER: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}}
}
PRINTS = "signed"  # the folder of printed reports: a copy of what the store holds, that may be deleted
TRIES = 5


def _blind(request: Request) -> Blind:
    state: Blind = request.app.state.blind
    return state


@router.post("/blind")
def draw(
    request: Request,
    who: Who = ENGINEER,
    share: Annotated[float, Query(gt=0, le=1, allow_inf_nan=False)] = 0.1,
    seed: Annotated[int | None, Query(ge=0, le=MOST_ID)] = None,
) -> Anything:
    """Draw a random share of the decided findings, to be answered again by others who do not see the answer."""
    return _blind(request).draw(who.name, share, seed)


@router.get("/blind")
def blind_queue(request: Request, who: Who = REVIEWER, page: PageNumber = 1, per_page: PerPage = 60) -> Anything:
    """What you are to answer, without what was said of it."""
    return _blind(request).queue(who.name, request.app.state.listing, page, per_page)


@router.post("/blind/decisions", response_model=DoneSaid, response_model_exclude_defaults=True)
def answer(form: BlindForm, request: Request, who: Who = REVIEWER) -> dict[str, Any]:
    """Answer one; the decision stays as it is."""
    given = Decision(
        action=form.action, key=form.key, finding=form.finding, class_name=form.class_name, seconds=form.seconds
    )
    return _blind(request).answer(who.name, given).record()


@router.get("/agreement")
def agreement(request: Request, who: Who = VIEWER) -> Anything:
    """How often two people agree, Cohen's kappa with its 95 % interval, and where they do not."""
    return _blind(request).agreement()


@router.post("/signoffs", status_code=201)
def sign(form: SignForm, request: Request, who: Who = ENGINEER) -> Anything:
    """Sign an inspection: its report is frozen; a later decision reopens it."""
    state = request.app.state
    store: Store = state.store
    if not who.local:
        address = request.client.host if request.client else ""
        if not state.accounts.proved(who.name, form.password, address):
            raise Refused(403, "forbidden", "password: is wrong. Type your own password to sign.")
    for _ in range(TRIES):  # the page is made before the store is held: its pictures may take seconds
        made = draft(state, form)
        with store.write() as db:
            number = _before(db, who.name, form) or _kept(db, who.name, form, made)
        if number is not None:
            store.note_head()
            row = store.row(f"{SIGNED} WHERE id = ?", number)
            assert row is not None
            return said_of(store, row)
    raise Refused(503, "busy", "somebody decides on this inspection at this moment. Sign again when they are done.")


def _asked(form: SignForm) -> str:
    return dumps(["sign", form.inspection, form.name, form.note])


def _before(db: sqlite3.Connection, user: str, form: SignForm) -> int | None:
    """The sign-off that the same request made before, which got no answer. Raises Refused."""
    event = known(db, user, form.key, _asked(form)) if form.key else None
    found = db.execute("SELECT id FROM signoffs WHERE event = ?", [event["id"]]).fetchone() if event else None
    return found["id"] if found else None


def _kept(db: sqlite3.Connection, user: str, form: SignForm, made: Draft) -> int | None:
    """Keep the draft as it is signed; None where a decision came meanwhile."""
    inspection = db.execute("SELECT * FROM inspections WHERE id = ?", [form.inspection]).fetchone()
    if inspection["last_event"] != made.last_event:
        return None
    head = db.execute("SELECT hash FROM events ORDER BY id DESC LIMIT 1").fetchone()
    chain = head["hash"] if head else genesis(db)
    page = made.page.replace(CHAIN, chain).encode("utf-8")
    digest = hashlib.sha256(page).hexdigest()
    more = {"inspection": form.inspection, "name": form.name, "note": form.note, "sha256": digest, "open": made.open}
    asked = _asked(form) if form.key else ""
    event = append(db, user=user, action="sign", model=inspection["model"], key=form.key, asked=asked, more=more)
    row = {
        "inspection": form.inspection, "event": event, "user": user, "name": form.name, "note": form.note,
        "time": made.time, "chain": chain, "sha256": digest, "open": made.open, "page": page,
    }  # fmt: skip
    return insert(db, "signoffs", row)


@router.get("/signoffs")
def signed(request: Request, who: Who = VIEWER, inspection: Id | None = None) -> Anything:
    """Who signed what, and whether it still holds."""
    store: Store = request.app.state.store
    rows = store.rows(f"{SIGNED} WHERE ? IS NULL OR inspection = ? ORDER BY id DESC", inspection, inspection)
    return {"items": [said_of(store, row) for row in rows]}


def _page(request: Request, signoff: int) -> Row:
    store: Store = request.app.state.store
    return required(store.row("SELECT page, sha256 FROM signoffs WHERE id = ?", signoff), "sign-off", signoff)


@router.get("/signoffs/{signoff}/report.html", response_class=Response, responses=HTML)
def signed_page(signoff: Id, request: Request, who: Who = VIEWER) -> Response:
    """The report as it was signed."""
    return Response(_page(request, signoff)["page"], media_type="text/html; charset=utf-8")


@router.get("/signoffs/{signoff}/report.pdf", response_class=Response, responses=PAPER)
def signed_pdf(signoff: Id, request: Request, who: Who = VIEWER) -> Response:
    """The signed page printed as PDF, which names the page's SHA-256; printed once, then the same file again."""
    row, state = _page(request, signoff), request.app.state
    file: Path = state.store.folder / PRINTS / f"{signoff}-{row['sha256']}.pdf"
    if not file.is_file():
        if not state.printing.acquire(blocking=False):
            raise Refused(503, "busy", "another report is being printed. Ask again in some seconds.")
        try:
            printer("The PDF", "leave it, and print report.html in a browser")(
                printed(row["page"].decode("utf-8"), row["sha256"]), file
            )
        except SetupError as why:
            raise Refused(404, "no_printer", str(why)) from None
        finally:
            state.printing.release()
    return Response(
        file.read_bytes(), media_type="application/pdf",
        headers={"content-disposition": f'inline; filename="signed-{signoff}-{row["sha256"][:12]}.pdf"'},
    )  # fmt: skip
