"""Folders as they come from drives, cameras and other programs: what is a photograph, what is not, and what is said."""

from __future__ import annotations

import io
import os
import socket
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from tests.support.datasets import make_photo, write_photo

from toeline.core.finding import grave
from toeline.core.records import to_line
from toeline.core.run_folder import write_whole
from toeline.data import images
from toeline.data.images import find_photos, photo_size, read_photo, require_outside, search_photos
from toeline.errors import OutputError, PhotoError

FOREIGN = (
    *("._a.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", "#recycle/b.jpg", "$RECYCLE.BIN/S-1-5/$R1.JPG"),
    *("__MACOSX/._c.jpg", "lost+found/d.png", "System Volume Information/e.jpg", ".thumbnails/f.png"),
    *(".Trash-1000/files/g.jpg", "runs/detect/h.jpg", "@Recycle/i.jpg", ".git/j.png", "flight/@eaDir/k.jpg"),
    *("flight/._l.JPG", "RUNS/m.jpg"),
)


def names(folder: Path) -> list[str]:
    """What is found."""
    return [photo.name for photo in search_photos([folder]).photos]


def said(folder: Path, *, notes: bool) -> list[str]:
    """Notes, or problems."""
    problems = search_photos([folder]).problems
    return [str(p) for p in problems if p.note] if notes else [str(p) for p in grave(problems)]


