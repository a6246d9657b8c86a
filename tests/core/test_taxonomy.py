"""Taxonomies: the one that is shipped, another owner's, and those that contradict themselves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests.support.datasets import NAMES
from tests.support.taxonomies import OWN, load

from toeline.core.taxonomy import DEFAULT_FILE, Taxonomy
from toeline.errors import TaxonomyError


def test_the_nine_classes_stand_as_they_do_in_the_data() -> None:
    taxonomy = Taxonomy.load()
    assert taxonomy.answers() == NAMES
    assert [taxonomy.class_id(name) for name in NAMES] == list(range(9))
    assert [t.name for t in taxonomy.types] == ["toe_drain", "rock_toe", "slope_drain", "vegetation"]


@pytest.mark.parametrize(
    ("kind", "count"), [("toe_drain", 3), ("rock_toe", 2), ("slope_drain", 3), ("vegetation", 1), (None, 9)]
)
def test_legal_answers_of_a_type(kind: str | None, count: int) -> None:
    assert len(Taxonomy.load().answers(kind)) == count


@pytest.mark.parametrize(
    "label", ["Toe drain- Blocked", "toe drain blocked", "TOE_DRAIN-BLOCKED", " toe  drain -blocked"]
)
def test_spellings_of_one_class(label: str) -> None:
    found = Taxonomy.load().class_of(label)
    assert (found.name, found.type, found.condition) == ("Toe drain- Blocked", "toe_drain", "blocked")


@pytest.mark.parametrize("label", ["", "toe", "toe drain blockedd", "drain toe"])
def test_an_unknown_class_names_the_known_ones(label: str) -> None:
    with pytest.raises(TaxonomyError, match=f"unknown class '{label}'.*Toe drain- Blocked.*vegetation"):
        Taxonomy.load().class_of(label)


def test_another_owners_file_replaces_everything(tmp_path: Path) -> None:
    own = load(tmp_path, OWN)
    assert own.answers("flood_wall") == ("FW ok", "FW leaking")
    assert own.class_of("mauer").name == "FW ok"
    assert own.type_of("Flood Wall").name == own.type_of("FW-leaking").name == "flood_wall"
    assert (own.spoken("flood_wall"), own.spoken("gate")) == ("flood wall", "gate")
    assert own.color("sound") == "#00aa00"
    assert own.color("leaking").startswith("#")
    with pytest.raises(TaxonomyError, match="slope drain"):
        own.class_of("slope drain")


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    marked = load(tmp_path, b"\xef\xbb\xbf" + OWN.replace("\n", "\r\n").encode())
    assert marked == load(tmp_path, OWN)


def test_the_shipped_file_is_an_example_to_copy(tmp_path: Path) -> None:
    assert load(tmp_path, DEFAULT_FILE.read_text()) == Taxonomy.load()


def test_the_source_is_no_part_of_what_a_taxonomy_says(tmp_path: Path) -> None:
    assert load(tmp_path, OWN).source == str(tmp_path / "own.toml")
    assert dataclasses.replace(Taxonomy.load(), source="elsewhere") == Taxonomy.load()


CLASSES = OWN[OWN.index("[[classes]]") :]
GATE = '[[classes]]\nname = "gate"\ntype = "gate"'
CONTRADICTIONS: dict[str, tuple[str, str, str]] = {
    "unknown type": ('type = "gate"', 'type = "gates"', "class 'gate' has type 'gates'"),
    "unknown condition": ('condition = "leaking"', 'condition = "wet"', "condition 'wet'"),
    "type twice": ('name = "gate"\n[[cond', 'name = "flood_wall"\n[[cond', "same type .*flood_wall"),
    "two types spoken alike": ('name = "gate"\n[[cond', 'name = "gate"\nspoken = "Flood-wall"\n[[cond', "flood wall"),
    "condition twice": ('name = "leaking"\n[[cl', 'name = "sound"\n[[cl', "same condition .*sound"),
    "class twice": ('name = "FW leaking"', 'name = "fw_OK"', "same class .*fw ok"),
    "spelling of two classes": ('name = "FW leaking"', 'name = "mauer"', "same class .*mauer"),
    "class spelled like another type": (GATE, GATE.replace("gate", "Flood wall", 1), "like another type, 'Flood wall'"),
    "one type and condition twice": ('condition = "leaking"', 'condition = "sound"', "same type and condition"),
    "type without a class": (OWN[OWN.index(GATE) :], "", "no class has the type gate"),
    "class without a condition": ('condition = "leaking"', "", "class 'FW leaking' needs condition, a text"),
    "spellings as one text": (
        'spellings = ["wall", "Mauer"]',
        'spellings = "wall"',
        "class 'FW ok' needs spellings, a list.*not 'wall'",
    ),
    "spelling that is no text": ('"wall", "Mauer"', "5", "class 'FW ok' needs spellings, a text, not 5"),
    "name that is no text": (
        'name = "FW leaking"',
        "name = 5",
        r"entry 2 of \[\[classes\]\] needs name, a text, not 5",
    ),
    "empty name": ('name = "FW leaking"', 'name = "- "', "a class is called '', which has no letter"),
    "color that is none": ('color = "#00aa00"', 'color = "green"', "color 'green' of 'sound'"),
    "no classes": (CLASSES, "", "'classes' is missing"),
    "classes as a table": (CLASSES, '[classes]\nname = "x"\n', "classes is no list of tables; write"),
    "no TOML": ('name = "levees"', "name = levees", "cannot be read as TOML"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_contradiction_is_refused_with_the_file(tmp_path: Path, case: str) -> None:
    old, new, reason = CONTRADICTIONS[case]
    assert old in OWN, "the row changes nothing"
    with pytest.raises(TaxonomyError, match=reason) as refused:
        load(tmp_path, OWN.replace(old, new, 1))
    assert str(refused.value).startswith(str(tmp_path / "own.toml"))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b""])
def test_a_file_that_is_no_taxonomy(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(TaxonomyError, match=r"own\.toml"):
        load(tmp_path, content)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TaxonomyError, match=r"gone\.toml"):
        Taxonomy.load(tmp_path / "gone.toml")
