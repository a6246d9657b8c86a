"""One browser and one drawn store for all tests; each test gets a server over a copy. Run by `make browser`."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.browser import BROWSER

MISSING = importlib.util.find_spec("playwright") is None
WAIT_MS = 60_000  # for anything; the machine may be loaded


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skipped where they were not asked for, or cannot run, and it is said why."""
    why = ""
    if not any("browser" in str(arg) for arg in config.args):
        why = "tests with a browser take a minute: run make browser"
    elif MISSING or BROWSER is None:
        why = "no browser: install chromium, and the extra: pip install -e '.[browser]'"
    for item in items if why else ():
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support.serving_pages import reviewed_store

    return reviewed_store(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def store(drawn: Path, tmp_path: Path) -> Path:
    """A store of 45 findings that nobody has decided."""
    return Path(shutil.copytree(drawn, tmp_path / "store"))


@pytest.fixture
def local(store: Path) -> Iterator[str]:
    """A server for this machine alone, where nobody signs in."""
    from tests.support.serving_pages import served

    with served(store) as address:
        yield address


@pytest.fixture
def shared(store: Path) -> Iterator[str]:
    """A server with accounts."""
    from tests.support.serving_pages import served

    with served(store, host="0.0.0.0") as address:
        yield address


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """visit(address, "/review") is a page of a new browser profile; a fault in a script fails the test at its end."""
    faults: list[str] = []
    with ExitStack() as stack:

        def open_page(address: str, path: str = "/review", **more: Any) -> Any:
            wide = more.pop("width", 1400)
            context = chromium.new_context(viewport={"width": wide, "height": 900 if wide > 500 else 800}, **more)
            stack.callback(context.close)
            context.set_default_timeout(WAIT_MS)
            page = context.new_page()
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.goto(address + path)
            if "/login" not in page.url:
                page.wait_for_selector("html[data-ready]")
            return page

        yield open_page
    assert not faults
