"""`toeline export`: the findings of a run in the formats of annotation tools, maps and tables. Loads no model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toeline.core.finding import Finding, Problem, grave
from toeline.core.geo import pose_from
from toeline.core.records import counted, each_line, told_from
from toeline.core.run_folder import FINDINGS, RUN, replacing, write_whole
from toeline.core.taxonomy import Names, Taxonomy
from toeline.core.words import some
from toeline.data.annotation_tools import (
    MODEL,
    NO_XML,
    TITLE,
    PredictedObject,
    PredictedPhoto,
    comes_back,
    cvat_labels,
    cvat_xml,
    label_studio_interface,
    label_studio_tasks,
)
from toeline.data.coco import Extra
from toeline.data.datasets import LabeledPhoto, LabelSet, apart
from toeline.data.export import NOTE, Format, Shapes, shaped, write_as
from toeline.data.images import photo_size
from toeline.data.labels import LabelLine
from toeline.errors import OutputError, PhotoError
from toeline.pipelines.datasets import carrying
from toeline.pipelines.progress import Summary, saying
from toeline.pipelines.saved_run import SavedRun, read_saved
from toeline.pipelines.settings import ExportRun
from toeline.report.geolocate import ABOUT_POINTS, collection, finding_feature, write_collection
from toeline.report.kml import findings_kml
from toeline.report.parquet import PARQUET, parquet_file, parquet_rows
from toeline.report.tables import Chapter, chapters, csv_head, csv_lines, rows

SPLIT = "train"  # of a data set of findings: tools and `toeline split` know it
CHAPTER = 500  # photographs whose findings are in memory together, for tables


@dataclass
class Exported:
    """What was written: `place` is the file or folder, `findings` of them are in it, `problems` say what is not."""

    run: SavedRun
    to: str
    place: Path
    findings: int
    problems: list[Problem] = field(default_factory=list)
    more: dict[str, Path] = field(default_factory=dict)

    @property
    def fine(self) -> bool:
        """Whether all findings are in it."""
        return not grave(self.problems)


def export_into(run: ExportRun, out: Path) -> Exported:
    """Write the findings of `run.run` as `run.to` into `out`. Raises ToelineError."""
    saved = read_saved(run.run, run.taxonomy)
    number = sum(1 for _ in each_line(saved.folder / FINDINGS))
    with saying("Writing"):
        done = FORMATS[run.to](saved, run, out, number)
    done.problems += saved.unfinished()
    return done


def _predicted(saved: SavedRun, there: dict[str, Path], problems: list[Problem]) -> list[PredictedPhoto]:
    """The photographs of a run with what can be drawn on them; what is left out is among `problems`."""
    findings, failed = saved.findings(), saved.failed()
    photos = []
    for record in saved.progress:
        name = str(record["photo"])
        if name in failed:
            problems.append(Problem(name, name, "could not be inspected, so it is left out."))
            continue
        size = _size(record["size"], there.get(name))
        if size is None:
            problems.append(Problem(name, name, "its size is not known, and it is not there: left out."))
            continue
        said = (_object(f, n, size, saved, problems) for n, f in enumerate(findings.get(name, ()), start=1))
        photos.append(PredictedPhoto(name, size, tuple(filter(None, said))))
    return photos


def _size(said: Sequence[int], photo: Path | None) -> tuple[int, int] | None:
    """The size in a progress record; saved findings of other programs have none, so that the photograph is asked."""
    wide, high = said
    if wide and high:
        return wide, high
    try:
        return photo_size(photo) if photo else None
    except PhotoError:
        return None


def _object(
    finding: Finding, number: int, size_wh: tuple[int, int], saved: SavedRun, problems: list[Problem]
) -> PredictedObject | None:
    """A finding as an object with a class; without an answer, or wholly beyond the border, it cannot be one."""
    classes = [c.name for c in saved.taxonomy.classes]
    box, class_name = finding.box.clipped(size_wh), finding.verdict.class_name
    if class_name not in classes:
        what = f"the answer is {class_name!r}, which is no class" if class_name else "the judge's answer is none"
    elif not box.area:
        what = "its box has no area on the photograph"
    else:
        line = LabelLine(number, classes.index(class_name), box, finding.polygon)
        return PredictedObject(line, finding)
    problems.append(Problem(finding.photo, finding.photo, f"finding {finding.instance_id} is left out: {what}."))
    return None


def _names(saved: SavedRun) -> Names:
    return {i: c.name for i, c in enumerate(saved.taxonomy.classes)}


def _label_set(photos: Iterable[PredictedPhoto], saved: SavedRun, there: dict[str, Path]) -> LabelSet:
    """Photographs that are there, as a data set in one split."""
    kept = [photo for photo in photos if photo.name in there]
    places = apart((photo.name, SPLIT) for photo in kept)
    labeled = [
        LabeledPhoto(there[photo.name], place, photo.size_wh, tuple(one.line for one in photo.objects))
        for photo, place in zip(kept, places, strict=True)
    ]
    return LabelSet(saved.folder, _names(saved), {SPLIT: tuple(labeled)})


def _data_set(saved: SavedRun, run: ExportRun, out: Path, _: int) -> Exported:
    """YOLO or COCO, by what `toeline convert` writes with."""
    there, to = saved.photographs(), Format(run.to)
    problems = saved.lost(there, "a data set needs it, so it is left out, with its findings.")
    photos = _predicted(saved, there, problems)
    data = shaped(_label_set(photos, saved, there), Shapes(run.shapes), to)
    if not data.photographs:
        raise OutputError(f"{saved.folder}: none of its photographs is there. {problems[0].todo or problems[0]}")
    said = [fiftyone_extra(one) for photo in photos if photo.name in there for one in photo.objects]
    record = write_as(data, to, out, carrying(run.link), more=said if to is Format.FIFTYONE else ())
    more = {"record": out / NOTE}
    if to is Format.COCO:
        more["scores"] = out / SCORES
        write_whole(out / SCORES, json.dumps(coco_results(photos, there)) + "\n")
    total = sum(len(p.lines or ()) for photos in data.splits.values() for p in photos)
    notes = [Problem.in_file(out, note, note=True) for note in record["notes"]]
    return Exported(saved, run.to, out, total, [*problems, *told_from(record), *notes], more)


SCORES = "results.json"


def fiftyone_extra(one: PredictedObject, **more: object) -> Extra:
    """What FiftyOne shows of an object besides its label and place: `score` becomes its confidence."""
    f = one.finding
    own = {"object": f.instance_id, "condition": f.condition, "severity": f.severity, "review": f.review_reason}
    said: dict[str, object] = {**own, "detector_confidence": round(f.score, 6), **more}
    return {"score": round(f.verdict.probability, 6), "attributes": said}


def coco_results(photos: Iterable[PredictedPhoto], there: dict[str, Path]) -> list[dict[str, Any]]:
    """The same objects in COCO's format of results (cocodataset.org, Results Format), which has their scores."""
    kept = [photo for photo in photos if photo.name in there]
    return [
        {
            "image_id": image,
            "category_id": one.line.class_id,
            "bbox": [one.line.box.x1, one.line.box.y1, one.line.box.width, one.line.box.height],
            "score": round(one.finding.verdict.probability, 6),
        }
        for image, photo in enumerate(kept, start=1)
        for one in photo.objects
    ]


