"""Phase 1 as one call: a data set in, everything that the report says out. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from toeline.core.result import Problem
from toeline.core.taxonomy import Taxonomy
from toeline.data.analyze.advice import Advice, advise
from toeline.data.analyze.boxes import BoxSection, measure_boxes
from toeline.data.analyze.checks import CHECKS, Checks, order_flags, problem_flag
from toeline.data.analyze.counts import Counts, count
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
from toeline.data.analyze.photos import PhotoFacts, look_at_all
from toeline.data.analyze.proof import ProofSection, prove
from toeline.data.analyze.relations import RelationSection, measure_relations
from toeline.data.analyze.survey import UNREAD, Row, survey, unread_flag
from toeline.data.analyze.table import Collector, Table
from toeline.data.analyze.together import Together, co_occurrence
from toeline.data.groups import FLIGHT, Grouping, grouping
from toeline.data.yolo import YoloSet, flight_line
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
    *,
    target: float = 0.90,
    group_of: Grouping = flight_line,
    workers: int = 0,
    step: Callable[[Sequence[Problem]], None] = lambda _: None,
) -> Analysis:
    """Read every label once, and count. `step` is called after each photograph, as `cli.show.bar` wants it.

    With `workers`, as many processes look at the pixels; with 0 nobody does, and `images` and `leaks` are None. Raises
    LabelError when not one photograph can be read.
    """
    checks, collector = Checks(taxonomy, opened.root), Collector(taxonomy, opened.root)
    checks.flags += [problem_flag(p, opened.root) for p in opened.problems]
    rows = survey(opened, taxonomy, group_of=group_of, unread=checks.flags.append)
    seen: list[Seen] = []
    for row, facts in with_pixels(rows, opened, workers) if workers else ((row, None) for row in rows):
        collector.add(row)
        checks.add(row)
        if isinstance(facts, PhotoFacts):
            seen.append(Seen(row.name, row.split, row.group, facts))
        elif facts:
            checks.flags.append(unread_flag(row.name, row.entry.photo, facts))
        step(())
    table = collector.table()
    if not table.n_photos:
        raise LabelError(f"{opened.root}: not one photograph could be read ({checks.flags[0].what}).")
    return _counted(table, checks.flags, target, seen if workers else None)


def with_pixels(rows: Iterable[Row], opened: YoloSet, workers: int) -> Iterator[tuple[Row, PhotoFacts | str]]:
    """Each row with what its pixels say, or with what is wrong with them; both come in the order of the data set."""
    photos = [entry.photo for entries in opened.splits.values() for entry in entries]
    looked = zip(photos, look_at_all(photos, workers=workers), strict=True)
    for row in rows:
        yield row, next(facts for photo, facts in looked if photo == row.entry.photo)  # passes over those without a row


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


def flight_lines(pattern: str | None) -> Grouping:
    """How a flight line is read from a file name; a name that the pattern does not match is a line of its own.

    Raises LabelError.

    >>> from pathlib import Path
    >>> flight_lines(r"^(.*)_[0-9]+")(Path("B0_12_V.jpg")), flight_lines("line[0-9]")(Path("a.jpg"))
    ('B0', 'a')
    """
    try:
        group_of = grouping(pattern or FLIGHT)
    except ValueError as why:
        raise LabelError(f"--flight: {why}. Example: '^(.*)_[0-9]+'.") from None
    return lambda photo: group_of(photo) or photo.stem
