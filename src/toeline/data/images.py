"""Photographs: found, opened, turned upright, made 8-bit RGB. Knows files; knows nothing of what the pictures show."""

from __future__ import annotations

import os
import re
import stat
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from toeline.core.finding import Problem
from toeline.core.reading import is_there
from toeline.core.run_folder import RUN
from toeline.core.words import shown, some
from toeline.errors import OutputError, PhotoError, SetupError, install_line, need

MAX_PIXELS = 400_000_000  # 1.2 GB as RGB; a 12,000 x 9,000 mosaic has 108 million
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "AVIF", "JPEG2000", "HEIF")  # JPEG: MPO too; HEIF: pillow-heif
HEIF = (".heic", ".heif", ".hif")
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".avif"),
    *(".jp2", ".j2k", ".jpx", *HEIF),
)
# What cameras and drawing programs write and Pillow does not read, or reads as a small preview.
RAW = (
    *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".raf", ".rw2", ".pef", ".srw"),
    *(".3fr", ".fff", ".iiq", ".x3f", ".raw", ".rwl", ".gpr", ".kdc", ".dcr", ".mrw", ".erf", ".mef", ".mos"),
)
OTHER = (
    *(".psd", ".svg", ".jxl", ".jxr", ".exr", ".hdr", ".tga", ".pcx", ".ppm", ".pgm", ".pbm", ".eps", ".seq", ".insp"),
    *(".apng", ".avifs", ".jpf", ".jpc", ".j2c", ".jps", ".rjpg", ".rjpeg", ".dib", ".ico", ".icns", ".sgi", ".qoi"),
    *(".btf", ".tf8", ".ecw", ".sid", ".bil", ".heics", ".heifs"),
)
MOVIES = (".mp4", ".mov", ".avi", ".mkv", ".mts", ".m4v", ".wmv", ".insv", ".lrv")
# Folders in which computers, network drives and programs keep copies and waste; those that begin with a dot as well.
FOREIGN = {
    *("@eadir", "#recycle", "@recycle", "#snapshot", "@snapshot", "$recycle.bin", "recycler", "__macosx"),
    *("@recently-snapshot", "@sharebin", "@tmp", "~snapshot", "network trash folder", "temporary items", "thumbs"),
    *("_thumbs", "thumb", "_thumb", "_thumbnails"),
    *("lost+found", "system volume information", "found.000", "thumbnails", "runs", "__pycache__", "node_modules"),
}
RESULTS = ("findings.jsonl", "analysis.json", "scorecard.json", "gallery.json", "log.jsonl")  # beside run.json: ours
DNG_VERSION = 50706  # TIFF tag of a DNG file, whatever its name says
BACKGROUND = (255, 255, 255)  # what shows through transparent pixels

# EXIF orientation -> what makes the picture upright; 1 is upright already.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION, MAKER_MODEL = 0x0112, (0x010F, 0x0110)  # EXIF tags

# Pillow warns at 89 megapixels, also when a large photograph is decoded or cropped; ours is the limit that counts here.
Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or MAX_PIXELS, MAX_PIXELS)
_OPENING = threading.Lock()


Core = tuple[int, int, int, int]


@dataclass(frozen=True)
class Photo:
    """A photograph file and its `name`: the path below the folder that the user named, unique within one run.

    One that is in memory has its upright `image`, and need not be a file. Of a part of a larger picture, `core` (x1 y1
    x2 y2 in pixels) is what no other part has: objects whose center lies elsewhere are those of another part.
    """

    path: Path
    name: str
    image: Image.Image | None = field(default=None, compare=False, repr=False)
    core: Core | None = None


def photo_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels after EXIF rotation, from the header alone. Raises PhotoError."""
    with _opened(path) as image:
        wide, high = image.size
        return (high, wide) if _orientation(image) >= 5 else (wide, high)


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its pixels: size in pixels as stored, EXIF orientation, tags, XMP packet.

    `exif` and `gps` are tag numbers to values as Pillow gives them; empty where there are none or they are damaged.
    `model` is the camera's maker and model, or empty.
    """

    size_wh: tuple[int, int]
    orientation: int = 1
    exif: Mapping[int, Any] = field(default_factory=dict)
    gps: Mapping[int, Any] = field(default_factory=dict)
    xmp: bytes = b""
    model: str = ""


