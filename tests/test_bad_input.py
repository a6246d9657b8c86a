"""Everything that can be wrong with what a user hands in, one case a row. A message says what, where, and what to do.

To add a case: a function `tmp_path -> path` that makes the bad file, and a row that says what the message must hold.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.datasets import make_photo, write_labels, write_photo
from tests.support.stand_ins import FakeJudge, fake_inspector
from tests.support.tiny_judges import save_model

from toeline.cli import main
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import photo_size, read_photo
from toeline.data.yolo import Entry, instances_from_labels, read_entry
from toeline.detect.load import EMBEDDED
from toeline.errors import PhotoError
from toeline.pipelines.inspector import Inspector

TAXONOMY = Taxonomy.load()
GOOD = "5 0.5 0.5 0.2 0.4"
Make = Callable[[Path], Path]


def truncated(suffix: str) -> Make:
    """A photograph whose second half is missing."""

    def make(folder: Path) -> Path:
        path = write_photo(folder / f"cut{suffix}", (200, 200))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return path

    return make


def holding(name: str, content: bytes) -> Make:
    """A file of exactly these bytes."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def png_header(wide: int, high: int) -> bytes:
    """A PNG of a few bytes that claims to be this large."""
    head = b"IHDR" + struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, data, b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def bmp_header(wide: int, high: int) -> bytes:
    """The same as BMP."""
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, wide, high, 1, 24, 0, 0, 0, 0, 0, 0)


def heights(folder: Path) -> Path:
    """A TIFF of measurements instead of gray."""
    Image.fromarray(np.linspace(-5, 90, 64, dtype=np.float32).reshape(8, 8)).save(folder / "dem.tif")
    return folder / "dem.tif"


def nothing_at_all(folder: Path) -> Path:
    return folder / "gone.jpg"


def a_folder(folder: Path) -> Path:
    (folder / "folder.jpg").mkdir()
    return folder / "folder.jpg"


BAD_PHOTOS: dict[str, tuple[Make, str]] = {
    "truncated jpeg": (truncated(".jpg"), "damaged"),
    "truncated png": (truncated(".png"), "damaged"),
    "truncated tiff": (truncated(".tif"), "damaged"),
    "truncated webp": (truncated(".webp"), "damaged"),
    "truncated bmp": (truncated(".bmp"), "damaged"),
    "empty": (holding("a.jpg", b""), "the file is empty"),
    "text that is called jpg": (holding("a.jpg", b"Toe drain\n" * 50), "not a photograph"),
    "label file that is called png": (holding("a.png", f"{GOOD}\n".encode()), "not a photograph"),
    "only a jpeg's first bytes": (holding("a.jpg", b"\xff\xd8\xff\xe0"), "photograph"),
    "gigapixel png": (
        holding("big.png", png_header(40_000, 25_000)),
        "40000 x 25000 pixels are 1000 million.*limit is 400",
    ),
    "gigapixel bmp": (holding("big.bmp", bmp_header(50_000, 50_000)), "2500 million, and the limit is 400 million"),
    "just over the limit": (holding("big.png", png_header(20_001, 20_000)), "limit is 400 million"),
    "measurements": (heights, r"measurements \(-5 to 90\)"),
    "no such file": (nothing_at_all, "no such file"),
    "folder that is called jpg": (a_folder, "directory"),
}


@pytest.mark.parametrize("case", BAD_PHOTOS)
def test_a_bad_photograph_is_refused_with_its_path_and_a_reason(tmp_path: Path, case: str) -> None:
    make, reason = BAD_PHOTOS[case]
    path = make(tmp_path)
    with pytest.raises(PhotoError, match=reason) as refused:
        read_photo(path)
    assert str(path) in str(refused.value)
    assert str(refused.value).endswith(".")


def mislabelled(folder: Path) -> Path:
    make_photo().save(folder / "png.jpg", format="PNG")
    return folder / "png.jpg"


def saved(name: str, mode: str, size: tuple[int, int] = (40, 30)) -> Make:
    """A photograph of this Pillow mode."""

    def make(folder: Path) -> Path:
        make_photo(size).convert(mode).save(folder / name)
        return folder / name

    return make


