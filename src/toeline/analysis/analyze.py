"""Phase 1 as one call: a data set in, everything that the report says out. Writes nothing."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from toeline.analysis.checks import CHECKS, Checks, order_flags, problem_flag, survey_quickly
from toeline.analysis.counts import BoxSection, Counts, Together, co_occurrence, count, measure_boxes
from toeline.analysis.duplicates import HashedPhoto, Leaks, find_leaks, flags_of
from toeline.analysis.image_quality import IMAGE_CHECKS, Images, image_flags, measure_images
from toeline.analysis.photo_facts import PhotoFacts, look_at_all
from toeline.analysis.power import Answer, DataAdvice, ProofSection, advise, prove
from toeline.analysis.relations import RelationSection, measure_relations
from toeline.analysis.table import UNREAD, Collector, Flag, ObjectTable, PlainRow, Weight, unread_flag
from toeline.core.finding import Problem, grave
from toeline.core.taxonomy import Taxonomy, meanings
from toeline.core.words import some
from toeline.data.split import FLIGHT, Grouping, grouping
from toeline.data.yolo import Entry, YoloSet
from toeline.errors import LabelError
from toeline.report.document import Highlight

UNREADABLE = {CHECKS["unreadable"].name, UNREAD}


@dataclass(frozen=True)
class Analysis:
    """Everything that is known of a data set. `flags` are what should be looked at, faults first.

    `problems` say what of the data set was read in part or by a guess, with notes of what was left out. `images` and
    `leaks` are None when no pixels were looked at.
    """

    table: ObjectTable
    target: float
    counts: Counts
    boxes: BoxSection
    relations: RelationSection
    together: Together
    proof: ProofSection
    advice: DataAdvice
    images: Images | None
    leaks: Leaks | None
    flags: tuple[Flag, ...]
    findings: tuple[Highlight, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def fine(self) -> bool:
        """Whether all was read, and nothing had to be guessed."""
        partly = any(f.check == CHECKS["partly"].name for f in self.flags)
        return not (self.unread or partly or grave(self.problems))

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
    """Read every label once, and count. `step` is called for each photograph, as `cli.show.bar` wants it."""
    how = how or How()
    read = read_all(opened, taxonomy, how, crew=crew, step=step)
    whole = [(problem, problem_flag(problem, opened.root)) for problem in opened.problems]
    table, flags = read.collector.table(), [*(flag for _, flag in whole), *read.flags]
    found = _counted(table, flags, target, read.seen if how.pixels else None)
    return replace(found, problems=tuple(p for p, flag in whole if flag.check != CHECKS["data_set"].name))


def _counted(table: ObjectTable, flags: Sequence[Flag], target: float, seen: list[HashedPhoto] | None) -> Analysis:
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


LABELS_AT_ONCE, PICTURES_AT_ONCE = 250, 16  # photographs in a block: some tenths of a second of work
LEAST_FOR_PROCESSES = 12  # blocks from which several processes are quicker: each takes a second to start


@dataclass(frozen=True, kw_only=True)
class How:
    """How a data set is read. `flight` is the pattern of flight lines, None for the default.

    Without `pixels` no photograph is decoded: only its header is read, for its size.
    """

    flight: str | None = None
    pixels: bool = False


@dataclass
class Read:
    """What was read: numbers, what should be looked at, and what was seen of each photograph's pixels."""

    collector: Collector
    flags: list[Flag] = field(default_factory=list)
    seen: list[HashedPhoto] = field(default_factory=list)

    def absorb(self, other: Read) -> None:
        """Add what was read after this."""
        self.collector.absorb(other.collector)
        self.flags += other.flags
        self.seen += other.seen


def read_all(
    opened: YoloSet,
    taxonomy: Taxonomy,
    how: How,
    *,
    crew: Crew | None = None,
    step: Callable[[Sequence[Problem]], None] = lambda _: None,
) -> Read:
    """Read every photograph's labels once, in the order of the data set. `step` is called for each photograph.

    Raises LabelError for a pattern that is none, and when a process is killed: so a machine runs out of memory.
    """
    flight_lines(how.flight)  # a pattern that is none is told before any process starts
    blocks = list(_blocks(opened, PICTURES_AT_ONCE if how.pixels else LABELS_AT_ONCE))
    whole = Read(Collector(taxonomy, opened.root))
    read = partial(read_block, taxonomy=taxonomy, how=how)
    parts = (crew or Crew()).map(read, blocks, in_processes=len(blocks) >= LEAST_FOR_PROCESSES)
    for block, part in zip(blocks, parts, strict=True):
        whole.absorb(part)
        for _ in range(sum(map(len, block.splits.values()))):
            step(())
    return whole


