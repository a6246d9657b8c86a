"""The page to sign in, and where it leads afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Visit = Callable[..., Any]
OUTSIDE = ["//evil.invalid", "/.//evil.invalid", "/%2e//evil.invalid", "https://evil.invalid/", "javascript:alert(1)"]


@pytest.mark.parametrize("address", OUTSIDE)
def test_signing_in_leads_to_no_other_server(local: str, visit: Visit, address: str) -> None:
    page = visit(local, "/login")
    page.route("**/api/v1/login", lambda route: route.fulfill(json={}))
    page.goto(f"{local}/login?next={address.replace(':', '%3A').replace('/', '%2F')}")
    page.fill("input[name=user]", "ann")
    page.fill("input[name=password]", "a long enough password")
    with page.expect_navigation(wait_until="commit"):
        page.keyboard.press("Enter")
    assert page.url.startswith(f"{local}/")
