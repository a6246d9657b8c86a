"""What the report says, section by section: words, tables and plots. Knows no page and no Markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from toeline.analysis import plots
from toeline.analysis.analyze import Analysis
from toeline.analysis.checks import CHECKS
from toeline.analysis.counts import THIN_PX, Boxes, BoxSection, Count, Counts, names_and_spreads
from toeline.analysis.duplicates import Kind, Leaks, flags_of
from toeline.analysis.image_quality import IMAGE_CHECKS, Images
from toeline.analysis.power import ProofSection
from toeline.analysis.relations import Distance, NamedResult, RelationSection
from toeline.analysis.table import UNREAD, Flag, Weight
from toeline.core.finding import Problem
from toeline.core.taxonomy import Taxonomy
from toeline.prompts.relations import NAMES
from toeline.report.document import Block, Grid, Remarks, Section, Words, tenths

MOST_COUNTEREXAMPLES = 40


def sections(found: Analysis) -> list[Section]:
    """The chapters that labels alone give, in the order of the report."""
    words = found.table.taxonomy
    parts: list[tuple[str, str, Blocks]] = [
        ("counts", "Counts", _counts(found)),
        ("boxes", "Boxes", _boxes(found.boxes, words)),
        ("relations", "Relations", _relations(found.relations, words)),
        ("together", "Classes seen together", _together(found)),
        *([("images", "Images", image_blocks(found.images, found.flags))] if found.images else []),
        *([("leaks", "Leaks between splits", leak_blocks(found.leaks))] if found.leaks else []),
        ("labels", "Label checks", _labels(found.flags)),
        ("proof", "Can this prove it?", _proof(found.proof, words)),
        ("advice", "Advice", _advice(found)),
    ]
    return [Section(title, blocks=tuple(blocks), name=name) for name, title, blocks in parts]


LONG_ROWS = 24  # from which a table is folded


def grid(head: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "", *, left: int = 1) -> Grid:
    """A table of whatever prints; the first `left` columns are words."""
    texts = tuple(tuple(map(str, row)) for row in rows)
    return Grid("", tuple(head), texts, folded=len(texts) > LONG_ROWS, words=left, caption=caption)


def figure(value: float | None, digits: int = 3) -> str:
    """A number in a table, a dash where there is none.

    >>> figure(0.12345), figure(None), figure(3.0, 1)
    ('0.123', '–', '3.0')
    """
    return "–" if value is None else f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    """A share with one digit, a dash where there is none."""
    return "–" if share is None else tenths(share)


def _counts(found: Analysis) -> Blocks:
    counts, words = found.counts, found.table.taxonomy
    yield plots.class_plot(counts)
    yield plots.per_photo_plot(np.diff(found.table.first).tolist())
    yield _splits(counts)
    yield _count_grid("Class", counts.by_class, counts)
    yield _count_grid("Type", counts.by_type, counts, words)
    yield _count_grid("Condition", counts.by_condition, counts)
    conditions = [c.name for c in words.conditions]
    rows = [
        [words.spoken(kind), *("impossible" if row[c] is None else f"{row[c]:,}" for c in conditions)]
        for kind, row in counts.matrix.items()
    ]
    yield grid(["Type", *conditions], rows, "Type by condition. Impossible: the taxonomy has no such class.")
    if counts.imbalance is not None:
        yield Words(f"Imbalance: {counts.most!r} is {counts.imbalance:.2f} times as frequent as {counts.least!r}.")
    yield Words(
        "What each split lacks:",
        tuple(
            f"{split}: {', '.join(names) or 'nothing, every class is there'}" for split, names in counts.lacking.items()
        ),
    )


def _splits(counts: Counts) -> Block:
    parts = {**counts.by_split, "all": counts.whole}
    rows = []
    for name, part in parts.items():
        per = part.objects_per_photo
        numbers = (
            figure(per.mean, 2),
            figure(per.sd, 2),
            figure(per.min, 0),
            figure(per.median, 1),
            figure(per.max, 0),
        )
        rows.append((name, f"{part.photos:,}", f"{part.objects:,}", part.groups, part.empty, part.unknown, *numbers))
    head = ["Split", "Photographs", "Objects", "Flight lines", "Without objects", "Labels not known"]
    return grid(
        [*head, "Per photograph: mean", "sd", "min", "median", "max"], rows, "Splits, and the objects in a photograph."
    )


def _count_grid(what: str, rows: Sequence[Count], counts: Counts, words: Taxonomy | None = None) -> Block:
    splits = list(counts.by_split)
    return grid(
        [what, "Objects", "Share", "Photographs", *splits],
        [
            [words.spoken(c.name) if words else c.name, f"{c.n:,}", percent(c.share), f"{c.photos:,}"]
            + [f"{c.by_split[s]:,}" for s in splits]
            for c in rows
        ],
    )


def _boxes(boxes: BoxSection, words: Taxonomy) -> Blocks:
    if not any(b.small.n for b in boxes.by_type):
        yield Words("There is no box to measure.")
        return
    yield plots.heat_plot(boxes, words)
    yield plots.size_plot(boxes)
    yield plots.thirds_plot(boxes, words)
    shown = [(f"{words.spoken(b.name)} (type)", b) for b in boxes.by_type if b.small.n]
    shown += [(b.name, b) for b in boxes.by_class if b.small.n]
    yield grid(
        ["", "Objects", "Top", "Middle", "Bottom", "At the border"],
        [(name, b.small.n, b.thirds.top, b.thirds.middle, b.thirds.bottom, b.at_border) for name, b in shown],
        "Thirds by the center, and boxes within a pixel of the photograph's border, which may go on outside. Types "
        "first, then classes.",
    )
    yield _small(boxes, shown)
    yield grid(
        ["", "Measure", "Mean", "sd", "Min", "Quarter", "Median", "Three quarters", "Max"],
        [
            (name, what, *(figure(v, 4) for v in (s.mean, s.sd, s.min, s.q1, s.median, s.q3, s.max)))
            for name, b in shown
            for what, s in names_and_spreads(b)
        ],
        "Area, sides, shape and place.",
        left=2,
    )


def _small(boxes: BoxSection, shown: Sequence[tuple[str, Boxes]]) -> Block:
    """What is left of the boxes after a resize, and in the judge's crop."""
    return grid(
        [
            "",
            f"Small at {boxes.resized_px}",
            f"Thin at {boxes.resized_px}",
            "Median side",
            "Median side in crop",
            "Under a token",
        ],
        [
            (name, s.small, s.thin, figure(s.short_px.median, 1), figure(s.crop_px.median, 1), s.under_cell)
            for name, s in ((name, b.small) for name, b in shown)
        ],
        f"Small: under 32 x 32 pixels with the photograph's longer side at {boxes.resized_px}. Thin: a side under "
        f"{THIN_PX} pixels there. Sides are the shorter ones, in pixels; the crop is the judge's, {boxes.crop_tokens} "
        f"tokens of {boxes.cell_px} x {boxes.cell_px} pixels.",
    )


