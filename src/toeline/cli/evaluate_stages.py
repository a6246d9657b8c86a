"""Detected boxes: both stages as one beside true boxes, whose fault each error is, and how that is said first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from toeline.cli.evaluate_page import shown, time_tile
from toeline.cli.evaluate_run import Evaluated
from toeline.cli.show import some
from toeline.core.taxonomy import Taxonomy
from toeline.evaluate.compare import Comparison, Run, compare
from toeline.evaluate.detection import Sorted, detection_figures, sort_out
from toeline.evaluate.figure import Figure, figure_record
from toeline.evaluate.scorecard import Scorecard, card_record
from toeline.evaluate.stages import Blame, Seen, blame, score_both, seen
from toeline.report.scorecard_sections import against
from toeline.report.style import tenths

DETECTOR_FIGURES = ("objects_found", "findings_real", "end_to_end_f1")  # the rest is in the card of both stages


@dataclass(frozen=True)
class Stages:
    """What detected boxes come to. `card` is over all true objects, a miss being wrong; `true_boxes` beside it.

    `cost` compares both stages with true boxes on all objects, `off` the judge on found boxes with the judge on true
    ones, over objects that were found. None where true boxes were not evaluated.
    """

    card: Scorecard
    blame: Blame
    detector: tuple[Figure, ...]
    photos: tuple[Sorted, ...]
    objects: tuple[Seen, ...]
    true_boxes: Scorecard | None = None
    cost: Comparison | None = None
    off: Comparison | None = None

    def record(self) -> dict[str, Any]:
        """As scorecard.json holds it."""
        return {
            **self.blame.counts.record(),
            "figures": [figure_record(f) for f in (*self.detector, *self.blame.figures)],
            "both_stages": card_record(self.card),
        }


def stages_of(
    done: Evaluated, true_boxes: tuple[Evaluated, Scorecard] | None, taxonomy: Taxonomy, *, like: Scorecard,
    targets: Mapping[str, float], train: Sequence[tuple[str, str]],
) -> Stages | None:  # fmt: skip
    """None for an evaluation on true boxes. `like` says how to resample; `train` are types and classes to look up."""
    if done.matched is None:
        return None
    groups = done.split.groups
    drawn = groups if like.cluster == "group" else None
    photos = tuple(map(sort_out, done.matched))
    objects = seen(photos, groups)
    again = partial(compare, taxonomy=taxonomy, cluster=like.cluster, draws=like.draws, seed=like.seed)
    cost = off = None
    if true_boxes:
        cases = true_boxes[0].cases
        keys, found = {c.key for c in cases}, {c.key for c in done.cases}
        cost = again(
            Run("true boxes", tuple(c for c in cases if c.key in {s.case.key for s in objects})),
            Run("both stages", tuple(s.case for s in objects if s.case.key in keys)),
        )
        off = again(
            Run("true boxes", tuple(c for c in cases if c.key in found)),
            Run("found boxes", tuple(c for c in done.cases if c.key in keys)),
        )
    return Stages(
        card=score_both(
            objects, taxonomy, targets=targets, train=train, cluster=like.cluster, draws=like.draws, seed=like.seed
        ),
        blame=blame(photos, taxonomy, groups=drawn, draws=like.draws, seed=like.seed),
        detector=tuple(
            f
            for f in detection_figures(done.matched, groups=drawn, draws=like.draws, seed=like.seed)
            if f.key in DETECTOR_FIGURES
        ),
        photos=photos,
        objects=objects,
        true_boxes=true_boxes[1] if true_boxes else None,
        cost=cost,
        off=off,
    )


def headline_both(found: Stages, split: str) -> str:
    """Both stages in a sentence each: how often right, what true boxes give, who lost what, false alarms."""
    figure, counts, n = found.card["accuracy"], found.blame.counts, found.card.objects
    low, high = figure.interval
    words = (
        f"Both stages together gave the right class in the right place to {figure.count:,} of "
        f"{some(n, 'true object')} on {some(found.card.photographs, 'photograph')} of {split}: {tenths(figure.value)} "
        f"(95 % interval {tenths(low)} to {tenths(high)})."
    )
    if figure.floor is not None:
        words += (
            f" The same boxes with the most common class of each type are right on {tenths(figure.floor)}: "
            f"{against(shown(figure), figure.floor)} that."
        )
    if found.true_boxes:
        words += f" Given true boxes, the same judge is right on {tenths(found.true_boxes['accuracy'].value)}."
    return words + (
        f" The detector lost {counts.lost_by_detector:,} ({counts.missed:,} not found, {counts.misplaced:,} badly "
        f"placed, {counts.wrong_type:,} of a wrong type), the judge {counts.lost_by_judge:,} of those that were found; "
        f"{counts.false + counts.double:,} of {some(counts.findings, 'finding')} are of nothing or of an object that "
        f"another one has."
    )


def tiles_both(found: Stages, done: Evaluated) -> list[tuple[str, str]]:
    """The numbers that are looked for first."""
    counts, named = found.blame.counts, {f.key: f for f in found.detector}
    tiles = [(tenths(found.card["accuracy"].value), "both stages, class and place")]
    if found.true_boxes:
        tiles.append((tenths(found.true_boxes["accuracy"].value), "the judge on true boxes"))
    tiles += [(tenths(f.value), "objects found") for f in (named["objects_found"],) if f.n]
    if (missed := found.card["missed_defects"]).n:
        tiles.append((tenths(missed.value), "of defects missed"))
    tiles += [(f"{counts.false + counts.double:,}", "findings too many"), (f"{counts.objects:,}", "true objects")]
    return [*tiles, *time_tile(done)]
