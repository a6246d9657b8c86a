"""Looks at each photograph once: size, sharpness, light, stretching, hashes, and what the camera wrote down.

Pixels are decoded here and nowhere else in the analysis; what is kept of a photograph is a few hundred bytes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toeline.data.images import file_hash, read_photo
from toeline.errors import PhotoError

SHARP_PX = 512  # longer side at which sharpness is measured, so that photographs of any size compare; never enlarged
DARK, BURNT = 16, 250  # gray values of 255 under and over which nothing can be seen
IN_FLIGHT = 64  # photographs given to the workers ahead of the one that is awaited

Gray = NDArray[np.uint8]


@dataclass(frozen=True)
class Camera:
    """What EXIF says; None where it says nothing. `size_wh` is what the camera took, in pixels as stored, before edits.

    `latitude` and `longitude` are in degrees, north and east positive; `altitude_m` above sea level.
    """

    size_wh: tuple[int, int] | None = None
    taken: datetime | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude_m: float | None = None
    model: str = ""


@dataclass(frozen=True)
class PhotoFacts:
    """One photograph. `size_wh` is upright, in pixels; `bytes` is the file's size.

    `sharpness`: variance of the Laplacian of gray values 0 to 255 at SHARP_PX (Pech-Pacheco et al. 2000); low is
    blurred. `brightness`: mean gray, 0 to 1. `dark`, `burnt`: shares of pixels under DARK and over BURNT. `stretch`:
    how much finer the picture is across than down, as a ratio of mean gradients; 1 when it is alike both ways.
    `phash`, `dhash`, `mirrored`: 64-bit perceptual hashes of the picture and the first of its mirror image.
    """

    sha256: str
    bytes: int
    size_wh: tuple[int, int]
    sharpness: float
    brightness: float
    dark: float
    burnt: float
    stretch: float
    phash: int
    dhash: int
    mirrored: int
    camera: Camera


def look_at(path: Path) -> PhotoFacts:
    """Decode one photograph and measure it. Raises PhotoError."""
    image = read_photo(path)
    gray = image.convert("L")
    light = np.bincount(np.asarray(gray).ravel(), minlength=256)
    pixels = light.sum()
    phash, dhash, mirrored = hashes(gray)
    return PhotoFacts(
        sha256=file_hash(path),
        bytes=path.stat().st_size,
        size_wh=image.size,
        sharpness=sharpness(gray),
        brightness=float(light @ np.arange(256) / pixels / 255),
        dark=float(light[:DARK].sum() / pixels),
        burnt=float(light[BURNT + 1 :].sum() / pixels),
        stretch=stretch(np.asarray(gray)),
        phash=phash,
        dhash=dhash,
        mirrored=mirrored,
        camera=camera_of(path),
    )


def hashes(gray: Image.Image) -> tuple[int, int, int]:
    """Perceptual hash (DCT), difference hash, and the perceptual hash of the mirror image, 64 bits each.

    Both as imagehash computes them; the picture is shrunk once, because that is most of the work.
    """
    import imagehash

    small = gray.resize((256, 256), Image.Resampling.BOX, reducing_gap=2.0)
    turned = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _bits(imagehash.phash(small)), _bits(imagehash.dhash(small)), _bits(imagehash.phash(turned))


def _bits(found: Any) -> int:
    return int(str(found), 16)


def sharpness(gray: Image.Image) -> float:
    """Variance of the Laplacian with the photograph at most SHARP_PX long."""
    import cv2

    if max(gray.size) > SHARP_PX:
        gray = gray.copy()
        gray.thumbnail((SHARP_PX, SHARP_PX), Image.Resampling.BOX)
    return float(cv2.Laplacian(np.asarray(gray), cv2.CV_32F).var())


def stretch(pixels: Gray) -> float:
    """Mean step between neighbors across over that down: above 1 the picture is squeezed across, or drawn out down.

    Grass, soil and stone look alike both ways, so a picture that was stretched to a square shows in its finest detail.
    Long edges (drains) push it too: read it over many photographs, not over one.
    """
    if min(pixels.shape) < 2:
        return 1.0
    values = pixels.astype(np.float32)
    across, down = np.abs(np.diff(values, axis=1)).mean(), np.abs(np.diff(values, axis=0)).mean()
    return float((across + 1e-6) / (down + 1e-6))


MAKE, MODEL, DATE, GPS, EXIF = 0x010F, 0x0110, 0x0132, 0x8825, 0x8769
TAKEN, WIDE, HIGH = 0x9003, 0xA002, 0xA003


def camera_of(path: Path) -> Camera:
    """What the camera wrote into the file; an empty record when there is nothing or it cannot be read."""
    with suppress(Exception), Image.open(path) as image:  # metadata raise all kinds of errors, and are worth none
        exif = Image.Image.getexif(image)
        more, gps = exif.get_ifd(EXIF), exif.get_ifd(GPS)
        wide, high = more.get(WIDE), more.get(HIGH)
        return Camera(
            size_wh=(int(wide), int(high)) if wide and high else None,
            taken=_time(more.get(TAKEN) or exif.get(DATE)),
            latitude=_degrees(gps.get(2), gps.get(1), "S"),
            longitude=_degrees(gps.get(4), gps.get(3), "W"),
            altitude_m=_altitude(gps),
            model=" ".join(str(exif.get(tag) or "").strip("\0 ") for tag in (MAKE, MODEL)).strip(),
        )
    return Camera()


def _time(text: Any) -> datetime | None:
    with suppress(TypeError, ValueError):
        return datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    return None


def _degrees(parts: Any, side: Any, negative: str) -> float | None:
    """Degrees, minutes and seconds to degrees; `side` is N, S, E or W.

    >>> round(_degrees((52, 30, 36.0), "S", "S"), 4)
    -52.51
    """
    with suppress(TypeError, ValueError, ZeroDivisionError):
        degrees, minutes, seconds = (float(p) for p in parts)
        value = degrees + minutes / 60 + seconds / 3600
        return -value if str(side).strip("\0 ").upper() == negative else value
    return None


def _altitude(gps: Any) -> float | None:
    with suppress(TypeError, ValueError, ZeroDivisionError, KeyError):
        below = gps.get(5) in (1, b"\x01")
        return -float(gps[6]) if below else float(gps[6])
    return None


def _try(path: Path) -> PhotoFacts | str:
    import cv2

    cv2.setNumThreads(1)
    try:
        return look_at(path)
    except PhotoError as why:
        return str(why)
    except OSError as why:
        return f"{path}: {why.strerror or why}."


def look_at_all(paths: Iterable[Path], *, workers: int = 1) -> Iterator[PhotoFacts | str]:
    """Facts in the order of `paths`, or in their place what is wrong with the photograph.

    With more than one worker, processes share the work; no more than IN_FLIGHT photographs are under way, so that
    memory does not grow with the data set.
    """
    if workers <= 1:
        yield from map(_try, paths)
        return
    left = iter(paths)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_quietly) as pool:
        waiting: deque[Future[list[PhotoFacts | str]]] = deque()
        while True:
            while len(waiting) < max(2, IN_FLIGHT // CHUNK) and (some := list(islice(left, CHUNK))):
                waiting.append(pool.submit(_try_all, some))
            if not waiting:
                return
            yield from waiting.popleft().result()


CHUNK = 8  # photographs that a worker is given at a time


def _try_all(paths: list[Path]) -> list[PhotoFacts | str]:
    return [_try(path) for path in paths]


def _quietly() -> None:
    """One thread a worker: the workers are the threads."""
    os.environ["OMP_NUM_THREADS"] = "1"
