"""Who sends a request, and whether it may: for the API and for the pages."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from fastapi import Depends, Request

from toeline.serve.accounts import ROLES, Who
from toeline.serve.decisions import LOCAL, Refused

COOKIE, CSRF = "toeline_session", "x-csrf-token"
SAFE = ("GET", "HEAD", "OPTIONS")


def current(request: Request) -> Who | None:
    """Who asks; None when an account is needed and nobody is logged in."""
    state = request.app.state
    if state.local:
        return Who(LOCAL, "engineer", local=True, csrf=state.local_csrf)
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        found: Who | None = state.accounts.of_token(token.strip())
        return found
    cookie = request.cookies.get(COOKIE)
    return state.accounts.of_cookie(cookie) if cookie else None


def _check(role: str) -> Callable[[Request], Awaitable[Who]]:
    async def check(request: Request) -> Who:  # two look-ups by key: less than a thread costs
        who = current(request)
        if who is None:
            raise Refused(401, "signed_out", "nobody is logged in. Log in, or send a token.")
        if request.method not in SAFE:
            require_own_page(request, who)
        if not who.may(role):
            raise Refused(
                403, "forbidden", f"{who.name} is a {who.role}; this needs a {role}. Ask whoever runs the server."
            )
        return who

    return check


def require_own_page(request: Request, who: Who | None) -> None:
    """Raise Refused for a request that another site's page made the browser send."""
    origin = request.headers.get("origin")
    fetched = request.headers.get("sec-fetch-site", "same-origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host", "")
    if foreign or fetched not in ("same-origin", "none"):
        raise Refused(403, "csrf", "the request comes from a page of another site. Open the page of this server.")
    if who is None or who.local or not who.csrf:
        return
    if not secrets.compare_digest(request.headers.get(CSRF, "").encode(), who.csrf.encode()):
        raise Refused(403, "csrf", "the X-CSRF-Token header is missing or old. Load the page again.")


VIEWER, REVIEWER, ENGINEER = (Depends(_check(role)) for role in ROLES)
