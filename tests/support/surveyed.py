"""Orthomosaics and videos, drawn from numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin
from tests.support.datasets import make_photo

EAST, NORTH, PIXEL_M = 500_000.0, 2_600_000.0, 0.05  # in UTM zone 45 N: the upper left corner, on its central meridian
UTM_45N = "EPSG:32645"


def write_mosaic(
    file: Path, size_wh: tuple[int, int] = (200, 100), *, crs: str | None = UTM_45N, empty: Any = None, **more: Any
) -> Path:
    """A GeoTIFF of colored noise; `empty` is an index of (H, W) that becomes 0, which then means no data."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.maximum(np.asarray(make_photo(size_wh)), 1)
    if empty is not None:
        pixels[empty] = 0
        more = {"nodata": 0, **more}
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 3,
        "width": size_wh[0],
        "height": size_wh[1],
    }
    profile |= {"crs": crs, "transform": from_origin(EAST, NORTH, PIXEL_M, PIXEL_M), **more}
    with rasterio.open(file, "w", **profile) as data:
        data.write(np.moveaxis(pixels.astype(data.dtypes[0]), -1, 0))
    return file


def write_video(file: Path, seconds: int = 3, *, fps: int = 10, size_wh: tuple[int, int] = (64, 48)) -> Path:
    """A video whose frames are gray and get brighter: frame n has the shade n (Motion JPEG in AVI)."""
    import cv2

    file.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), fps, size_wh)
    assert writer.isOpened()
    for number in range(seconds * fps):
        writer.write(np.full((size_wh[1], size_wh[0], 3), 5 * number % 256, np.uint8))
    writer.release()
    return file


def write_srt(file: Path, *texts: str) -> Path:
    """Subtitles of a second each, as DJI writes them beside a video."""
    cues = (
        f'{n + 1}\n00:00:{n:02d},000 --> 00:00:{n + 1:02d},000\n<font size="28">SrtCnt : {n + 1}\n{text}</font>\n'
        for n, text in enumerate(texts)
    )
    file.write_text("\n".join(cues), encoding="utf-8")
    return file
