"""How bad a class is: what the taxonomy file may say of it, and what is refused, with the entry that is meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.taxonomies import OWN, load

from toeline.core.scene import RELATIONS
from toeline.core.taxonomy import Taxonomy
from toeline.errors import TaxonomyError
from toeline.prompts.relations import NAMES, may_relate

SCALE = """
[[severities]]
name = "fine"
[[severities]]
name = "bad"
meaning = "call the owner"
"""
RULE = """
[[immediate]]
type = "flood_wall"
condition = "leaking"
relation = ["above", "next_to"]
other_type = "gate"
why = "the gate cannot be reached"
"""
GATE = 'type = "gate"\ncondition = "sound"'
GRADED = (
    OWN.replace('"sound"\nspellings', '"sound"\nseverity = "fine"\nspellings')
    .replace('condition = "leaking"', 'condition = "leaking"\nseverity = "bad"\naction = "Seal it."')
    .replace(GATE, f'{GATE}\nseverity = "fine"')
    + SCALE
    + RULE
)
IN_RULE = 'type = "flood_wall"\ncondition = "leaking"\nrelation'
ENTRY = r"entry 1 of \[\[immediate\]\]"
TO_GATE = 'other_type = "gate"'


def test_a_file_without_severities_grades_nothing(tmp_path: Path) -> None:
    own = load(tmp_path, OWN)
    assert not own.grading
    assert own.grading.of("FW leaking").severity == ""


def test_a_file_with_severities_says_how_bad_and_what_to_do(tmp_path: Path) -> None:
    grading = load(tmp_path, GRADED).grading
    assert [s.name for s in grading.severities] == ["fine", "bad"]
    assert (grading.of("FW leaking").severity, grading.of("FW leaking").action) == ("bad", "Seal it.")
    assert (grading.rank("fine"), grading.rank("bad")) == (0, 1)
    (rule,) = grading.rules
    assert (rule.relations, rule.other_type, rule.other_conditions) == (("above", "next_to"), "gate", ())


FAULTS: dict[str, tuple[str, str, str]] = {
    "class without one": ('severity = "fine"\nspellings', "spellings", "class 'FW ok' has no severity"),
    "not on the scale": ('severity = "bad"', 'severity = "awful"', "'FW leaking' has severity 'awful'.*fine, bad"),
    "bad and nothing to do": ('action = "Seal it."', "", "'FW leaking' is of severity 'bad' and has no action"),
    "severity that is no text": ('severity = "bad"', "severity = 3", "'FW leaking' needs severity, a text, not 3"),
    "no scale": (SCALE, "", "class 'FW ok' has a severity or an action, but there are no"),
    "scale of one": ('[[severities]]\nname = "bad"\nmeaning = "call the owner"\n', "", "only 'fine'"),
    "one name twice": ('name = "bad"\nmeaning', 'name = "fine"\nmeaning', "'fine' stands there more than once"),
    "scale without a name": ('name = "bad"\nmeaning', "meaning", r"entry 2 of \[\[severities\]\] needs name"),
    "scale that is no table": (SCALE, "", "severities is no list of tables"),
    "unknown type": (IN_RULE, IN_RULE.replace("flood_wall", "wall"), f"{ENTRY} has type 'wall'.*flood_wall, gate"),
    "condition that it has not": (IN_RULE, IN_RULE.replace("leaking", "dry"), f"{ENTRY} has condition 'dry', which no"),
    "unknown relation": ('"above", "next_to"', '"atop"', f"{ENTRY} has the unknown relation 'atop'; known: at_lower"),
    "no relation in the list": ('["above", "next_to"]', "[]", f"{ENTRY} has an empty relation"),
    "unknown other type": (TO_GATE, 'other_type = "door"', f"{ENTRY} has other_type 'door'"),
    "condition that the other has not": (TO_GATE, f'{TO_GATE}\nother_condition = "leaking"', "no class of 'gate' has"),
    "to what": (TO_GATE, "", f"{ENTRY} .*does not say to what"),
    "how": ('relation = ["above", "next_to"]', "", f"{ENTRY} .*does not say how"),
    "why": ('why = "the gate cannot be reached"', "", f"{ENTRY} needs why, a text"),
    "misspelled key": ("relation =", "realtion =", f"{ENTRY} has the unknown key 'realtion'"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_refused_with_the_entry_and_the_file(tmp_path: Path, case: str) -> None:
    old, new, reason = FAULTS[case]
    assert old in GRADED, "the row changes nothing"
    text = GRADED.replace(old, new, 1)
    if case == "scale that is no table":
        text = 'severities = ["fine", "bad"]\n' + text
    with pytest.raises(TaxonomyError, match=reason) as refused:
        load(tmp_path, text)
    assert str(refused.value).startswith(str(tmp_path / "own.toml"))


def test_rules_may_name_exactly_the_relations_that_are_made() -> None:
    assert set(RELATIONS) == set(NAMES)


def test_the_shipped_rules_can_hold() -> None:
    rules = Taxonomy.load().grading.rules
    assert rules
    for rule in rules:
        assert any(may_relate(name, rule.type, rule.other_type) for name in rule.relations), rule


def test_the_shipped_file_asks_for_nothing_where_all_is_well() -> None:
    taxonomy = Taxonomy.load()
    ranks = {c.name: taxonomy.grading.rank(taxonomy.grading.of(c.name).severity) for c in taxonomy.classes}
    assert {name for name, rank in ranks.items() if rank == 0} == {"Toe drain", "rock toe", "slope drain"}