def _relations(relations: RelationSection, words: Taxonomy) -> Blocks:
    yield Words(
        "Relations are defined in docs/relations.md. Intervals are Wilson's at 95 % and take pairs as independent; "
        "those of one photograph are not, so the true ones are wider. Photographs with several berms turn the order "
        "round for pairs that do not belong together: read what is said of the nearest."
    )
    if plot := plots.direction_plot(relations, words):
        yield plot
    for named in relations.named:
        yield from _named(named)
    for title, which in (("every two", "all"), ("each thing and the nearest of the other type", "nearest")):
        rows = []
        for p in relations.pairs:
            held = p.all if which == "all" else p.nearest
            cells = [f"{100 * held[n].n / held[n].of:.0f}% ({held[n].n:,})" if held[n].n else "–" for n in NAMES]
            of = next(iter(held.values())).of
            rows.append([f"{words.spoken(p.subject)} → {words.spoken(p.other)}", f"{of:,}", *cells])
        heads = [name.replace("_", " ") for name in NAMES]
        yield grid(["Subject → other", "Pairs", *heads], rows, f"How often each relation holds: {title}.")
    yield _intervals(relations, words)
    yield _distances(relations, words)


def _named(named: NamedResult) -> Blocks:
    held, title = named.held, f"{named.title[0].upper()}{named.title[1:]}"
    share = f"{percent(held.n / held.of)}, 95 % {held.interval}" if held.of else "nothing to count"
    yield Words(
        f"{title}: {held.n} of {held.of} with their nearest ({share}). {named.alone} have none of the other type in "
        f"their photograph. {held.of - held.n} do not hold" + (":" if held.of > held.n else "."),
    )
    shown = named.counterexamples[:MOST_COUNTEREXAMPLES]
    if shown:
        more = held.of - held.n - len(shown)
        yield grid(
            ["File", "Lines", "Why not"],
            [(c.file, f"{c.line}, {c.other_line}", c.why) for c in shown],
            f"{title}: where not" + (f"; {more} more are in analysis.json." if more else "."),
            left=3,
        )


