"""The application: routes, who may use them, limits, faults in one form. `make_app` is all that others need."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toeline._version import __version__
from toeline.core.run_folder import FULL
from toeline.errors import ToelineError
from toeline.serve import deciding, exports, pages, reviewing, signing, working
from toeline.serve.accounts import LOOPBACK, Accounts, TooMany
from toeline.serve.accuracy import LastCount
from toeline.serve.blind import Blind
from toeline.serve.decisions import Decisions, Refused
from toeline.serve.imports import store_taxonomy
from toeline.serve.jobs import Jobs, Model
from toeline.serve.listing import Listing
from toeline.serve.metrics import Metrics
from toeline.serve.pixels import Pixels
from toeline.serve.store import Store, StoreBusy, StoreFull, head_of
from toeline.serve.who import current, require_own_page

HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",  # of what says nothing else: it is somebody's
}
PROXY = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
MOST_DIGITS = 15  # of a length; int() of thousands of digits takes long
UPLOADS = {  # what needs an account before its body is read, and which limit holds for that
    "/api/v1/jobs": "upload_bytes",
    "/api/v1/inspect": "photo_bytes",
    "/api/v1/systemone": "decision_bytes",
}
TOLD: dict[int | str, str] = {  # in place of what the framework says
    "There was an error parsing the body": "body: cannot be read. Send JSON in UTF-8, or a form, as the API says.",
    404: "there is no such page.",
    405: "this address knows other methods.",
}
CODES = {404: "missing", 405: "method", 413: "limit", 400: "invalid"}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request may ask for. Bytes are counted as they come, pixels before any is decoded."""

    json_bytes: int = 2_000_000
    photo_bytes: int = 200_000_000
    decision_bytes: int = 40_000_000  # a photograph of 30 MB as text
    upload_bytes: int = 4_000_000_000
    uploads: int = 1_000  # as many as starlette reads of one form
    pixels: int = 120_000_000
    waiting: int = 8
    inspect_s: float = 120.0


def make_app(
    store_dir: Path,
    model: Model | None = None,
    photos: Sequence[Path] = (),
    host: str = "127.0.0.1",
    secure: bool = False,
    limits: Limits | None = None,
) -> FastAPI:
    """The application over a store. Raises OutputError and SetupError.

    `model` does the jobs; without one the server is for review alone. `photos` are the folders below which jobs may
    name photographs. `secure` says that a proxy speaks HTTPS, so that cookies travel over nothing else.
    """
    store = Store.open(store_dir)
    taxonomy = store_taxonomy(store, model.taxonomy if model else None)
    app = FastAPI(
        title="Toeline",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        lifespan=_lifespan,
        description="Findings of inspections, and what people decide about them.",
    )
    state = app.state
    state.store, state.taxonomy, state.limits, state.secure = store, taxonomy, limits or Limits(), secure
    state.local, state.local_csrf = host in LOOPBACK and not secure, secrets.token_urlsafe(32)
    state.listing, state.decisions = Listing(store, taxonomy), Decisions(store, taxonomy)
    state.blind, state.accuracy = Blind(store, state.decisions), LastCount()
    state.accounts, state.pixels, state.metrics = Accounts(store), Pixels(store), Metrics()
    state.printing = threading.Lock()  # one report is printed at a time: a browser takes a core
    state.jobs = Jobs(store, model, [p.resolve() for p in photos], state.limits.waiting, state.metrics)
    for part in (reviewing, working, deciding, signing, exports):
        app.include_router(part.router, prefix="/api/v1")
    app.include_router(_root(app))
    app.include_router(pages.router, include_in_schema=False)
    _faults(app)
    app.add_middleware(Guard, app=app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.jobs.start()
    yield
    await run_in_threadpool(app.state.jobs.stop)
    app.state.store.close()


def _root(app: FastAPI) -> Any:
    """Health, readiness, version and metrics."""
    from fastapi import APIRouter

    router, state = APIRouter(tags=["server"]), app.state

    @router.get("/healthz")
    def healthz() -> dict[str, bool]:
        """Whether the process answers."""
        return {"ok": True}

    @router.get("/readyz", responses={503: {"description": "Not ready"}})
    def readyz() -> Response:
        """Whether the store can be read and the model, if there is one, is loaded."""
        store, loaded = state.store.value("SELECT 1") == 1, state.jobs.ready
        return JSONResponse({"store": store, "model": loaded}, 200 if store and loaded else 503)

    @router.get("/version")
    def version() -> dict[str, Any]:
        """Versions of program and schema, the fingerprint of the model, and the last event with its hash."""
        head = head_of(state.store.reader)
        known = {"version": __version__, "schema": state.store.schema, "model": state.jobs.fingerprint}
        return {**known, "event": head["event"], "head": head["hash"]}

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def metrics() -> Response:
        """For Prometheus."""
        text = state.metrics.text(waiting=state.jobs.count("waiting"), running=state.jobs.count("running"))
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def fault(status: int, code: str, detail: str, *, headers: dict[str, str] | None = None, **more: Any) -> JSONResponse:
    """The one form of all faults."""
    return JSONResponse({"detail": detail, "code": code, **more}, status, headers)


def _faults(app: FastAPI) -> None:
    @app.exception_handler(Refused)
    def refused(_: Request, why: Refused) -> Response:
        return of_refused(app, why)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, why: RequestValidationError) -> Response:
        first = why.errors()[0]
        where = [str(part) for part in first["loc"]]
        said = f"{'.'.join(where)}: {first['msg'].removeprefix('Value error, ')}. Send it as the API says."
        if where == ["body"] and isinstance(why.body, bytes):  # FastAPI reads JSON only where the header says so
            said = "body: is not sent as JSON. Send the header Content-Type: application/json."
        return fault(422, "invalid", said, where=where)

    @app.exception_handler(HTTPException)
    def http(_: Request, why: HTTPException) -> Response:
        if is_full(why):  # an upload that did not fit into the folder for temporary files
            return no_room(why)
        told = TOLD.get(why.status_code) or TOLD.get(str(why.detail), str(why.detail))
        return fault(why.status_code, CODES.get(why.status_code, "invalid"), told, headers=dict(why.headers or {}))

    @app.exception_handler(ToelineError)
    def told(_: Request, why: ToelineError) -> Response:
        return no_room(why) if is_full(why) else fault(422, "invalid", str(why))

    @app.exception_handler(OSError)
    def disk(_: Request, why: OSError) -> Response:
        if is_full(why):
            return no_room(why)
        raise why  # a mistake of ours: 500, with its trace in the log

    @app.exception_handler(TooMany)
    def many(_: Request, why: TooMany) -> Response:
        return fault(429, "busy", str(why), headers={"retry-after": str(why.seconds)})

    @app.exception_handler(StoreBusy)
    def busy(_: Request, why: StoreBusy) -> Response:
        return fault(503, "busy", str(why), headers={"retry-after": "1"})


