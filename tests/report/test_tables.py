"""Rows and the CSV file that engineers open in Excel."""

from __future__ import annotations

import csv
import io
import unicodedata
from dataclasses import replace
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.results import finding

from toeline.core.scene import Relation
from toeline.core.taxonomy import Taxonomy
from toeline.pipelines.inspect import twins_of
from toeline.report.tables import COLUMNS, marked_name, rows, to_csv

TAXONOMY = Taxonomy.load()


def parsed(raw: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))


def test_excel_is_told_the_encoding_and_finds_one_row_per_finding() -> None:
    raw = to_csv(rows([finding("é.jpg", 1), finding("é.jpg", 2)], TAXONOMY))
    assert raw.startswith(b"\xef\xbb\xbfphoto,")
    assert raw.count(b"\r\n") == 3
    assert [(r["photo"], r["id"], r["class"], r["probability"]) for r in parsed(raw)] == [
        ("é.jpg", "1", "rock toe", "0.75"),
        ("é.jpg", "2", "rock toe", "0.75"),
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_run_as_a_formula(start: str) -> None:
    evil = f'{start}HYPERLINK("http://x","y").jpg'
    (row,) = parsed(to_csv(rows([finding(evil)], TAXONOMY)))
    assert row["photo"] == f"'{evil}"


def test_numbers_stay_numbers_even_below_zero() -> None:
    (row,) = rows([finding("a.jpg")], TAXONOMY)
    assert tuple(row) == COLUMNS
    (read,) = parsed(to_csv([{**row, "x1": -1.5}]))
    assert read["x1"] == "-1.5"


def test_names_with_commas_quotes_and_line_ends_stay_in_their_cell() -> None:
    name = 'a, "b"\nc.jpg'
    assert parsed(to_csv(rows([finding(name)], TAXONOMY)))[0]["photo"] == name


def test_relations_name_the_neighbor_as_the_picture_does() -> None:
    first = replace(finding("a.jpg", 1), relations=tuple(Relation("1", n, "2", 0) for n in ("above", "next_to")))
    assert rows([first, finding("a.jpg", 2)], TAXONOMY)[0]["relations"] == "above and next to rock toe 2"


def test_what_the_detector_thought_stands_beside_the_judges_answer() -> None:
    (row,) = rows([finding("a.jpg")], TAXONOMY)
    assert (row["class"], row["detector_class"]) == ("rock toe", "rock toe damaged")
    assert row["detector_others"] == "toe drain 0.25; rock toe 0.12"


@pytest.mark.parametrize(
    ("photo", "marked"),
    [
        ("a.JPG", "marked/a.JPG.jpg"),
        ("x/y/a.tif", "marked/x/y/a.tif.jpg"),
        ("../../etc/a.jpg", "marked/etc/a~b6a41657c0fa.jpg"),
        ("/root/a.jpg", "marked/root/a~d45d148d7fb3.jpg"),
        ("C:\\b\\a.jpg", "marked/C_/b/a~3c8179c46651.jpg"),
        ("c:d.jpg", "marked/c_d~3346fa487175.jpg"),
        ("c_d.jpg", "marked/c_d.jpg"),
        ("Z.JPG.jpg", "marked/Z.JPG~29b42460fbf8.jpg"),
        ("foo", "marked/foo~2c26b46b68ff.jpg"),
        ("a.png.jpg/b.jpg", "marked/a.png_jpg/b~d35bd0dac9f0.jpg"),
    ],
)
def test_marked_pictures_stay_inside_their_folder(photo: str, marked: str) -> None:
    assert marked_name(photo) == marked


ODD = ("a", "A", "b.jpg", ".JPG", ".jpg", ".png", ":", "_", "/", "\\", "..", ". ", "é", "e\u0301", "~", "0123456789ab")
WORDS = st.sampled_from((*ODD, "n" * 120))


@given(st.sets(st.lists(WORDS, min_size=1, max_size=6).map("".join), max_size=30))
def test_no_two_photographs_share_a_marked_picture_on_any_file_system(names: set[str]) -> None:
    twins = twins_of(names)
    marked = [marked_name(name, apart=name in twins) for name in names]
    assert len({unicodedata.normalize("NFC", m).casefold() for m in marked}) == len(names)
    assert all(len(part.encode()) <= 255 for m in marked for part in m.split("/")[-1:])
    folders = {parent.as_posix().casefold() for m in marked for parent in PurePosixPath(m).parents}
    assert not folders & {m.casefold() for m in marked}