def read_header(path: Path) -> Header:
    """The metadata of a photograph; no pixel is decoded. Raises PhotoError."""
    with _opened(path) as image, _OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata
        exif, packet = Image.Image.getexif(image), image.info.get("xmp", b"")
        turned = exif.get(ORIENTATION, 1)
        return Header(
            size_wh=image.size,
            orientation=turned if turned in TURNS else 1,
            exif=_part(exif, ExifTags.IFD.Exif),
            gps=_part(exif, ExifTags.IFD.GPSInfo),
            xmp=packet if isinstance(packet, bytes) else str(packet).encode(),
            model=" ".join(str(exif.get(tag) or "").strip("\0 ") for tag in MAKER_MODEL).strip(),
        )


def _part(exif: Image.Exif, part: int) -> dict[int, Any]:
    try:
        return dict(exif.get_ifd(part))
    except Exception:  # damaged metadata makes Pillow raise all kinds of errors
        return {}


def read_photo(path: Path) -> Image.Image:
    """The photograph as it is seen: upright, 8 bits, RGB.

    CMYK and palettes are converted, transparent pixels are laid on white, 16-bit gray is divided by 256, and of an
    animation the first frame is read. `info["note"]` says so where something was left out; otherwise it is empty.
    Raises PhotoError for a file that is missing, truncated, no photograph, or larger than MAX_PIXELS.
    """
    return _read(path, _as_rgb)


def read_gray(path: Path) -> Image.Image:
    """As read_photo, in shades of gray: of a JPEG only the brightness is decoded, in half the time."""
    return _read(path, _as_gray)


def _read(path: Path, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    with _opened(path) as image:
        turn, note = TURNS.get(_orientation(image)), _note(image)
        try:
            seen = convert(image)
        except Exception as why:  # damaged bytes make decoders raise all kinds of errors
            raise PhotoError(f"{path}: {why or type(why).__name__}. {_ADVICE}") from None
    if turn is not None:
        seen = seen.transpose(turn)
    seen.info = {"note": note}
    return seen


def _note(image: Image.Image) -> str:
    """What of the file is not in the picture that is read."""
    if getattr(image, "is_animated", False) and image.format != "MPO":  # MPO: previews or a stereo pair
        return f"the first of {getattr(image, 'n_frames', 1)} frames was read"
    tags = getattr(image, "tag_v2", None) or {}
    bands = image.info.get("bands") or tags.get(_SAMPLES, 0)
    return f"the first three of its {bands} bands were read, as red, green and blue" if bands > 4 else ""


_SAMPLES = 277  # TIFF tag: values for each pixel
_ADVICE = "The file is damaged or of a kind that cannot be read; copy it again, or save it as JPEG or PNG."


def _opened(path: Path) -> Image.Image:
    """The file with its header read and its size within the limit; pixels are not decoded yet."""
    try:
        _require_picture(path)
        image: Image.Image = _open_quietly(path)
    except PhotoError:
        raise
    except FileNotFoundError:
        raise PhotoError(f"{path}: there is no such file. Check the path.") from None
    except UnidentifiedImageError:
        image = _open_bands(path)
    except Exception as why:  # as in read_photo; an OSError's own text repeats the path
        reason = getattr(why, "strerror", None) or str(why) or type(why).__name__
        raise PhotoError(f"{path}: {reason}. {_ADVICE}") from None
    if fault := _fault(path, image):
        image.close()
        raise PhotoError(f"{path}: {fault}")
    return image


def _require_picture(path: Path) -> None:
    """Raise PhotoError for what is not even opened: a pipe, which would wait for ever, and files of other kinds."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        what = "is a directory" if stat.S_ISDIR(mode) else "is no regular file"
        raise PhotoError(f"{path}: {what}. Take it out of the folder.")
    suffix = path.suffix.lower()
    if why := unread_kind(suffix):
        raise PhotoError(f"{path}: {why}")
    if suffix in HEIF and not _can_heif():
        raise PhotoError(f"{path}: HEIC needs pillow-heif. Run: {install_line('heic')}")


def unread_kind(suffix: str) -> str:
    """What to do about a picture of a kind that is not read, by its suffix in small letters; empty for others."""
    if suffix in RAW:
        return "a camera's raw file, which is not read. Export it as JPEG or TIFF."
    if suffix in MOVIES:
        return "a video. Inspect a frame every 5 seconds with toeline inspect --every 5, or save frames as JPEG."
    return "a picture of a kind that is not read. Save it as JPEG or PNG." if suffix in OTHER else ""


@cache
def _can_heif() -> bool:
    try:
        need("pillow_heif", extra="heic").register_heif_opener()
    except SetupError:
        return False
    return True


def _fault(path: Path, image: Image.Image) -> str:
    """Why a picture is not decoded, from its header: too large, far too few bytes, or a raw file under another name."""
    wide, high = image.size
    pixels = wide * high
    if pixels > MAX_PIXELS:
        return (
            f"{wide} x {high} pixels are {pixels / 1e6:.0f} million, and the limit is {MAX_PIXELS / 1e6:.0f} million. "
            f"Cut the picture into parts, or scale it down."
        )
    if pixels > _LARGE and (held := path.stat().st_size) < pixels * _FEWEST.get(image.format or "", 0.0):
        return f"its header says {wide} x {high} pixels, and {held:,} bytes cannot hold them. Copy the file again."
    return unread_kind(".dng") if DNG_VERSION in (getattr(image, "tag_v2", None) or {}) else ""


_LARGE = 1_000_000  # pixels from which it is worth looking whether they can be there; headers count as bytes, too
# Bytes a pixel of the emptiest picture: JPEG has 1 bit for each of 6 blocks of 256 pixels, deflate shrinks 1,032 times.
_FEWEST = {"JPEG": 0.002, "MPO": 0.002, "PNG": 0.0001, "TIFF": 0.0001}


def _open_quietly(path: Path) -> ImageFile.ImageFile:
    """Pillow's own limit and its remarks on odd metadata are silenced; both are global, hence the lock."""
    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path, formats=[f for f in FORMATS if f in Image.OPEN or f != "HEIF"])
            _read_exif(image)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    return image


