"""The pages of the review. They hold no findings: their scripts (static/) ask the API, which knows who may see what."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import DictLoader, Environment, StrictUndefined
from starlette.exceptions import HTTPException

from toeline.serve.accounts import Who
from toeline.serve.who import current

router = APIRouter()
HERE = Path(__file__).parent
# Read once, at the start: an upgrade on the disk does not reach a server that runs. Scripts import one another by
# relative names, so all of a page come from under one fingerprint, and a cache never mixes those of two versions.
FILES = {file.name: file.read_bytes() for file in sorted((HERE / "static").iterdir()) if file.is_file()}
FINGERPRINT = sha256(b"".join(f"{name} {len(text)} ".encode() + text for name, text in FILES.items())).hexdigest()[:16]
KINDS = {".css": "text/css", ".js": "text/javascript"}
FOREVER = "public, max-age=31536000, immutable"
SINGLE = "/findings/{finding}"
PAGES = {  # path: template, title, least role
    "/review": ("review", "Review", "viewer"),
    SINGLE: ("review", "Review", "viewer"),
    "/blind": ("review", "Blind second review", "reviewer"),
    "/progress": ("progress", "Progress", "viewer"),
    "/agreement": ("agreement", "Agreement", "viewer"),
    "/accuracy": ("accuracy", "Accuracy", "viewer"),
    "/sign-off": ("signoff", "Sign-off", "viewer"),
    "/jobs": ("jobs", "Jobs", "viewer"),
}
UNDER = {SINGLE: "/review", "/blind": "/agreement"}  # pages that are not in the menu, and what they belong to
MENU = ("/review", "/progress", "/agreement", "/accuracy", "/sign-off", "/jobs")
_environment = Environment(
    loader=DictLoader({file.name: file.read_text(encoding="utf-8") for file in (HERE / "templates").glob("*.j2")}),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(request: Request, name: str, title: str, who: Who | None, status: int = 200) -> Response:
    """A page from its template. It is never kept by a cache, for it holds the token of the session."""
    menu, route = [(path, PAGES[path][1]) for path in MENU], request.scope["route"].path
    state = request.app.state
    text = _environment.get_template(f"{name}.html.j2").render(
        title=title, who=who, menu=menu, path=UNDER.get(route, route), static=f"/static/{FINGERPRINT}",
        engineer=bool(who and who.may("engineer")), reviewer=bool(who and who.may("reviewer")),
        model=state.jobs.model is not None, roots=bool(state.jobs.roots), limits=state.limits,
    )  # fmt: skip
    return HTMLResponse(text, status, headers={"cache-control": "no-store"})


@router.get("/")
def start() -> Response:
    """The first page is the review."""
    return RedirectResponse("/review", 303)


@router.get("/static/{fingerprint}/{name}")
def static(fingerprint: str, name: str) -> Response:
    """A script or a style sheet of this version, and of no other."""
    if fingerprint != FINGERPRINT or name not in FILES:
        raise HTTPException(404)
    return Response(FILES[name], media_type=KINDS[Path(name).suffix], headers={"cache-control": FOREVER})


@router.get("/login")
def login(request: Request) -> Response:
    """The form to sign in; the one place that needs no account."""
    return page(request, "login", "Sign in", None)


@router.get("/review")
@router.get(SINGLE)
@router.get("/blind")
@router.get("/progress")
@router.get("/agreement")
@router.get("/accuracy")
@router.get("/sign-off")
@router.get("/jobs")
def shown(request: Request) -> Response:
    """A page of the review; whoever is not signed in signs in first and comes back."""
    template, title, role = PAGES[request.scope["route"].path]
    who = current(request)
    if who is None:
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/login?next={quote(request.url.path + query, safe='')}", 303)
    if not who.may(role):
        return page(request, "refused", "Not allowed", who, 403)
    return page(request, template, title, who)
