"""The pages of the review. They hold no findings: their scripts (static/) ask the API, which knows who may see what."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from toeline._version import __version__
from toeline.serve.accounts import Who
from toeline.serve.who import current

router = APIRouter()
TEMPLATES = Path(__file__).with_name("templates")
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
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def page(request: Request, name: str, title: str, who: Who | None, status: int = 200) -> Response:
    """A page from its template. It is never kept by a cache, for it holds the token of the session."""
    menu, route = [(path, PAGES[path][1]) for path in MENU], request.scope["route"].path
    text = _environment.get_template(f"{name}.html.j2").render(
        title=title, who=who, menu=menu, path=UNDER.get(route, route), version=__version__,
        engineer=bool(who and who.may("engineer")), reviewer=bool(who and who.may("reviewer")),
    )  # fmt: skip
    return HTMLResponse(text, status, headers={"cache-control": "no-store"})


@router.get("/")
def start() -> Response:
    """The first page is the review."""
    return RedirectResponse("/review", 303)


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