def _intervals(relations: RelationSection, words: Taxonomy) -> Block:
    rows = [
        (
            f"{words.spoken(p.subject)} → {words.spoken(p.other)}",
            name.replace("_", " "),
            f"{h.n:,} of {h.of:,}",
            h.interval,
        )
        for p in relations.pairs
        for name, h in p.nearest.items()
        if h.n
    ]
    caption = "Intervals of each thing's relation to the nearest of the other type."
    return grid(["Subject → other", "Relation", "Holds for", "95 %"], rows, caption, left=2)


def _distances(relations: RelationSection, words: Taxonomy) -> Block:
    def cells(d: Distance) -> tuple[str, ...]:
        touching = percent(d.touching / d.n) if d.n else "–"
        return f"{d.n:,}", touching, *(figure(v) for v in (d.mean, d.q1, d.median, d.q3, d.max))

    rows = [
        (f"{words.spoken(p.subject)} → {words.spoken(p.other)}", which, *cells(d))
        for p in relations.pairs
        for which, d in (("all", p.distance), ("nearest", p.nearest_distance))
    ]
    head = ["Subject → other", "Pairs", "Number", "Touching", "Mean", "Quarter", "Median", "Three quarters", "Max"]
    return grid(head, rows, "Gaps between boxes, as shares of the photograph's diagonal.", left=2)


def _together(found: Analysis) -> Blocks:
    together = found.together
    yield plots.together_plot(together)
    pairs = [
        (together.lift[i][j], together.together[i][j], a, b)
        for i, a in enumerate(together.names)
        for j, b in enumerate(together.names)
        if i < j
    ]
    rows = sorted(((lift, n, a, b) for lift, n, a, b in pairs if lift is not None), reverse=True)
    yield grid(
        ["Class", "Class", "Photographs with both", "Lift"],
        [(a, b, n, figure(lift, 2)) for lift, n, a, b in rows],
        f"Lift: how many times as often the two share one of the {together.photos:,} photographs as by chance.",
        left=2,
    )


def _labels(flags: Sequence[Flag]) -> Blocks:
    found = by_check(flags)
    yield grid(
        ["Check", "Found", "Weight", "Why this threshold and weight"],
        [(c.name, len(found[c.name]), c.weight, c.why) for c in CHECKS.values()],
        "Faults cannot be right; remarks may be.",
    )
    yield from flag_blocks([f for f in flags if f.check in {UNREAD, *(c.name for c in CHECKS.values())}])


def _proof(proof: ProofSection, words: Taxonomy) -> Blocks:
    goal = f"{100 * proof.target:g}%"
    yield Words(
        f"To show more than {goal} with 95 % confidence, the lower end of Wilson's interval must lie above it. That "
        f"takes at least {proof.objects_needed} objects, every one right. The majority-class baseline answers each "
        f"type's most common condition, counted on these same objects."
    )
    yield Words(
        "Objects of one photograph share light, season and often their condition, so they count for less than as many "
        "independent ones. How much less depends on the model; for the answers of that baseline it is:",
        tuple(
            f"{c.split}: {c.n} objects of {c.photos} photographs are worth {figure(c.effective, 0)} independent ones "
            f"(design effect {figure(c.design_effect, 2)}). How a model does on a new flight line is another question: "
            f"the answer would rest on {c.groups} of them."
            for c in proof.clustering
        ),
    )
    for c in proof.clustering:
        if c.split != "train" and (plot := plots.proof_plot(proof, c.split)):
            yield plot
    for c in proof.clustering:
        rows = []
        for p in (p for p in proof.proofs if p.split == c.split):
            name = words.spoken(p.name) if p.scope == "type" else p.name
            needed = "–" if p.right_needed is None else p.right_needed
            rows.append((f"{p.scope}: {name}", p.words, p.n, p.photos, needed, percent(p.majority_baseline)))
        head = ["Group", f"Can it show {goal}?", "Objects", "Photographs", "Must be right", "Majority class"]
        yield grid(head, rows, f"Split {c.split}.", left=2)


