"""What makes a run the same run, and what makes two runs comparable."""

from __future__ import annotations

from dataclasses import replace

from toeline.core.provenance import grading_hash, start_record, taxonomy_hash
from toeline.core.severity import Grading
from toeline.core.taxonomy import Taxonomy

TAXONOMY = Taxonomy.load()


def test_severities_change_what_is_the_same_run_and_not_the_words() -> None:
    other = replace(TAXONOMY, grading=Grading())
    assert taxonomy_hash(other) == taxonomy_hash(TAXONOMY)
    assert grading_hash(other) != grading_hash(TAXONOMY)
    first, second = (start_record("inspect", {}, words)["settings"] for words in (TAXONOMY, other))
    assert {name for name in first if first[name] != second[name]} == {"grading_sha256"}


def test_where_a_taxonomy_was_read_from_changes_nothing() -> None:
    assert taxonomy_hash(replace(TAXONOMY, source="elsewhere.toml")) == taxonomy_hash(TAXONOMY)
    assert taxonomy_hash(replace(TAXONOMY, name="other")) != taxonomy_hash(TAXONOMY)