def test_what_is_nobodys_photograph_is_left_out_and_counted_in_one_line(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg")
    write_photo(tmp_path / "flight" / "b.jpg")
    for name in (*FOREIGN, "Thumbs.db", "flight/desktop.ini", ".DS_Store"):
        write_whole(tmp_path / name, b"\0\5\x16\7")
    assert names(tmp_path) == ["a.jpg", "flight/b.jpg"]
    (note,) = said(tmp_path, notes=True)
    assert f"left out as no photographs of yours: {len(FOREIGN)} files (" in note
    assert "@eaDir 2" in note
    assert said(tmp_path, notes=False) == []


def test_results_of_a_run_among_photographs_are_left_out(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg")
    write_photo(tmp_path / "first" / "marked" / "a.jpg")
    for name in ("run.json", "findings.jsonl"):
        write_whole(tmp_path / "first" / name, "{}")
    write_photo(tmp_path / "data" / "b.jpg")
    write_whole(tmp_path / "data" / "run.json", "{}")  # of another program
    assert names(tmp_path) == ["a.jpg", "data/b.jpg"]
    assert "results of Toeline 1" in said(tmp_path, notes=True)[0]


def test_results_are_not_written_among_photographs(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="among the photographs"):
        require_outside(tmp_path / "photos" / "out", [write_photo(tmp_path / "photos" / "a.jpg").parent])
    require_outside(tmp_path / "photos" / "runs" / "out", [tmp_path / "photos"])
    require_outside(tmp_path / "out", [tmp_path / "photos"])


def test_linked_folders_are_entered_once_each(tmp_path: Path) -> None:
    write_photo(tmp_path / "disk" / "b.jpg")
    write_photo(tmp_path / "survey" / "flight1" / "a.jpg")
    for link, to in (("flight2", "../disk"), ("again", "../disk"), ("twin", "flight1"), ("flight1/loop", "..")):
        (tmp_path / "survey" / link).symlink_to(to)
    assert names(tmp_path / "survey") == ["again/b.jpg", "flight1/a.jpg"]


@pytest.mark.parametrize(
    "name", ["b", "b.part", "b.jpg.crdownload", "b.jpg~", "b.tmp", "b.jpg_original", "b.jpg.1", "b.bak"]
)
def test_a_picture_whose_name_does_not_say_so_is_named(tmp_path: Path, name: str) -> None:
    picture = write_photo(tmp_path / "a.jpg").read_bytes()
    write_whole(tmp_path / name, picture)
    write_whole(tmp_path / "LICENSE", "of something")
    write_whole(tmp_path / "list.part", "no picture")
    assert names(tmp_path) == ["a.jpg"]
    (line,) = said(tmp_path, notes=False)
    assert line.startswith(f"{tmp_path}/{name}: is a picture whose name does not end as one")


def test_copies_beside_their_photograph_are_one_note(tmp_path: Path) -> None:
    picture = write_photo(tmp_path / "a.jpg").read_bytes()
    for name in ("a.jpg~", "a.jpg_original", "a.jpg.bak"):
        write_whole(tmp_path / name, picture)
    assert said(tmp_path, notes=False) == []
    assert "3 files not read: copies beside the photograph of their name" in said(tmp_path, notes=True)[0]


def test_thumbnails_are_left_out_and_originals_are_someones_photographs(tmp_path: Path) -> None:
    for folder in ("_thumbs", "Thumbs", "_Thumbnails", "Originals", "original"):
        write_photo(tmp_path / folder / "a.jpg")
    assert names(tmp_path) == ["original/a.jpg", "Originals/a.jpg"]
    assert "3 files (Thumbs 1, _Thumbnails 1, _thumbs 1)" in said(tmp_path, notes=True)[0]


def test_a_link_to_above_brings_nothing_in_that_lies_beside(tmp_path: Path) -> None:
    write_photo(tmp_path / "set" / "train" / "a.jpg")
    write_photo(tmp_path / "set" / "valid" / "b.jpg")
    for link, to in (("set/train/up", "../.."), ("set/train/loop", "."), ("set/valid/set", "..")):
        (tmp_path / link).symlink_to(to)
    assert names(tmp_path / "set" / "train") == ["a.jpg"]
    assert said(tmp_path / "set" / "train", notes=True) == [
        f"{tmp_path}/set/train/up: leads to a folder above this one, so it was not entered."
    ]
    assert names(tmp_path / "set") == ["train/a.jpg", "valid/b.jpg"]


def test_a_folder_that_cannot_be_read_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photo(tmp_path / "a.jpg")
    write_photo(tmp_path / "closed" / "b.jpg")
    scan = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(images.os, "scandir", scandir)
    assert names(tmp_path) == ["a.jpg"]
    assert said(tmp_path, notes=False) == [
        f"{tmp_path}/closed: this folder cannot be read (Permission denied), so nothing in it was."
    ]


@pytest.mark.parametrize("name", [b"dique_\xf1.jpg", b"d\xe9pot/a.jpg"])
def test_a_name_that_is_no_utf_8_is_named_and_the_rest_is_found(tmp_path: Path, name: bytes) -> None:
    write_photo(tmp_path / "plain.jpg")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    odd.parent.mkdir(exist_ok=True)
    odd.write_bytes((tmp_path / "plain.jpg").read_bytes())
    assert names(tmp_path) == ["plain.jpg"]
    (problem,) = search_photos([tmp_path]).problems
    assert "no UTF-8" in problem.what
    assert to_line({"file": problem.file}).encode().isascii()  # can be written
    if b"/" not in name:
        with pytest.raises(PhotoError, match="no UTF-8"):
            find_photos([odd])


def test_a_folder_above_that_is_no_utf_8_counts_only_where_a_name_needs_it(tmp_path: Path) -> None:
    odd, plain = (Path(os.fsdecode(os.fsencode(tmp_path) + one)) / "day" for one in (b"/d\xe9p\xf4t", b"/depot"))
    for folder in (odd, plain):
        folder.mkdir(parents=True)
        write_photo(folder / "a.jpg")
    assert names(odd) == ["a.jpg"]
    found = search_photos([odd, plain])
    assert [photo.name for photo in found.photos] == ["depot/day/a.jpg"]
    (problem,) = found.problems
    assert "a folder above it is no UTF-8" in problem.what


def test_raw_files_films_and_drawings_are_named_with_what_to_do(tmp_path: Path) -> None:
    write_photo(tmp_path / "DJI_1.JPG")
    for name in ("DJI_1.DNG", "DJI_2.DNG", "film.MP4", "plan.psd", "x.CR3", "notes.txt"):
        write_whole(tmp_path / name, b"II*\0")
    assert names(tmp_path) == ["DJI_1.JPG"]
    assert {line.split("/")[-1].split(":")[0] for line in said(tmp_path, notes=False)} == {
        "DJI_2.DNG",
        "plan.psd",
        "x.CR3",
    }
    assert "Export it as JPEG" in "".join(said(tmp_path, notes=False))
    assert "2 files not read: videos, or raw files beside a photograph" in said(tmp_path, notes=True)[0]


@pytest.mark.parametrize("suffix", ["apng", "jpf", "avifs", "dib", "ico", "rjpg", "jxl", "pbm", "QOI"])
def test_pictures_of_kinds_that_are_not_read_are_named(tmp_path: Path, suffix: str) -> None:
    write_photo(tmp_path / "a.jpg")
    write_whole(tmp_path / f"b.{suffix}", b"\0\1")
    (line,) = said(tmp_path, notes=False)
    assert f"b.{suffix}: a picture of a kind that is not read. Save it as JPEG" in line


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "JPEG", "jif", "avif", "jp2", "gif", "webp", "heic", "mpo"])
def test_whatever_pillow_reads_is_read(tmp_path: Path, suffix: str) -> None:
    file = io.BytesIO()
    picture = Image.new("RGB", (64, 48), (200, 40, 40))
    if suffix == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    kinds = {"avif": "AVIF", "jp2": "JPEG2000", "gif": "GIF", "webp": "WEBP", "heic": "HEIF"}
    picture.save(file, kinds.get(suffix, "JPEG"))
    (tmp_path / f"a.{suffix}").write_bytes(file.getvalue())
    (photo,) = find_photos([tmp_path])
    seen = read_photo(photo.path)
    assert (seen.size, seen.mode) == ((64, 48), "RGB")
    assert np.abs(np.asarray(seen, int) - (200, 40, 40)).max() < 12