@dataclass(frozen=True)
class _Single:
    """A format of one file: its name in a folder, what stands in every such file of ours, and who writes it.

    `write` is given the run, the settings and the file, and returns how many findings are in it and what is not.
    """

    name: str
    mark: bytes
    write: Callable[[SavedRun, ExportRun, Path], tuple[int | None, list[Problem]]]

    def __call__(self, saved: SavedRun, run: ExportRun, out: Path, number: int) -> Exported:
        with self.into(out) as file:
            total, problems = self.write(saved, run, file)
        return Exported(saved, run.to, file, number if total is None else total, problems)

    @contextmanager
    def into(self, out: Path) -> Iterator[Path]:
        """The file to write: `out`, or the one in it. Raises OutputError where a file of others is."""
        suffix = Path(self.name).suffix
        file = out if out.suffix.lower() == suffix and not out.is_dir() else out / self.name
        if (file.parent / RUN).exists():
            raise OutputError(f"{file}: {file.parent} is the folder of a run. Choose another --out.")
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file, self._is_ours, f"{suffix} file that `toeline export` wrote"):
            yield file

    def _is_ours(self, file: Path) -> bool:
        with file.open("rb") as stream:
            head = stream.read(_MARKED)
            stream.seek(max(0, file.stat().st_size - _MARKED))
            return self.mark in head or self.mark in stream.read()


