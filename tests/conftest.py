"""What all tests share: no network, few threads, repeatable hypothesis, golden files, the real photographs."""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

# Before anything imports torch or a hub client: they read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["COLUMNS"] = ""  # no width of whoever runs the tests; xdist sets one for its workers
os.environ["LINES"] = ""
# One thread each where several processes share the cores (pytest -n 2).
os.environ.setdefault("OMP_NUM_THREADS", str(1 if "PYTEST_XDIST_WORKER" in os.environ else min(2, os.cpu_count() or 1)))

import pytest
from hypothesis import settings

settings.register_profile("toeline", max_examples=40, deadline=None, derandomize=True, database=None)
settings.register_profile("quick", settings.get_profile("toeline"), max_examples=10)  # the first of those of make test
settings.load_profile("toeline")

collect_ignore_glob = ["legacy/*", "support/training.py", "support/adapters.py"]  # would import torch to be looked at

FROZEN = [0]  # modules that were loaded when the collector's objects were last frozen
HERE = Path(__file__).parent
PACKAGE = HERE.parent / "src" / "toeline"
LAGOON_DYKE = HERE.parent.parent / "shared" / "data" / "lagoon-dyke"  # beside a checkout, never inside it


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds --update-golden."""
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden from what the code says now")


# Directories and files whose tests train, run whole commands, start processes, or take seconds each.
SLOW = (
    "cli",
    "train",
    "judge",
    "test_benchmarks.py",
    "test_fuzz_files.py",
    "test_legacy.py",
    "test_licenses.py",
    "models",
    "plan",
    "synth",
    "pipelines/test_learn.py",
    "report/test_book.py",
    "serve/browser",
    "analysis/test_counts.py",
    "analysis/test_pairs.py",
    "analysis/test_photo_facts.py",
    "analysis/test_planted.py",
    "analysis/test_reading.py",
    "analysis/test_crew.py",
    "analysis/test_plain.py",
    "analysis/test_gallery.py",
    "data/test_export.py",
    "data/test_fuzz_sets.py",
    "test_fuzz_files.py",
    "detect/test_tiling.py",
    "detect/test_transformers.py",
    "detect/test_ultralytics_pt.py",
    "evaluate/test_no_models.py",
)


@cache
def _is_slow(path: Path) -> bool:
    """Of a file of tests, and of one of the package: the doctests of a room are as slow as its tests."""
    return any(path.is_relative_to(top / place) for top in (HERE, PACKAGE) for place in SLOW)


class Collecting:
    """What is not even imported, of the package too: torch and transformers take seconds, in every worker."""

    def pytest_ignore_collect(self, collection_path: Path, config: pytest.Config) -> bool | None:
        """What stands in SLOW, for `-m "not slow"`; a file of the package that has no doctest, at all times."""
        if config.option.markexpr == "not slow" and _is_slow(collection_path):
            return True
        in_package = collection_path.suffix == ".py" and collection_path.is_relative_to(PACKAGE)
        return True if in_package and ">>>" not in collection_path.read_text(encoding="utf-8") else None


def pytest_configure(config: pytest.Config) -> None:
    """A conftest.py alone is asked about its own folder only; quick tests draw fewer examples."""
    if config.option.markexpr == "not slow":
        settings.load_profile("quick")
    config.pluginmanager.register(Collecting())


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Nothing of what is collected is garbage, and looking for some is a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as slow what stands in SLOW; other tests say so themselves."""
    for item in items:
        if _is_slow(item.path):
            item.add_marker(pytest.mark.slow)


def pytest_runtest_setup() -> None:
    """What libraries made when they were loaded is not searched for garbage again: that is 0.4 s a search."""
    if len(sys.modules) > FROZEN[0] + 100:
        gc.collect()
        gc.freeze()
        FROZEN[0] = len(sys.modules)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One browser for all tests of a process; where there is none, they are skipped and it is said why."""
    from tests.support.browser import launched

    with launched() as browser:
        yield browser


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[..., str]:
    """golden("prompt/toe_drain.txt") is the text kept under tests/golden; see CONTRIBUTING.md for how it is rewritten.

    With --update-golden, golden(name, said) keeps what was said.
    """

    def read(name: str, said: str | None = None) -> str:
        file = HERE / "golden" / name
        if said is not None and request.config.getoption("--update-golden"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(said, encoding="utf-8", newline="\n")
        return file.read_text(encoding="utf-8")

    return read


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for another machine fails at once, and says so."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"tests do not use the network, and this one wanted {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture
def lagoon_dyke() -> Path:
    """The real photographs; the test is skipped where they are not."""
    if not (LAGOON_DYKE / "data.yaml").is_file():
        pytest.skip("the real photographs are not beside this checkout (../shared/data/lagoon-dyke)")
    return LAGOON_DYKE