def _open_bands(path: Path) -> Image.Image:
    """The first three bands of a TIFF that Pillow does not know, from a multispectral camera. Raises PhotoError."""
    import tifffile

    kinds = "Photographs are JPEG, PNG, TIFF, WebP, BMP, GIF, AVIF, JPEG 2000 or HEIC."
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            bands = page.samplesperpixel
            if page.imagewidth * page.imagelength * bands > MAX_PIXELS:
                raise ValueError(f"{bands} bands of {page.imagewidth} x {page.imagelength} are too much to read")
            found = page.asarray()
    except tifffile.TiffFileError:
        raise PhotoError(f"{path}: {_what_instead(path)}. {kinds}") from None
    except Exception as why:  # as in read_photo
        raise PhotoError(f"{path}: {why or type(why).__name__}. {_ADVICE}") from None
    first = np.moveaxis(found, 0, -1) if found.ndim == 3 and found.shape[-1] != bands else found
    if found.dtype.kind != "u" or found.dtype.itemsize > 2 or first.ndim not in (2, 3):
        raise PhotoError(f"{path}: its {bands} bands are of {found.dtype}, no shades of gray. {_ADVICE}")
    if first.ndim == 3:
        first = first[..., :3] if bands > 2 else first[..., 0]
    image = Image.fromarray(np.ascontiguousarray(first >> (8 * (found.dtype.itemsize - 1))).astype(np.uint8))
    image.info = {"bands": bands}
    return image


def _read_exif(image: ImageFile.ImageFile) -> None:
    """Parse the metadata now; a photograph whose metadata is damaged is still a photograph, and counts as upright."""
    try:
        Image.Image.getexif(image)  # the method of the base class: that of PNG would decode the pixels first
    except Exception:  # any error at all, see above
        Image.Image.getexif(image).clear()


def _orientation(image: Image.Image) -> int:
    """1 to 8. For TIFF always 1: Pillow turns it by itself, and gives its upright size from the start."""
    found = 1 if image.format == "TIFF" else Image.Image.getexif(image).get(ORIENTATION, 1)
    return found if found in TURNS else 1


def _as_gray(image: Image.Image) -> Image.Image:
    if isinstance(image, ImageFile.ImageFile) and image.format == "JPEG" and image.mode == "RGB":
        image.draft("L", image.size)
    return _as_rgb(image).convert("L") if image.mode != "L" or image.format != "JPEG" else image.copy()