def is_full(why: BaseException | None) -> bool:
    """Whether a full disk is what is behind a fault."""
    while why is not None:
        if isinstance(why, StoreFull) or (isinstance(why, OSError) and why.errno in FULL):
            return True
        why = why.__cause__ or why.__context__
    return False


def no_room(why: BaseException) -> JSONResponse:
    """507: nothing of the request is kept."""
    said = "the disk of the server is full. Nothing of this was kept: make room, then send it again."
    return fault(507, "full", str(why) if isinstance(why, StoreFull) else said)


def of_refused(app: FastAPI, why: Refused) -> JSONResponse:
    """A refusal as an answer; a stale one has the finding as it stands now."""
    said = refusal(app, why)
    headers = {"retry-after": "5"} if why.status in (429, 503) else None
    return JSONResponse(said, why.status, headers)


def refusal(app: FastAPI, why: Refused) -> dict[str, Any]:
    """The body of it."""
    return reviewing.refusal(app.state.listing, why)


class Guard:
    """Around everything: hosts, other sites, the size of bodies, headers of answers, and metrics."""

    def __init__(self, inner: ASGIApp, app: FastAPI) -> None:
        """`inner` is what answers; `app` holds the state."""
        self.inner, self.state = inner, app.state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        start, request, status = time.perf_counter(), Request(scope), 500
        only_head, ended = scope["method"] == "HEAD", False
        scope = {**scope, "method": "GET"} if only_head else scope  # FastAPI's routes know no HEAD

        async def answered(message: Message) -> None:
            nonlocal status, ended
            if only_head and message["type"] == "http.response.body":
                if ended:
                    return
                message, ended = {"type": "http.response.body"}, True  # for what streams, as if the client had gone
            if message["type"] == "http.response.start":
                status = message["status"]
                known = {name.lower() for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in known]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        try:
            refused = self._refusal(request)
            if refused is None and request.method == "POST" and request.url.path in UPLOADS:
                refused = await run_in_threadpool(self._upload, request)
            if refused is not None:
                await refused(scope, receive, answered)
            else:
                await self.inner(scope, self._counted(request, receive), answered)
        finally:
            route = _pattern(scope)
            self.state.metrics.request(request.method, route, status, time.perf_counter() - start)

    def _refusal(self, request: Request) -> Response | None:
        """What is refused by its headers alone."""
        name = request.headers.get("host", "").rsplit(":", 1)[0].strip("[]")
        if self.state.local and name not in (*LOOPBACK, "testserver"):
            return fault(403, "forbidden", "this server answers to 127.0.0.1 and localhost alone.")  # DNS rebinding
        if self.state.local and any(header in request.headers for header in PROXY):
            return fault(
                403, "forbidden", "a proxy sent this. Start the server with --behind-proxy: then people log in."
            )
        sized, most = request.headers.get("content-length", "0"), self._most(request)
        if not (sized.isascii() and sized.isdigit()) or len(sized) > MOST_DIGITS or int(sized) > most:
            return fault(413, "limit", f"the body has more than {most:,} bytes. Send less at a time.")
        return None

    def _upload(self, request: Request) -> Response | None:
        """An upload of somebody who may not send one, before its body is read."""
        with suppress(Refused):
            who = current(request)
            require_own_page(request, who)
            if who is not None and who.may("reviewer"):
                return None
        return fault(401, "signed_out", "log in before you upload.")

    def _most(self, request: Request) -> int:
        limits: Limits = self.state.limits
        return int(getattr(limits, UPLOADS.get(request.url.path, "json_bytes")))

    def _counted(self, request: Request, receive: Receive) -> Receive:
        most, count = self._most(request), 0

        async def counting() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            if count > most:
                raise HTTPException(413, f"the body has more than {most:,} bytes. Send less at a time.")
            return message

        return counting


def _pattern(scope: Scope) -> str:
    """The pattern of the route that answered, never an address that somebody typed."""
    path: str = getattr(scope.get("route"), "path", "other")
    return f"/api/v1{path}" if scope["path"].startswith("/api/v1/") and not path.startswith("/api") else path
