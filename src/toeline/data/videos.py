"""Frames of a video at an interval, with the positions of the subtitles that DJI writes beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from toeline.core.finding import Problem
from toeline.core.geo import CameraPose
from toeline.core.reading import read_text
from toeline.data.extracted import Made
from toeline.data.metadata import NO_FIX, dji_packet, gps_tags
from toeline.errors import PhotoError

QUALITY = 95  # of the frames, as JPEG
LEAST_SHARE = 0.95  # of the frames that a video says it has; with fewer it is damaged
SUBTITLES = (".SRT", ".srt", ".Srt")
GPS_PART, EXIF_PART, TAKEN = 0x8825, 0x8769, 0x9003  # of EXIF


class Cue(NamedTuple):
    """What a subtitle says from `start` to `end`, in seconds of the video."""

    start: float
    end: float
    text: str


def take_frames(video: Path, folder: Path, every_s: float) -> Made:
    """Write a frame every so many seconds into `folder`, the first at 0. Raises PhotoError where there is none."""
    cues, said = _cues_beside(video)
    photos: list[tuple[str, None]] = []
    placed = read = 0
    capture, fps, number = _opened(video)
    try:
        for number_read, at, frame in _frames(capture, fps, every_s):
            read = number_read
            if frame is None:
                continue
            place = place_at(cues, at)
            placed += place is not None
            name = frame_name(video.stem, at)
            _save(frame, folder / name, place)
            photos.append((name, None))
    finally:
        capture.release()
    if not photos:
        raise PhotoError(f"{video}: no frame of this video can be read. Convert it to MP4 (H.264), or save its frames.")
    if read < LEAST_SHARE * number:
        what = f"only the first {read / fps:.0f} of {number / fps:.0f} seconds could be read. Copy the file again."
        said.append(Problem.in_file(video, what))
    if cues and not placed:
        said.append(Problem.in_file(video, "the subtitles beside it name no position of these frames.", note=True))
    return Made(photos, said)


def frame_name(stem: str, at_s: float) -> str:
    """What a frame is called: minutes and seconds, and milliseconds where it lies between two seconds.

    >>> frame_name("DJI_0007", 65), frame_name("DJI_0007", 0.5)
    ('DJI_0007_01m05s.jpg', 'DJI_0007_00m00s500.jpg')
    """
    total = round(at_s * 1000)
    seconds, thousandths = divmod(total, 1000)
    more = f"{thousandths:03d}" if thousandths else ""
    return f"{stem}_{seconds // 60:02d}m{seconds % 60:02d}s{more}.jpg"


def _opened(video: Path) -> tuple[Any, float, float]:
    """The video, its frames in a second, and how many it says it has. Raises PhotoError."""
    import cv2

    capture = cv2.VideoCapture(str(video))
    fps, number = (capture.get(fact) for fact in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
    if not capture.isOpened() or not 0 < fps < 10_000:
        capture.release()
        raise PhotoError(f"{video}: no video that can be read. Convert it to MP4 (H.264), or save its frames as JPEG.")
    return capture, fps, max(number, 0.0)


def _frames(capture: Any, fps: float, every_s: float) -> Iterator[tuple[int, float, Any]]:
    """Number, time and picture (blue, green, red; None for one that is not wanted) of every frame, in order."""
    wanted, number = 0, 0
    while capture.grab():
        picture = None
        at = wanted * every_s
        if number / fps >= at - 0.5 / fps:
            done, picture = capture.retrieve()
            picture = picture if done else None
            wanted += 1
        number += 1
        yield number, at, picture


def _save(frame: Any, file: Path, place: CameraPose | None) -> None:
    image = Image.fromarray(frame[:, :, ::-1].copy())
    if place is None:
        image.save(file, quality=QUALITY)
        return
    exif = Image.Exif()
    exif.get_ifd(GPS_PART).update(gps_tags(place))
    if place.time:
        exif.get_ifd(EXIF_PART)[TAKEN] = place.time.replace("-", ":").replace("T", " ")
    known = {"AbsoluteAltitude": place.altitude_m, "RelativeAltitude": place.height_m}
    fields = {"GpsLatitude": place.latitude, "GpsLongitude": place.longitude}
    fields |= {name: value for name, value in known.items() if value is not None}
    image.save(file, quality=QUALITY, exif=exif, xmp=dji_packet(fields))


def _cues_beside(video: Path) -> tuple[list[Cue], list[Problem]]:
    """The subtitles in the file of the same name; a file that cannot be read is a problem."""
    for suffix in SUBTITLES:
        file = video.with_suffix(suffix)
        if file.is_file():
            try:
                return cues_of(read_text(file, PhotoError, advice="Copy it again.")), []
            except PhotoError as why:
                return [], [Problem.unread(file, why)]
    return [], []


_TIME = r"(\d+):(\d\d):(\d\d)[,.](\d{3})"
_SPAN = re.compile(rf"{_TIME}\s*-->\s*{_TIME}")


def cues_of(text: str) -> list[Cue]:
    """The subtitles of a SubRip file, in order.

    >>> cues_of("1" + chr(10) + "00:00:01,000 --> 00:00:02,500" + chr(10) + "[latitude: 1.5]")
    [Cue(start=1.0, end=2.5, text='[latitude: 1.5]')]
    """
    spans = list(_SPAN.finditer(text))
    ends = [*(span.start() for span in spans[1:]), len(text)]
    return [
        Cue(_seconds(span.groups()[:4]), _seconds(span.groups()[4:]), text[span.end() : end].strip())
        for span, end in zip(spans, ends, strict=True)
    ]


def _seconds(parts: tuple[str, ...]) -> float:
    hours, minutes, seconds, thousandths = map(int, parts)
    return hours * 3600 + minutes * 60 + seconds + thousandths / 1000


def place_at(cues: list[Cue], at_s: float) -> CameraPose | None:
    """Where the camera was at a time of the video: by the last subtitle that began by then, if it names a position."""
    begun = [cue for cue in cues if cue.start <= at_s + 0.05]
    cue = begun[-1] if begun else cues[0] if cues else None
    return place_in(cue.text) if cue else None


_FIELD = re.compile(
    r"\b(latitude|longt?itude|rel_alt|abs_alt|altitude|barometer)\s*:\s*([+-]?\d+(?:\.\d+)?)", re.IGNORECASE
)
_GPS = re.compile(r"\bGPS\s*\(\s*([+-]?\d+(?:\.\d+)?)\s*,\s*([+-]?\d+(?:\.\d+)?)", re.IGNORECASE)
_DATE = re.compile(r"(\d{4})[-.](\d\d)[-.](\d\d)[ T](\d\d:\d\d:\d\d)")


def place_in(text: str) -> CameraPose | None:
    """The position in one of DJI's subtitles, of its newer models (by names) or older ones (GPS, longitude first).

    >>> place_in("[latitude: -33.5] [longitude: 18.25] [rel_alt: 30.5 abs_alt: 210.0]").height_m
    30.5
    >>> place_in("GPS(18.25,-33.5,19) BAROMETER:31.0").point
    Point(latitude=-33.5, longitude=18.25)
    """
    said = {name.lower().replace("longt", "long"): float(value) for name, value in _FIELD.findall(text)}
    if old := _GPS.search(text):
        said.setdefault("longitude", float(old[1]))
        said.setdefault("latitude", float(old[2]))
    if not {"latitude", "longitude"} <= said.keys():
        return None
    latitude, longitude = said["latitude"], said["longitude"]
    if max(abs(latitude), abs(longitude)) < NO_FIX or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    day = _DATE.search(text)
    return CameraPose(
        latitude,
        longitude,
        altitude_m=said.get("abs_alt", said.get("altitude")),
        height_m=said.get("rel_alt", said.get("barometer")),
        time=f"{day[1]}-{day[2]}-{day[3]}T{day[4]}" if day else "",
    )