def _as_rgb(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_sixteen_to_eight(image)).convert("RGB")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        solid = Image.new("RGB", clear.size, BACKGROUND)
        solid.paste(clear, mask=clear.getchannel("A"))
        return solid
    return image.convert("RGB")


def _sixteen_to_eight(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(H, W) of 0..65535 to 0..255. Raises ValueError when the numbers are of another range (heights, temperatures)."""
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError(f"its pixels are measurements ({pixels.min():g} to {pixels.max():g}), not shades of gray")
    return (pixels.astype(np.uint32) >> 8).astype(np.uint8)


def _what_instead(path: Path) -> str:
    if path.suffix.lower() in (".yaml", ".yml"):
        return "describes a data set and is no photograph. Name its folder of photographs, or use toeline evaluate"
    return "the file is empty" if path.stat().st_size == 0 else "not a photograph, whatever its name says"


@dataclass(frozen=True)
class FoundPhotos:
    """What was found in folders, and what of it was left out: `problems` are to be corrected, notes among them not."""

    photos: tuple[Photo, ...]
    problems: tuple[Problem, ...]


def find_photos(paths: Sequence[Path]) -> list[Photo]:
    """As search_photos, for whoever has no use for what was left out. Raises PhotoError."""
    return list(search_photos(paths).photos)


def search_photos(paths: Sequence[Path], *, may_be_none: bool = False, videos: bool = False) -> FoundPhotos:
    """Every photograph in the files and folders of `paths`, each once, in natural order within a folder (2 before 10).

    Folders are searched to the bottom, linked ones too, by file suffix; what is nobody's photograph (FOREIGN, hidden
    files, results of Toeline) is left out and counted, and what cannot be read is named. A file that is named itself is
    taken whatever its suffix, so that reading it says what is wrong with it. Photographs of the same name from several
    folders get as much of their folder's path as tells them apart. With `videos` these are found too. Raises PhotoError
    for a path that does not exist, and unless there `may_be_none` when there is no photograph at all.
    """
    found: dict[str, tuple[Path, str]] = {}  # texts: a path takes ten times as long, and there may be many
    problems: list[Problem] = []
    suffixes = (*SUFFIXES, *(MOVIES if videos else ()))
    real = cache(os.path.realpath)  # of folders: there may be a hundred thousand photographs in one
    for path in paths:
        if not path.exists():
            raise PhotoError(f"{path}: there is no such file or folder. Check the path.")
        if not path.is_dir() and not is_utf8(path.name):
            problems.append(Problem.in_file(path, _NO_UTF8))
            continue
        alone = [(path, path.name, _is_link(path))]
        for photo, name, is_link in _photos_under(path, problems, suffixes) if path.is_dir() else alone:
            here, last = os.path.split(photo)
            place = os.path.realpath(photo) if is_link else os.path.join(real(here), last)  # noqa: PTH118 (as above)
            found.setdefault(place, (photo, name))
    named = _named_apart(found)
    photos = tuple(photo for photo in named if is_utf8(photo.name))
    problems += [Problem.in_file(photo.path, _FOLDER_NO_UTF8) for photo in named if not is_utf8(photo.name)]
    if not photos and not may_be_none:
        where = ", ".join(str(p) for p in paths) or "nothing"
        first = f" {shown(str(problems[0]))}" if problems else ""
        raise PhotoError(f"{where}: no photographs there ({' '.join(SUFFIXES)}).{first} Name a folder that holds some.")
    return FoundPhotos(photos, tuple(problems))


def require_readable(photos: Sequence[Path], where: str) -> None:
    """Raise PhotoError when not one of them can be opened, by their headers: as a rule, the first can, and ends it.

    `where` is what the user named.
    """
    faults: list[PhotoError] = []
    for photo in photos:
        try:
            photo_size(photo)
        except PhotoError as why:
            faults.append(why)
        else:
            return
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise PhotoError(f"{where}: not one of {some(len(faults), 'photograph')} can be read. The first: {faults[0]}")


def _photos_under(folder: Path, problems: list[Problem], suffixes: Collection[str]) -> Iterator[tuple[Path, str, bool]]:
    """Photographs with their names below `folder`, and whether they are links; in natural order."""
    found: list[tuple[Path, str, bool]] = []
    raws: list[Path] = []
    odd: list[Path] = []
    for file, name, is_link in files_under(folder, problems):
        suffix = file.suffix.lower()
        if suffix in suffixes:
            found.append((file, name, is_link))
        elif unread_kind(suffix):
            raws.append(file)
        elif _NO_SUFFIX.fullmatch(suffix) and _begins_as_picture(file):
            odd.append(file)
    problems += _misnamed(odd, {file for file, _, _ in found}) if odd else ()
    problems += _unread(raws, {file.with_suffix("") for file, _, _ in found}) if raws else ()
    return iter(sorted(found, key=lambda photo: natural(photo[1])))


MOST_NAMED = 10  # files in one line
# What stands at the end of names without a suffix, of downloads that were not finished, and of copies for safety.
_NO_SUFFIX = re.compile(
    r"|\.(part|partial|crdownload|download|tmp|temp|bak|old|orig|copy|[0-9]{1,3})|\..*~|\..*_original"
)
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")


def _begins_as_picture(file: Path) -> bool:
    """Whether the first bytes are those of a picture, whatever the file is called."""
    try:
        if not file.is_file():
            return False
        with file.open("rb") as stream:
            head = stream.read(16)
    except OSError:
        return False
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return webp or head.startswith(_MAGIC) or (head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"mif1", b"avif"))


def _misnamed(files: Sequence[Path], photos: Collection[Path]) -> Iterator[Problem]:
    """Pictures whose names say nothing of it: copies of a photograph that is there are one note."""
    copies = [f for f in files if {f.with_suffix(""), f.with_name(re.sub("~$|_original$", "", f.name))} & set(photos)]
    if copies:
        names = ", ".join(f.name for f in copies[:MOST_NAMED]) + (" ..." if len(copies) > MOST_NAMED else "")
        what = f"{some(len(copies), 'file')} not read: copies beside the photograph of their name: {names}"
        yield Problem.in_file(copies[0].parent, what, note=True)
    for file in files:
        if file not in copies:
            what = "is a picture whose name does not end as one, so it was not read. Rename it, or fetch it again."
            yield Problem.in_file(file, what)


def _unread(files: Sequence[Path], photos: Collection[Path]) -> Iterator[Problem]:
    """Pictures of kinds that are not read: one line for those beside a photograph of the same name, and for videos."""
    beside = [f for f in files if f.with_suffix("") in photos or f.suffix.lower() in MOVIES]
    if beside:
        kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(Counter(f.suffix.lower() for f in beside).items()))
        names = ", ".join(f.name for f in beside[:MOST_NAMED]) + (" ..." if len(beside) > MOST_NAMED else "")
        what = f"{some(len(beside), 'file')} not read: videos, or raw files beside a photograph of their name"
        what = f"{what} ({kinds}): {names}. Of videos, inspect --every 5 takes a frame every 5 seconds"
        yield Problem.in_file(beside[0].parent, what, note=True)
    told = set(beside)
    for file in files:
        if file not in told:
            yield Problem.in_file(file, unread_kind(file.suffix.lower()))


_NO_UTF8 = "its name is no UTF-8, so it was left out. Rename it."
_FOLDER_NO_UTF8 = "has a name that another has too, and a folder above it is no UTF-8, so it was left out. Rename that."


def files_under(folder: Path, problems: list[Problem]) -> Iterator[tuple[Path, str, bool]]:
    """Every file below a folder, with its name below it, with slashes, and whether it is a link; in no order.

    Linked folders are entered, each folder once, so that circles end; a link that leads to above `folder` is not, since
    it would bring in what lies beside it. What is nobody's data is left out; it is told at
    the end in one note, with how many pictures it holds. Folders that cannot be read, names that are no UTF-8 and
    pictures that are no regular files are problems; the rest is found.
    """
    seen: set[tuple[int, int]] = set()
    left: Counter[str] = Counter()
    real, linked = [folder], list[Path]()
    top = Path(os.path.realpath(folder))
    while real or linked:  # what is there itself before what links lead to
        at = real.pop() if real else linked.pop(0)
        if at.is_symlink() and Path(os.path.realpath(at)) in top.parents:
            problems.append(Problem.in_file(at, "leads to a folder above this one, so it was not entered.", note=True))
            continue
        try:
            status = at.stat()
            entries = [] if (status.st_dev, status.st_ino) in seen else sorted(os.scandir(at), key=lambda e: e.name)
        except OSError as why:
            problems.append(Problem.in_file(at, f"this folder cannot be read ({why.strerror}), so nothing in it was."))
            continue
        seen.add((status.st_dev, status.st_ino))
        above = "" if at == folder else f"{at.relative_to(folder).as_posix()}/"
        for entry in entries:
            path = at / entry.name
            if why_left := _foreign(entry, path):
                left[why_left] += _pictures_in(path)
            elif not is_utf8(entry.name):
                problems += [Problem.in_file(path, _NO_UTF8)] if is_folder(entry) or _is_picture(path) else []
            elif is_folder(entry):
                (linked if entry.is_symlink() else real).append(path)
            elif entry.is_symlink() or entry.is_file():  # a link that leads nowhere is named when it is read
                yield path, f"{above}{entry.name}", entry.is_symlink()
            elif _is_picture(path):
                problems.append(Problem.in_file(path, "is no regular file, so it was left out."))
    if left := +left:
        kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(left.items()))
        what = f"left out as no photographs of yours: {some(sum(left.values()), 'file')} ({kinds})."
        problems.append(Problem.in_file(folder, what, note=True))


def require_outside(out: Path, paths: Iterable[Path]) -> None:
    """Raise OutputError when `out` lies among photographs that are read: the next time it would be read as well."""
    place = Path(os.path.realpath(out))
    for folder in (p.resolve() for p in paths if p.is_dir()):
        if place.is_relative_to(folder) and not any(map(_is_foreign_folder, place.relative_to(folder).parts)):
            raise OutputError(
                f"{out}: lies in {folder}, among the photographs. Choose another --out; {folder / 'runs'} is left out."
            )


def is_folder(entry: os.DirEntry[str]) -> bool:
    """A link that leads back to itself, or to where nobody may look, is no folder; reading it says what is wrong."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_link(path: Path) -> bool:
    return os.path.islink(path)  # noqa: PTH114 (Path.is_symlink raises an error where nobody may look)


