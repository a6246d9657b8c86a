"""Pictures of objects and places, cut out of the photographs of a visit, or out of its marked pictures."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from toeline.core.box import Box
from toeline.core.geo import CameraPose
from toeline.data.images import read_photo
from toeline.errors import PhotoError
from toeline.report.camera_geometry import pixel_of
from toeline.report.draw import Mark, crop_window, data_uri, draw_marks, jpeg_bytes
from toeline.report.tables import marked_of
from toeline.report.visits import SiteObject, place_of, size_of

SIDE_PX, QUALITY = 300, 68
INK = "#ffd43b"  # of the box on a crop: on grass, concrete and shadow, with the dark line under it


@dataclass(frozen=True)
class Wanted:
    """A picture that is wanted: of what is in `box` (pixels of the photograph), `outlined`, or of a bare place."""

    photo: str
    box: Box
    outlined: bool
    key: Any


def object_wanted(its: SiteObject, key: Any) -> Wanted:
    """An object as the photograph shows it that places it best."""
    return Wanted(its.finding.photo, its.finding.box, True, key)


def place_wanted(its: SiteObject, own: Mapping[str, Any] | None, other: Mapping[str, Any], key: Any) -> Wanted | None:
    """Where an object was, on a photograph of the other visit; `own` and `other` are the photographs' records.

    By its position where that photograph has one, as large as the object would be and by what the position may be off
    larger; else the same box.
    """
    size, place, own_place = size_of(other), place_of(other), place_of(own) if own else None
    if its.at is None or place is None or own is None or own_place is None:
        scale = size[0] / size_of(own)[0] if own and size_of(own)[0] else 1.0
        return Wanted(str(other["photo"]), its.finding.box.scaled(scale), False, key)
    pixel = pixel_of(place, size, its.at)
    if pixel is None:
        return None
    there, here = _pixels_a_meter(place, size), _pixels_a_meter(own_place, size_of(own))
    grown = there / here if here else 1.0
    half = grown * max(its.finding.box.width, its.finding.box.height) / 2 + its.error_m * there / 2
    x, y = pixel
    return Wanted(str(other["photo"]), Box(x - half, y - half, x + half, y + half).clipped(size), False, key)


def _pixels_a_meter(place: CameraPose, size_wh: tuple[int, int]) -> float:
    """About, at the middle of a photograph that looks down."""
    focal_px = (place.focal or 0.0) * math.hypot(*size_wh)
    return focal_px / place.height_m if place.height_m else 0.0


def pictures_of(
    wanted: Iterable[Wanted],
    records: Mapping[str, Mapping[str, Any]],
    original: Callable[[str], Path | None],
    folder: Path | None,
    step: Callable[[], object] = lambda: None,
) -> dict[Any, str]:
    """Data URIs by the key of what is wanted; each photograph is opened once.

    `original` gives the photograph where it is still the one that was inspected; else the marked picture in the run's
    `folder` is cut. What cannot be read has no picture.
    """
    by_photo: dict[str, list[Wanted]] = defaultdict(list)
    for one in wanted:
        by_photo[one.photo].append(one)
    made: dict[Any, str] = {}
    for photo, its in by_photo.items():
        made.update(_cut(its, records[photo], original(photo), folder))
        step()
    return made


def _cut(
    wanted: list[Wanted], record: Mapping[str, Any], original: Path | None, folder: Path | None
) -> Iterator[tuple[Any, str]]:
    clean = original is not None
    file = original or (folder / marked_of(record) if folder and marked_of(record) else None)
    try:
        image = read_photo(file) if file else None
    except PhotoError:
        image = None
    if image is None:
        return
    scale = image.width / size_of(record)[0] if size_of(record)[0] else 1.0
    for one in wanted:
        yield one.key, _crop(image, one.box.scaled(scale), outlined=one.outlined and clean)


def _crop(image: Image.Image, box: Box, *, outlined: bool) -> str:
    window = crop_window(box, image.size)
    scale = SIDE_PX / max(window.width, window.height, 1)
    size = max(1, round(window.width * scale)), max(1, round(window.height * scale))
    cut = image.resize(size, Image.Resampling.BICUBIC, box=window.xyxy, reducing_gap=2.0)
    if outlined:
        inner = Box(box.x1 - window.x1, box.y1 - window.y1, box.x2 - window.x1, box.y2 - window.y1).scaled(scale)
        cut = draw_marks(cut, [Mark(inner.clipped(cut.size), "", INK, 0)])
    return data_uri(jpeg_bytes(cut, quality=QUALITY, subsampling=2))
