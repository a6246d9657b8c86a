"""Routes of the second review and of sign-offs: an engineer's name under what was decided, frozen with its hashes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from toeline.core.words import some
from toeline.report.document import Grid, ScorecardPage, Section, Words, render_html
from toeline.serve.accounts import Who
from toeline.serve.decisions import Decision, Refused, append
from toeline.serve.forms import MOST_ID, Anything, BlindForm, DoneSaid, Id, SignForm
from toeline.serve.imports import insert
from toeline.serve.listing import JOINED
from toeline.serve.reviewing import FAULTS, PageNumber, PerPage
from toeline.serve.store import Row, Store, now
from toeline.serve.who import ENGINEER, REVIEWER, VIEWER

router = APIRouter(responses=FAULTS, tags=["sign-off"])
HTML: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}


@router.post("/blind")
def draw(
    request: Request,
    who: Who = ENGINEER,
    share: Annotated[float, Query(gt=0, le=1, allow_inf_nan=False)] = 0.1,
    seed: Annotated[int | None, Query(ge=0, le=MOST_ID)] = None,
) -> Anything:
    """Draw a random share of the decided findings, to be answered again by others who do not see the answer."""
    drawn: Anything = request.app.state.blind.draw(who.name, share, seed)
    return drawn


@router.get("/blind")
def blind_queue(request: Request, who: Who = REVIEWER, page: PageNumber = 1, per_page: PerPage = 60) -> Anything:
    """What you are to answer, without what was said of it."""
    found: Anything = request.app.state.blind.queue(who.name, request.app.state.listing, page, per_page)
    return found


@router.post("/blind/decisions", response_model=DoneSaid, response_model_exclude_defaults=True)
def answer(form: BlindForm, request: Request, who: Who = REVIEWER) -> dict[str, Any]:
    """Answer one; the decision stays as it is."""
    given = Decision(
        action=form.action, key=form.key, finding=form.finding, class_name=form.class_name, seconds=form.seconds
    )
    record: dict[str, Any] = request.app.state.blind.answer(who.name, given).record()
    return record


@router.get("/agreement")
def agreement(request: Request, who: Who = VIEWER) -> Anything:
    """How often two people agree, Cohen's kappa with its 95 % interval, and where they do not."""
    said: Anything = request.app.state.blind.agreement()
    return said


@router.post("/signoffs", status_code=201)
def sign(form: SignForm, request: Request, who: Who = ENGINEER) -> Anything:
    """Sign an inspection: its report is frozen; a later decision reopens it."""
    state = request.app.state
    store: Store = state.store
    if not who.local:
        address = request.client.host if request.client else ""
        if not state.accounts.proved(who.name, form.password, address):
            raise Refused(403, "forbidden", "password: is wrong. Type your own password to sign.")
    with store.write() as db:
        inspection = db.execute("SELECT * FROM inspections WHERE id = ?", [form.inspection]).fetchone()
        if inspection is None:
            raise Refused(404, "missing", f"inspection {form.inspection}: there is none.")
        rows = db.execute(
            f"{JOINED} WHERE f.inspection = ? AND f.removed = 0 ORDER BY f.id", [form.inspection]
        ).fetchall()
        left = sum(not row["decided"] for row in rows)
        last = db.execute("SELECT hash FROM events ORDER BY id DESC LIMIT 1").fetchone()
        at = now()
        page = report(inspection, rows, form.name, form.note, at, last["hash"] if last else "no decision yet").encode(
            "utf-8"
        )
        digest = hashlib.sha256(page).hexdigest()
        event = append(
            db,
            user=who.name,
            action="sign",
            model=inspection["model"],
            more={"inspection": form.inspection, "name": form.name, "note": form.note, "sha256": digest, "open": left},
        )
        chain = db.execute("SELECT prev FROM events WHERE id = ?", [event]).fetchone()["prev"]
        number = insert(
            db,
            "signoffs",
            {
                "inspection": form.inspection,
                "event": event,
                "user": who.name,
                "name": form.name,
                "note": form.note,
                "time": at,
                "chain": chain,
                "sha256": digest,
                "open": left,
                "page": page,
            },
        )
    row = store.row("SELECT * FROM signoffs WHERE id = ?", number)
    assert row is not None
    return _said(store, row)


def report(inspection: Row, rows: list[Row], name: str, note: str, at: str, chain: str) -> str:
    """The page that is signed: what was inspected, what was decided, by whom, and the hashes that prove it."""
    run = json.loads(inspection["run"])
    decided = [row for row in rows if row["decided"]]
    counts = Counter((row["now_class"] or f"({row['now_action']})") for row in decided)
    changed = [row for row in decided if row["now_class"] != row["class"]]
    table = tuple(
        (
            row["photo_name"],
            row["object"],
            row["class"] or "no answer",
            row["now_class"] or row["now_action"],
            row["now_user"],
            row["now_time"],
        )
        for row in decided
    )
    facts = (
        ("inspection", inspection["name"]),
        ("inspected", inspection["finished"]),
        ("models", inspection["model"]),
        ("run", inspection["run_sha256"]),
        ("signed by", name),
        ("at", at),
        ("hash of the last decision", chain),
        ("remark", note),
    )
    left = len(rows) - len(decided)
    told = f"{some(len(decided), 'finding')} of {len(rows):,} decided; {some(left, 'finding')} open"
    headline = f"{told}; {len(changed):,} differ from the model."
    sections = [
        Section("Sign-off", blocks=(Grid("", ("what", "value"), tuple((k, str(v)) for k, v in facts if v), words=2),)),
        Section(
            "What was decided",
            blocks=(Grid("", ("answer", "findings"), tuple((n, f"{c:,}") for n, c in counts.most_common())),),
        ),
        Section(
            "Decisions",
            blocks=(Grid("", ("photograph", "object", "model", "decided", "by", "at"), table, words=6),)
            if table
            else (Words("None."),),
        ),
    ]
    return render_html(
        ScorecardPage(
            title=f"Inspection {inspection['name']}, signed", headline=headline, sections=tuple(sections), run=run
        )
    )


@router.get("/signoffs")
def signed(request: Request, who: Who = VIEWER, inspection: Id | None = None) -> Anything:
    """Who signed what, and whether it still holds."""
    store: Store = request.app.state.store
    rows = store.rows(
        "SELECT * FROM signoffs WHERE ? IS NULL OR inspection = ? ORDER BY id DESC", inspection, inspection
    )
    return {"items": [_said(store, row) for row in rows]}


@router.get("/signoffs/{signoff}/report.html", response_class=Response, responses=HTML)
def signed_page(signoff: Id, request: Request, who: Who = VIEWER) -> Response:
    """The report as it was signed."""
    row = request.app.state.store.row("SELECT page FROM signoffs WHERE id = ?", signoff)
    if row is None:
        raise Refused(404, "missing", f"sign-off {signoff}: there is none.")
    return Response(row["page"], media_type="text/html; charset=utf-8")


def _said(store: Store, row: Row) -> dict[str, Any]:
    """A sign-off; `reopened_by` is the first decision after it that touched its inspection."""
    later = store.value(
        "SELECT MIN(e.id) FROM events e JOIN findings f ON f.id = e.finding WHERE f.inspection = ? AND e.id > ?"
        " AND e.action NOT IN ('skip', 'blind')",
        row["inspection"],
        row["event"],
    )
    names = ("id", "inspection", "name", "user", "time", "event", "chain", "sha256", "open", "note")
    return {
        **{n: row[n] for n in names},
        "valid": later is None,
        "reopened_by": later,
        "report": f"/api/v1/signoffs/{row['id']}/report.html",
    }