_MARKED = 1 << 16  # bytes at the beginning and at the end of a file in which the mark stands


def _cvat(saved: SavedRun, run: ExportRun, file: Path) -> tuple[int, list[Problem]]:
    photos, problems = _for_tools(saved, run)
    return write_cvat(photos, saved.taxonomy, file, problems), problems


def write_cvat(photos: Sequence[PredictedPhoto], taxonomy: Taxonomy, file: Path, problems: list[Problem]) -> int:
    """The file, and for what comes back the labels that its task must have. Returns how many objects are in it."""
    odd = [photo for photo in photos if NO_XML.search(photo.name)]
    what = "its name has a character that XML cannot hold, so it is left out. Rename it."
    problems += [Problem(photo.name, photo.name, what) for photo in odd]
    kept = [photo for photo in photos if photo not in odd]
    names = {i: c.name for i, c in enumerate(taxonomy.classes)}
    write_whole(file, cvat_xml(kept, names))
    if comes_back(kept):
        labels = cvat_labels(names, back=True, taxonomy=taxonomy)
        write_whole(file.with_suffix(".labels.json"), json.dumps(labels, ensure_ascii=False, indent=1) + "\n")
    return sum(len(photo.objects) for photo in kept)


def _label_studio(saved: SavedRun, run: ExportRun, file: Path) -> tuple[int, list[Problem]]:
    photos, problems = _for_tools(saved, run)
    return write_label_studio(photos, saved.taxonomy, file, run.url), problems


def write_label_studio(
    photos: Sequence[PredictedPhoto], taxonomy: Taxonomy, file: Path, prefix: str, *, decided: bool = False
) -> int:
    """The tasks, and beside them the labeling interface. Returns how many objects are in them."""
    names = {i: c.name for i, c in enumerate(taxonomy.classes)}
    tasks = list(label_studio_tasks(photos, names, prefix, decided=decided))
    write_whole(file, json.dumps(tasks, ensure_ascii=False, indent=1) + "\n")
    write_whole(file.with_suffix(".xml"), label_studio_interface(taxonomy, back=comes_back(photos)))
    return sum(len(photo.objects) for photo in photos)


def _for_tools(saved: SavedRun, run: ExportRun) -> tuple[list[PredictedPhoto], list[Problem]]:
    """Photographs with boxes and polygons as --shapes wants them; the photographs themselves need not be there."""
    problems: list[Problem] = []
    unknown = any(not all(record["size"]) for record in saved.progress)
    photos = _predicted(saved, saved.photographs() if unknown else {}, problems)
    every = {photo.name: Path(photo.name) for photo in photos}
    data = shaped(_label_set(photos, saved, every), Shapes(run.shapes), Format.COCO)
    lines = [p.lines or () for p in data.splits[SPLIT]]
    return [
        PredictedPhoto(
            photo.name,
            photo.size_wh,
            tuple(PredictedObject(line, one.finding) for line, one in zip(its, photo.objects, strict=True)),
        )
        for photo, its in zip(photos, lines, strict=True)
    ], problems