def test_a_heic_is_as_its_decoder_turns_it(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")  # turns by the file's own properties; its EXIF does not count
    heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    make_photo((64, 32)).save(tmp_path / "a.heic", "HEIF", exif=exif)
    assert read_photo(tmp_path / "a.heic").size == photo_size(tmp_path / "a.heic") == (64, 32)


@pytest.mark.parametrize("kind", ["AVIF", "WEBP", "JPEG"])
def test_a_turned_photograph_is_turned_once(tmp_path: Path, kind: str) -> None:
    picture = Image.new("RGB", (64, 32), "white")
    picture.paste((255, 0, 0), (0, 0, 32, 32))  # red on the left as stored: at the top when upright
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"a.{kind.lower()}"
    picture.save(path, kind, exif=exif)
    seen = read_photo(path)
    assert seen.size == photo_size(path) == (32, 64)
    assert seen.getpixel((16, 8))[1] < 60 < 200 < seen.getpixel((16, 56))[1]


@pytest.mark.parametrize(
    ("bands", "kind", "photometric"), [(5, np.uint8, "minisblack"), (6, np.uint16, "minisblack"), (5, np.uint8, "rgb")]
)
@pytest.mark.parametrize("planar", [False, True])
def test_of_many_bands_the_first_three_are_read_and_it_is_said(
    tmp_path: Path, bands: int, kind: type, photometric: str, planar: bool
) -> None:
    pixels = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (30, 40, bands)).astype(kind)
    written = np.moveaxis(pixels, 2, 0).copy() if planar else pixels
    how = "separate" if planar else "contig"
    tifffile.imwrite(tmp_path / "a.tif", written, photometric=photometric, planarconfig=how)
    seen = read_photo(tmp_path / "a.tif")
    assert photo_size(tmp_path / "a.tif") == (40, 30)
    assert np.array_equal(np.asarray(seen), (pixels[..., :3] >> (8 * (pixels.itemsize - 1))).astype(np.uint8))
    assert seen.info["note"] == f"the first three of its {bands} bands were read, as red, green and blue"


def fifo(path: Path) -> None:
    """A pipe."""
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    """A socket."""
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(path.name)  # relative: the path of a socket may have 100 letters


@pytest.mark.parametrize("make", [fifo, unix_socket])
def test_what_is_no_regular_file_is_not_opened(
    tmp_path: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_photo(tmp_path / "b.jpg")
    make(tmp_path / "a.jpg")
    assert names(tmp_path) == ["b.jpg"]
    assert "no regular file" in said(tmp_path, notes=False)[0]
    with pytest.raises(PhotoError, match="no regular file"):
        read_photo(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_header_that_promises_what_the_file_cannot_hold_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    file = io.BytesIO()
    make_photo((64, 48)).save(file, kind)
    raw = bytearray(file.getvalue())
    big = (19_000).to_bytes(2 if kind == "JPEG" else 4, "big")
    at = raw.index(b"\xff\xc0") + 5 if kind == "JPEG" else 16
    raw[at : at + 2 * len(big)] = big * 2
    if kind == "PNG":
        raw[29:33] = zlib.crc32(raw[12:29]).to_bytes(4, "big")
    (tmp_path / "a.jpg").write_bytes(bytes(raw))
    with pytest.raises(PhotoError, match="cannot hold them"):
        read_photo(tmp_path / "a.jpg")


def test_a_jpeg_that_ends_long_before_its_last_row_is_no_gray_photograph(tmp_path: Path) -> None:
    file = io.BytesIO()
    make_photo((64, 48)).save(file, "JPEG")
    raw = bytearray(file.getvalue())
    at = raw.index(b"\xff\xc0") + 5
    raw[at : at + 4] = (3000).to_bytes(2, "big") * 2
    (tmp_path / "a.jpg").write_bytes(bytes(raw))
    with pytest.raises(PhotoError, match=r"3000 x 3000 pixels, and .* bytes cannot hold them"):
        read_photo(tmp_path / "a.jpg")
    for made in ("a.jpg", "a.png", "a.tif"):  # the emptiest pictures there are
        how = {"quality": 1, "progressive": True, "optimize": True} if made == "a.jpg" else {}
        Image.new("RGB", (3000, 3000)).save(tmp_path / made, compression="tiff_deflate", **how)
        assert read_photo(tmp_path / made).size == (3000, 3000)


def test_a_raw_file_under_another_name_is_no_photograph(tmp_path: Path) -> None:
    make_photo((64, 48)).save(tmp_path / "a.tif", tiffinfo={50706: b"\1\4\0\0"})
    with pytest.raises(PhotoError, match="raw file"):
        read_photo(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["loop", "loop.jpg"])
def test_a_link_to_itself_stops_nothing(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    (tmp_path / name).symlink_to(name)
    assert "a.jpg" in [p.name for p in search_photos([tmp_path]).photos]