def _is_foreign_folder(name: str) -> bool:
    return name.lower() in FOREIGN or name.startswith(".")


def _foreign(entry: os.DirEntry[str], path: Path) -> str:
    """Under which word something is left out that is nobody's data, or empty."""
    if entry.name.startswith("._"):
        return "._*"
    if entry.name.startswith(".") and not is_folder(entry):
        return "hidden"
    if is_folder(entry):
        ours = is_there(path / RUN) and any(is_there(path / name) for name in RESULTS)
        return entry.name if _is_foreign_folder(entry.name) else "results of Toeline" if ours else ""
    return ""


def _pictures_in(path: Path) -> int:
    """How many pictures lie there; a folder that cannot be read holds none that anybody sees."""
    if _is_link(path) or not os.path.isdir(path):  # noqa: PTH112 (see _is_link)
        return int(_is_picture(path))
    return sum(_is_picture(Path(name)) for _, _, files in os.walk(path) for name in files)


def _is_picture(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix in SUFFIXES or bool(unread_kind(suffix))


def is_utf8(name: str) -> bool:
    """Whether a file's name can be written into a text; some systems have names that cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """A sort key under which numbers count as numbers.

    >>> sorted(["a10.jpg", "a9.jpg", "A9.jpg"], key=natural)
    ['A9.jpg', 'a9.jpg', 'a10.jpg']
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", name.lower())
    return [(int(p), "") if p[0] in "0123456789" else (-1, p) for p in parts], name


def _named_apart(found: dict[str, tuple[Path, str]]) -> list[Photo]:
    """Names that several photographs share grow to the left, one folder at a time, until they differ."""
    names = {real: name for real, (_, name) in found.items()}
    while len(count := Counter(names.values())) < len(names):
        shared = [real for real, name in names.items() if count[name] > 1]
        grown = {
            real: "/".join(Path(real).parts[-(names[real].count("/") + 2) :]).replace("//", "/") for real in shared
        }
        if all(names[real] == name for real, name in grown.items()):
            break
        names |= grown
    return [Photo(path, names[real]) for real, (path, _) in found.items()]
