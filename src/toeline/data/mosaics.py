"""Orthomosaics: GeoTIFFs with coordinates of their own, read window by window. Needs rasterio, the extra `geo`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toeline.core.finding import Problem
from toeline.core.reading import is_file
from toeline.data.extracted import Made
from toeline.data.images import BACKGROUND, Core
from toeline.errors import PhotoError, need

EXTRA, WGS84 = "geo", "EPSG:4326"
TIFFS = (".tif", ".tiff")
GEO_TAGS = (33550, 34264, 34735)  # pixel scale, transformation, keys: GeoTIFF 1.1, section 7
PART_PX, MARGIN_PX = 6144, 512  # of a part's core, and of what it shows beyond it, where other parts overlap
NO_CRS = (
    "is a GeoTIFF that names no coordinate system (CRS), so its findings have no place. Write it in, as with gdal_edit "
    "-a_srs EPSG:32645 FILE."
)
Pixels = NDArray[np.uint8]


def is_geotiff(file: Path) -> bool:
    """Whether a file is a TIFF with coordinates of its own, by its tags alone."""
    if file.suffix.lower() not in TIFFS or not is_file(file):  # a pipe would wait for ever
        return False
    import tifffile

    try:
        with tifffile.TiffFile(file) as tiff:
            return any(tag in tiff.pages.first.tags for tag in GEO_TAGS)
    except Exception:  # of damaged files tifffile raises all kinds of errors; reading the picture says what is wrong
        return False


def map_corners(file: Path) -> list[tuple[float, float]]:
    """Latitude and longitude of the corners: upper left, upper right, lower right, lower left, as the picture lies.

    Raises SetupError without rasterio, and ValueError for a file whose coordinates cannot be used.
    """
    rasterio = need("rasterio", extra=EXTRA)
    warp = need("rasterio.warp", extra=EXTRA)
    try:
        with rasterio.open(file) as data:
            wide, high = data.width, data.height
            a, b, c, d, e, f = data.transform[:6]
            pixels = ((0, 0), (wide, 0), (wide, high), (0, high))
            ends = [(a * x + b * y + c, d * x + e * y + f) for x, y in pixels]
            if data.crs is None:
                raise ValueError(NO_CRS)
            east, north = warp.transform(data.crs, WGS84, [x for x, _ in ends], [y for _, y in ends])
    except rasterio.errors.RasterioError as why:
        raise ValueError(f"its coordinates cannot be read ({why})") from None
    if not all(np.isfinite([*east, *north])) or max(map(abs, north)) > 90:
        raise ValueError("its coordinates are not on Earth in the coordinate system that it names")
    return [(y, x) for x, y in zip(east, north, strict=True)]


class MosaicPart(NamedTuple):
    """A window of a mosaic, x1 y1 x2 y2 in its pixels, and its core: what no other part has as its own."""

    name: str
    window: Core
    core: Core


def parts_of(stem: str, size_wh: tuple[int, int]) -> Iterator[MosaicPart]:
    """Parts that cover a mosaic, row by row; cores touch and windows overlap.

    >>> [part.window for part in parts_of("dam", (13000, 500))]
    [(0, 0, 4845, 500), (3821, 0, 9179, 500), (8155, 0, 13000, 500)]
    """
    across, down = (_cuts(side) for side in size_wh)
    for row, (y1, y2) in enumerate(down, start=1):
        for column, (x1, x2) in enumerate(across, start=1):
            window = (
                max(0, x1 - MARGIN_PX),
                max(0, y1 - MARGIN_PX),
                min(size_wh[0], x2 + MARGIN_PX),
                min(size_wh[1], y2 + MARGIN_PX),
            )
            yield MosaicPart(f"{stem}_r{row:02d}_c{column:02d}.tif", window, (x1, y1, x2, y2))


def _cuts(side: int) -> list[tuple[int, int]]:
    """As few lengths of at most PART_PX as there can be, nearly equal."""
    number = -(-side // PART_PX)
    edges = [round(side * n / number) for n in range(number + 1)]
    return list(pairwise(edges))


def cut_mosaic(mosaic: Path, folder: Path) -> Made:
    """Write the parts of a GeoTIFF that hold data into `folder`, each with its coordinates.

    What is marked as no data (by value, mask or transparency) becomes white, and parts of nothing else are left out,
    which is said. Raises PhotoError for what is no picture, SetupError without rasterio.
    """
    rasterio = need("rasterio", extra=EXTRA)
    photos: list[tuple[str, Core | None]] = []
    held, total = 0, 0
    try:
        with rasterio.open(mosaic) as data:
            _require_picture(mosaic, data)
            for part in parts_of(mosaic.stem, (data.width, data.height)):
                pixels, known = _read(data, part.window, rasterio)
                inside = _within(part.core, part.window)
                x1, y1, x2, y2 = inside
                held += int(known[y1:y2, x1:x2].sum())
                total += (x2 - x1) * (y2 - y1)
                if known[y1:y2, x1:x2].any():
                    _write(folder / part.name, pixels, data, part.window, rasterio)
                    photos.append((part.name, inside))
            said = [] if data.crs is not None else [Problem.in_file(mosaic, NO_CRS)]
    except rasterio.errors.RasterioError as why:
        raise PhotoError(f"{mosaic}: {why}. The file is damaged, or no GeoTIFF that can be read.") from None
    if not photos:
        raise PhotoError(f"{mosaic}: every pixel is marked as no data. Export the mosaic again.")
    if held < total:
        what = f"{1 - held / total:.1%} of it is marked as no data and was not inspected"
        said.append(Problem.in_file(mosaic, what, note=True))
    return Made(photos, said)


def _require_picture(mosaic: Path, data: Any) -> None:
    if data.dtypes[0] not in ("uint8", "uint16"):
        raise PhotoError(f"{mosaic}: its pixels are {data.dtypes[0]}, measurements and no colors. Inspect the picture.")


def _read(data: Any, window: Core, rasterio: Any) -> tuple[Pixels, NDArray[np.bool_]]:
    """A window as (H, W, 3) with white where nothing is known, and where something is."""
    x1, y1, x2, y2 = window
    where = rasterio.windows.Window(x1, y1, x2 - x1, y2 - y1)
    bands = [1, 2, 3] if data.count >= 3 else [1, 1, 1]
    pixels = np.moveaxis(data.read(bands, window=where), 0, -1)
    known: NDArray[np.bool_] = data.dataset_mask(window=where) > 0
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    elif data.colorinterp[0].name == "palette":
        table = np.zeros((256, 3), np.uint8)
        for value, color in data.colormap(1).items():
            table[value] = color[:3]
        pixels = table[pixels[..., 0]]
    pixels[~known] = BACKGROUND
    return pixels, known


def _within(core: Core, window: Core) -> Core:
    """A core in pixels of its window."""
    x, y = window[:2]
    return core[0] - x, core[1] - y, core[2] - x, core[3] - y


def _write(file: Path, pixels: Pixels, data: Any, window: Core, rasterio: Any) -> None:
    """A part as a GeoTIFF without loss; as a plain TIFF where the mosaic has no coordinate system."""
    if data.crs is None:
        Image.fromarray(pixels).save(file, compression="tiff_deflate")
        return
    high, wide = pixels.shape[:2]
    where = rasterio.windows.Window(window[0], window[1], wide, high)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "width": wide, "height": high, "crs": data.crs}
    profile |= {"transform": data.window_transform(where), "photometric": "RGB", "interleave": "pixel"}
    with rasterio.open(file, "w", **profile, compress="deflate", predictor=2) as part:
        part.write(np.moveaxis(pixels, -1, 0))
