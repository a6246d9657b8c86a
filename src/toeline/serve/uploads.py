"""What people send: checked by its content before a pixel is decoded, and kept under names of our own."""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from toeline.core.run_folder import writing
from toeline.data.images import FORMATS
from toeline.serve.decisions import Refused

# What content is kept as: what a name said is not asked.
SUFFIX = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "TIFF": ".tif",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "GIF": ".gif",
    "AVIF": ".avif",
    "JPEG2000": ".jp2",
    "HEIF": ".heic",
}
CHUNK = 1 << 20


def plain_name(name: str, number: int) -> str:
    """A name that is safe everywhere: letters, digits, dots and hyphens of the last part, without its suffix.

    >>> plain_name("../../etc/passwd", 3), plain_name("Flug 7/DJI_0042.JPG", 12)
    ('0003-passwd', '0012-DJI_0042')
    """
    last = re.split(r"[\\/]", name)[-1].rsplit(".", 1)[0]
    folded = unicodedata.normalize("NFKD", last).encode("ascii", "ignore").decode()
    return f"{number:04d}-{re.sub('[^A-Za-z0-9_-]+', '-', folded).strip('-')[:60] or 'photo'}"


def keep(source: BinaryIO, name: str, number: int, folder: Path, *, most_bytes: int, most_pixels: int) -> Path:
    """Check an upload and write it into `folder`. Raises Refused, and OutputError when the disk refuses."""
    if source.seek(0, os.SEEK_END) > most_bytes:
        raise Refused(413, "limit", f"{_shown(name)}: has more than {most_bytes:,} bytes. Send a smaller file.")
    kind = _checked(source, name, most_pixels)
    target = folder / f"{plain_name(name, number)}{SUFFIX[kind]}"
    source.seek(0)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            shutil.copyfileobj(source, file, CHUNK)
    return target


def _checked(source: BinaryIO, name: str, most_pixels: int) -> str:
    """The format by the content. Raises Refused for what is no photograph, or has too many pixels."""
    source.seek(0)
    try:
        with Image.open(source, formats=[f for f in FORMATS if f in Image.OPEN or f == "JPEG"]) as image:
            kind, (wide, high) = str(image.format), image.size
    except Image.DecompressionBombError:
        raise Refused(
            413, "limit", f"{_shown(name)}: has more than {most_pixels:,} pixels. Send a smaller photograph."
        ) from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, OverflowError):
        raise Refused(
            422, "invalid", f"{_shown(name)}: is no photograph that can be read. Send JPEG, PNG or TIFF."
        ) from None
    if wide * high > most_pixels:
        raise Refused(
            413,
            "limit",
            f"{_shown(name)}: has {wide * high:,} pixels, and {most_pixels:,} are allowed. Send a smaller one.",
        )
    if kind not in SUFFIX:
        raise Refused(422, "invalid", f"{_shown(name)}: is {kind}, which is not taken. Send JPEG, PNG or TIFF.")
    return kind


def _shown(name: str) -> str:
    return plain_name(name, 0)[5:]


def folder_below(roots: Sequence[Path], typed: str) -> Path:
    """A folder that was typed, if it lies below one of `roots`. Raises Refused; what is outside is not told apart."""
    for root in roots:
        try:
            folder = (
                (root / typed.lstrip("/")).resolve() if not Path(typed).is_relative_to(root) else Path(typed).resolve()
            )
            if folder.is_relative_to(root) and folder.is_dir():
                return folder
        except (OSError, ValueError, RuntimeError):
            continue
    below = "start the server with --photos DIR" if not roots else "name one below the server's --photos folders"
    raise Refused(
        422, "invalid", f"folder: is not among the photographs of this server: {below}.", where=["body", "folder"]
    )
