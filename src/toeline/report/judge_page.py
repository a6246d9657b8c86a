"""The sections of a judge's report: headline, accuracy, confusion, probabilities, worst mistakes, time and memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from PIL import Image, ImageDraw

from toeline.core.box import Box
from toeline.core.calibration import Calibration
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.data.images import read_photo
from toeline.errors import PhotoError
from toeline.evaluate.calibration import SURE, Reliability, ReviewPoint
from toeline.evaluate.classification import HEADLINE, UNREADABLE, Scorecard, normal_condition, side_of
from toeline.evaluate.matching import Case
from toeline.evaluate.metric import Metric
from toeline.evaluate.results import Evaluated, Trusted
from toeline.report.document import Grid, Mistake, MistakeGroup, Section, interval_words, tenths
from toeline.report.draw import as_jpeg, crop_window, data_uri
from toeline.report.plots import band_plot, confusion_plot, reliability_plot

GB, GIB = 1e9, 2**30


def headline(metric: Metric, *, where: str) -> str:
    """The headline metric in words: its counts, its interval, and how it stands to the majority-class baseline."""
    if not metric.n:
        return f"On {where} no object was judged whose type leaves a choice, so there is no headline."
    words = (
        f"Given the type, the judge named the right condition of {metric.count or 0:,} of {metric.n:,} objects on "
        f"{where}: {tenths(metric.value)} (95 % interval {interval_words(metric.interval)})."
    )
    if metric.majority_baseline is not None:
        words += (
            f" The most common condition of each type, without a look at the picture, is right for "
            f"{tenths(metric.majority_baseline)}: {against(metric, metric.majority_baseline)} that."
        )
    if metric.target is not None:
        words += f" More than {100 * metric.target:g}% is the target: {metric.verdict}."
    return words


def against(metric: Metric, baseline: float) -> str:
    """What an interval says of a baseline, in words."""
    if metric.interval.low > baseline:
        return "shown to be better than"
    return "shown to be worse than" if metric.interval.high < baseline else "not shown to be better or worse than"


def confusion_section(
    names: Sequence[str], said: Sequence[str], counts: Sequence[Sequence[int]], sides: tuple[str, Sequence[int]]
) -> Section:
    """Who is taken for whom. `said` may name one column more than `names`, for unreadable answers, shown if there are.

    `sides` is the name of the normal condition, and for each of `said` 0 if it is normal, 1 if not, -1 if neither.
    """
    wide = len(said) if any(sum(row[len(names) :]) for row in counts) else len(names)
    columns, shown = list(said[:wide]), [list(row[:wide]) for row in counts]
    normal, side = sides
    two = [normal, f"not {normal}"]
    small = collapsed(shown, side)
    return Section(
        "Confusion",
        plots=(
            confusion_plot(names, shown, columns, what="Every class"),
            confusion_plot(two, small, two, what=f"{normal.capitalize()} or not, every type"),
        ),
        grids=(
            Grid("Every class, counts", ("true \\ said", *columns), _rows(names, shown), folded=True),
            Grid(f"{normal.capitalize()} or not, counts", ("true \\ said", *two), _rows(two, small), folded=True),
        ),
    )


def collapsed(counts: Sequence[Sequence[int]], side: Sequence[int]) -> list[list[int]]:
    """Counts of classes as counts of the two sides that they are on; what is on neither is left out.

    >>> collapsed([[5, 1, 2], [0, 4, 3], [1, 1, 6]], [0, 1, 1])
    [[5, 3], [1, 14]]
    """
    total = [[0, 0], [0, 0]]
    for true, row in zip(side, counts, strict=False):
        for said, count in zip(side, row, strict=False):
            if said >= 0:
                total[true][said] += count
    return total


def _rows(names: Sequence[str], counts: Sequence[Sequence[int]]) -> tuple[tuple[str, ...], ...]:
    return tuple((name, *map(str, row)) for name, row in zip(names, counts, strict=True))


LOSSES = {  # as evaluation sorts them -> in words
    "right": "found, and its class is right",
    "wrong_condition": "found, and its condition is wrong",
    "wrong_type": "found in its place, as another type",
    "misplaced": "found as its type, overlapping too little",
    "missed": "not found",
    "double": "a second finding of the same object",
    "false": "a finding of nothing",
}


def cost_section(seconds: Sequence[float], objects: int, memory: Mapping[str, int]) -> Section:
    """Time and memory. `seconds` is one figure per photograph, `objects` how many were asked about, `memory` bytes."""
    rows = []
    if total := sum(seconds):
        rows += [
            ("seconds per photograph, mean", f"{fmean(seconds):.3f}"),
            ("seconds per photograph, median", f"{median(seconds):.3f}"),
            ("seconds per photograph, slowest", f"{max(seconds):.3f}"),
            ("seconds per object that was asked about", f"{total / objects:.3f}" if objects else ""),
            ("seconds in all", f"{total:.1f}"),
        ]
    names = {"process": "most memory of the process", "gpu": "most memory of the GPU"}
    rows += [(names.get(n, n), f"{b / GB:.2f} GB ({b / GIB:.2f} GiB)") for n, b in memory.items() if b]
    text = (
        "From opening a photograph to its last answer, one at a time; the first one warms up. Loading is not counted.",
    )
    return Section("Time and memory", text if total else (), grids=(Grid("", ("measured", "value"), tuple(rows)),))


def pairs_grid(wrong: Iterable[tuple[str, str]]) -> Grid:
    """How often each true class was called another one, the most frequent first."""
    rows = Counter(wrong).most_common()
    return Grid("Which mistakes", ("true", "said", "objects"), tuple((a, b, str(n)) for (a, b), n in rows), words=2)


SHARES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)  # of answers sent to a person, at which the table says what is left
USE = "Temperature and threshold are in calibration.json; toeline inspect --calibration FILE uses both, for this judge."


def trust_section(trust: Trusted) -> list[Section]:
    """The section about probabilities; nothing when no object was asked about."""
    if not trust.before.n:
        return []
    before, after, point = trust.before, trust.after, trust.point
    text = [
        f"Over the {before.n:,} objects that were asked about. The calibration error is the mean distance between "
        f"the probability of an answer and the share of such answers that is right, in bins of equal count; with few "
        f"objects it is never 0, so what chance alone gives stands beside it.",
        _fitted(trust.calibration)
        if trust.calibration
        else "No temperature was fitted: that needs another split (--calibrate).",
    ]
    text += [_advice(point, trust.calibration), USE] if point and trust.calibration else []
    return [
        Section(
            "Probabilities",
            tuple(text),
            plots=(
                reliability_plot(before.bins, after.bins if after else ()),
                band_plot(trust.curve, point if point and point.kept else None),
            ),
            grids=(_numbers(before, after), _bins(before, after), _band(trust.curve)),
        )
    ]


def _fitted(made: Calibration) -> str:
    on = made.fitted_on
    own = ", ".join(f"{kind.replace('_', ' ')} {t:.2f}" for kind, t in made.by_kind.items())
    return (
        f"Temperature {made.temperature:.2f}{f' (by type: {own})' if own else ''}, fitted on {on.get('objects', 0)} "
        f"objects of the split {on.get('split', '')}; it changes probabilities and never which answer is best."
    )


def _advice(point: ReviewPoint, made: Calibration) -> str:
    """What the threshold does that keeps the risk that was asked for, where it was chosen and where it is measured."""
    risk = made.risk or 0.0
    step = made.step(risk)
    words = f"To leave at most {tenths(risk)} wrong (--risk), a person looks at "
    if step.below < 1:
        words += (
            f"answers under {step.below:.2f}, as chosen on the other split. There that leaves {tenths(step.wrong)} "
            f"wrong of the {tenths(1 - step.sent)} that nobody sees; of other answers like them it is at most "
            f"{tenths(step.at_most)}, with a certainty of {SURE:.0%}. "
        )
    else:
        words += "every answer: on the other split no threshold is sure to keep that. "
    if not point.kept:
        return words + "Here that is every answer: with this judge a person has to look at all of them."
    return words + (
        f"Here it sends {tenths(point.review)} to a person and leaves {point.wrong:,} of {point.kept:,} wrong "
        f"({tenths(point.errors_left)})."
    )


def _numbers(before: Reliability, after: Reliability | None) -> Grid:
    names = ("calibration error (ECE)", "the same by chance alone", "Brier score, 0 to 2", "log loss, nats")
    sets = [before, after] if after else [before]
    columns = [(tenths(t.ece), tenths(t.ece_by_chance), f"{t.brier:.3f}", f"{t.log_loss:.3f}") for t in sets]
    rows = tuple(zip(names, *columns, strict=True))
    return Grid("", ("measured", "as scored", "after temperature")[: len(sets) + 1], rows)


def _bins(before: Reliability, after: Reliability | None) -> Grid:
    sets = [("as scored", before)] + ([("after temperature", after)] if after else [])
    rows = [(f"{tenths(b.confidence)}", tenths(b.accuracy), str(b.n), name) for name, t in sets for b in t.bins]
    head = ("mean probability", "share right", "objects", "which")
    return Grid("The plotted probabilities", head, tuple(rows), folded=True)


def _band(band: Sequence[ReviewPoint]) -> Grid:
    """The first point of the curve that sends at least each of SHARES to a person."""
    chosen = [next((p for p in band if p.review >= share), None) for share in SHARES]
    points = list(dict.fromkeys(p for p in chosen if p is not None and p.review < 1))
    rows = tuple((tenths(p.review), f"{p.threshold:.3f}", tenths(p.errors_left)) for p in points)
    return Grid("Review: workload and remaining errors", ("to a person", "answers under", "wrong among the rest"), rows)


LONGER_PX = 420  # of the embedded picture
QUALITY = 76
WIDTH_PX = 2
MOST_IN_GROUP, MOST_CROPS = 6, 72  # some 20 kB each, so that the page stays under two megabytes
ANSWERS = 3  # shown with each, best first


def mistake_groups(
    wrong: Iterable[Case], files: Mapping[str, Path], color_of: Mapping[str, str]
) -> tuple[MistakeGroup, ...]:
    """Mistakes by pair of classes, the most frequent pair first, and the most confident mistakes of each with a crop.

    `files` are the photographs by name, `color_of` gives the color (#rrggbb) of the box for each true class.
    """
    pairs: dict[tuple[str, str], list[Case]] = {}
    for one in sorted(wrong, key=lambda c: (-c.probabilities.get(c.said_class, 0.0), *c.key)):
        pairs.setdefault((one.true_class, one.said_class or UNREADABLE), []).append(one)
    groups, left = [], MOST_CROPS
    for (true, said), ones in sorted(pairs.items(), key=lambda pair: -len(pair[1])):
        shown = ones[: min(MOST_IN_GROUP, left)]
        left -= len(shown)
        mistakes = tuple(_mistake(one, files[one.photo], color_of[true]) for one in shown)
        groups.append(MistakeGroup(true, said, len(ones), mistakes))
    return tuple(groups)


def _mistake(wrong: Case, file: Path, color: str) -> Mistake:
    """The best answers, what was said first; the true one is always among them."""
    ranked = sorted(wrong.probabilities.items(), key=lambda pair: (pair[0] != wrong.said_class, -pair[1]))
    shown = ranked[:ANSWERS]
    if wrong.true_class in wrong.probabilities and wrong.true_class not in dict(shown):
        shown[-1] = (wrong.true_class, wrong.probabilities[wrong.true_class])
    return Mistake(wrong.photo, wrong.instance_id, crop_uri(file, wrong.box, color), tuple(shown))


def marked_crop(image: Image.Image, box: Box, color: str) -> Image.Image:
    """The window around `box`, enlarged to LONGER_PX, with the box drawn in `color` over a dark line."""
    window = crop_window(box, image.size)
    scale = LONGER_PX / max(window.width, window.height)
    shown = image.resize(
        (max(1, round(window.width * scale)), max(1, round(window.height * scale))),
        Image.Resampling.LANCZOS,
        box=window.xyxy,
    )
    x1, x2 = ((x - window.x1) * scale for x in (box.x1, box.x2))
    y1, y2 = ((y - window.y1) * scale for y in (box.y1, box.y2))
    pen = ImageDraw.Draw(shown)
    pen.rectangle((x1 - 2, y1 - 2, x2 + 2, y2 + 2), outline="#10151c", width=WIDTH_PX + 2)
    pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=color, width=WIDTH_PX)
    return shown


def crop_uri(photo: Path, box: Box, color: str) -> str:
    """A data URI of the marked crop, or empty when the photograph cannot be read."""
    try:
        picture = marked_crop(read_photo(photo), box, color)
    except PhotoError:
        return ""
    return data_uri(as_jpeg(picture, quality=QUALITY))


TILES = (
    (HEADLINE, "condition, given the type"),
    ("accuracy", "class, every type"),
    ("missed_defects", "of defects missed"),
)


def headline_of(done: Evaluated, card: Scorecard) -> str:
    """The headline of an evaluation, in words; objects that were not found are named, because they have no answer."""
    where = f"{some(card.photographs, 'photograph')} of {done.split.name}"
    words = headline(card.headline, where=where)
    if done.unjudged:
        words += f" This counts objects that were found: {card.objects:,} of {card.objects + done.unjudged:,}."
    return words


def metric_sections(card: Scorecard, *, where_found: bool = False) -> list[Section]:
    """All figures of a card: overall, then by condition, type and class; `where_found` of objects that were found."""
    clusters = "photographs" if card.cluster == "photo" else "flight lines"
    rests = (
        f"{card.objects:,} objects, {card.asked:,} of which leave a choice and were asked about. Intervals are the "
        f"wider of Wilson's and a bootstrap that draws whole {clusters} ({card.clusters} of them; {card.draws:,} draws "
        f"from seed {card.seed}), because what stands in one of them hangs together."
    )
    text = [rests]
    if card.unreadable:
        text.append(f"{card.unreadable} answers were no class name; they count as wrong.")
    overall = [f for f in card.figures if "/" not in f.key]
    if where_found:
        text.append("These are the judge's answers to objects that were found; what was not found is above.")
    title = "The judge, where an object was found" if where_found else "Accuracy"
    sections = [Section(title, tuple(text), tuple(overall))]
    for title, prefixes in (
        ("By condition", ("condition", "condition_given_type")),
        ("By type", ("type",)),
        ("By class", ("class",)),
    ):
        figures = [f for prefix in prefixes for f in card.under(prefix)]
        sections += [Section(title, figures=tuple(figures))] if figures else []
    return sections


def card_sections(done: Evaluated, card: Scorecard, taxonomy: Taxonomy) -> list[Section]:
    """Confusion, mistakes and costs of one evaluation."""
    sides = (normal_condition(taxonomy), [int(v) for v in side_of(taxonomy)])
    confusion = confusion_section(card.confusion.names, card.confusion.said, card.confusion.counts, sides)
    return [
        confusion,
        mistakes_section(done, taxonomy),
        cost_section(seconds_of(done), card.asked, done.folder.run.get("memory", {})),
    ]


def tiles_of(done: Evaluated, card: Scorecard) -> list[tuple[str, str]]:
    """The numbers that are looked for first, with what they are."""
    tiles = [(tenths(card[key].value), what) for key, what in TILES if card[key].n]
    return [*tiles, (f"{card.objects:,}", "objects"), *time_tile(done)]


def time_tile(done: Evaluated) -> list[tuple[str, str]]:
    """Seconds per photograph, where they are known."""
    seconds = seconds_of(done)
    return [(f"{fmean(seconds):.2f} s", "per photograph")] if seconds else []


def cost_of(done: Evaluated, card: Scorecard) -> dict[str, Any]:
    """Seconds and bytes as scorecard.json holds them; null where they are not known."""
    seconds = seconds_of(done)
    return {
        "seconds_per_photograph": fmean(seconds) if seconds else None,
        "seconds_per_object": sum(seconds) / card.asked if seconds and card.asked else None,
        "peak_bytes": done.folder.run.get("memory", {}),
    }


def seconds_of(done: Evaluated) -> list[float]:
    """What each photograph took; none where it is not known."""
    return [float(r["seconds"]) for r in done.folder.done.values() if not r["failed"] and r["seconds"]]


def mistakes_section(done: Evaluated, taxonomy: Taxonomy) -> Section:
    """The worst mistakes, grouped by what was taken for what."""
    wrong = [c for c in done.cases if not c.right]
    if not wrong:
        return Section("Mistakes", ("There are none.",))
    colors = {c.name: taxonomy.color(c.condition) for c in taxonomy.classes}
    text = (
        f"{len(wrong)} of {len(done.cases)} objects were named wrongly. By pair of classes, the most frequent first; "
        f"in each the mistakes that the judge was surest of. The box has the color of the true condition."
    )
    pairs = pairs_grid((c.true_class, c.said_class or UNREADABLE) for c in wrong)
    files = {photo.name: photo.path for photo in done.split.photos}
    return Section("Mistakes", (text,), grids=(pairs,), mistakes=mistake_groups(wrong, files, colors))
