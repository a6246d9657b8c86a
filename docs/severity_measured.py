"""Prints how often the shipped severities and rules hold on labeled photographs: the tables of docs/severity.md.

    python docs/severity_measured.py path/to/lagoon-dyke

True classes and true boxes, no model: what the file asks for where the photographs are read without a mistake. Tried
besides: rules that were thought of and left out, so that docs/log.md can say why.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

from toeline.core.finding import Finding, graded
from toeline.core.scene import Relation
from toeline.core.severity import Rule
from toeline.core.taxonomy import Names, Taxonomy
from toeline.data.yolo import Entry, open_yolo, read_entry
from toeline.judge.decide import decide
from toeline.prompts.relations import relate

TRIED = {
    "rock toe damaged, next to or overlapping a slope drain blocked or damaged": Rule(
        "rock_toe", "damaged", "-", ("next_to", "overlaps"), "slope_drain", ("blocked", "damaged")
    ),
    "rock toe damaged, overlapping a toe drain blocked": Rule(
        "rock_toe", "damaged", "-", ("overlaps",), "toe_drain", ("blocked",)
    ),
    "toe drain damaged, at the lower end of a slope drain": Rule(
        "toe_drain", "damaged", "-", ("at_lower_end_of",), "slope_drain"
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    words = Taxonomy.load()
    dataset = open_yolo(parser.parse_args().data, words)
    rules = {f"rule {n}: {r.type} {r.condition}": r for n, r in enumerate(words.grading.rules, start=1)}
    for split, entries in dataset.splits.items():
        found = [true_findings(entry, words, dataset.names) for entry in entries]
        print(f"\n{split}: {len(found)} photographs, {sum(len(f) for f, _ in found)} objects")
        print("  severities:", dict(Counter(f.grade.severity for fs, rels in found for f in graded(fs, rels, words))))
        for name, rule in {**rules, **TRIED}.items():
            one = replace(words, grading=replace(words.grading, rules=(rule,)))
            hits = [f for fs, rels in found for f in graded(fs, rels, one) if f.grade.immediate]
            same = sum(
                f.type_name == rule.type and f.verdict.condition == rule.condition for fs, _ in found for f in fs
            )
            print(f"  {name}: {len(hits)} of {same}, on {len({f.photo for f in hits})} photographs")


def true_findings(entry: Entry, words: Taxonomy, names: Names) -> tuple[list[Finding], tuple[Relation, ...]]:
    """What is true of a photograph as findings of certainty, and every relation between them."""
    labeled = read_entry(entry, words, names)
    said = {t.instance_id: decide({t.class_name: 0.0}, words) for t in labeled.ground_truths}
    instances = labeled.scene.instances
    return [Finding(entry.photo.name, t.id, t.type_name, t.box, 1.0, said[t.id]) for t in instances], relate(
        labeled.scene
    )


if __name__ == "__main__":
    main()
