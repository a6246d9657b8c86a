"""Pictures of the pages for docs/tutorial.md, of drawn scenes: python docs/img/pages.py (chromium must be installed).

Runs the commands in a folder that is thrown away, opens each page in a browser without a window, and keeps the first
screen as a JPEG of at most MOST_BYTES.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
WIDE, HIGH, MOST_BYTES = 1100, 760, 150_000
COMMANDS = (
    "synth data --scenes 12 --seed 11 --gps 23.51,85.30",
    "inspect data/train/images --out runs/inspect-1",
    "suggest runs/inspect-1 --out runs/suggest-1",
    "analyze data --out runs/analyze-1",
    "evaluate data --split train --spatial 0 --out runs/evaluate-1",
)
PAGES = {
    "inspect": "runs/inspect-1/report.html",
    "suggest": "runs/suggest-1/suggest.html",
    "analyze": "runs/analyze-1/report.html",
    "evaluate": "runs/evaluate-1/report.html",
}


def shot(page: Path, browser: str, folder: Path) -> Image.Image:
    """The first screen of a page."""
    file = folder / "shot.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={WIDE},{HIGH}"]
    command = [browser, *options, f"--screenshot={file}", page.absolute().as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return Image.open(file).convert("RGB")


def small(picture: Image.Image) -> bytes:
    """As a JPEG of the best quality that fits."""
    for quality in range(85, 30, -5):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality, optimize=True, progressive=True)
        if len(file.getvalue()) <= MOST_BYTES:
            return file.getvalue()
    raise ValueError("the picture is too large: lower HIGH")


def main(browser: str = "chromium") -> None:
    with tempfile.TemporaryDirectory() as place:
        for command in COMMANDS:
            run = [sys.executable, "-m", "toeline", *command.split()]
            if subprocess.run(run, cwd=place, check=False).returncode > 1:
                raise SystemExit(f"failed: toeline {command}")
        for name, page in PAGES.items():
            (HERE / f"page-{name}.jpg").write_bytes(small(shot(Path(place, page), browser, Path(place))))


if __name__ == "__main__":
    main(*sys.argv[1:])
