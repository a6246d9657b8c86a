"""Phase 1 as one call: a data set in, everything that the report says out. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toeline.core.result import Problem
from toeline.core.taxonomy import Taxonomy
from toeline.data.analyze.advice import Advice, advise
from toeline.data.analyze.boxes import BoxSection, measure_boxes
from toeline.data.analyze.checks import CHECKS, order_flags, problem_flag
from toeline.data.analyze.counts import Counts, count
from toeline.data.analyze.crew import Crew
from toeline.data.analyze.findings import (
    Finding,
    count_findings,
    image_findings,
    label_findings,
    leak_findings,
    proof_findings,
)
from toeline.data.analyze.flag import Flag
from toeline.data.analyze.images import Images, image_flags, measure_images
from toeline.data.analyze.leaks import Leaks, Seen, find_leaks, flags_of
from toeline.data.analyze.proof import ProofSection, prove
from toeline.data.analyze.reading import How, read_all
from toeline.data.analyze.relations import RelationSection, measure_relations
from toeline.data.analyze.survey import UNREAD
from toeline.data.analyze.table import Table
from toeline.data.analyze.together import Together, co_occurrence
from toeline.data.yolo import YoloSet
from toeline.errors import LabelError

UNREADABLE = {CHECKS["unreadable"].name, UNREAD}


@dataclass(frozen=True)
class Analysis:
    """Everything that is known of a data set. `flags` are what should be looked at, faults first.

    `images` and `leaks` are None when no pixels were looked at.
    """

    table: Table
    target: float
    counts: Counts
    boxes: BoxSection
    relations: RelationSection
    together: Together
    proof: ProofSection
    advice: Advice
    images: Images | None
    leaks: Leaks | None
    flags: tuple[Flag, ...]
    findings: tuple[Finding, ...]

    @property
    def unread(self) -> int:
        """Photographs and label files that could not be read."""
        return sum(f.check in UNREADABLE for f in self.flags)


def analyze(
    opened: YoloSet,
    taxonomy: Taxonomy,
    how: How | None = None,
    *,
    target: float = 0.90,
    crew: Crew | None = None,
    step: Callable[[Sequence[Problem]], None] = lambda _: None,
) -> Analysis:
    """Read every label once, and count. `step` is called for each photograph, as `cli.show.bar` wants it.

    Raises LabelError when not one photograph can be read.
    """
    how = how or How()
    read = read_all(opened, taxonomy, how, crew=crew, step=step)
    table, flags = read.collector.table(), [*(problem_flag(p, opened.root) for p in opened.problems), *read.flags]
    if not table.n_photos:
        raise LabelError(f"{opened.root}: not one photograph could be read ({read.flags[0].what}).")
    return _counted(table, flags, target, read.seen if how.pixels else None)


def _counted(table: Table, flags: Sequence[Flag], target: float, seen: list[Seen] | None) -> Analysis:
    counts, relations, proof = count(table), measure_relations(table), prove(table, target)
    labels = [*flags, *order_flags(relations)]
    leaks = find_leaks(seen) if seen is not None else None
    pictures = [*flags_of(leaks), *image_flags(seen)] if leaks and seen else []
    return Analysis(
        table=table,
        target=target,
        counts=counts,
        boxes=measure_boxes(table),
        relations=relations,
        together=co_occurrence(table),
        proof=proof,
        advice=advise(table, counts, proof),
        images=measure_images(seen, table) if seen is not None else None,
        leaks=leaks,
        flags=tuple(sorted([*labels, *pictures], key=lambda f: f.weight)),  # "fault" before "remark"; stable
        findings=(
            *(leak_findings(leaks) if leaks else ()),
            *label_findings(labels),
            *image_findings(pictures),
            *proof_findings(proof),
            *count_findings(counts),
        ),
    )
