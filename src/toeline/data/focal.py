"""The focal length of a photograph as a share of its diagonal, whatever was done to the file since the flight.

Focal length and pixel pitch are told in pixels of the photograph as it was taken. Tools that scale photographs keep
the size tags, rewrite them, or drop them; the 35 mm equivalent holds for a copy of any size, but not for a part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

FOCAL_MM, FOCAL_35MM, ZOOM = 0x920A, 0xA405, 0xA404
PIXELS_X, PIXELS_Y = 0xA002, 0xA003
PER_UNIT_X, PER_UNIT_Y, UNIT = 0xA20E, 0xA20F, 0xA210
UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # inch, centimeter, millimeter, micrometer
DIAGONAL_35MM = math.hypot(36, 24)  # the equivalent focal length is told for this diagonal (CIPA DCG-001)
SHARES = (0.15, 60.0)  # from a fisheye's to a long telephoto lens's; what is outside is no focal length
FIT = 0.02  # aspect ratios that differ by more are those of a part of the picture, or of one that was stretched
CENTER = 0.1  # how far DJI's calibrated center of the lens may lie from the middle, as a share of the half side
AGREE = 0.15  # calibrated and nominal focal length differ by less, also where a sensor's rows are left out for 16:9
MAGNIFIED = 1.01  # digital zoom: makers do not agree on whether the equivalent focal length includes it
CAMERAS = (5 / 4, 4 / 3, 3 / 2, 16 / 10, 16 / 9, 17 / 9, 2.0)  # aspect ratios of the pictures that cameras take

NOT_KNOWN = "so its focal length is not known"
PIXELS_OF_WHAT = f"its focal length is told in pixels, and not of how large a photograph, {NOT_KNOWN}"
NO_CAMERA = f"no camera takes pictures of this shape: it was cropped or stretched, {NOT_KNOWN}"
NO_SENSOR = (
    "its focal length is told in millimeters, and not how large its sensor is: what is on it is placed at the camera"
)
SCALED = "its focal length is told in pixels of another size than the file has: it was taken to be scaled, not cropped"

Size = tuple[float, float]


class Focal(NamedTuple):
    """A focal length as a share of the diagonal, or None and what is `wrong`; what was `assumed` to know it.

    `turned` says that the pixels may have been turned by 90 degrees since the flight.
    """

    share: float | None = None
    wrong: str = ""
    assumed: str = ""
    turned: bool = False


def number(value: Any) -> float | None:
    """A finite number from whatever a tag or a field holds, or None.

    >>> number("+12.5"), number("nan"), number(None), number((1, 2))
    (12.5, None, None, None)
    """
    try:
        found = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def focal_of(exif: Mapping[int, Any], dji: Mapping[str, str], size_wh: tuple[int, int]) -> Focal:
    """The focal length of a photograph of `size_wh` pixels as stored, by its EXIF and DJI's XMP.

    What is told in pixels counts where the 35 mm equivalent bears it out, or where it is known of how large a
    photograph; size tags that name the file's own size do not say that, since tools that scale rewrite them.

    >>> round(focal_of({FOCAL_35MM: 24}, {}, (4000, 3000)).share, 4)
    0.5547
    >>> focal_of({PIXELS_X: 5280, PIXELS_Y: 3960}, {"CalibratedFocalLength": "3666"}, (1320, 990)).share
    0.5554...
    """
    if (zoom := number(exif.get(ZOOM)) or 1) > MAGNIFIED:
        return Focal(wrong=f"it was taken with a digital zoom of {zoom:g}, {NOT_KNOWN}")
    told = _size(exif.get(PIXELS_X), exif.get(PIXELS_Y))
    center = _size(*(dji.get(f"CalibratedOpticalCenter{axis}") for axis in "XY"))
    middle = center and (2 * center[0], 2 * center[1])
    for taken, slack in ((told, FIT), (middle, CENTER)):
        if taken and not (_alike(taken, size_wh, slack) or _alike(taken[::-1], size_wh, slack)):
            was, now = (f"{wide:.0f} x {high:.0f}" for wide, high in (taken, size_wh))
            return Focal(wrong=f"it was taken with {was} pixels and has {now}: cropped or stretched, {NOT_KNOWN}")
    taken = told or middle or (size_wh if size_wh[0] >= size_wh[1] else size_wh[::-1])
    turned = (taken[0] < taken[1]) != (size_wh[0] < size_wh[1])
    if middle and (told is None or _same(told, size_wh)):  # a center in the middle of the file says that it is whole
        taken = size_wh if _same(middle, size_wh, CENTER) else middle
    return _settled(exif, number(dji.get("CalibratedFocalLength")), taken, size_wh, sure=bool(middle))._replace(
        turned=turned
    )


def _settled(exif: Mapping[int, Any], calibrated: float | None, taken: Size, size_wh: Size, *, sure: bool) -> Focal:
    """What holds of focal length in pixels and 35 mm equivalent. `sure`: that `taken` is the size as taken."""
    whole = _same(taken, size_wh)
    by_pixels = _share(calibrated, math.hypot(*taken)) or _share(number(exif.get(FOCAL_MM)), _sensor_mm(exif, taken))
    equivalent = _share(number(exif.get(FOCAL_35MM)), DIAGONAL_35MM)
    if by_pixels and equivalent and (abs(by_pixels / equivalent - 1) <= AGREE or (sure and whole)):
        return Focal(by_pixels)
    if by_pixels and not equivalent:
        return Focal(by_pixels) if sure or not whole else Focal(wrong=PIXELS_OF_WHAT)
    if equivalent and whole and not sure and not _from_camera(size_wh):
        return Focal(wrong=NO_CAMERA)
    unknown = not equivalent and _size(exif.get(FOCAL_MM), 1)
    return Focal(equivalent, assumed=SCALED if by_pixels else NO_SENSOR if unknown else "")


def _share(focal: float | None, diagonal: float | None) -> float | None:
    share = focal / diagonal if focal is not None and diagonal else 0.0
    return share if SHARES[0] <= share <= SHARES[1] else None


def _size(wide: Any, high: Any) -> Size | None:
    """A width and a height that are both above 0."""
    found = number(wide) or 0.0, number(high) or 0.0
    return found if min(found) > 0 else None


def _alike(one: Size, other: Size, slack: float) -> bool:
    """Whether two pictures have the same aspect ratio: within rounding to whole pixels too."""
    ratio = one[0] / one[1] * other[1] / other[0]
    return abs(ratio - 1) <= max(slack, 1.5 / min(*one, *other))


def _same(one: Size, other: Size, slack: float = 0.01) -> bool:
    return all(abs(a / b - 1) <= slack for a, b in zip(one, other, strict=True))


def _from_camera(size_wh: Size) -> bool:
    return any(_alike((ratio * 1e4, 1e4), (max(size_wh), min(size_wh)), FIT) for ratio in CAMERAS)


def _sensor_mm(exif: Mapping[int, Any], taken: Size) -> float | None:
    """Diagonal of the sensor in millimeters, from its pixel pitch."""
    unit = UNIT_MM.get(int(number(exif.get(UNIT, 2)) or 0))
    per_unit = _size(exif.get(PER_UNIT_X), exif.get(PER_UNIT_Y))
    if not unit or not per_unit or abs(per_unit[0] / per_unit[1] - 1) > FIT:  # the pixels of no camera are oblong
        return None
    return math.hypot(taken[0] / per_unit[0] * unit, taken[1] / per_unit[1] * unit)
