"""Decisions as labels: what people confirmed, corrected and added becomes a data set; what nobody decided does not."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toeline.core.box import Box
from toeline.core.finding import Problem, grave
from toeline.core.records import counted, join_lines
from toeline.core.run_folder import write_whole
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some, unknown
from toeline.data.annotation_tools import PredictedPhoto
from toeline.data.datasets import Carry, LabeledPhoto, LabelSet, placed
from toeline.data.export import Format, write_as
from toeline.data.labels import LabelLine
from toeline.data.places import SPLITS
from toeline.data.split import FLIGHT, grouping, on_several_sides
from toeline.data.yolo import Entry
from toeline.errors import OutputError
from toeline.pipelines.export import write_cvat, write_label_studio
from toeline.pipelines.progress import Summary, bar, saying
from toeline.serve.imports import find_command, gone, is_same, path_of, store_taxonomy
from toeline.serve.listing import JOINED
from toeline.serve.store import Row, Store
from toeline.serve.tasks import decided_photos, snapshot

PROVENANCE, RECORD = "provenance.jsonl", "labels.json"
FORMATS = {"yolo": "YOLO", "coco": "COCO", "labelstudio": "Label Studio", "cvat": "CVAT", "fiftyone": "FiftyOne"}
BOTH = ("yolo", "coco")
URL = "/data/local-files/?d="  # of Label Studio's local storage
TRAIN = "train"  # of photographs whose folders name no split
WHY = {
    "open": "is not decided completely: {} left out, since what is not labeled would be learned as background",
    "unsure": "has {} that nobody could judge: left out with the photograph",
    "again": "is in the store more than once: the labels of the last decision are taken",
}


@dataclass
class Labels:
    """A data set of decisions.

    `sources` has for each object, by place and line, who decided it; `rows` by split and place the photograph and its
    objects in the store; `gone` counts photographs that were left out because their file is not there.
    """

    data: LabelSet
    sources: list[dict[str, Any]]
    gone: int
    rows: dict[tuple[str, str], tuple[Row, list[Row]]]
    problems: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def labels_of(store: Store, taxonomy: Taxonomy, *, partial: bool = False, ids: set[int] | None = None) -> Labels:
    """Every photograph whose objects are all decided, with what was decided; `ids` takes only these findings.

    `partial` takes photographs of which only some are decided, with those: for what learns object by object.
    """
    problems: list[Problem] = []
    counts: Counter[str] = Counter()
    kept = list(_photographs(store, partial or ids is not None, ids, problems, counts))
    entries = [Entry(path, None, split_of(path)) for _, path, _ in kept]
    photos: dict[str, list[LabeledPhoto]] = defaultdict(list)
    sources: list[dict[str, Any]] = []
    kept_rows: dict[tuple[str, str], tuple[Row, list[Row]]] = {}
    for (photo, path, rows), place in zip(kept, placed(entries), strict=True):
        lines = tuple(_line(at, row, taxonomy) for at, row in enumerate(rows, start=1))
        kept_rows[place.entry.split, place.name] = photo, rows
        photos[place.entry.split].append(LabeledPhoto(path, place.name, (photo["width"], photo["height"]), lines))
        sources += (
            _source(row, photo, place.name, place.entry.split, line) for row, line in zip(rows, lines, strict=True)
        )
    names = {i: c.name for i, c in enumerate(taxonomy.classes)}
    splits = {split: tuple(photos[split]) for split in sorted(photos, key=[*dict.fromkeys(SPLITS.values())].index)}
    lost = len(grave(problems))  # all else that was left out is a note
    problems += _torn(splits)
    return Labels(LabelSet(store.folder, names, splits), sources, lost, kept_rows, problems, counts)


def split_of(photo: Path) -> str:
    """The split that a photograph's folders name, the nearest first, or train.

    >>> split_of(Path("lagoon/valid/images/a.jpg")), split_of(Path("flight7/a.jpg"))
    ('valid', 'train')
    """
    return next((SPLITS[part.lower()] for part in reversed(photo.parts[:-1]) if part.lower() in SPLITS), TRAIN)


Kept = tuple[Row, Path, list[Row]]


def _photographs(
    store: Store, partial: bool, ids: set[int] | None, problems: list[Problem], counts: Counter[str]
) -> Iterator[Kept]:
    """Photographs that can be used, with their labeled objects; of a file inspected twice the last review."""
    latest: dict[str, Kept] = {}
    for photo in store.rows("SELECT * FROM photos ORDER BY id"):
        rows = store.rows(f"{JOINED} WHERE f.photo = ? AND f.removed = 0 ORDER BY f.id", photo["id"])
        rows = [row for row in rows if ids is None or row["id"] in ids]
        kept = _usable(photo, rows, partial, problems, counts, gone(store.folder))
        if kept is None:
            continue
        same = photo["sha256"] or photo["name"]
        if same in latest:
            problems.append(Problem(photo["name"], photo["name"], WHY["again"], note=True))
            kept = max(latest[same], kept, key=lambda k: max((row["now_event"] for row in k[2]), default=0))
        latest[same] = kept
    yield from latest.values()


def _usable(
    photo: Row, rows: list[Row], partial: bool, problems: list[Problem], counts: Counter[str], lost: str
) -> Kept | None:
    """The photograph with what was decided on it, or None; why not is told."""
    counts.update(row["now_action"] if row["decided"] else "open" for row in rows)
    undecided = [row for row in rows if not row["decided"]]
    unsure = [row for row in rows if row["decided"] and row["now_action"] == "unsure"]
    labeled = [row for row in rows if row["decided"] and row["now_class"]]

    def left_out(why: str, number: int) -> None:
        problems.append(Problem(photo["name"], photo["name"], WHY[why].format(some(number, "object")), note=True))

    if not rows or len(undecided) == len(rows):
        return None  # nobody looked at it: nothing to tell of thousands
    if not partial and undecided:
        left_out("open", len(undecided))
        return None
    if not partial and unsure:
        left_out("unsure", len(unsure))
        return None
    path = path_of(photo)
    if path is None or not is_same(path, photo):
        problems.append(Problem(photo["name"], photo["name"], f"left out, since it {lost}"))
        return None
    return photo, path, labeled


def box_of(row: Row) -> Box:
    """Where the object is: as a person drew it, else as it was found."""
    return Box(*json.loads(row["now_box"])) if row["now_box"] else Box(row["x1"], row["y1"], row["x2"], row["y2"])


def _line(number: int, row: Row, taxonomy: Taxonomy) -> LabelLine:
    return LabelLine(number, taxonomy.class_id(row["now_class"]), box_of(row))


def _source(row: Row, photo: Row, place: str, split: str, line: LabelLine) -> dict[str, Any]:
    """Where one label comes from."""
    return {
        "split": split,
        "photo": place,
        "line": line.line,
        "class": row["now_class"],
        "condition": row["now_condition"],
        "box": list(line.box.xyxy),
        "finding": row["id"],
        "event": row["now_event"],
        "action": row["now_action"],
        "user": row["now_user"],
        "time": row["now_time"],
        "seconds": row["now_seconds"],
        "model_class": "" if row["added"] else row["class"],
        "model_probability": None if row["added"] else row["probability"],
        "inspection": row["inspection"],
        "original": photo["name"],
        "sha256": photo["sha256"],
    }


def _torn(splits: dict[str, tuple[LabeledPhoto, ...]]) -> Iterable[Problem]:
    """Flight lines and copies that are in two splits: what is measured on one would have been seen in the other."""
    shared = on_several_sides({split: [p.photo for p in its] for split, its in splits.items()}, grouping(FLIGHT))
    for kind, keys in shared.items():
        for key, sides in keys.items():
            what = f"the {kind} {key} is in {' and '.join(sides)}. Run toeline split on them, or move some."
            yield Problem.in_file(Path("/".join(sides)), what)


def formats(to: Iterable[str]) -> tuple[str, ...]:
    """The formats that were named, with commas or one by one. Raises OutputError for one that is unknown.

    >>> formats(["yolo, coco", "cvat"])
    ('yolo', 'coco', 'cvat')
    """
    typed = [name.strip().lower() for one in to for name in one.split(",") if name.strip()]
    for name in typed:
        if name not in FORMATS:
            raise OutputError(unknown("there is no format", name, FORMATS))
    return tuple(dict.fromkeys(typed))


def _write(
    labels: Labels, photos: Sequence[PredictedPhoto], taxonomy: Taxonomy, out: Path, to: Sequence[str], carry: Carry
) -> dict[str, str]:
    """Each format into a folder of its name. Returns the places by what they are called."""
    sets = [Format(name) for name in to if name in set(Format)]
    if photographs := labels.data.photographs if sets else 0:
        said = list(_said(labels, photos))
        with bar("Writing", total=len(sets) * photographs) as step:
            for one in sets:
                extra = said if one is Format.FIFTYONE else ()
                write_as(labels.data, one, out / one.value, carry, more=extra, step=step)
    places = {FORMATS[one]: str(out / one) for one in to}
    if "labelstudio" in to:
        write_label_studio(photos, taxonomy, out / "labelstudio" / "tasks.json", URL, decided=True)
    if "cvat" in to:
        write_cvat(photos, taxonomy, out / "cvat" / "annotations.xml", labels.problems)
    return places


def _said(labels: Labels, photos: Iterable[PredictedPhoto]) -> Iterator[dict[str, Any]]:
    """What FiftyOne shows of each object, in the order of the splits, photographs and lines."""
    names = ("condition", "action", "user", "time", "model_class", "model_probability")
    known = {(s["split"], s["photo"], s["line"]): s for s in labels.sources}
    references = (one.reference for photo in photos for one in photo.objects)
    for split, its in labels.data.splits.items():
        for photo in its:
            for line in photo.lines or ():
                source = known[split, photo.name, line.line]
                yield {"attributes": {name: source[name] for name in names} | {"reference": next(references)}}


def labels_into(
    store_dir: Path, out: Path, *, to: Sequence[str] = BOTH, partial: bool = False, link: bool = True
) -> Summary:
    """Write the labels of a store into `out`, as each format of `to`; where each comes from, and what was left out."""
    chosen = formats(to)
    with closing(Store.open(store_dir, make=False)) as store:
        taxonomy = store_taxonomy(store)
        with saying("Reading the decisions"), snapshot(store) as seen:
            labels = labels_of(store, taxonomy, partial=partial)
            for_tools = decided_photos(store, taxonomy, labels.rows, labels.data, None if partial else seen)
            last = store.row("SELECT id, hash FROM events ORDER BY id DESC LIMIT 1")
        store.note_head()
    if not labels.data.photographs and labels.gone:
        what = f"none of {some(labels.gone, 'decided photograph')} is where it was"
        raise OutputError(f"{store_dir}: {what}. Bring them back, or say where they are: {find_command(store_dir)}")
    if not labels.data.photographs:
        told = f" ({labels.problems[0]})" if labels.problems else ""
        anything = any(did != "open" for did in labels.counts)
        hint = f": toeline serve --store {store_dir}" if not anything else "" if partial else ", or take --partial"
        raise OutputError(f"{store_dir}: no photograph is decided completely{told}. Decide some more{hint}.")
    places = _write(labels, for_tools, taxonomy, out, chosen, Carry.LINK if link else Carry.COPY)
    objects = sum(len(p.lines or ()) for its in labels.data.splits.values() for p in its)
    record = {
        "store": str(store_dir),
        "partial": partial,
        "photographs": {s: len(its) for s, its in labels.data.splits.items()},
        "objects": objects,
        "decisions": dict(labels.counts),
        "last_event": dict(last) if last else None,
        **counted(labels.problems),
    }
    write_whole(out / PROVENANCE, join_lines(labels.sources))
    write_whole(out / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    said = ", ".join(f"{n:,} {action}" for action, n in labels.counts.most_common())
    lines = [f"[bold]{some(objects, 'object')}[/] on {some(labels.data.photographs, 'photograph')} of {said}"]
    places |= {"sources": str(out / PROVENANCE), "record": str(out / RECORD)}
    return Summary(lines, places, record, labels.problems, str(out / RECORD))
