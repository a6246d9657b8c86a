"""Frames of videos and the positions of DJI's subtitles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.surveyed import write_srt, write_video

from toeline.data.images import read_photo
from toeline.data.metadata import read_position
from toeline.data.videos import cues_of, place_at, take_frames
from toeline.errors import PhotoError

NEW = (
    "FrameCnt: {0}\n2025-03-01 10:00:0{0}.033\n"
    "[latitude: -33.50{0}] [longitude: 18.25] [rel_alt: 30.500 abs_alt: 210.000]"
)


def taken(video: Path, every_s: float) -> list[str]:
    folder = video.parent / "frames"
    folder.mkdir(exist_ok=True)
    return [name for name, _ in take_frames(video, folder, every_s).photos]


def test_frames_are_those_of_their_times_and_called_so(tmp_path: Path) -> None:
    video = write_video(tmp_path / "DJI 7 & é.avi", 3)
    assert taken(video, 1) == [f"DJI 7 & é_00m0{n}s.jpg" for n in range(3)]
    for n in range(3):
        shade = np.asarray(read_photo(tmp_path / "frames" / f"DJI 7 & é_00m0{n}s.jpg")).mean()
        assert shade == pytest.approx(50 * n, abs=4)  # frame 10 n
    assert taken(video, 0.5)[1] == "DJI 7 & é_00m00s500.jpg"
    assert len(taken(video, 60)) == 1


def test_positions_are_those_of_the_subtitles(tmp_path: Path) -> None:
    video = write_video(tmp_path / "DJI_7.avi", 3)
    write_srt(tmp_path / "DJI_7.SRT", *(NEW.format(n) for n in range(3)))
    names = taken(video, 1)
    places = [read_position(tmp_path / "frames" / name) for name in names]
    assert [p.wrong for p in places] == [""] * 3
    assert [p.place and round(p.place.latitude, 6) for p in places] == [-33.5, -33.501, -33.502]
    first = places[0].place
    assert first is not None
    assert (first.longitude, first.height_m, first.altitude_m) == (18.25, 30.5, 210.0)
    assert first.time == "2025-03-01T10:00:00"


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("[latitude : 10.5] [longtitude : -70.25]", (10.5, -70.25)),
        ("GPS (-70.25, 10.5, 17)  BAROMETER:30.1", (10.5, -70.25)),
        ("[latitude: 0.000000] [longitude: 0.000000]", None),
        ("[latitude: 95.0] [longitude: 10.0]", None),
        ("F/2.8, SS 320", None),
    ],
)
def test_subtitles_of_several_models_are_read(text: str, point: tuple[float, float] | None) -> None:
    place = place_at(cues_of(f"1\n00:00:00,000 --> 00:00:01,000\n{text}\n"), 0.0)
    assert (place.point if place else None) == point


def test_between_subtitles_the_last_one_counts() -> None:
    cues = cues_of("1\n00:00:00,000 --> 00:00:01,000\nlatitude: 1 longitude: 2\n2\n00:00:10,000 --> 00:00:11,000\n")
    assert place_at(cues, 9.0) is not None
    assert place_at(cues, 10.0) is None


def test_a_video_without_a_readable_frame_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(300))
    with pytest.raises(PhotoError, match="no video that can be read"):
        take_frames(tmp_path / "a.mp4", tmp_path, 1)


def test_a_video_that_ends_early_is_told(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi", 6)
    raw = video.read_bytes()
    index = raw.rindex(b"idx1")
    video.write_bytes(raw[: index // 2] + bytes(index - index // 2) + raw[index:])
    (tmp_path / "out").mkdir()
    made = take_frames(video, tmp_path / "out", 1)
    assert 1 <= len(made.photos) < 6
    assert "could be read" in str(made.problems[0])


def test_subtitles_without_a_position_are_a_note_and_unreadable_ones_a_problem(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi", 1)
    (tmp_path / "out").mkdir()
    write_srt(tmp_path / "a.srt", "F/2.8")
    (note,) = take_frames(video, tmp_path / "out", 1).problems
    assert note.note
    (tmp_path / "a.srt").write_bytes(b"\xff\xfe\xfa\x00\xd8")
    (problem,) = take_frames(video, tmp_path / "out", 1).problems
    assert not problem.note
