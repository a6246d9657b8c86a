"""What to do about the imbalance: weights and factors for training, and which photographs are missing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from toeline.core.interval import least_n
from toeline.data.analyze.counts import Counts
from toeline.data.analyze.proof import Answer, ProofSection
from toeline.data.analyze.table import Table

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
class Advice:
    """`split` is the one that the weights were counted on. `words` are sentences, each with its number."""

    split: str
    classes: tuple[ClassAdvice, ...]
    words: tuple[str, ...]


def advise(table: Table, counts: Counts, proof: ProofSection) -> Advice:
    """Weights from the train split, or from everything when there is none."""
    at = table.splits.index("train") if "train" in table.splits else None
    split = "train" if at is not None else "all photographs"
    n, photos, frames = _on(table, at)
    classes = tuple(_class_advice(table, n, photos, frames))
    return Advice(split, classes, tuple(_words(table, counts, proof, classes, split)))


def _on(table: Table, split: int | None) -> tuple[list[int], list[int], int]:
    """Objects and photographs per class, and photographs in all, of one split."""
    width = len(table.taxonomy.classes)
    here = (table.cls >= 0) & ((table.object_split == split) if split is not None else True)
    n = np.bincount(table.cls[here], minlength=width)
    photos = np.bincount(np.unique(table.photo[here] * width + table.cls[here]) % width, minlength=width)
    frames = table.n_photos if split is None else int((table.split == split).sum())
    return n.tolist(), photos.tolist(), frames


def _class_advice(table: Table, n: list[int], photos: list[int], frames: int) -> Iterator[ClassAdvice]:
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


def _words(
    table: Table, counts: Counts, proof: ProofSection, classes: tuple[ClassAdvice, ...], split: str
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


def _missing(classes: tuple[ClassAdvice, ...], split: str) -> Iterator[str]:
    for c in classes:
        if c.n == 0:
            yield f"{split} has no {c.name!r} at all: a model cannot learn it. Add photographs of it first."
        elif c.n < FEW:
            more = math.ceil((FEW - c.n) * c.photos / c.n)
            again = f" Until then show each of those {c.repeat:.1f} times." if c.repeat and c.repeat >= 1.05 else ""
            yield (
                f"{c.name!r} has {c.n} objects in {c.photos} photographs of {split}, under {FEW}: add some {more} "
                f"photographs with it.{again}"
            )


def _to_prove(table: Table, proof: ProofSection) -> Iterator[str]:
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