def _features(saved: SavedRun, lost: list[str]) -> Iterator[dict[str, Any]]:
    """All findings as features; the photographs of those without a position are added to `lost`, one for each."""
    times = {r["photo"]: place.time for r in saved.progress if (place := pose_from(r.get("place")))}
    for _, r in each_line(saved.folder / FINDINGS):
        feature = finding_feature(r, times.get(r["photo"], ""))
        if feature["geometry"] is None:
            lost.append(r["photo"])
        yield feature


def _without_position(lost: Sequence[str], file: Path, how: str) -> list[Problem]:
    """A note that says how many findings are on no map, and of which photographs."""
    if not lost:
        return []
    names = list(dict.fromkeys(lost))
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    what = f"{some(len(lost), 'finding')} without a position {how}: of {', '.join(names[:_NAMED])}{more}"
    return [Problem.in_file(file, what, note=True)]


_NAMED = 5


def _geojson(saved: SavedRun, _: ExportRun, file: Path) -> tuple[None, list[Problem]]:
    lost: list[str] = []
    write_collection(file, collection("findings", ABOUT_POINTS, _features(saved, lost)))
    return None, _without_position(lost, file, "are features without a geometry")


def _kml(saved: SavedRun, _: ExportRun, file: Path) -> tuple[None, list[Problem]]:
    lost: list[str] = []
    write_whole(file, findings_kml(_features(saved, lost), saved.taxonomy))
    return None, _without_position(lost, file, "are in a folder of their own, on no place of the map")


def _chapters(saved: SavedRun) -> Iterator[Chapter]:
    return chapters(saved.folder, [str(r["photo"]) for r in saved.progress], CHAPTER)


def _csv(saved: SavedRun, _: ExportRun, file: Path) -> tuple[None, list[Problem]]:
    write_whole(
        file, csv_head() + b"".join(csv_lines(rows(c.findings, saved.taxonomy, c.marked)) for c in _chapters(saved))
    )
    return None, []


def _parquet(saved: SavedRun, _: ExportRun, file: Path) -> tuple[None, list[Problem]]:
    with parquet_file(file) as add:
        for chapter in _chapters(saved):
            add(parquet_rows(chapter))
    return None, []


LABEL_STUDIO = _Single("tasks.json", MODEL.encode(), _label_studio)
CVAT = _Single("annotations.xml", TITLE.encode(), _cvat)
FORMATS: dict[str, Callable[[SavedRun, ExportRun, Path, int], Exported]] = {
    "yolo": _data_set,
    "coco": _data_set,
    "fiftyone": _data_set,
    "labelstudio": LABEL_STUDIO,
    "cvat": CVAT,
    "kml": _Single("findings.kml", TITLE.encode(), _kml),
    "geojson": _Single("findings.geojson", b'"name": "findings"', _geojson),
    "csv": _Single("findings.csv", csv_head(), _csv),
    "parquet": _Single(PARQUET, b"toeline", _parquet),
}


def beside(to: str, file: Path) -> dict[str, str]:
    """What is written beside a file for an annotation tool, and what it is."""
    written = {"labelstudio": ("interface", ".xml"), "cvat": ("labels", ".labels.json")}
    name, suffix = written.get(to, ("", ""))
    return {name: str(place)} if name and (place := file.with_suffix(suffix)).is_file() else {}


def summary(done: Exported) -> Summary:
    """What was written, for people and as JSON."""
    number = len(done.run.progress)
    lines = [f"[bold]{some(done.findings, 'finding')}[/] on {some(number, 'photograph')}, as {done.to}"]
    places = {"written": str(done.place), **{name: str(place) for name, place in done.more.items()}}
    places |= beside(done.to, done.place)
    record = {"to": done.to, "out": str(done.place), "findings": done.findings, "photographs": number}
    return Summary(lines, places, {**record, **counted(done.problems)}, done.problems, "the lines above")
