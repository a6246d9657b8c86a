"""The lens of a photograph from its EXIF: focal length as a share of the diagonal, so that it holds at any size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

FOCAL_MM, FOCAL_35MM, ZOOM = 0x920A, 0xA405, 0xA404
PIXELS_X, PIXELS_Y = 0xA002, 0xA003
PER_UNIT_X, PER_UNIT_Y, UNIT = 0xA20E, 0xA20F, 0xA210
UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # inch, centimeter, millimeter, micrometer
DIAGONAL_35MM = math.hypot(36, 24)  # the equivalent focal length is told for this diagonal (CIPA DCG-001)
SHARES = (0.15, 60.0)  # from a fisheye's to a long telephoto lens's; what is outside is no focal length
CROPPED = 0.02  # aspect ratios that differ by more are those of a part of the picture
MAGNIFIED = 1.01  # digital zoom: makers do not agree on whether the equivalent focal length includes it


def number(value: Any) -> float | None:
    """A finite number from whatever a tag or a field holds, or None.

    >>> number("+12.5"), number("nan"), number(None), number((1, 2))
    (12.5, None, None, None)
    """
    try:
        found = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return found if math.isfinite(found) else None


def focal_share(exif: Mapping[int, Any], dji: Mapping[str, str], size_wh: tuple[int, int]) -> float | None:
    """Focal length as a share of the diagonal of a photograph of `size_wh` pixels as stored.

    From DJI's calibrated focal length (pixels), else the 35 mm equivalent, else the focal length and the pixel pitch
    of the sensor. None when none is there or sensible, when the file was cropped, and after a digital zoom.

    >>> round(focal_share({FOCAL_35MM: 24}, {}, (4000, 3000)), 4)
    0.5547
    """
    whole = _whole(exif, size_wh)
    if whole is None or (number(exif.get(ZOOM)) or 1) > MAGNIFIED:
        return None
    diagonal = math.hypot(*whole)
    shares = (
        _divided(number(dji.get("CalibratedFocalLength")), diagonal),
        _divided(number(exif.get(FOCAL_35MM)), DIAGONAL_35MM),
        _divided(number(exif.get(FOCAL_MM)), _sensor_mm(exif, whole)),
    )
    return next((s for s in shares if s is not None and SHARES[0] <= s <= SHARES[1]), None)


def _divided(focal: float | None, diagonal: float | None) -> float | None:
    return focal / diagonal if focal is not None and diagonal else None


def _whole(exif: Mapping[int, Any], size_wh: tuple[int, int]) -> tuple[float, float] | None:
    """Pixels of the picture as the camera took it; None when the file shows another shape."""
    wide, high = number(exif.get(PIXELS_X)), number(exif.get(PIXELS_Y))
    if not wide or not high or wide < 0 or high < 0:
        return size_wh
    return (wide, high) if abs(wide / high * size_wh[1] / size_wh[0] - 1) <= CROPPED else None


def _sensor_mm(exif: Mapping[int, Any], whole: tuple[float, float]) -> float | None:
    """Diagonal of the sensor in millimeters, from its pixel pitch."""
    unit = UNIT_MM.get(exif.get(UNIT, 2))
    pitch = [number(exif.get(tag)) for tag in (PER_UNIT_X, PER_UNIT_Y)]
    if unit is None or not pitch[0] or not pitch[1] or min(pitch[0], pitch[1]) < 0:
        return None
    return math.hypot(whole[0] / pitch[0] * unit, whole[1] / pitch[1] * unit)
