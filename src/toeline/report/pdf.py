"""The report of an inspection as a PDF: laid out as a page of its own, and printed by WeasyPrint or by Chromium."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from toeline.core.run_folder import write_whole
from toeline.errors import SetupError, install_line

PDF = "report.pdf"
BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "chrome",
    "msedge",
)
QUIET = ("--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-pdf-header-footer")  # fmt: skip
MOST_S = 300  # that a browser may take

Print = Callable[[str, Path], None]


def printer(wanted: str = "--pdf", instead: str = "leave --pdf out and print report.html in a browser") -> Print:
    """What turns HTML into a PDF file on this machine. Raises SetupError when there is neither of the two."""
    if find_spec("weasyprint"):
        return _by_weasyprint
    if any(map(shutil.which, BROWSERS)):
        return _by_browser
    raise SetupError(
        f"{wanted} needs WeasyPrint, or Chromium or Chrome on the PATH, and none of them is there. Run: "
        f"{install_line('pdf')} (the extra [pdf]), or {instead}."
    )


def _by_weasyprint(html: str, file: Path) -> None:
    from weasyprint import HTML
    from weasyprint.urls import URLFetcher

    embedded = URLFetcher(allowed_protocols=["data"])  # the pictures in the text; nothing else is read
    write_whole(file, HTML(string=html, url_fetcher=embedded).write_pdf())


def _by_browser(html: str, file: Path) -> None:
    """Chromium reads a file and writes one, both in a folder of their own, with a profile that is thrown away."""
    browser = next(filter(None, map(shutil.which, BROWSERS)))
    with TemporaryDirectory() as folder:
        page, made = Path(folder, "page.html"), Path(folder, "page.pdf")
        page.write_text(html, encoding="utf-8", errors="backslashreplace")
        command = [browser, *QUIET, f"--user-data-dir={folder}/profile", f"--print-to-pdf={made}", page.as_uri()]
        for more in ((), ("--no-sandbox",)):  # as root, and in containers, its sandbox cannot start
            try:
                subprocess.run([*command[:1], *more, *command[1:]], capture_output=True, timeout=MOST_S, check=False)
            except (OSError, subprocess.TimeoutExpired) as why:
                raise SetupError(f"{browser}: could not print the report ({why}). Leave --pdf out.") from None
            if made.is_file():
                return write_whole(file, made.read_bytes())
    raise SetupError(f"{browser}: printed nothing. Run: {install_line('pdf')}, or leave --pdf out.")
