"""Pixels of the photographs of a store, as JPEG: crops of findings, and whole photographs in any width."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from PIL import Image, ImageDraw

from toeline.core.box import Box
from toeline.core.run_folder import write_whole
from toeline.data.images import read_photo
from toeline.errors import PhotoError
from toeline.report.draw import as_jpeg
from toeline.serve.decisions import Refused
from toeline.serve.imports import gone, is_same, path_of
from toeline.serve.store import Row, Store

KEPT_PX = 60_000_000  # pixels of photographs that stay decoded: 180 MB
CACHE = "cache"
JPEG_END = b"\xff\xd9"


class Pixels:
    """Reads photographs; what was cut is kept in the store's cache, which may be deleted at any time."""

    def __init__(self, store: Store) -> None:
        """Reads nothing yet."""
        self.store = store
        self._lock = threading.Lock()  # one photograph is decoded at a time: several would share the same cores
        self._decoded: OrderedDict[Path, Image.Image] = OrderedDict()
        self._whole: dict[Path, tuple[int, int, bool]] = {}

    def crop(self, photo: Row, box: Box, *, margin: float, size: int, outlined: bool = False) -> bytes:
        """The box with a margin (a share of its longer side), no side longer than `size`. Raises Refused.

        `outlined` draws the box, for whoever does not know what it is about.
        """
        what = f"crop {box.xyxy} {margin} {size}{' outlined' * outlined}"
        return self._cached(photo, what, lambda image: _cut(image, box, margin, size, outlined))

    def whole(self, photo: Row, width: int | None) -> bytes:
        """The photograph upright, no wider than `width`."""
        return self._cached(photo, f"whole {width}", lambda image: _narrowed(image, width))

    def etag(self, photo: Row, *what: object) -> str:
        """Equal for equal pictures."""
        return hashlib.sha256(repr([photo["sha256"], photo["id"], *what]).encode()).hexdigest()[:32]

    def _cached(self, photo: Row, what: str, make: object) -> bytes:
        path = self._path(photo)
        name = self.etag(photo, what)
        file = self.store.folder / CACHE / name[:2] / f"{name}.jpg"
        with suppress(OSError):
            kept = file.read_bytes()
            if kept.endswith(JPEG_END):  # not cut off when the power failed
                return kept
        with self._lock:
            picture = as_jpeg(make(self._image(path)))  # type: ignore[operator]
        with suppress(OSError):  # a full disk makes it slower, and nothing else
            write_whole(file, picture, lasting=False)
        return picture

    def _path(self, photo: Row) -> Path:
        """Where the photograph is. Raises Refused when it is not there or another file now."""
        path = path_of(photo)
        try:
            if path is not None and self._is_same(path, photo):
                return path
        except OSError:
            pass
        raise Refused(
            410,
            "gone",
            f"photo {photo['id']}: {photo['name']} {gone('STORE')}",
        )

    def _is_same(self, path: Path, photo: Row) -> bool:
        """Whether the file is still the one that was inspected; hashed once for each state of the file."""
        said = path.stat()
        kept = self._whole.get(path)
        if kept and kept[:2] == (said.st_size, said.st_mtime_ns):
            return kept[2]
        same = said.st_size == photo["bytes"] and is_same(path, photo)
        self._whole[path] = (said.st_size, said.st_mtime_ns, same)
        return same

    def _image(self, path: Path) -> Image.Image:
        """Decoded, and kept for the next crop of the same photograph."""
        if path in self._decoded:
            self._decoded.move_to_end(path)
            return self._decoded[path]
        try:
            image = read_photo(path)
        except PhotoError as why:
            raise Refused(410, "gone", f"{path.name}: cannot be read. {str(why).removeprefix(f'{path}: ')}") from None
        self._decoded[path] = image
        while len(self._decoded) > 1 and sum(i.width * i.height for i in self._decoded.values()) > KEPT_PX:
            self._decoded.popitem(last=False)
        return image


def _cut(image: Image.Image, box: Box, margin: float, size: int, outlined: bool) -> Image.Image:
    pad = margin * max(box.width, box.height)
    grown = Box(box.x1 - pad, box.y1 - pad, box.x2 + pad, box.y2 + pad).clipped(image.size)
    left, upper = min(int(grown.x1), image.width - 1), min(int(grown.y1), image.height - 1)
    right, lower = max(round(grown.x2), left + 1), max(round(grown.y2), upper + 1)
    crop = image.crop((left, upper, right, lower))
    crop.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=3.0)
    if outlined:
        scale, draw = crop.width / (right - left), ImageDraw.Draw(crop)
        corners = [round((v - o) * scale) for v, o in zip(box.xyxy, (left, upper, left, upper), strict=True)]
        for color, width in (("black", 4), ("white", 2)):  # seen on light ground and on dark
            draw.rectangle(corners, outline=color, width=width)
    return crop


def _narrowed(image: Image.Image, width: int | None) -> Image.Image:
    if width is None or width >= image.width:
        return image
    small = image.copy()
    small.thumbnail((width, image.height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return small
