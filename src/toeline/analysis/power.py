"""Can this data show the accuracy that is wanted? How many must be right, what no pixel gets, and a plain answer.

An interval over objects takes them as independent. They are not: those of one photograph share light, season and often
their condition. So every answer is given twice, for independent objects (the best case) and for photographs that are
right or wrong as a whole (the worst case), and the truth lies between.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from toeline.analysis.counts import Counts
from toeline.analysis.table import Bools, Floats, Ints, ObjectTable
from toeline.core.statistics import Interval, least_n, least_right, wilson


class Answer(StrEnum):
    """Whether a part of the data can show the target at 95 %."""

    YES = "yes"
    ONLY_IF_INDEPENDENT = "only if objects are independent"
    NO = "no"
    NOTHING_TO_SHOW = "nothing to show"


@dataclass(frozen=True)
class Proof:
    """One group of objects of one split: `scope` is "all", "decided", "type", "condition" or "class".

    `right_needed` of `n` must be right for Wilson's interval to lie above the target, None when all are too few.
    `photo_needed` is the same count over `photos` that are right as a whole. `majority_baseline` is the share that
    answering each type's most common condition gets, counted on these same objects. `best` is the interval when all are
    right.
    """

    split: str
    scope: str
    name: str
    n: int
    photos: int
    right_needed: int | None
    photo_needed: int | None
    majority_baseline: float | None
    best: Interval
    answer: Answer
    words: str


@dataclass(frozen=True)
class Clustering:
    """How much objects hang together in photographs, measured on the majority-class baseline, the only answers known.

    `design_effect` is the variance of that baseline's accuracy over photographs against that over independent objects
    (Kish 1965), never taken under 1; `effective` is n divided by it.
    """

    split: str
    n: int
    photos: int
    groups: int
    design_effect: float | None
    effective: float | None


@dataclass(frozen=True)
class ProofSection:
    """`objects_needed` is the fewest objects that can show the target at all, when every one is right."""

    target: float
    objects_needed: int
    proofs: tuple[Proof, ...]
    clustering: tuple[Clustering, ...]


def prove(table: ObjectTable, target: float) -> ProofSection:
    """For each split: everything together, the types that leave a choice, each type, condition and class."""
    parts = range(len(table.splits))
    return ProofSection(
        target=target,
        objects_needed=least_n(target),
        proofs=tuple(p for s in parts for p in _split(table, s, target)),
        clustering=tuple(_clustering(table, s) for s in parts),
    )


def _split(table: ObjectTable, split: int, target: float) -> Iterator[Proof]:
    words, name = table.taxonomy, table.splits[split]
    here = (table.object_split == split) & (table.cls >= 0)
    lucky = majority_baseline_is_right(table, here)
    open_kinds = [i for i, t in enumerate(words.types) if len(words.answers(t.name)) > 1]
    choice = np.isin(table.kind, open_kinds)
    groups: list[tuple[str, str, Bools, bool]] = [("all", "all classes", here, True)]
    groups += [("decided", "condition given the type", here & choice, True)]
    groups += [("type", t.name, here & (table.kind == i), i in open_kinds) for i, t in enumerate(words.types)]
    groups += [
        ("condition", c.name, here & (table.condition == i) & choice, True) for i, c in enumerate(words.conditions)
    ]
    of_type = [next(i for i, t in enumerate(words.types) if t.name == c.type) for c in words.classes]
    groups += [
        ("class", c.name, here & (table.cls == i), of_type[i] in open_kinds) for i, c in enumerate(words.classes)
    ]
    for scope, label, mask, decided in groups:
        yield _proof((name, scope, label), table.photo[mask], lucky[mask], target, decided=decided)


def _proof(where: tuple[str, str, str], photo: Ints, lucky: Bools, target: float, *, decided: bool) -> Proof:
    """`photo` (n,) is the photograph of each object, `lucky` whether the baseline's answer is right for it."""
    n, photos = len(photo), len(np.unique(photo))
    needed, photo_needed = least_right(n, target), least_right(photos, target)
    majority_baseline = float(lucky.mean()) if n else None
    answer = _answer(n, needed, photo_needed, decided=decided)
    words = _words(answer, n, photos, needed, photo_needed, target)
    if majority_baseline is not None and majority_baseline >= target and decided and where[1] != "class":
        words += f" But the majority-class baseline alone gets {100 * majority_baseline:.1f} %, so that says little."
    return Proof(*where, n, photos, needed, photo_needed, majority_baseline, wilson(n, n), answer, words)


