"""One browser and one drawn store for all tests of a process; each test gets a server over a copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

CACHE = "cache"
WAIT_MS = 60_000  # for anything; the machine may be loaded


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test in a browser is tried three times: a machine that is busy with others may answer a click late."""
    if config.pluginmanager.hasplugin("rerunfailures"):
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(scope="session")
def drawn(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all tests copy; drawn only where there is a browser to show it."""
    from tests.support.serving import cheap_passwords
    from tests.support.serving_pages import reviewed_store

    with cheap_passwords():
        return reviewed_store(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def store(drawn: Path, tmp_path: Path) -> Path:
    """A store of 45 findings that nobody has decided; crops that one test asked for are there for the next."""
    (drawn / CACHE).mkdir(exist_ok=True)
    copy = Path(shutil.copytree(drawn, tmp_path / "store", ignore=shutil.ignore_patterns(CACHE)))
    (copy / CACHE).symlink_to(drawn / CACHE)
    return copy


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
