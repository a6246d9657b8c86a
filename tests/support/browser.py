"""Pages in a browser, for what only a browser knows; tests that need one are skipped where there is none."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from toeline.report.pdf import BROWSERS, QUIET

BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
SWITCHES = [switch for switch in QUIET if "pdf" not in switch]


def ran(page: Path, script: str, *, wide: int = 1400, dark: bool = False, library: Path | None = None) -> Any:
    """What a script (the body of an async function) returns on a page, as JSON."""
    if BROWSER is None:
        pytest.skip("no Chromium on the PATH")
    text = page.read_text(encoding="utf-8")
    tail = f"<script src='{library.as_uri()}'></script>" if library else ""
    tail += (
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
        *(["--blink-settings=preferredColorScheme=0"] if dark else []), "--virtual-time-budget=20000", "--dump-dom",
        file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=400, check=False)
    said = re.search(r'<pre id="said">(.*?)</pre>', done.stdout.decode("utf-8", "replace"), re.DOTALL)
    assert said, done.stderr.decode("utf-8", "replace")[-500:]
    return json.loads(html.unescape(said[1]))
