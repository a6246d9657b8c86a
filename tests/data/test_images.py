"""Photographs are found once, named apart, and come out upright and 8-bit RGB."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.support.datasets import make_photo, write_photo

from toeline.core.reading import file_hash
from toeline.data import images
from toeline.data.images import find_photos, photo_size, read_gray, read_photo
from toeline.errors import PhotoError


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_comes_out_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = write_photo(tmp_path / f"a.{suffix}", (40, 30), orientation=orientation)
    with Image.open(path) as raw:
        upright = ImageOps.exif_transpose(raw).convert("RGB")
    assert read_photo(path).tobytes() == upright.tobytes()
    assert photo_size(path) == read_photo(path).size == ((30, 40) if orientation >= 5 else (40, 30))


def test_a_compressed_tiff_is_turned_once(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    make_photo((40, 30)).save(tmp_path / "a.tif", exif=exif, compression="tiff_lzw")
    expected = make_photo((40, 30)).transpose(Image.Transpose.ROTATE_270)
    assert read_photo(tmp_path / "a.tif").tobytes() == expected.tobytes()
    assert photo_size(tmp_path / "a.tif") == (30, 40)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_gray_is_the_photograph_without_its_colors(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = write_photo(tmp_path / f"a.{suffix}", orientation=orientation)
    gray, rgb = read_gray(path), read_photo(path)
    apart = np.abs(np.asarray(gray, np.int16) - np.asarray(rgb.convert("L"), np.int16))
    assert (gray.mode, gray.size) == ("L", rgb.size)
    assert apart.mean() < 3  # the colors of noise leave the range of a JPEG and are cut there; brightness is not
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PhotoError, match=path.name):
        read_gray(path)


def test_the_size_is_read_without_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"a.{suffix}" for suffix in ("jpg", "png", "tif", "bmp", "webp")]
    for path in paths:
        make_photo().save(path)  # without metadata: Pillow would look for those of a PNG behind its pixels
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("the pixels were decoded"))
    assert [photo_size(path) for path in paths] == [(40, 30)] * 5


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(1, 256)
    Image.fromarray(ramp).save(tmp_path / f"a.{suffix}")
    assert np.asarray(read_photo(tmp_path / f"a.{suffix}"))[0, :, 0].tolist() == list(range(256))


def test_cmyk_keeps_its_colors(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    red, green, blue = np.asarray(read_photo(tmp_path / "a.jpg"))[8, 8].tolist()
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize(
    ("mode", "color"), [("RGBA", (200, 0, 0, 0)), ("LA", (10, 0)), ("RGBA", (255, 255, 255, 128)), ("1", 1), ("P", 0)]
)
def test_what_is_transparent_is_white(tmp_path: Path, mode: str, color: int | tuple[int, ...]) -> None:
    image = Image.new(mode, (4, 4), color)
    image.save(tmp_path / "a.png", **({"transparency": 0} if mode == "P" else {}))
    assert set(read_photo(tmp_path / "a.png").get_flattened_data()) == {(255, 255, 255)}


def test_half_transparent_red_on_white_is_pink(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (255, 0, 0, 51)).save(tmp_path / "a.png")
    assert read_photo(tmp_path / "a.png").getpixel((0, 0)) == (255, 204, 204)


def test_an_animation_gives_its_first_frame_and_says_so(tmp_path: Path) -> None:
    first, second = make_photo(seed=1), make_photo(seed=2)
    first.save(tmp_path / "a.png", save_all=True, append_images=[second])
    photo = read_photo(tmp_path / "a.png")
    assert photo.tobytes() == first.tobytes()
    assert photo.info == {"note": "the first of 2 frames was read"}


def test_a_still_photograph_needs_no_note(tmp_path: Path) -> None:
    assert read_photo(write_photo(tmp_path / "a.jpg")).info == {"note": ""}


def test_damaged_metadata_do_not_spoil_a_photograph(tmp_path: Path) -> None:
    make_photo().save(tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12")
    assert photo_size(tmp_path / "a.jpg") == read_photo(tmp_path / "a.jpg").size == (40, 30)


def test_the_limit_lets_large_mosaics_through() -> None:
    assert images.MAX_PIXELS > 12_000 * 9_000
    assert Image.MAX_IMAGE_PIXELS is not None  # Pillow's own guard stays up for everybody else in this process
    assert Image.MAX_IMAGE_PIXELS >= images.MAX_PIXELS


def test_the_hash_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"abc")
    assert file_hash(tmp_path / "a.jpg") == hashlib.sha256(b"abc").hexdigest()


def named(*paths: Path) -> list[str]:
    return [photo.name for photo in find_photos(paths)]


def test_a_folder_is_searched_to_the_bottom_in_natural_order(tmp_path: Path) -> None:
    for name in ("a10.jpg", "a9.JPG", "deep/er/b.tiff", "c.webp", "d.bmp", "e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for other in ("notes.txt", ".hidden.jpg", ".cache/x.jpg", "a9.txt", "b.doc"):
        (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / other).touch()
    assert named(tmp_path) == ["a9.JPG", "a10.jpg", "c.webp", "d.bmp", "deep/er/b.tiff", "e.png"]


def test_a_photograph_given_twice_is_one(tmp_path: Path) -> None:
    write_photo(tmp_path / "one" / "a.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "one" / "a.jpg")
    assert named(tmp_path / "one", tmp_path / "one" / "a.jpg", tmp_path / "link.jpg") == ["a.jpg"]


def test_the_same_name_in_several_folders_is_told_apart(tmp_path: Path) -> None:
    for folder in ("may/left", "may/right", "june/left"):
        for name in ("x.jpg", f"{folder[:3]}.jpg" if folder != "june/left" else "only.jpg"):
            write_photo(tmp_path / folder / name)
    (tmp_path / "may/right/may.jpg").unlink()
    folders = [tmp_path / "may/left", tmp_path / "may/right", tmp_path / "june/left"]
    assert named(*folders) == ["may.jpg", "may/left/x.jpg", "right/x.jpg", "only.jpg", "june/left/x.jpg"]


def test_a_file_that_is_named_is_taken_so_that_reading_it_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no photograph")
    (photo,) = find_photos([tmp_path / "notes.txt"])
    with pytest.raises(PhotoError, match="not a photograph"):
        read_photo(photo.path)


@pytest.mark.parametrize("path", ["nowhere", "empty"])
def test_nothing_found_is_an_error_that_names_the_place(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PhotoError, match=path):
        find_photos([tmp_path / path])