def _answer(n: int, needed: int | None, photo_needed: int | None, *, decided: bool) -> Answer:
    if n == 0 or not decided:
        return Answer.NOTHING_TO_SHOW
    if needed is None:
        return Answer.NO
    return Answer.ONLY_IF_INDEPENDENT if photo_needed is None else Answer.YES


def _words(answer: Answer, n: int, photos: int, needed: int | None, photo_needed: int | None, target: float) -> str:
    goal = f"{100 * target:g} %"
    if answer is Answer.NOTHING_TO_SHOW:
        return "No objects." if n == 0 else "The type has one class only: its answer is always right and shows nothing."
    if answer is Answer.NO:
        missing = least_n(target) - n
        return (
            f"No. Even {n} right of {n} shows no more than {100 * wilson(n, n).low:.1f} %; at least {missing} more "
            f"{'object is' if missing == 1 else 'objects are'} needed to show {goal}."
        )
    count = f"{needed} of {n} must be right ({100 * (needed or 0) / n:.1f} %)"
    if answer is Answer.ONLY_IF_INDEPENDENT:
        return (
            f"Only if objects are independent: {count}. They come from {photos} photographs, too few to show {goal} "
            f"if those are right or wrong as a whole."
        )
    but = ", and not one may be wrong" if needed == n else ""
    return f"Yes{but}: {count}; if whole photographs are right or wrong, {photo_needed} of {photos}."


def majority_baseline_is_right(table: ObjectTable, here: Bools) -> Bools:
    """(N,) whether answering the most common class of each object's type, counted on the objects `here`, is right."""
    kinds, classes = len(table.taxonomy.types), len(table.taxonomy.classes)
    counts = np.bincount(table.kind[here] * classes + table.cls[here], minlength=kinds * classes)
    common = counts.reshape(kinds, classes).argmax(axis=1)
    return np.asarray(here & (common[table.kind] == table.cls))


def _clustering(table: ObjectTable, split: int) -> Clustering:
    words = table.taxonomy
    open_kinds = [i for i, t in enumerate(words.types) if len(words.answers(t.name)) > 1]
    here = (table.object_split == split) & (table.cls >= 0) & np.isin(table.kind, open_kinds)
    lucky, photo = majority_baseline_is_right(table, here)[here], table.photo[here]
    effect = design_effect(lucky.astype(np.float64), photo)
    groups = len(np.unique(table.group[table.split == split]))
    effective = len(lucky) / effect if effect else None
    return Clustering(table.splits[split], len(lucky), len(np.unique(photo)), groups, effect, effective)


def design_effect(right: Floats, cluster: Ints) -> float | None:
    """Variance of the mean of `right` (n,) over whole clusters, over that of independent objects; at least 1.

    The ratio estimator's linearized variance. None with fewer than two clusters, and when all or none are right.

    >>> design_effect(np.array([1.0, 1, 0, 0, 1, 1, 0, 0]), np.array([0, 0, 1, 1, 2, 2, 3, 3]))
    2.66...
    """
    _, at = np.unique(cluster, return_inverse=True)
    n, clusters = len(right), int(at.max()) + 1 if len(at) else 0
    share = right.mean() if n else 0.0
    if clusters < 2 or share in (0, 1):
        return None
    residual = np.bincount(at, weights=right - share)
    clustered = clusters / (clusters - 1) * (residual**2).sum() / n**2
    return max(1.0, float(clustered / (share * (1 - share) / n)))


FEW = 50  # objects of a class to learn from: a convention, no measurement says where enough begins


@dataclass(frozen=True)
class ClassAdvice:
    """Training weights of one class, counted on `n` objects in `photos` photographs of the split that trains.

    `weight` is n_all / (classes * n), scikit-learn's "balanced". `type_weight` (the same over types) times
    `condition_weight` (the same over the conditions of the type) is the factorized weight: types count alike, and
    within a type its conditions do. `repeat` is how often a photograph with the class should be shown (Gupta et al.
    2019, the threshold is the median share of photographs): 1 for classes that are frequent. None where n is 0.
    """

    name: str
    n: int
    photos: int
    weight: float | None
    type_weight: float | None
    condition_weight: float | None
    factorized: float | None
    repeat: float | None


@dataclass(frozen=True)
class DataAdvice:
    """`split` is the one that the weights were counted on. `words` are sentences, each with its number."""

    split: str
    classes: tuple[ClassAdvice, ...]
    words: tuple[str, ...]


