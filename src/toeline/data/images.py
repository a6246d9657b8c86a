"""Photographs: found, opened, turned upright, made 8-bit RGB. Knows files; knows nothing of what the pictures show."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from toeline.errors import PhotoError

MAX_PIXELS = 400_000_000  # 1.2 GB as RGB; a 12,000 x 9,000 mosaic has 108 million
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp")
BACKGROUND = (255, 255, 255)  # what shows through transparent pixels

# EXIF orientation -> what makes the picture upright; 1 is upright already.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION, MAKER_MODEL = 0x0112, (0x010F, 0x0110)  # EXIF tags

# Pillow warns at 89 megapixels, also when a large photograph is decoded or cropped; ours is the limit that counts here.
Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or MAX_PIXELS, MAX_PIXELS)
_OPENING = threading.Lock()


@dataclass(frozen=True)
class Photo:
    """A photograph file and its `name`: the path below the folder that the user named, unique within one run."""

    path: Path
    name: str


def photo_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels after EXIF rotation, from the header alone. Raises PhotoError."""
    with _opened(path) as image:
        wide, high = image.size
        return (high, wide) if _orientation(image) >= 5 else (wide, high)


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its pixels: size in pixels as stored, EXIF orientation, tags, XMP packet.

    `exif` and `gps` are tag numbers to values as Pillow gives them; empty where there are none or they are damaged.
    `model` is the camera's maker and model, or empty.
    """

    size_wh: tuple[int, int]
    orientation: int = 1
    exif: Mapping[int, Any] = field(default_factory=dict)
    gps: Mapping[int, Any] = field(default_factory=dict)
    xmp: bytes = b""
    model: str = ""


def read_header(path: Path) -> Header:
    """The metadata of a photograph; no pixel is decoded. Raises PhotoError."""
    with _opened(path) as image, _OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata
        exif, packet = Image.Image.getexif(image), image.info.get("xmp", b"")
        turned = exif.get(ORIENTATION, 1)
        return Header(
            size_wh=image.size,
            orientation=turned if turned in TURNS else 1,
            exif=_part(exif, ExifTags.IFD.Exif),
            gps=_part(exif, ExifTags.IFD.GPSInfo),
            xmp=packet if isinstance(packet, bytes) else str(packet).encode(),
            model=" ".join(str(exif.get(tag) or "").strip("\0 ") for tag in MAKER_MODEL).strip(),
        )


def _part(exif: Image.Exif, part: int) -> dict[int, Any]:
    try:
        return dict(exif.get_ifd(part))
    except Exception:  # damaged metadata makes Pillow raise all kinds of errors
        return {}


def read_photo(path: Path) -> Image.Image:
    """The photograph as it is seen: upright, 8 bits, RGB.

    CMYK and palettes are converted, transparent pixels are laid on white, 16-bit gray is divided by 256, and of an
    animation the first frame is read. `info["note"]` says so where something was left out; otherwise it is empty.
    Raises PhotoError for a file that is missing, truncated, no photograph, or larger than MAX_PIXELS.
    """
    return _read(path, _as_rgb)


def read_gray(path: Path) -> Image.Image:
    """As read_photo, in shades of gray: of a JPEG only the brightness is decoded, in half the time."""
    return _read(path, _as_gray)


def _read(path: Path, convert: Callable[[ImageFile.ImageFile], Image.Image]) -> Image.Image:
    with _opened(path) as image:
        turn = TURNS.get(_orientation(image))
        frames = getattr(image, "n_frames", 1)
        try:
            seen = convert(image)
        except Exception as why:  # damaged bytes make decoders raise all kinds of errors
            raise PhotoError(f"{path}: {why or type(why).__name__}. {_ADVICE}") from None
        moving = getattr(image, "is_animated", False) and image.format != "MPO"  # MPO: previews or a stereo pair
    if turn is not None:
        seen = seen.transpose(turn)
    seen.info = {"note": f"the first of {frames} frames was read" if moving else ""}
    return seen


_ADVICE = "The file is damaged or of a kind that cannot be read; copy it again, or save it as JPEG or PNG."


def _opened(path: Path) -> ImageFile.ImageFile:
    """The file with its header read and its size within the limit; pixels are not decoded yet."""
    try:
        image = _open_quietly(path)
    except FileNotFoundError:
        raise PhotoError(f"{path}: there is no such file. Check the path.") from None
    except UnidentifiedImageError:
        raise PhotoError(f"{path}: {_what_instead(path)}. Photographs are JPEG, PNG, TIFF, WebP or BMP.") from None
    except Exception as why:  # as in read_photo; an OSError's own text repeats the path
        reason = getattr(why, "strerror", None) or str(why) or type(why).__name__
        raise PhotoError(f"{path}: {reason}. {_ADVICE}") from None
    wide, high = image.size
    if wide * high > MAX_PIXELS:
        image.close()
        raise PhotoError(
            f"{path}: {wide} x {high} pixels are {wide * high / 1e6:.0f} million, and the limit is "
            f"{MAX_PIXELS / 1e6:.0f} million. Cut the picture into parts, or scale it down."
        )
    return image


def _open_quietly(path: Path) -> ImageFile.ImageFile:
    """Pillow's own limit and its remarks on odd metadata are silenced; both are global, hence the lock."""
    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path, formats=FORMATS)
            _read_exif(image)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    return image


