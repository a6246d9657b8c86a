"""The pass over a data set, block by block: a crew of processes shares the blocks, and the answer is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from toeline.core.result import Problem
from toeline.core.taxonomy import Taxonomy
from toeline.data.analyze.checks import Checks
from toeline.data.analyze.crew import Crew
from toeline.data.analyze.flag import Flag
from toeline.data.analyze.leaks import Seen
from toeline.data.analyze.photos import PhotoFacts, look_at_all
from toeline.data.analyze.plain import survey_quickly
from toeline.data.analyze.survey import PlainRow, unread_flag
from toeline.data.analyze.table import Collector
from toeline.data.class_names import meanings
from toeline.data.groups import FLIGHT, Grouping, grouping
from toeline.data.yolo import Entry, YoloSet
from toeline.errors import LabelError

LABELS_AT_ONCE, PICTURES_AT_ONCE = 250, 16  # photographs in a block: some tenths of a second of work
WORTH = 12  # blocks from which several processes are quicker: each takes a second to start


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
    seen: list[Seen] = field(default_factory=list)

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
    parts = (crew or Crew()).map(read, blocks, worth=len(blocks) >= WORTH)
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
            read.seen.append(Seen(row.name, row.split, row.group, facts))
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
