"""Pages in a browser, for what only a browser knows; tests that need one are skipped where there is none.

`ran` needs a Chromium alone: a page that lies in a file, and what a script says of it. The fixture `chromium`
(tests/conftest.py) drives one by playwright, for keys, pointers and servers; `serious` asks axe about a page of it.
"""

from __future__ import annotations

import html
import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from toeline.report.pdf import BROWSERS, QUIET

SHELL = "chromium-headless-shell"  # has no windows that nobody sees, and half of the work
BROWSER = next(filter(None, map(shutil.which, (SHELL, *BROWSERS))), None)
SWITCHES = [switch for switch in QUIET if "pdf" not in switch]
PACKAGES = ("playwright", "axe_playwright_python")


@contextmanager
def launched() -> Iterator[Any]:
    """The system's Chromium under playwright; skips, with the reason, where either is missing."""
    if BROWSER is None:
        pytest.skip("no browser: install chromium")
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        pytest.skip(f"no {missing[0]}: pip install -e '.[browser]', or make browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def serious(page: Any) -> list[str]:
    """What axe finds on a page of playwright's that keeps people from using it."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    bad = [one for one in found if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {n['target']} {n['failureSummary']}" for one in bad for n in one["nodes"][:3]]


def ran(page: Path, script: str, *, wide: int = 1400) -> Any:
    """What a script (the body of an async function) returns on a page, as JSON."""
    if BROWSER is None:
        pytest.skip("no Chromium on the PATH")
    text = page.read_text(encoding="utf-8")
    tail = (
        f"<script>(async () => {{ {script} }})().catch((why) => String(why)).then((said) => {{ const pre = "
        "document.createElement('pre'); pre.id = 'said'; pre.textContent = JSON.stringify(said); "
        "document.body.append(pre); })</script></body>"
    )
    # a script of the test is no part of the page: its rules for scripts are not what is tested here
    there = re.sub(r"<meta http-equiv[^>]*>", "", text).replace("</body>", tail)
    file = page.with_name("in-browser.html")
    file.write_text(there, encoding="utf-8")
    command = [
        BROWSER, "--no-sandbox", *SWITCHES, f"--user-data-dir={page.parent / 'profile'}", f"--window-size={wide},1000",
        "--virtual-time-budget=20000", "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=400, check=False)
    said = re.search(r'<pre id="said">(.*?)</pre>', done.stdout.decode("utf-8", "replace"), re.DOTALL)
    assert said, done.stderr.decode("utf-8", "replace")[-500:]
    return json.loads(html.unescape(said[1]))
