"""What may not be read (folders without permission, pipes, photographs that are gone) stops nothing else, and is named.

Permissions are real ones, also where root runs the tests.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.datasets import NAMES, write_labels, write_photo, write_yolo

from toeline.core.finding import grave
from toeline.core.taxonomy import Taxonomy
from toeline.data.datasets import Carry, carry, read_split, read_yolo
from toeline.data.images import search_photos
from toeline.data.labels import read_label_file
from toeline.data.split import SplitRun, plan_split
from toeline.data.yolo import YoloSet, open_yolo
from toeline.errors import LabelError

TAXONOMY = Taxonomy.load()
ROW = ["5 0.5 0.5 0.1 0.8"]
posix = pytest.mark.skipif(sys.platform != "linux", reason="permissions are taken from root as Linux does it")


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("process", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32 * 3), ("more", ctypes.c_uint32 * 3))


@contextmanager
def as_any_user() -> Iterator[None]:
    """Root may read everything: take that right from this thread for a moment (CAP_DAC_OVERRIDE, _READ_SEARCH)."""
    if os.geteuid():
        yield
        return
    libc, header, held = ctypes.CDLL(None, use_errno=True), _Header(0x20080522, 0), _Sets()
    assert libc.capget(ctypes.byref(header), ctypes.byref(held)) == 0
    before = held.effective[0]
    try:
        held.effective[0] = before & ~0b110
        assert libc.capset(ctypes.byref(header), ctypes.byref(held)) == 0
        yield
    finally:
        held.effective[0] = before
        assert libc.capset(ctypes.byref(header), ctypes.byref(held)) == 0


@contextmanager
def closed(*paths: Path, listed: tuple[Path, ...] = ()) -> Iterator[None]:
    """Nobody may look into these; folders that are `listed` can be, and nothing in them opened."""
    for path in (*paths, *listed):
        path.chmod(0o444 if path in listed else 0)
    try:
        with as_any_user():
            yield
    finally:
        for path in (*paths, *listed):
            path.chmod(0o755)


def told(data: YoloSet) -> list[str]:
    """The problems of a data set."""
    return [str(p) for p in grave(data.problems)]


@posix
def test_a_closed_folder_among_photographs_is_named_and_the_rest_is_found(tmp_path: Path) -> None:
    for name in ("a.jpg", "closed/b.jpg", "listed/c.jpg"):
        write_photo(tmp_path / name)
    with closed(tmp_path / "closed", listed=(tmp_path / "listed",)):
        found = search_photos([tmp_path])
    assert [photo.name for photo in found.photos] == ["a.jpg", "listed/c.jpg"]  # reading the second says what is wrong
    assert [str(p) for p in found.problems] == [
        f"{tmp_path}/closed: this folder cannot be read (Permission denied), so nothing in it was."
    ]


@posix
@pytest.mark.parametrize("names", [NAMES, None])
def test_a_closed_folder_of_labels_is_a_problem(tmp_path: Path, names: tuple[str, ...] | None) -> None:
    write_yolo(tmp_path, {"train": {"a.jpg": ROW}, "valid": {"b.jpg": ROW}}, names=names)
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    with closed(tmp_path / "train" / "labels"):
        data = open_yolo(tmp_path, TAXONOMY)
    assert told(data) == [
        f"{tmp_path}/train/labels: this folder cannot be read (Permission denied), so no label file in it was."
    ]
    assert {s: [bool(e.labels) for e in entries] for s, entries in data.splits.items()} == {
        "train": [False],
        "valid": [True],
    }


@posix
def test_a_closed_split_is_a_problem_though_nothing_lists_it(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train": {"a.jpg": ROW}, "test": {"b.jpg": ROW}}, names=None)
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    (tmp_path / "around").symlink_to("around")
    with closed(tmp_path / "test"):
        data = open_yolo(tmp_path, TAXONOMY)
    assert list(data.splits) == ["train"]
    assert told(data) == [f"{tmp_path}/test: this folder cannot be read (Permission denied), so nothing in it was."]


@posix
def test_one_photograph_that_cannot_be_opened_stops_neither_split_nor_measure(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train": {f"{line}_{n}.jpg": ROW for line in "pqrs" for n in range(3)}})
    images = tmp_path / "train" / "images"
    (images / "gone_1.jpg").symlink_to("nowhere.jpg")
    (images / "around_1.jpg").symlink_to("around_1.jpg")
    with closed(tmp_path / "train" / "images" / "p_0.jpg"):
        data = open_yolo(tmp_path, TAXONOMY)
        plan = plan_split(data, SplitRun(by="flight", seed=1, parts={"train": 0.5, "valid": 0.5}, carry=Carry.COPY))
        measured = read_split(data, "train", TAXONOMY)
    assert len([c for part in plan.run.parts for c in plan.photos(part)]) == 11
    assert sorted(Path(p.file).name for p in plan.problems) == ["around_1.jpg", "gone_1.jpg", "p_0.jpg"]
    assert len(measured.scenes) == 11


@posix
def test_pipes_among_labels_are_never_opened(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train": {"a.jpg": ROW, "b.jpg": ROW}})
    labels = tmp_path / "train" / "labels"
    labels.joinpath("b.txt").unlink()
    for name in ("b.txt", "A.TXT", "stray.txt"):
        os.mkfifo(labels / name)
    os.mkfifo(tmp_path / "readme.yaml")
    read = read_yolo(open_yolo(tmp_path, TAXONOMY))
    lines = {photo.name: photo.lines for photo in read.splits["train"]}
    assert lines["b.jpg"] is None  # and not an empty answer
    assert lines["a.jpg"] is not None
    assert f"{labels}/b.txt: is no regular file, so nothing in it was read. Move it away." in map(str, read.problems)


@posix
@pytest.mark.parametrize("name", ["data.yaml", "classes.txt"])
def test_a_pipe_in_place_of_class_names_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    write_yolo(tmp_path, {"train": {"a.jpg": ROW}}, names=None)
    os.mkfifo(tmp_path / name)
    for named in (tmp_path, tmp_path / name) if name == "data.yaml" else (tmp_path,):
        with pytest.raises(LabelError, match=f"{name}: is no regular file"):
            open_yolo(named, TAXONOMY)


def test_a_label_file_that_cannot_be_read_is_no_empty_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    for name, why in (("a.txt", "is no regular file"), ("b.txt", "cannot be read (No such file")):
        lines, problems = read_label_file(tmp_path / name, (40, 30), dict(enumerate(NAMES)))
        assert lines == ()
        assert [why in p.what for p in problems] == [True]


@pytest.mark.parametrize("how", list(Carry))
def test_a_photograph_that_vanished_is_no_link_that_leads_nowhere(tmp_path: Path, how: Carry) -> None:
    with pytest.raises(FileNotFoundError):
        carry(tmp_path / "gone.jpg", tmp_path / "new" / "gone.jpg", how)
    assert not os.path.lexists(tmp_path / "new" / "gone.jpg")


def test_names_of_255_bytes_are_found_with_their_labels(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "images" / f"{'é' * 125}x.jpg")
    file = write_labels(tmp_path / "labels" / f"{'é' * 125}x.txt", ROW)
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    data = open_yolo(tmp_path, TAXONOMY)
    assert [(entry.photo, entry.labels) for entry in data.splits["all"]] == [(photo, file)]
    assert told(data) == []