def _blocks(opened: YoloSet, size: int) -> Iterator[YoloSet]:
    for split, entries in opened.splits.items():
        for start in range(0, len(entries), size):
            yield replace(opened, splits={split: entries[start : start + size]}, problems=())


def read_block(block: YoloSet, *, taxonomy: Taxonomy, how: How) -> Read:
    """One block, in the process that calls it."""
    read, checks = Read(Collector(taxonomy, block.root)), Checks(taxonomy, block.root)
    looked = _looked([entry for entries in block.splits.values() for entry in entries]) if how.pixels else iter(())
    group_of = flight_lines(how.flight)
    meaning = meanings(block.names, taxonomy)
    for row in survey_quickly(block, taxonomy, group_of=group_of, unread=checks.flags.append):
        if isinstance(row, PlainRow):
            read.collector.add_plain(row, meaning)
        else:
            read.collector.add(row)
            checks.add(row)
        # the first that matches: photographs that gave no row are passed over
        facts = next((facts for photo, facts in looked if photo == row.entry.photo), None)
        if isinstance(facts, PhotoFacts):
            read.seen.append(HashedPhoto(row.name, row.split, row.flight_line, facts))
        elif facts:
            checks.flags.append(unread_flag(row.name, row.entry.photo, facts))
    return replace(read, flags=checks.flags)


def _looked(entries: Sequence[Entry]) -> Iterator[tuple[Path, PhotoFacts | str]]:
    photos = [entry.photo for entry in entries]
    return zip(photos, look_at_all(photos), strict=True)


def flight_lines(pattern: str | None) -> Grouping:
    """How a flight line is read from a file name; a name that the pattern does not match is a line of its own.

    Raises LabelError.

    >>> flight_lines(r"^(.*)_[0-9]+")(Path("B0_12_V.jpg")), flight_lines("line[0-9]")(Path("a.jpg"))
    ('B0', 'a')
    """
    try:
        group_of = grouping(pattern or FLIGHT)
    except ValueError as why:
        raise LabelError(f"--flight: {why}. Example: '^(.*)_[0-9]+'.") from None
    return lambda photo: group_of(photo) or photo.stem


class Mood(StrEnum):
    """How a finding should be taken."""

    BAD = "bad"
    CAREFUL = "careful"
    GOOD = "good"


def leak_findings(leaks: Leaks) -> Iterator[Highlight]:
    """Whether one split can know of another."""
    crossing = any(p.crosses for p in leaks.pairs) or leaks.shared
    yield Highlight(Mood.BAD if crossing else Mood.GOOD, leaks.verdict, "leaks")
    inside = sum(not p.crosses for p in leaks.pairs)
    if inside:
        yield Highlight(Mood.CAREFUL, f"{some(inside, 'pair')} of copies or near copies lie within one split.", "leaks")


def label_findings(flags: Sequence[Flag]) -> Iterator[Highlight]:
    """Faults and remarks by number and kind."""
    faults = Counter(f.check for f in flags if f.weight is Weight.FAULT)
    remarks = Counter(f.check for f in flags if f.weight is Weight.REMARK)
    if faults:
        yield Highlight(
            Mood.BAD, f"{some(faults.total(), 'fault')} in the labels and files: {_list(faults)}.", "labels"
        )
    else:
        yield Highlight(Mood.GOOD, "No label contradicts another one or the rules of the format.", "labels")
    if remarks:
        text = f"{some(remarks.total(), 'label')} to look at, which may be right: {_list(remarks)}."
        yield Highlight(Mood.CAREFUL, text, "labels")


def image_findings(flags: Sequence[Flag]) -> Iterator[Highlight]:
    """Photographs that are odd as pictures, by kind."""
    odd = Counter(f.check for f in flags if f.check in IMAGE_CHECKS)
    if odd:
        yield Highlight(Mood.CAREFUL, f"Photographs to look at: {_list(odd)}.", "images")


