"""Routes of the review: sessions, findings, photographs, decisions, progress."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse

from toeline.core.box import Box
from toeline.report.document import render_html
from toeline.report.revisit_page import page_of, record
from toeline.serve.accounts import Who
from toeline.serve.decisions import Done, Refused, required
from toeline.serve.forms import (
    MOST_ID,
    Anything,
    BatchForm,
    DecisionForm,
    DoneSaid,
    FaultSaid,
    Id,
    LoginForm,
    Page,
    Session,
    UndoForm,
    UndoneSaid,
)
from toeline.serve.listing import Filter, Listing
from toeline.serve.revisits import changes_of
from toeline.serve.store import Row
from toeline.serve.who import COOKIE, REVIEWER, VIEWER, current, require_own_page

FAULTS: dict[int | str, dict[str, Any]] = {
    code: {"model": FaultSaid, "description": "Told in `detail`"}
    for code in (400, 401, 403, 404, 405, 409, 410, 413, 422, 429, 503, 507)
}
JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "Not changed"},
}
HTML: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}
router = APIRouter(responses=FAULTS)
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]
PerPage = Annotated[int, Query(ge=1, le=500)]
Text = Annotated[str, Query(max_length=200)]


@router.get("/session", response_model=Session, tags=["session"])
def session(request: Request, who: Who = VIEWER) -> dict[str, Any]:
    """Who is logged in, and the token that requests which change something must send."""
    return {"user": who.name, "role": who.role, "local": who.local, "csrf": who.csrf}


@router.post("/login", response_model=Session, tags=["session"])
def login(form: LoginForm, request: Request, response: Response) -> dict[str, Any]:
    """Log in: a new session, in a cookie."""
    require_own_page(request, None)
    address = request.client.host if request.client else ""
    made = request.app.state.accounts.log_in(form.user, form.password, address)
    if made is None:
        raise Refused(401, "signed_out", "name or password is wrong.")
    cookie, who = made
    response.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", secure=request.app.state.secure, path="/")
    return {"user": who.name, "role": who.role, "local": False, "csrf": who.csrf}


@router.post("/logout", status_code=204, tags=["session"])
def logout(request: Request, response: Response) -> None:
    """End the session."""
    who = current(request)
    require_own_page(request, who)
    if who is not None and who.session:
        request.app.state.accounts.log_out(who)
    response.delete_cookie(COOKIE, path="/")


@router.get("/taxonomy", tags=["findings"])
def taxonomy(request: Request, who: Who = VIEWER) -> Anything:
    """Types with their classes in the order of the keys, conditions with their colors, severities."""
    words = request.app.state.taxonomy
    graded = {c.name: words.grading.of(c.name).severity for c in words.classes}
    classes = [
        {"name": c.name, "condition": c.condition, "severity": graded[c.name], "meaning": c.meaning, "type": c.type}
        for c in words.classes
    ]
    return {
        "name": words.name,
        "types": [
            {"name": t.name, "spoken": t.spoken, "classes": [c for c in classes if c["type"] == t.name]}
            for t in words.types
        ],
        "conditions": [{"name": c.name, "color": c.color} for c in words.conditions],
        "severities": [
            {"name": s.name, "rank": i, "meaning": s.meaning} for i, s in enumerate(words.grading.severities)
        ],
    }


def chosen(default: Literal["open", "decided"]) -> Any:
    """The filter of a query, as a dependency; `default` is the state where none is named."""

    def of_query(
        who: Who = VIEWER,
        state: Literal["open", "decided", "all"] = default,
        type: Text = "",
        class_name: Annotated[str, Query(alias="class", max_length=200)] = "",
        condition: Text = "",
        review: bool | None = None,
        severity: Text = "",
        inspection: Id | None = None,
        photo: Id | None = None,
        q: Text = "",
        action: Text = "",
        user: Text = "",
    ) -> Filter:
        return Filter(
            state=state,
            type=type,
            class_name=class_name,
            condition=condition,
            review=review,
            severity=severity,
            inspection=inspection,
            photo=photo,
            q=q,
            action=action,
            user=user,
        )

    return Depends(of_query)


UNDECIDED = chosen("open")


@router.get("/findings", response_model=Page, tags=["findings"])
def findings(
    request: Request,
    which: Filter = UNDECIDED,
    sort: Literal["urgent", "least_sure", "disagree", "alike", "photo"] = "urgent",
    page: PageNumber = 1,
    per_page: PerPage = 60,
) -> Response:
    """One page of findings; not checked against `Page` each time, which took longer than all the rest."""
    return JSONResponse(request.app.state.listing.page(which, sort=sort, page=page, per_page=per_page))


def _listing(request: Request) -> Listing:
    found: Listing = request.app.state.listing
    return found


def _row(request: Request, finding: int) -> Row:
    return required(_listing(request).finding(finding), "finding", finding)


@router.get("/findings/{finding}", tags=["findings"])
def one(finding: Id, request: Request, who: Who = VIEWER) -> Anything:
    """A finding with what stands around it, the same object elsewhere, and its events."""
    return _listing(request).details(_row(request, finding))


@router.get("/findings/{finding}/crop", response_class=Response, responses=JPEG, tags=["pictures"])
def crop(
    finding: Id,
    request: Request,
    who: Who = VIEWER,
    margin: Annotated[float, Query(ge=0, le=2, allow_inf_nan=False)] = 0.25,
    size: Annotated[int, Query(ge=32, le=1600)] = 320,
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """The object, cut out of its photograph, as JPEG."""
    state, row = request.app.state, _row(request, finding)
    photo = state.listing.photo_row(row["photo"])
    box = Box(*json.loads(row["now_box"])) if row["now_box"] else Box(row["x1"], row["y1"], row["x2"], row["y2"])
    tag = f'"{state.pixels.etag(photo, box.xyxy, margin, size)}"'
    return _picture(tag, if_none_match, lambda: state.pixels.crop(photo, box, margin=margin, size=size))


def _picture(tag: str, known: str, make: Any) -> Response:
    # kept by the browser of whoever may see it, and not for the next one who logs in there
    headers = {"etag": tag, "cache-control": "private, max-age=86400", "vary": "cookie, authorization"}
    if known == tag:
        return Response(status_code=304, headers=headers)
    return Response(make(), media_type="image/jpeg", headers=headers)


def _photo(request: Request, photo: int) -> Row:
    return required(_listing(request).photo_row(photo), "photo", photo)


@router.get("/photos", tags=["pictures"])
def photos(
    request: Request,
    who: Who = VIEWER,
    inspection: Id | None = None,
    q: Text = "",
    page: PageNumber = 1,
    per_page: PerPage = 60,
) -> Anything:
    """One page of photographs."""
    return _listing(request).photo_page(inspection=inspection, q=q, page=page, per_page=per_page)


@router.get("/photos/{photo}", tags=["pictures"])
def photo(photo: Id, request: Request, who: Who = VIEWER) -> Anything:
    """A photograph with everything on it."""
    listing = _listing(request)
    return {**listing.photo(_photo(request, photo)), "items": listing.on_photo(photo)}


@router.get("/photos/{photo}/image", response_class=Response, responses=JPEG, tags=["pictures"])
def image(
    photo: Id,
    request: Request,
    who: Who = VIEWER,
    width: Annotated[int | None, Query(ge=64, le=8192)] = None,
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """The photograph upright, as JPEG, no wider than `width`."""
    pixels, row = request.app.state.pixels, _photo(request, photo)
    return _picture(f'"{pixels.etag(row, width)}"', if_none_match, lambda: pixels.whole(row, width))


@router.get("/inspections", tags=["findings"])
def inspections(request: Request, who: Who = VIEWER) -> Anything:
    """All inspections in the store."""
    return {"items": request.app.state.listing.inspections()}


Since = Annotated[int, Query(ge=1, le=MOST_ID, description="The earlier inspection of the site")]


@router.get("/inspections/{inspection}/changes", tags=["findings"])
def changes(inspection: Id, since: Since, request: Request, who: Who = VIEWER) -> Anything:
    """What changed from another inspection to this one, with what people decided: changes.json of toeline revisit."""
    return record(changes_of(request.app.state.store, request.app.state.taxonomy, since, inspection))


@router.get("/inspections/{inspection}/changes.html", response_class=Response, responses=HTML, tags=["findings"])
def changes_page(inspection: Id, since: Since, request: Request, who: Who = VIEWER) -> Response:
    """The same as a page, without pictures: toeline revisit cuts them."""
    told = changes_of(request.app.state.store, request.app.state.taxonomy, since, inspection)
    return Response(render_html(page_of(told, {})), media_type="text/html; charset=utf-8")


@router.get("/progress", tags=["findings"])
def progress(request: Request, who: Who = VIEWER, inspection: Id | None = None) -> Anything:
    """How far the review is."""
    return _listing(request).progress(inspection)


@router.get("/accuracy", tags=["accuracy"])
def accuracy(
    request: Request,
    who: Who = VIEWER,
    target: Annotated[float | None, Query(gt=0, lt=1, allow_inf_nan=False)] = None,
) -> Anything:
    """How right the models are by what people decided: intervals, baselines, drift, what would prove a target."""
    state = request.app.state
    said: Anything = state.accuracy.get(state.store, state.taxonomy, target)
    return said


@router.get("/events", tags=["decisions"])
def events(
    request: Request,
    who: Who = VIEWER,
    finding: Id | None = None,
    user: Text = "",
    after: Annotated[int, Query(ge=0, le=MOST_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Anything:
    """Who decided what, in order; answers of the blind review are not shown before it is over."""
    return _listing(request).events(finding=finding, user=user, after=after, limit=limit)


@router.post("/decisions", response_model=DoneSaid, response_model_exclude_defaults=True, tags=["decisions"])
def decide(form: DecisionForm, request: Request, who: Who = REVIEWER) -> dict[str, Any]:
    """Take a decision. 409 when somebody decided the finding first."""
    done: Done = request.app.state.decisions.decide(who.name, form.decision())
    request.app.state.metrics.decisions.labels(form.action).inc()
    return done.record()


@router.post("/decisions/batch", tags=["decisions"])
def batch(form: BatchForm, request: Request, who: Who = REVIEWER) -> Anything:
    """Take several decisions, each by itself."""
    results = request.app.state.decisions.batch(who.name, [item.decision() for item in form.items])
    listing = request.app.state.listing
    return {"results": [_result(r, item.finding, listing) for r, item in zip(results, form.items, strict=True)]}


def _result(result: Done | Refused, finding: int | None, listing: Listing) -> dict[str, Any]:
    if isinstance(result, Done):
        return {"status": 200, **result.record()}
    return {"status": result.status, "finding": finding, "fault": refusal(listing, result)}


def refusal(listing: Listing, why: Refused) -> dict[str, Any]:
    """The body of a refusal; of a stale decision with the finding as it stands now."""
    more = dict(why.more)
    if why.code == "stale" and (row := listing.finding(more.pop("finding", 0))):
        more["item"] = listing.item(row)
    return {"detail": str(why), "code": why.code, **more}


@router.post("/undo", response_model=UndoneSaid, tags=["decisions"])
def undo(form: UndoForm, request: Request, who: Who = REVIEWER) -> dict[str, Any]:
    """Undo your last decision that is not undone."""
    state = request.app.state
    done, undone = state.decisions.undo(who.name, form.key)
    row = state.listing.finding(done.finding)
    return {**done.record(), "undone": undone, "item": state.listing.item(row) if row else None}
