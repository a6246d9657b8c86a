"""Writes drawn scenes as a YOLO polygon data set in Roboflow's layout, with masks of the ground truth beside it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from toeline.core.geo import CameraPose, Meters, Point, moved
from toeline.core.prefetch import in_processes
from toeline.core.run_folder import claim, read_run, require_same
from toeline.data.metadata import dji_packet, gps_tags
from toeline.synth.plan import CLASS_NAMES
from toeline.synth.scene import Drawing, draw

PARTS: Mapping[str, float] = {"train": 0.75, "valid": 0.15, "test": 0.10}
QUALITY = 92
Progress = Callable[[int, int], None]  # scenes done, scenes in all


@dataclass(frozen=True)
class _Job:
    out: Path
    part: str
    index: int
    seed: int
    size: int
    masks: bool
    gps: Point | None = None


def scene_seed(seed: int, index: int) -> int:
    """The seed of scene `index` of the data set `seed`: 63 bits, so that two data sets share no scene.

    >>> scene_seed(1, 0) == scene_seed(1, 0), scene_seed(1, 0) == scene_seed(0, 1)
    (True, False)
    """
    low, high = np.random.SeedSequence((seed, index)).generate_state(2)
    return int(high) << 31 ^ int(low)


def label_lines(drawing: Drawing) -> str:
    """One line an object: class id and polygon corners as shares of the picture, as YOLO writes segments."""
    high, wide = drawing.image.shape[:2]
    lines = []
    for item in drawing.objects:
        corners = " ".join(f"{x / wide:.6f} {y / high:.6f}" for x, y in item.polygon)
        lines.append(f"{item.class_id} {corners}\n")
    return "".join(lines)


def _save(path: Path, image: NDArray[np.uint8], *settings: int, place: CameraPose | None = None) -> None:
    """Encodes in memory and renames, so that a killed run leaves no half picture."""
    _, packed = cv2.imencode(path.suffix, image, list(settings))
    half = path.with_suffix(".part")
    half.write_bytes(stamped(packed.tobytes(), place) if place else packed.tobytes())
    half.replace(path)


def _write_scene(job: _Job) -> int:
    """Draws one scene unless its label file, which is written last, is there already."""
    folder, name = job.out / job.part, f"scene_{job.index:06d}"
    label = folder / "labels" / f"{name}.txt"
    if label.exists():
        return job.index
    drawing = draw(scene_seed(job.seed, job.index), size=job.size)
    colors = np.ascontiguousarray(drawing.image[..., ::-1])
    place = flown(job.gps, job.index) if job.gps else None
    _save(folder / "images" / f"{name}.jpg", colors, cv2.IMWRITE_JPEG_QUALITY, QUALITY, place=place)
    if job.masks:
        _save(folder / "masks" / f"{name}_object.png", drawing.object_mask)
        _save(folder / "masks" / f"{name}_state.png", drawing.state_mask)
    half = label.with_suffix(".part")
    half.write_text(label_lines(drawing), encoding="utf-8", newline="\n")
    half.replace(label)
    return job.index


def part_of(index: int, scenes: int, parts: Mapping[str, float]) -> str:
    """The split that scene `index` of `scenes` belongs to: the first share of them to the first part, and so on.

    >>> [part_of(i, 4, {"train": 0.5, "valid": 0.25, "test": 0.25}) for i in range(4)]
    ['train', 'train', 'valid', 'test']
    """
    total, edge = sum(parts.values()), 0.0
    for name, share in parts.items():
        edge += share / total
        if index < round(edge * scenes):
            return name
    return list(parts)[-1]


NOTE = "synth.json"


def _prepare(out: Path, settings: dict[str, object], parts: Mapping[str, float], masks: bool) -> None:
    if claim(out, note=NOTE):
        require_same(out, read_run(out, NOTE), settings)
    for part in parts:
        for folder in ("images", "labels", *(["masks"] if masks else [])):
            (out / part / folder).mkdir(parents=True, exist_ok=True)
    (out / NOTE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    keys = {"train": "train", "valid": "val", "test": "test"}
    rows = [f"{keys.get(part, part)}: {part}/images" for part in parts]
    rows += ["", f"nc: {len(CLASS_NAMES)}", f"names: {list(CLASS_NAMES)}", ""]
    (out / "data.yaml").write_text("\n".join(rows), encoding="utf-8")


def write_dataset(
    out: Path,
    *,
    scenes: int,
    seed: int,
    size: int = 640,
    parts: Mapping[str, float] = PARTS,
    masks: bool = True,
    workers: int = 1,
    gps: Point | None = None,
    progress: Progress | None = None,
) -> Path:
    """Writes `scenes` drawn scenes under `out` and returns the path of its data.yaml.

    `parts` maps split names to shares; {"valid": 1.0} puts all in one split. With `gps`, scenes carry the metadata of
    a flight that begins there (synth/dataset.py); their pixels are the same. The same settings again resume a run that
    was cut off; other settings on a folder that is in use raise OutputError.
    """
    settings: dict[str, object] = {"scenes": scenes, "seed": seed, "size": size, "parts": dict(parts), "masks": masks}
    if gps is not None:
        settings["gps"] = list(gps)
    _prepare(out, settings, parts, masks)
    make = partial(_Job, out, seed=seed, size=size, masks=masks, gps=gps)
    jobs = [make(part=part_of(i, scenes, parts), index=i) for i in range(scenes)]
    for done, _ in enumerate(in_processes(_write_scene, jobs, workers=workers), start=1):
        if progress is not None:
            progress(done, scenes)
    return out / "data.yaml"


HEIGHT_M, SEA_M = 40.0, 240.0  # of the drone above the take-off, and of the take-off above the sea
FOCAL_35MM, FOCAL_SHARE = 24, 24 / 43.2666
STEP_M = 60.0  # a square photograph shows 51 m from 40 m: scenes are drawn apart, so they must not overlap here
ROW = 10  # photographs in a flight line; the next line is flown back
START, PAUSE = datetime(2026, 1, 15, 4, 30), timedelta(seconds=6)  # UTC; of no meaning, and the same every time
XMP_HEAD, EXIF_MARKER = b"http://ns.adobe.com/xap/1.0/\x00", b"\xff\xe1"


def flown(start: Point, index: int) -> CameraPose:
    """The place of scene `index` of a flight that begins at `start`: east, then back, line by line to the north.

    >>> place = flown(Point(-33.9, 18.4), 10)
    >>> place.yaw, place.time, place.latitude > -33.9
    (-90.0, '2026-01-15T04:31:00Z', True)
    """
    row, along = divmod(index, ROW)
    back = row % 2 == 1
    at = moved(start, Meters(STEP_M * (ROW - 1 - along if back else along), STEP_M * row))
    return CameraPose(
        at.latitude,
        at.longitude,
        altitude_m=SEA_M + HEIGHT_M,
        height_m=HEIGHT_M,
        yaw=-90.0 if back else 90.0,
        pitch=-90.0,
        roll=0.0,
        focal=FOCAL_SHARE,
        time=f"{(START + index * PAUSE).isoformat()}Z",
    )


def stamped(jpeg: bytes, place: CameraPose) -> bytes:
    """A JPEG with EXIF and DJI's XMP of `place` put in; its pixels are not touched."""
    with Image.open(io.BytesIO(jpeg)) as picture:
        exif, packet = _exif(place), XMP_HEAD + _packet(place, picture.size)
    segments = [EXIF_MARKER + (len(body) + 2).to_bytes(2, "big") + body for body in (exif, packet)]
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def _exif(place: CameraPose) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Toeline", "drawn scene"
    taken = datetime.fromisoformat(place.time)
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {
            ExifTags.Base.DateTimeOriginal: f"{taken:%Y:%m:%d %H:%M:%S}",
            ExifTags.Base.OffsetTimeOriginal: "+00:00",
            ExifTags.Base.FocalLengthIn35mmFilm: FOCAL_35MM,
        }
    )
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(gps_tags(place))
    return exif.tobytes()


def _packet(place: CameraPose, size_wh: tuple[int, int]) -> bytes:
    fields = {
        "CalibratedOpticalCenterX": size_wh[0] / 2,  # says that the picture is whole, though no camera takes squares
        "CalibratedOpticalCenterY": size_wh[1] / 2,
        "GpsLatitude": place.latitude,
        "GpsLongitude": place.longitude,
        "AbsoluteAltitude": place.altitude_m,
        "RelativeAltitude": place.height_m,
        "GimbalYawDegree": place.yaw,
        "GimbalPitchDegree": place.pitch,
        "GimbalRollDegree": place.roll,
        "FlightYawDegree": place.yaw,
    }
    return dji_packet({name: value for name, value in fields.items() if value is not None})