def _advice(found: Analysis) -> Blocks:
    advice = found.advice
    yield Words("", advice.words or ("Nothing is missing that counting can see.",))
    yield grid(
        [
            "Class",
            "Objects",
            "Photographs",
            "Class weight",
            "Type weight",
            "x condition weight",
            "= factorized",
            "Show times",
        ],
        [
            (
                *(c.name, c.n, c.photos),
                *(figure(v, 2) for v in (c.weight, c.type_weight, c.condition_weight, c.factorized, c.repeat)),
            )
            for c in advice.classes
        ],
        f"Counted on {advice.split}. Class weight: all objects over (classes x objects of the class). Type weight: the "
        f"same over types; condition weight: the same within the type. Show times: repeat factor of photographs with "
        f"the class (Gupta et al. 2019, threshold: the median share).",
    )


MOST_SHOWN = 60  # of one kind of flag in the report; all of them are in problems.jsonl

Blocks = Iterator[Block]


def image_blocks(images: Images, flags: Sequence[Flag]) -> Blocks:
    """Sizes, shapes and light."""
    yield Words(images.verdict)
    yield Words(images.stretching)
    sizes = [(f"{w} x {h}", n) for w, h, n in images.sizes]
    yield grid(
        ["Size in pixels", "Photographs"], sizes, f"Sizes, the most frequent first; there are {images.distinct} in all."
    )
    shapes = (images.with_camera_size, images.as_taken, images.scaled, images.other_shape)
    head = ["", "EXIF tells the camera's size", "As taken", "Scaled", "Cut or stretched"]
    yield grid(head, [("Photographs", *shapes)], "What the camera took, against what is here.")
    measures = (
        ("width / height", images.aspect),
        ("sharpness (variance of the Laplacian)", images.sharpness),
        ("brightness, 0 to 1", images.brightness),
        ("black, share of pixels", images.dark),
        ("white, share of pixels", images.burnt),
        ("detail across over detail down", images.stretch),
        ("filled by boxes, share of the frame", images.boxes_fill),
    )
    yield grid(
        ["Measure", "Mean", "sd", "Min", "Quarter", "Median", "Three quarters", "Max"],
        [(name, *(figure(v) for v in (s.mean, s.sd, s.min, s.q1, s.median, s.q3, s.max))) for name, s in measures],
        "Detail across over detail down is 1 for ground that looks alike both ways; pictures that were squeezed across "
        "are above, long drains across the picture pull it down. It is evidence over many photographs only.",
    )
    yield from flag_blocks([f for f in flags if f.check in IMAGE_CHECKS])


def leak_blocks(leaks: Leaks) -> Blocks:
    """The verdict, counts by kind, and the pairs."""
    yield Words(leaks.verdict)
    yield grid(
        ["Pairs of photographs", "Across splits", "Within a split"],
        [(kind, leaks.count(kind, crossing=True), leaks.count(kind, crossing=False)) for kind in Kind],
        f"Each pair under the first kind that applies; all of them are in leaks.csv. EXIF gives the time of "
        f"{leaks.with_time:,} photographs and the place of {leaks.with_pose:,}.",
    )
    if leaks.shared:
        rows = [(s.group, *(s.photographs.get(split, 0) for split in leaks.splits)) for s in leaks.shared]
        yield grid(["Flight line", *leaks.splits], rows, "Flight lines in more than one split, in photographs.")
    yield from flag_blocks(tuple(flags_of(leaks)))


def by_check(flags: Sequence[Flag]) -> dict[str, list[Flag]]:
    """Flags by their kind, in the order in which the kinds are first met."""
    found: dict[str, list[Flag]] = defaultdict(list)
    for flag in flags:
        found[flag.check].append(flag)
    return found


def flag_blocks(flags: Sequence[Flag]) -> Blocks:
    """A block for each kind of flag."""
    for name, some in by_check(flags).items():
        shown = tuple(map(_note, some[:MOST_SHOWN]))
        weight = some[0].weight
        mood = "bad" if weight is Weight.FAULT else "careful"
        yield Remarks(name.capitalize(), mood, weight, shown, len(some) - len(shown), "problems.jsonl")


def _note(flag: Flag) -> Problem:
    file = f"{flag.file} and {flag.other}" if flag.other else flag.file
    return Problem(flag.photo, file, flag.what, flag.todo, flag.line)