def proof_findings(proof: ProofSection) -> Iterator[Highlight]:
    """Whether each split that is measured on can show the target, as a whole and class by class."""
    goal = f"{100 * proof.target:g} %"
    for split in _measured_on(proof):
        mine = [p for p in proof.proofs if p.split == split]
        whole = next(p for p in mine if p.scope == "decided")
        classes = [p for p in mine if p.scope == "class" and p.answer is not Answer.NOTHING_TO_SHOW]
        too_few = [p.name for p in classes if p.answer is Answer.NO]
        mood = Mood.GOOD if whole.answer is Answer.YES else Mood.BAD if whole.answer is Answer.NO else Mood.CAREFUL
        majority_baseline = (
            f" The majority-class baseline gets {100 * whole.majority_baseline:.1f} % right."
            if whole.majority_baseline is not None
            else ""
        )
        text = f"Can {split} show {goal} on the condition? {whole.words}{majority_baseline}"
        yield Highlight(mood, text, "proof")
        if too_few:
            names = ", ".join(map(repr, too_few))
            text = f"{split} is too small to show {goal} for {len(too_few)} of {len(classes)} classes: {names}."
            yield Highlight(Mood.CAREFUL, text, "proof")


def _measured_on(proof: ProofSection) -> list[str]:
    """Every split but train; train too where it is all there is."""
    splits = list(dict.fromkeys(p.split for p in proof.proofs))
    return [s for s in splits if s != "train"] or splits


def count_findings(counts: Counts) -> Iterator[Highlight]:
    """Imbalance and what is missing."""
    if counts.imbalance is not None and counts.imbalance >= 1.05:  # below, nothing is more frequent
        n = {c.name: c.n for c in counts.by_class}
        text = (
            f"{counts.most!r} ({n[counts.most]}) is {counts.imbalance:.1f} times as frequent as {counts.least!r} "
            f"({n[counts.least]})."
        )
        yield Highlight(Mood.CAREFUL if counts.imbalance >= 3 else Mood.GOOD, text, "advice")
    if counts.unnamed:
        text = f"The condition of {some(counts.unnamed, 'object')} is not known: the data set names types only."
        yield Highlight(Mood.CAREFUL, text, "counts")
    for split, names in counts.lacking.items():
        if names and not counts.unnamed:
            yield Highlight(Mood.BAD, f"{split} has none of {', '.join(map(repr, names))}.", "counts")


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"{n} × {check}" for check, n in counts.most_common())


AHEAD = 4  # jobs of each process that are begun before a result is taken: none is idle, and memory does not grow
Job = TypeVar("Job")
Done = TypeVar("Done")


@dataclass
class Crew:
    """`workers` processes, started when there is first enough to do: each takes a second. With one there are none.

    To be used in a `with` block, at the end of which the processes are gone.
    """

    workers: int = 1
    _pool: ProcessPoolExecutor | None = field(default=None, init=False)

    @property
    def at_work(self) -> bool:
        """Whether processes were started."""
        return self._pool is not None

    def map(self, do: Callable[[Job], Done], jobs: Iterable[Job], *, in_processes: bool = True) -> Iterator[Done]:
        """`do` of each job in their order; in this process unless `in_processes`. All must be picklable.

        Raises what `do` raises, and LabelError when a process is killed: so a machine runs out of memory.
        """
        if self.workers <= 1 or not (in_processes or self.at_work):
            yield from map(do, jobs)
            return
        waiting: deque[Future[Done]] = deque()
        try:
            for job in jobs:
                waiting.append(self._started().submit(do, job))
                if len(waiting) >= AHEAD * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            text = f"One of {self.workers} processes was killed while it read; likely memory ran out. Use --workers 1."
            raise LabelError(text) from None

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"), initializer=_quietly)
        return self._pool

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


@contextmanager
def beside(crew: Crew, do: Callable[[Job], Done], job: Job) -> Iterator[Callable[[], Done]]:
    """A function that gives `do(job)`, which is at work while the block runs when the block leaves that to a crew."""
    if not crew.at_work:
        yield lambda: do(job)
        return
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(do, job).result


def _quietly() -> None:
    """One thread a worker: the workers are the threads."""
    import cv2

    os.environ["OMP_NUM_THREADS"] = "1"
    cv2.setNumThreads(1)
