"""What matters most, in a few plain sentences: what the report and the terminal open with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from toeline.core.words import some
from toeline.data.analyze.counts import Counts
from toeline.data.analyze.flag import Flag, Weight
from toeline.data.analyze.images import IMAGE_CHECKS
from toeline.data.analyze.leaks import Leaks
from toeline.data.analyze.proof import Answer, ProofSection


class Mood(StrEnum):
    """How a finding should be taken."""

    BAD = "bad"
    CAREFUL = "careful"
    GOOD = "good"


@dataclass(frozen=True)
class Finding:
    """One sentence, and the section (its anchor) that it comes from."""

    mood: Mood
    text: str
    anchor: str


def leak_findings(leaks: Leaks) -> Iterator[Finding]:
    """Whether one split can know of another."""
    crossing = any(p.crosses for p in leaks.pairs) or leaks.shared
    yield Finding(Mood.BAD if crossing else Mood.GOOD, leaks.verdict, "leaks")
    inside = sum(not p.crosses for p in leaks.pairs)
    if inside:
        yield Finding(Mood.CAREFUL, f"{some(inside, 'pair')} of copies or near copies lie within one split.", "leaks")


def label_findings(flags: Sequence[Flag]) -> Iterator[Finding]:
    """Faults and remarks by number and kind."""
    faults = Counter(f.check for f in flags if f.weight is Weight.FAULT)
    remarks = Counter(f.check for f in flags if f.weight is Weight.REMARK)
    if faults:
        yield Finding(Mood.BAD, f"{some(faults.total(), 'fault')} in the labels and files: {_list(faults)}.", "labels")
    else:
        yield Finding(Mood.GOOD, "No label contradicts another one or the rules of the format.", "labels")
    if remarks:
        text = f"{some(remarks.total(), 'label')} to look at, which may be right: {_list(remarks)}."
        yield Finding(Mood.CAREFUL, text, "labels")


def image_findings(flags: Sequence[Flag]) -> Iterator[Finding]:
    """Photographs that are odd as pictures, by kind."""
    odd = Counter(f.check for f in flags if f.check in IMAGE_CHECKS)
    if odd:
        yield Finding(Mood.CAREFUL, f"Photographs to look at: {_list(odd)}.", "images")


def proof_findings(proof: ProofSection) -> Iterator[Finding]:
    """Whether each split that is measured on can show the target, as a whole and class by class."""
    goal = f"{100 * proof.target:g} %"
    for split in _measured_on(proof):
        mine = [p for p in proof.proofs if p.split == split]
        whole = next(p for p in mine if p.scope == "decided")
        classes = [p for p in mine if p.scope == "class" and p.answer is not Answer.NOTHING_TO_SHOW]
        too_few = [p.name for p in classes if p.answer is Answer.NO]
        mood = Mood.GOOD if whole.answer is Answer.YES else Mood.BAD if whole.answer is Answer.NO else Mood.CAREFUL
        floor = f" Without a look at a pixel {100 * whole.floor:.1f} % are right." if whole.floor is not None else ""
        text = f"Can {split} show {goal} on the condition? {whole.words}{floor}"
        yield Finding(mood, text, "proof")
        if too_few:
            names = ", ".join(map(repr, too_few))
            text = f"{split} is too small to show {goal} for {len(too_few)} of {len(classes)} classes: {names}."
            yield Finding(Mood.CAREFUL, text, "proof")


def _measured_on(proof: ProofSection) -> list[str]:
    """Every split but train; train too where it is all there is."""
    splits = list(dict.fromkeys(p.split for p in proof.proofs))
    return [s for s in splits if s != "train"] or splits


def count_findings(counts: Counts) -> Iterator[Finding]:
    """Imbalance and what is missing."""
    if counts.imbalance is not None:
        n = {c.name: c.n for c in counts.by_class}
        text = (
            f"{counts.most!r} ({n[counts.most]}) is {counts.imbalance:.1f} times as frequent as {counts.least!r} "
            f"({n[counts.least]})."
        )
        yield Finding(Mood.CAREFUL if counts.imbalance >= 3 else Mood.GOOD, text, "advice")
    if counts.unnamed:
        text = f"The condition of {some(counts.unnamed, 'object')} is not known: the data set names types only."
        yield Finding(Mood.CAREFUL, text, "counts")
    for split, names in counts.lacking.items():
        if names and not counts.unnamed:
            yield Finding(Mood.BAD, f"{split} has none of {', '.join(map(repr, names))}.", "counts")


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"{n} × {check}" for check, n in counts.most_common())