def sixteen_bit(folder: Path) -> Path:
    Image.fromarray(np.full((30, 40), 40_000, dtype=np.uint16)).save(folder / "a.png")
    return folder / "a.png"


def animated(folder: Path) -> Path:
    make_photo().save(folder / "a.webp", save_all=True, append_images=[make_photo(seed=1)])
    return folder / "a.webp"


ODD_PHOTOS: dict[str, tuple[Make, tuple[int, int]]] = {
    "png that is called jpg": (mislabelled, (40, 30)),
    "cmyk": (saved("a.jpg", "CMYK"), (40, 30)),
    "16-bit gray": (sixteen_bit, (40, 30)),
    "palette": (saved("a.png", "P"), (40, 30)),
    "black and white": (saved("a.png", "1"), (40, 30)),
    "alpha": (saved("a.png", "RGBA"), (40, 30)),
    "gray with alpha": (saved("a.png", "LA"), (40, 30)),
    "animated": (animated, (40, 30)),
    "1x1": (saved("a.png", "RGB", (1, 1)), (1, 1)),
    "1x1 jpeg": (saved("a.jpg", "RGB", (1, 1)), (1, 1)),
    "one row": (saved("a.png", "RGB", (500, 1)), (500, 1)),
}


@pytest.mark.parametrize("case", ODD_PHOTOS)
def test_an_odd_photograph_is_read_all_the_same(tmp_path: Path, case: str) -> None:
    make, size = ODD_PHOTOS[case]
    path = make(tmp_path)
    assert (read_photo(path).mode, read_photo(path).size) == ("RGB", size)
    assert photo_size(path) == size


BAD_LINES: dict[str, tuple[str, str]] = {
    "class outside the list": ("9 0.5 0.5 0.2 0.2", "class 9 is not one of the known"),
    "negative class": ("-1 0.5 0.5 0.2 0.2", "class -1"),
    "class with a fraction": ("5.5 0.5 0.5 0.2 0.2", r"class 5\.5"),
    "class by name": ("toe 0.5 0.5 0.2 0.2", "number 1 is 'toe'"),
    "class NaN": ("nan 0.5 0.5 0.2 0.2", "number 1 is 'nan'"),
    "class only": ("5", "1 numbers"),
    "four numbers": ("5 0.5 0.5 0.2", "4 numbers"),
    "six numbers": ("5 0.5 0.5 0.2 0.2 0.9", "6 numbers"),
    "polygon with an odd count": ("5 0.1 0.1 0.9 0.1 0.9 0.9 0.4", "8 numbers"),
    "not a number": ("5 0.5 x 0.2 0.2", "number 3 is 'x'"),
    "comma for a point": ("5 0,5 0,5 0,2 0,2", "number 2 is '0,5'"),
    "NaN": ("5 0.5 nan 0.2 0.2", "number 3 is 'nan'"),
    "infinite": ("5 0.5 0.5 inf 0.2", "number 4 is 'inf'"),
    "pixels instead of shares": ("5 320 240 64 48", "number 2 is 320, outside 0..1"),
    "negative": ("5 -0.1 0.5 0.2 0.2", "number 2 is -0.1"),
    "polygon outside": ("5 0.1 0.1 1.2 0.1 0.9 0.9", r"number 4 is 1\.2"),
    "no width": ("5 0.5 0.5 0 0.2", "no area"),
    "no height": ("5 0.5 0.5 0.2 0", "no area"),
    "beyond the border": ("5 0.95 0.5 0.2 0.2", "5.00% of the photograph's side beyond"),
    "polygon on a line": ("5 0.1 0.1 0.5 0.5 0.9 0.9", "3 corners has no area"),
    "polygon on a point": ("5 0.5 0.5 0.5 0.5 0.5 0.5", "no area"),
    "the same again": (GOOD, "the same as line 1"),
    "the same with other spaces": ("5  0.50 0.5 0.2 0.4 ", "the same as line 1"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_label_line_is_named_and_the_rest_is_read(tmp_path: Path, case: str) -> None:
    line, reason = BAD_LINES[case]
    photo = write_photo(tmp_path / "a.jpg")
    file = write_labels(tmp_path / "a.txt", [GOOD, line, "8 0.5 0.5 0.1 0.1"])
    instances, (problem,) = instances_from_labels(tmp_path, photo, (40, 30), TAXONOMY)
    assert [(instance.id, instance.type_name) for instance in instances] == [("1", "slope_drain"), ("2", "vegetation")]
    assert (problem.file, problem.line) == (str(file), 2)
    assert_says(str(problem), reason)


def assert_says(text: str, reason: str) -> None:
    assert re.search(reason, text), f"{text!r} does not say {reason!r}"


FINE_FILES: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 0),
    "blank lines": (b"\n\n   \n", 0),
    "windows line ends": (f"{GOOD}\r\n8 0.5 0.5 0.1 0.1\r\n".encode(), 2),
    "old mac line ends": (f"{GOOD}\r8 0.5 0.5 0.1 0.1\r".encode(), 2),
    "byte-order mark": (b"\xef\xbb\xbf" + GOOD.encode(), 1),
    "no last line end": (GOOD.encode(), 1),
    "trailing spaces and tabs": (f"  {GOOD}\t \n".replace(" 0.2", "\t0.2").encode(), 1),
    "class written as 5.0": (b"5.0 0.5 0.5 0.2 0.4\n", 1),
    "three-point polygon": (b"5 0.1 0.1 0.9 0.1 0.9 0.9\n", 1),
    "closed polygon": (b"5 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.1\n", 1),
    "figure of eight": (b"5 0.1 0.1 0.9 0.9 0.9 0.1 0.1 0.9\n", 1),
    "overshoot by rounding": (b"5 0.5 0.5 1.0000004 1\n8 0.95 0.5 0.1009 0.2\n", 2),
    "polygon overshoot by rounding": (b"5 -0.0000004 0.1 1.0004 0.1 0.9 0.9\n", 1),
    "one box, two classes": (f"{GOOD}\n6{GOOD[1:]}\n".encode(), 2),
}


