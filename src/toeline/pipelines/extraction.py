"""Before an inspection: frames in place of videos, and parts in place of orthomosaics, in the folder of the run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from toeline.core.finding import Problem
from toeline.core.run_folder import claimed, writing
from toeline.data.extracted import Made, extracted
from toeline.data.images import MOVIES, Photo
from toeline.data.mosaics import MARGIN_PX, PART_PX, cut_mosaic, is_geotiff
from toeline.data.videos import take_frames
from toeline.pipelines.progress import saying, tell_problems

Making = tuple[Callable[[Path, Path], Made], Mapping[str, Any]]  # what makes photographs of a file, and its settings


def with_extracted(
    found: Sequence[Photo], every: float | None, out: Path, own: Collection[str]
) -> tuple[list[Photo], list[Problem]]:
    """The photographs of a run, with what was made of videos and orthomosaics among them, and problems of these.

    Without rasterio an orthomosaic stays one photograph, whose coordinates are not read, which is told where it is
    read.
    """
    makings = {photo: making for photo in found if (making := _making(photo, every))}
    if not makings:
        return list(found), []
    photos: list[Photo] = []
    problems: list[Problem] = []
    with claimed(out, own=own), writing(out):
        for photo in found:
            if photo not in makings:
                photos.append(photo)
                continue
            make, settings = makings[photo]
            with saying(f"Reading {photo.name}"):
                mine, told = extracted(photo, out, settings, make)
            tell_problems(told)
            photos += mine
            problems += told
    return photos, problems


def _making(photo: Photo, every: float | None) -> Making | None:
    if photo.path.suffix.lower() in MOVIES:
        return (partial(take_frames, every_s=every), {"every": every}) if every else None
    if is_geotiff(photo.path) and find_spec("rasterio"):
        return cut_mosaic, {"part_px": PART_PX, "margin_px": MARGIN_PX}
    return None