def _read_exif(image: ImageFile.ImageFile) -> None:
    """Parse the metadata now; a photograph whose metadata is damaged is still a photograph, and counts as upright."""
    try:
        Image.Image.getexif(image)  # the method of the base class: that of PNG would decode the pixels first
    except Exception:  # any error at all, see above
        Image.Image.getexif(image).clear()


def _orientation(image: ImageFile.ImageFile) -> int:
    """1 to 8. For TIFF always 1: Pillow turns it by itself, and gives its upright size from the start."""
    found = 1 if image.format == "TIFF" else Image.Image.getexif(image).get(ORIENTATION, 1)
    return found if found in TURNS else 1


def _as_gray(image: ImageFile.ImageFile) -> Image.Image:
    if image.format == "JPEG" and image.mode == "RGB":
        image.draft("L", image.size)
    return _as_rgb(image).convert("L") if image.mode != "L" or image.format != "JPEG" else image.copy()


def _as_rgb(image: ImageFile.ImageFile) -> Image.Image:
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_sixteen_to_eight(image)).convert("RGB")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        solid = Image.new("RGB", clear.size, BACKGROUND)
        solid.paste(clear, mask=clear.getchannel("A"))
        return solid
    return image.convert("RGB")


def _sixteen_to_eight(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(H, W) of 0..65535 to 0..255. Raises ValueError when the numbers are of another range (heights, temperatures)."""
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError(f"its pixels are measurements ({pixels.min():g} to {pixels.max():g}), not shades of gray")
    return (pixels.astype(np.uint32) >> 8).astype(np.uint8)


def _what_instead(path: Path) -> str:
    return "the file is empty" if path.stat().st_size == 0 else "not a photograph, whatever its name says"


def file_hash(path: Path) -> str:
    """SHA-256 of the file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_photos(paths: Sequence[Path]) -> list[Photo]:
    """Every photograph in the files and folders of `paths`, each once, in natural order within a folder (2 before 10).

    Folders are searched to the bottom by file suffix; hidden and other files are passed over. A file that is named
    itself is taken whatever its suffix, so that reading it says what is wrong with it. Photographs of the same name
    from several folders get as much of their folder's path as tells them apart. Raises PhotoError for a path that does
    not exist, and when there is no photograph at all.
    """
    found: dict[Path, tuple[Path, str]] = {}
    real = cache(Path.resolve)  # of folders: there may be a hundred thousand photographs in one
    for path in paths:
        if not path.exists():
            raise PhotoError(f"{path}: there is no such file or folder. Check the path.")
        for photo, name in _photos_under(path) if path.is_dir() else [(path, path.name)]:
            found.setdefault(photo.resolve() if photo.is_symlink() else real(photo.parent) / photo.name, (photo, name))
    if not found:
        where = ", ".join(str(p) for p in paths) or "nothing"
        raise PhotoError(f"{where}: no photographs there ({' '.join(SUFFIXES)}). Name a folder that holds some.")
    return _named_apart(found)


def _photos_under(folder: Path) -> Iterator[tuple[Path, str]]:
    names = []
    for at, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".")]
        here = Path(at).relative_to(folder)
        names += [(here / f).as_posix() for f in files if f.lower().endswith(SUFFIXES) and not f.startswith(".")]
    return ((folder / name, name) for name in sorted(names, key=natural))


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """A sort key under which numbers count as numbers.

    >>> sorted(["a10.jpg", "a9.jpg", "A9.jpg"], key=natural)
    ['A9.jpg', 'a9.jpg', 'a10.jpg']
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", name.lower())
    return [(int(p), "") if p[0] in "0123456789" else (-1, p) for p in parts], name


def _named_apart(found: dict[Path, tuple[Path, str]]) -> list[Photo]:
    """Names that several photographs share grow to the left, one folder at a time, until they differ."""
    names = {real: name for real, (_, name) in found.items()}
    for _ in range(max(len(real.parts) for real in found)):
        count = Counter(names.values())
        if max(count.values()) == 1:
            break
        for real, name in names.items():
            if count[name] > 1:
                names[real] = "/".join(real.parts[-(name.count("/") + 2) :]).replace("//", "/")
    return [Photo(path, names[real]) for real, (path, _) in found.items()]
