"""The report on a detector: headline, average precision, recall and precision in use, the worst photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toeline.core.run_folder import write_whole
from toeline.core.scene import Instance
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.data.images import read_photo
from toeline.errors import PhotoError
from toeline.evaluate.average_precision import DRAWS
from toeline.evaluate.detection import DetectedPhoto, confusion, worst
from toeline.evaluate.results import DetectorMeasurement
from toeline.report.document import Grid, Section, interval_words, tenths
from toeline.report.draw import Mark, as_jpeg
from toeline.report.plots import (
    FALSE,
    FOUND,
    MISSED,
    SWAPPED,
    Curve,
    confusion_plot,
    marked_picture,
    picture_plot,
    precision_plot,
)

MOST_PICTURES = 12
WORST = "worst"  # the folder of their pictures
KEYS = ("map_50", "map_50_95")


def headline(measured: DetectorMeasurement, other: DetectorMeasurement | None) -> str:
    """The one figure that counts, with its interval, and what the other detector gets."""
    figure = measured.figure("map_50")
    value = f"{tenths(figure.value)} (95 % interval {interval_words(figure.interval)})"
    where = f"{some(figure.n, 'object')} on {some(len(measured.photos), 'photograph')}"
    words = f"mAP@0.5 is {value} over {where}."
    if other:
        gain, interval = measured.precision.gained_over(other.precision)
        words += (
            f" On the same, {other.name} gets {tenths(other.precision.map_50)}: {100 * gain:+.1f} points (95 % "
            f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f})."
        )
    return words


def tiles(measured: DetectorMeasurement) -> list[tuple[str, str]]:
    """What stands under the headline."""
    keys = (("map_50", "mAP@0.5"), ("map_50_95", "mAP@0.5:0.95"))
    found = [(tenths(measured.figure(key).value), what) for key, what in keys]
    used = (("recall/all types", "of objects found"), ("precision/all types", "of boxes are right"))
    found += [(tenths(f.value), what) for key, what in used if (f := measured.figure(key)).n]
    return found


def sections(
    measured: DetectorMeasurement, other: DetectorMeasurement | None, taxonomy: Taxonomy, out: Path
) -> list[Section]:
    """All sections of one measurement; pictures of the worst photographs are also written below `out`."""
    parts = [_precision_section(measured), _against(measured, other), _used_section(measured, taxonomy)]
    return [part for part in (*parts, _worst_section(measured, taxonomy, out)) if part]


def _precision_section(measured: DetectorMeasurement) -> Section:
    clusters = "flight lines" if measured.by_flight else "photographs"
    text = (
        f"COCO average precision by pycocotools, at IoU 0.5 and as the mean over IoU 0.5 to 0.95, of all boxes with a "
        f"score above 0.001. Intervals draw whole {clusters} ({measured.precision.clusters}; {DRAWS:,} draws)."
    )
    figures = [f for f in measured.precision.figures() if f.key in KEYS or f.n]
    used = {f.key: f for f in measured.figures}
    curves = []
    for k, kind in enumerate(measured.kinds):
        if measured.precision.objects[k]:
            recall, right = used[f"recall/{kind}"], used[f"precision/{kind}"]
            dot = (recall.value, right.value) if recall.n and right.n else None
            curves.append(Curve(kind.replace("_", " "), list(measured.precision.curves[k]), dot))
    return Section("Average precision", (text,), tuple(figures), plots=(precision_plot(curves),))


def _against(measured: DetectorMeasurement, other: DetectorMeasurement | None) -> Section | None:
    if other is None:
        return None
    head = ("", "n", measured.name, other.name, "difference")
    rows = tuple(
        (a.label, str(a.n), tenths(a.value), tenths(b.value), f"{100 * (a.value - b.value):+.1f}")
        for a, b in zip(measured.precision.figures(), other.precision.figures(), strict=True)
        if a.n
    )
    return Section(f"Beside {other.name}", grids=(Grid("", head, rows),))


def _used_section(measured: DetectorMeasurement, taxonomy: Taxonomy) -> Section:
    text = (
        "At the detector's thresholds, duplicates settled, as inspection shows it; a box counts at IoU 0.5. In the "
        "plot an object found in its place as another type stands off the diagonal; the last column holds objects that "
        "were missed, the last row boxes where nothing of the kind is."
    )
    figures = [f for f in measured.figures if f.key.startswith(("recall/", "precision/")) and f.n]
    names = [taxonomy.spoken(kind) for kind in measured.kinds]
    counts = confusion(measured.seen, measured.kinds).tolist()
    plot = confusion_plot([*names, "nothing there"], counts, [*names, "not found"], what="Types")
    return Section("At the thresholds in use", (text,), tuple(figures), plots=(plot,))


MOST_STEM = 200  # bytes; with what is added, a name has at most 255


def _worst_section(measured: DetectorMeasurement, taxonomy: Taxonomy, out: Path) -> Section | None:
    """The photographs with most faults, as pictures on the page and as files."""
    chosen = worst(measured.seen, MOST_PICTURES)
    if not chosen:
        return None
    plots = []
    for rank, n in enumerate(chosen, start=1):
        photo, told = measured.photos[n], measured.seen[n]
        try:
            picture = marked_picture(read_photo(photo.path), marks(told, taxonomy))
        except PhotoError:  # it was measured, and is gone by now
            continue
        stem = Path(photo.name).stem.encode(errors="replace")[:MOST_STEM].decode(errors="ignore")
        write_whole(out / WORST / f"{rank:02d}-{stem}.jpg", as_jpeg(picture))
        plots.append(picture_plot(picture, f"{photo.name}: {fault_words(told)}"))
    text = "Blue: found. Orange, dashed: missed. Pink, dotted: nothing of the kind is there. Purple: another type."
    return Section("Worst photographs", (text,), plots=tuple(plots))


def fault_words(told: DetectedPhoto) -> str:
    """What went wrong on one photograph, in words."""
    counts = (
        (told.right, "found"), (told.missed, "missed"), (told.swapped, "as another type"), (told.false, "false"),
    )  # fmt: skip
    return ", ".join(f"{len(instances)} {what}" for instances, what in counts)


def marks(told: DetectedPhoto, taxonomy: Taxonomy) -> list[Mark]:
    """What is right first, so that what went wrong is drawn over it."""

    def named(instances: Sequence[Instance], color: str, style: int, word: str) -> list[Mark]:
        return [Mark(t.box, f"{word}{taxonomy.spoken(t.type_name)}", color, style) for t in instances]

    swapped = [
        Mark(f.box, f"{taxonomy.spoken(f.type_name)}, is {taxonomy.spoken(t.type_name)}", SWAPPED, 0)
        for f, t in told.swapped
    ]
    right = [Mark(found.box, "", FOUND, 0) for found, _ in told.right]
    return [*right, *named(told.missed, MISSED, 1, "missed: "), *swapped, *named(told.false, FALSE, 2, "no ")]