@pytest.mark.parametrize("case", FINE_FILES)
def test_a_label_file_that_only_looks_odd_is_read_in_full(tmp_path: Path, case: str) -> None:
    content, count = FINE_FILES[case]
    photo = write_photo(tmp_path / "a.jpg")
    write_labels(tmp_path / "a.txt", content)
    instances, problems = instances_from_labels(tmp_path, photo, (40, 30), TAXONOMY)
    assert len(instances) == count
    assert problems == ()
    assert all(instance.box == instance.box.clipped((40, 30)) for instance in instances)


BAD_FILES: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "no such file"),
    "utf-16": (GOOD.encode("utf-16"), "UTF-16"),
    "utf-16 without a mark": (GOOD.encode("utf-16-le"), "not text"),
    "a photograph": (b"\xff\xd8\xff\xe0\x00\x10JFIF", "not text"),
    "zeros": (b"\0" * 100, "not text"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_label_file_that_cannot_be_read_is_a_problem_and_not_an_empty_answer(tmp_path: Path, case: str) -> None:
    content, reason = BAD_FILES[case]
    photo = write_photo(tmp_path / "a.jpg")
    if content is not None:
        write_labels(tmp_path / "a.txt", content)
    instances, (problem,) = instances_from_labels(tmp_path, photo, (40, 30), TAXONOMY)
    assert instances == ()
    assert (problem.file, problem.line) == (str(tmp_path / "a.txt"), None)
    assert_says(str(problem), reason)


def test_a_photograph_without_labels_has_a_scene_and_a_problem(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.jpg")
    read = read_entry(Entry(photo, None, "train"), TAXONOMY)
    assert read.scene.size_wh == (40, 30)
    assert (read.scene.instances, read.ground_truths) == ((), ())
    assert_says(str(read.problems[0]), "no label file")


def run_cut_short(folder: Path) -> list[str]:
    """A first run that is stopped after one photograph; the same command must do the other."""
    with pytest.raises(SystemExit):
        inspected(["photos", "--out", "out"], FakeJudge(most=1))
    assert (folder / "out" / "progress.jsonl").read_text().count("\n") == 1
    return ["photos", "--out", "out"]


def run_of_other_settings(folder: Path) -> list[str]:
    with pytest.raises(SystemExit):
        inspected(["photos", "--out", "out"])
    return ["photos", "--out", "out", "--answers", "all"]


def folder_of_something_else(folder: Path) -> list[str]:
    write_photo(folder / "out" / "holiday.jpg")
    return ["photos", "--out", "out"]


def output_that_is_a_file(folder: Path) -> list[str]:
    (folder / "out").write_text("")
    return ["photos", "--out", "out"]


def two_photographs_of_one_name(folder: Path) -> list[str]:
    write_photo(folder / "more" / "a.jpg", (60, 50), seed=9)
    return ["photos", "more", "--out", "out"]


def model_without_config(folder: Path) -> list[str]:
    (folder / "model").mkdir()
    return ["photos", "--judge", "model", "--boxes", "labels", "--out", "out"]


def model_with_torn_weights(folder: Path) -> list[str]:
    weights = save_model(folder / "model") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    return ["photos", "--judge", "model", "--boxes", "labels", "--out", "out"]


def hub_id_without_network(folder: Path) -> list[str]:
    return ["photos", "--judge", "Qwen/Qwen2-VL-7B-Instruct", "--boxes", "labels", "--out", "out"]


def detector_without_description(folder: Path) -> list[str]:
    (folder / "best.onnx").write_bytes(EMBEDDED.read_bytes())
    return ["photos", "--detector", "best.onnx", "--out", "out"]


RUNS: dict[str, tuple[Callable[[Path], list[str]], bool, int, str]] = {  # make, with fakes, exit code, what is said
    "killed in the middle": (run_cut_short, True, 0, "out"),
    "folder holds a run of other settings": (run_of_other_settings, True, 2, "answers was 'type', now 'all'"),
    "folder holds something else": (folder_of_something_else, True, 2, "holiday.jpg"),
    "output is a file": (output_that_is_a_file, True, 2, "out: cannot be used as an output folder"),
    "two photographs of one name": (two_photographs_of_one_name, True, 0, "3"),
    "model directory that is not one": (model_without_config, False, 2, "model.*config.json"),
    "corrupt weights": (model_with_torn_weights, False, 2, "model.safetensors"),
    "hub id without network": (hub_id_without_network, False, 2, "Qwen/Qwen2-VL-7B-Instruct"),
    "detector without its description": (detector_without_description, False, 2, "detector.json"),
}


def inspected(words: list[str], judge: FakeJudge | None = None) -> None:
    """`toeline inspect` with stand-ins for both models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inspector, "load", lambda *_, **given: fake_inspector(judge, answers=given["answers"]))
        main(["inspect", *words])


@pytest.mark.parametrize("case", RUNS)
def test_a_run_that_cannot_go_on_says_why_and_one_that_can_does(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, fakes, code, told = RUNS[case]
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        write_photo(tmp_path / "photos" / f"{name}.jpg", (60, 50))
        write_labels(tmp_path / "labels" / f"{name}.txt", [GOOD])
    words = make(tmp_path)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        inspected(words) if fakes else main(["inspect", *words])
    said = capsys.readouterr()
    assert (stopped.value.code or 0) == code
    assert_says(" ".join((said.out + said.err).split()), told)
    assert "Traceback" not in said.err
    if code == 0:
        photos = [row.split('"')[3] for row in (tmp_path / "out" / "progress.jsonl").read_text().splitlines()]
        assert (
            len(photos)
            == len(set(photos))
            == sum(1 for _ in tmp_path.rglob("[ab].jpg")) - len(list((tmp_path / "out" / "marked").rglob("[ab].jpg")))
        )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("split . --out new --seed 1 --by (", "'(' is neither 'flight' nor a regular expression"),
        ("split . --out new --seed 1 --parts train", "'train' is not of the form name=share"),
        ("synth new --scenes 1 --seed 1 --gps 1", "'1' is no position"),
    ],
)
def test_an_option_that_cannot_be_read_says_how_to_type_it(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(words.split())
    told = " ".join(capsys.readouterr().err.split())
    assert (stop.value.code, said in told, "Type " in told) == (2, True, True)
    assert not (tmp_path / "new").exists()
