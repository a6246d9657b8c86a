"""What the class names of somebody's detector mean, and what is said when they mean nothing here."""

import pytest
from tests.support.datasets import NAMES

from toeline.core.taxonomy import Taxonomy
from toeline.detect.detector import MOST_SHOWN, Label, labels_of
from toeline.errors import TaxonomyError

WORDS = Taxonomy.load()


def read(*names: str) -> list[Label | None]:
    found = labels_of(dict(enumerate(names)), WORDS, where="best.pt")
    return [found.get(i) for i in range(len(names))]


def test_type_names_in_any_spelling_are_types_without_a_condition() -> None:
    kinds = ("rock_toe", "slope_drain", "toe_drain", "vegetation")
    assert read("Rock Toe", "slope-drain", "TOE_DRAIN", "vegetation") == [Label(kind) for kind in kinds]


def test_the_nine_names_are_classes() -> None:
    assert [label.class_name for label in read(*NAMES) if label] == list(NAMES)
    assert [label.kind for label in read(*NAMES) if label] == [WORDS.class_of(name).type for name in NAMES]


def test_as_soon_as_one_name_says_a_condition_all_do() -> None:
    assert read("rock toe", "rock toe damaged") == [
        Label("rock_toe", "rock toe"), Label("rock_toe", "rock toe damaged"),
    ]  # fmt: skip


@pytest.mark.parametrize("nothing", ["N/A", "background", "__background__", "", "no-object"])
def test_names_of_nothing_are_left_out(nothing: str) -> None:
    assert read(nothing, "toe drain") == [None, Label("toe_drain")]


@pytest.mark.parametrize("names", [["person", "toe drain"], ["N/A"], [], ["LABEL_0", "LABEL_1"]])
def test_other_names_are_refused_with_all_of_them(names: list[str]) -> None:
    with pytest.raises(TaxonomyError, match=r"best\.pt.*slope_drain.*--taxonomy") as caught:
        read(*names)
    assert all(repr(name) in str(caught.value) for name in names)


def test_a_detector_of_everything_does_not_fill_the_screen() -> None:
    with pytest.raises(TaxonomyError, match=f"'c{MOST_SHOWN - 1}' and 60 more"):
        read(*(f"c{i}" for i in range(80)))