def advise(table: ObjectTable, counts: Counts, proof: ProofSection) -> DataAdvice:
    """Weights from the train split, or from everything when there is none."""
    at = table.splits.index("train") if "train" in table.splits else None
    split = "train" if at is not None else "all photographs"
    n, photos, frames = _on(table, at)
    classes = tuple(_class_advice(table, n, photos, frames))
    return DataAdvice(split, classes, tuple(_advice_words(table, counts, proof, classes, split)))


def _on(table: ObjectTable, split: int | None) -> tuple[list[int], list[int], int]:
    """Objects and photographs per class, and photographs in all, of one split."""
    width = len(table.taxonomy.classes)
    here = (table.cls >= 0) & ((table.object_split == split) if split is not None else True)
    n = np.bincount(table.cls[here], minlength=width)
    photos = np.bincount(np.unique(table.photo[here] * width + table.cls[here]) % width, minlength=width)
    frames = table.n_photos if split is None else int((table.split == split).sum())
    return n.tolist(), photos.tolist(), frames


def _class_advice(table: ObjectTable, n: list[int], photos: list[int], frames: int) -> Iterator[ClassAdvice]:
    words = table.taxonomy
    there = [i for i, c in enumerate(n) if c]
    kinds = {t.name: [i for i, c in enumerate(words.classes) if c.type == t.name and n[i]] for t in words.types}
    held = {kind: sum(n[i] for i in inside) for kind, inside in kinds.items() if inside}
    usual = float(np.median([photos[i] / frames for i in there])) if there else 0.0
    for i, c in enumerate(words.classes):
        if not n[i]:
            yield ClassAdvice(c.name, 0, 0, None, None, None, None, None)
            continue
        of_type = sum(n) / (len(held) * held[c.type])
        of_condition = held[c.type] / (len(kinds[c.type]) * n[i])
        repeat = max(1.0, math.sqrt(usual / (photos[i] / frames)))
        weight = sum(n) / (len(there) * n[i])
        yield ClassAdvice(c.name, n[i], photos[i], weight, of_type, of_condition, of_type * of_condition, repeat)


def _advice_words(
    table: ObjectTable, counts: Counts, proof: ProofSection, classes: tuple[ClassAdvice, ...], split: str
) -> Iterator[str]:
    yield from _missing(classes, split)
    if counts.imbalance and counts.imbalance > 1.5:
        least = min(c.weight for c in classes if c.weight)
        rare = max((c for c in classes if c.weight), key=lambda c: c.weight or 0)
        yield (
            f"{counts.most!r} is {counts.imbalance:.1f} times as frequent as {counts.least!r}. Weigh the loss by "
            f"class: from {least:.2f} for the most frequent to {rare.weight:.2f} for "
            f"{rare.name!r} ({rare.n} in {split}); the table has all of them. Use weights or repeated photographs, "
            f"not both."
        )
    yield from _to_prove(table, proof)
    if len(table.splits) == 1:
        yield (
            "There is one split only, so nothing is kept apart to measure on. Make splits by flight line: "
            "toeline split DATA --out DIR --by flight --seed 0."
        )


def more_photos(n: int, photos: int) -> int:
    """Photographs to add until a class has FEW objects, at as many on each as now: `n` objects on `photos` of them.

    >>> more_photos(20, 10), more_photos(60, 10)
    (15, 0)
    """
    return max(0, math.ceil((FEW - n) * photos / n))


def _missing(classes: tuple[ClassAdvice, ...], split: str) -> Iterator[str]:
    for c in classes:
        if c.n == 0:
            yield f"{split} has no {c.name!r} at all: a model cannot learn it. Add photographs of it first."
        elif c.n < FEW:
            more = more_photos(c.n, c.photos)
            again = f" Until then show each of those {c.repeat:.1f} times." if c.repeat and c.repeat >= 1.05 else ""
            yield (
                f"{c.name!r} has {c.n} objects in {c.photos} photographs of {split}, under {FEW}: add some {more} "
                f"photographs with it.{again}"
            )


def _to_prove(table: ObjectTable, proof: ProofSection) -> Iterator[str]:
    """What each split but train lacks to show the target class by class."""
    need = least_n(proof.target)
    for split in (s for s in table.splits if s != "train"):
        few = [p for p in proof.proofs if p.split == split and p.scope == "class" and p.answer is Answer.NO]
        few += [p for p in proof.proofs if p.split == split and p.scope == "class" and p.n == 0]
        if few:
            lacking = ", ".join(f"{p.name!r} {need - p.n}" for p in few)
            yield (
                f"To show {100 * proof.target:g} % for a class takes at least {need} objects of it. {split} lacks: "
                f"{lacking}. Report these classes with their interval, and not as reached or missed."
            )
