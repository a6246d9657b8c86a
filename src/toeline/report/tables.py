"""Findings as flat rows, for tables on pages and for spreadsheets."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from toeline.core.finding import Finding, by_photo
from toeline.core.records import finding_from
from toeline.core.run_folder import FINDINGS, PROGRESS, edited, lines_of, places_of
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.data.images import SUFFIXES

COLUMNS = (
    "photo", "id", "type", "class", "condition", "probability", "second_class", "second_probability", "review",
    "review_reason", "detector_confidence", "detector_class", "detector_others", "x1", "y1", "x2", "y2", "relations",
    "marked", "severity", "severity_rank", "action", "immediate", "immediate_reason",
    "latitude", "longitude", "position", "error_m", "group", "same_as",
)  # fmt: skip
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a cell that starts so is run by Excel and LibreOffice


MARKED, JPG = "marked", ".jpg"
MOST_BYTES, HASH_BYTES = 255, 13  # of a name on most file systems; of the hash in it
NOT_EVERYWHERE = re.compile(r"[:\x00-\x1f\x7f\ud800-\udfff]")  # what some file systems refuse in a name
TOLD_APART = re.compile(r"~[0-9a-f]{12}\.jpg$", re.IGNORECASE)


def marked_name(photo: str, *, apart: bool = False) -> str:
    """Where a photograph's marked picture lies in the output folder, always inside `marked/`, one per photograph.

    Plain names stay as they are. A name that had to be changed or cut, or that the picture of another photograph may
    have, ends in a hash of the photograph's name; with `apart` any does: for names that differ in case only.

    >>> marked_name("berm 1/a.jpg"), marked_name("berm 1/a.png"), marked_name("a.png.jpg")
    ('marked/berm 1/a.jpg', 'marked/berm 1/a.png.jpg', 'marked/a.png~ead5e5de8dee.jpg')
    """
    parts = [part for part in photo.replace("\\", "/").split("/") if part not in ("", ".", "..")] or [""]
    *folders, last = (_clean(part) for part in parts)
    folders = [f"{f[: -len(JPG)]}_jpg" if f.lower().endswith(JPG) else f for f in folders]  # pictures are called so
    stem = last.removesuffix(JPG)
    if (
        apart
        or len(f"{stem}{JPG}".encode()) > MOST_BYTES
        or "/".join((*folders, last)) != photo
        or _may_clash(stem, last)
    ):
        whole = hashlib.sha256(photo.encode(errors="surrogatepass")).hexdigest()[: HASH_BYTES - 1]
        cut = stem.encode()[: MOST_BYTES - HASH_BYTES - len(JPG)].decode(errors="ignore")
        stem = f"{cut}~{whole}"
    return "/".join((MARKED, *folders, stem + JPG))


def marked_of(record: Mapping[str, Any]) -> str:
    """Where the marked picture lies, by a line of progress.jsonl; empty where there is none."""
    return "" if record["failed"] else str(record.get("marked", marked_name(record["photo"])))


def _clean(part: str) -> str:
    """A name that most file systems take; what others refuse is a problem of that photograph."""
    part = NOT_EVERYWHERE.sub("_", part)
    return part.rstrip(". ") + "_" if part.endswith((".", " ")) else part


def _may_clash(stem: str, last: str) -> bool:
    """Whether another photograph's picture may be called so: that of x.png is x.png.jpg, and so is that of x.png.jpg.

    The picture of a photograph without a picture's suffix may be called as any.
    """
    pictures = stem.lower().endswith(SUFFIXES)
    return pictures == (stem != last) or TOLD_APART.search(last) is not None


def relation_words(finding: Finding, names: Mapping[str, str]) -> str:
    """What stands around a finding, in words, one clause per neighbor; `names` says how each id is called."""
    by_neighbor: dict[str, list[str]] = {}
    for r in finding.relations:
        by_neighbor.setdefault(r.other, []).append(r.name.replace("_", " "))
    return "; ".join(f"{' and '.join(words)} {names.get(other, other)}" for other, words in by_neighbor.items())


def others_words(finding: Finding, taxonomy: Taxonomy) -> str:
    """What else the detector saw on the same place, in words: "toe drain 0.41; slope drain damaged 0.30"."""
    return "; ".join(f"{g.class_name or taxonomy.spoken(g.type_name)} {g.score:.2f}" for g in finding.detector_others)


def names_in(findings: Sequence[Finding], taxonomy: Taxonomy) -> dict[str, str]:
    """How the things of one photograph are called: the type, and the id that the picture shows."""
    return {f.instance_id: f"{taxonomy.spoken(f.type_name)} {f.instance_id}" for f in findings}


def rows(
    findings: Iterable[Finding], taxonomy: Taxonomy, marked: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """One flat row per finding, with the keys of COLUMNS; boxes in pixels, probabilities 0 to 1.

    `marked` says where the pictures of photographs lie whose names are not plain.
    """
    out: list[dict[str, Any]] = []
    for group in by_photo(findings).values():
        names = names_in(group, taxonomy)
        picture = _picture_of(group[0].photo, marked or {})
        out.extend(_row(f, names, taxonomy, picture) for f in group)
    return out


def _picture_of(photo: str, marked: Mapping[str, str]) -> str:
    """Where its picture lies; a plain name says so itself."""
    known = marked.get(photo)
    return marked_name(photo) if known is None else known


def _row(f: Finding, names: dict[str, str], taxonomy: Taxonomy, marked: str) -> dict[str, Any]:
    second = f.verdict.second or ("", "")
    values = (
        f.photo, f.instance_id, f.type_name, f.verdict.class_name, f.verdict.condition, round(f.verdict.probability, 4),
        second[0], round(second[1], 4) if isinstance(second[1], float) else "", "yes" if f.verdict.review else "",
        f.verdict.review, round(f.score, 4), f.detector_class, others_words(f, taxonomy),
        *(round(v, 1) for v in f.box.xyxy), relation_words(f, names), marked, *_grade(f),
        *_geo_position(f),
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _grade(f: Finding) -> tuple[Any, ...]:
    """Empty cells where nothing grades it."""
    grade = f.grade
    if not grade.severity:
        return ("",) * 5
    return grade.severity, grade.rank, grade.action, "yes" if grade.immediate else "", grade.immediate


def _geo_position(f: Finding) -> tuple[Any, ...]:
    """Empty cells where nothing is known; the spreadsheet's own formats, so no degree signs."""
    s = f.geo_position
    if s is None:
        return ("",) * 6
    error = "" if s.error_m is None else round(s.error_m, 1)
    return round(s.latitude, 7), round(s.longitude, 7), s.kind, error, s.group, " ".join(s.same_as or ())


def safe_cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets a quote in front; numbers stay numbers.

    >>> safe_cell("=1+1"), safe_cell(-3), safe_cell("toe drain")
    ("'=1+1", -3, 'toe drain')
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def to_csv(records: Iterable[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> bytes:
    """A CSV file that Excel opens by a double click: UTF-8 with its mark, CRLF, one header line."""
    return csv_head(columns) + csv_lines(records, columns)


def csv_head(columns: Sequence[str] = COLUMNS) -> bytes:
    """How the file begins; `csv_lines` of any number of records, in any number of pieces, follow."""
    return "".join(_lines([dict(zip(columns, columns, strict=True))], columns)).encode("utf-8-sig")


def csv_lines(records: Iterable[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> bytes:
    """The lines of some records; a cell is empty where one has nothing for a column."""
    return "".join(_lines(records, columns)).encode("utf-8")


class _Echo:
    """A file that gives back what is written, so that a writer of csv gives each line as a text."""

    def write(self, text: str) -> str:
        """The same."""
        return text


def _lines(records: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    write = csv.writer(_Echo()).writerow
    for record in records:
        cells = [record.get(name, "") for name in columns]
        # safe_cell is called for texts only; what is written comes back from the file's write
        line: Any = write([safe_cell(cell) if isinstance(cell, str) else cell for cell in cells])
        yield line


WORKLIST = "worklist.csv"
WORKLIST_COLUMNS = (
    "n", "severity", "severity_rank", "immediate", "action", "photo", "id", "type", "class", "condition",
    "probability", "review", "review_reason", "immediate_reason", "marked",
)  # fmt: skip
MOST_SHOWN = 500  # rows on the page, with a small picture each (1 MB); the file holds all
FIRST = 5  # rows in the terminal


def worklist(findings: Iterable[Finding]) -> list[Finding]:
    """What is more than the least severity, by severity, then probability, then photograph; one photograph's in order.

    What a person should review stays on it: an unsure finding may be as bad as it looks.
    """
    return sorted((f for f in findings if f.grade.rank > 0), key=urgency)


Urgency = tuple[int, float, str]


def urgency(f: Finding) -> Urgency:
    """What a work list is sorted by."""
    return -f.grade.rank, -f.verdict.probability, f.photo


def work_lines(todo: Sequence[Finding], marked: Mapping[str, str] | None = None) -> list[tuple[Urgency, bytes]]:
    """Lines of worklist.csv without their number, for a run whose findings are not in memory together."""
    lines = _lines(work_rows(todo, marked), WORKLIST_COLUMNS)
    return [(urgency(f), line.encode("utf-8")) for f, line in zip(todo, lines, strict=True)]


def joined_csv(lines: list[tuple[Urgency, bytes]]) -> Iterator[bytes]:
    """worklist.csv of the work_lines of all parts of a run; the list is sorted and numbered."""
    yield csv_head(WORKLIST_COLUMNS)
    lines.sort(key=lambda line: line[0])
    for n, (_, line) in enumerate(lines, start=1):
        yield b"%d,%b" % (n, line.partition(b",")[2])


def work_rows(todo: Sequence[Finding], marked: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """One flat row per finding of a work list, with the keys of COLUMNS; `n` counts from 1; `marked` as in rows."""
    pictures = marked or {}
    return [
        dict(zip(WORKLIST_COLUMNS, (n, *_cells(f, _picture_of(f.photo, pictures))), strict=True))
        for n, f in enumerate(todo, start=1)
    ]


def _cells(f: Finding, marked: str) -> tuple[Any, ...]:
    grade, verdict = f.grade, f.verdict
    return (
        grade.severity, grade.rank, "yes" if grade.immediate else "", grade.action, f.photo, f.instance_id, f.type_name,
        verdict.class_name, verdict.condition, round(verdict.probability, 4), "yes" if verdict.review else "",
        verdict.review, grade.immediate, marked,
    )  # fmt: skip


def worklist_csv(todo: Sequence[Finding]) -> bytes:
    """worklist.csv, in the form of findings.csv."""
    return to_csv(work_rows(todo), WORKLIST_COLUMNS)


def by_severity(findings: Iterable[Finding], taxonomy: Taxonomy) -> dict[str, int]:
    """How many findings have each severity, the worst first; empty when the taxonomy has none."""
    return severities(Counter(f.grade.severity for f in findings), taxonomy)


def severities(counts: Mapping[str, int], taxonomy: Taxonomy) -> dict[str, int]:
    """Counts by severity in the order of by_severity."""
    return {s.name: counts.get(s.name, 0) for s in reversed(taxonomy.grading.severities)}


def said_of(counts: Mapping[str, int], immediate: int) -> str:
    """A work list in one line; `counts` by severity, the worst first and the least last.

    >>> said_of({"high": 2, "low": 0, "none": 7}, 1)
    '2 to do (2 high, 0 low), 1 of them immediate'
    """
    todo = dict(list(counts.items())[:-1])
    parts = ", ".join(f"{n:,} {name}" for name, n in todo.items())
    at_once = f", {immediate:,} of them immediate" if immediate else ""
    return f"{sum(todo.values()):,} to do ({parts}){at_once}"


def work_section(
    todo: Sequence[Finding],
    totals: Totals,
    taxonomy: Taxonomy,
    links: Mapping[tuple[str, str], str],
    crops: Mapping[tuple[str, str], str],
) -> dict[str, Any]:
    """What the page shows: the beginning of the work list `todo`, and `totals` of all findings.

    `links` maps (photograph, id) to where the finding stands, `crops` to a small picture of it.
    """
    if not taxonomy.grading:
        return {"graded": False}
    worst, counts = len(taxonomy.grading.severities) - 1, severities(totals.by_severity, taxonomy)
    return {
        "graded": True,
        "said": said_of(counts, totals.immediate),
        "scale": [(s.name, s.meaning, rank, worst) for rank, s in enumerate(taxonomy.grading.severities)][:0:-1],
        "rows": [
            {
                "n": n,
                "key": links.get((f.photo, f.instance_id), ""),
                "crop": crops.get((f.photo, f.instance_id), ""),
                "worst": worst,
                "grade": f.grade,
                **shown_facts(f, taxonomy),
            }
            for n, f in enumerate(todo[:MOST_SHOWN], start=1)
        ],
        "total": sum(list(counts.values())[:-1]),
        "unsure": some(totals.unsure, "finding") if totals.unsure else "",
    }


def shown_facts(f: Finding, taxonomy: Taxonomy) -> dict[str, Any]:
    """What every list on a page says of a finding; types that leave one answer were not `asked` about."""
    return {
        "photo": f.photo,
        "number": f.instance_id,
        "kind": taxonomy.spoken(f.type_name),
        "condition": f.verdict.condition,
        "probability": f.verdict.probability,
        "asked": f.verdict.asked,
        "review": f.verdict.review,
        "immediate": f.grade.immediate,
    }


@dataclass(frozen=True)
class Chapter:
    """Some photographs of a run: their progress records, and their findings in the same order."""

    photos: Sequence[Mapping[str, Any]]
    findings: Sequence[Finding]

    @property
    def marked(self) -> dict[str, str]:
        """Where the marked picture of each photograph lies."""
        return {p["photo"]: marked_of(p) for p in self.photos}


class Facets(NamedTuple):
    """What findings are chosen by on a page."""

    type_name: str
    condition: str
    review: bool
    immediate: bool

    @classmethod
    def of(cls, f: Finding) -> Facets:
        """Of a finding."""
        return cls(f.type_name, f.verdict.condition, bool(f.verdict.review), bool(f.grade.immediate))


@dataclass(frozen=True)
class Totals:
    """What some photographs come to. `facets` counts findings by what pages filter by.

    `unsure` are to be reviewed although no work is asked for there. `seconds` were spent by all threads together.
    """

    photographs: int = 0
    failed: int = 0
    findings: int = 0
    unsure: int = 0
    seconds: float = 0.0
    facets: Counter[Facets] = field(default_factory=Counter)
    by_severity: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, photos: Iterable[Mapping[str, Any]], findings: Sequence[Finding]) -> Totals:
        """Counted from progress records and findings."""
        seen = list(photos)
        return cls(
            photographs=len(seen),
            failed=sum(bool(p["failed"]) for p in seen),
            findings=len(findings),
            unsure=sum(bool(f.verdict.review) and not f.grade.rank for f in findings),
            seconds=sum(p.get("seconds", 0.0) for p in seen),
            facets=Counter(map(Facets.of, findings)),
            by_severity=Counter(f.grade.severity for f in findings),
        )

    def __add__(self, other: Totals) -> Totals:
        """Both together.

        >>> (Totals(2, findings=3) + Totals(1, failed=1)).photographs
        3
        """
        return Totals(**{name: value + vars(other)[name] for name, value in vars(self).items()})

    def count(self, **chosen: str | bool) -> int:
        """Findings of these facets, whatever their others.

        >>> Totals(facets=Counter({Facets("rock_toe", "damaged", True, False): 2})).count(condition="damaged")
        2
        """
        return sum(
            n for f, n in self.facets.items() if all(getattr(f, name) == value for name, value in chosen.items())
        )

    @property
    def review(self) -> int:
        """Findings that a person should look at."""
        return self.count(review=True)

    @property
    def immediate(self) -> int:
        """Findings that cannot wait."""
        return self.count(immediate=True)


class Lines(NamedTuple):
    """What a Chapter is read from: for each photograph its line of progress.jsonl and those of findings.jsonl.

    Handed to another process, these cost a tenth of what the findings do.
    """

    folder: Path
    names: Sequence[str]
    photos: Sequence[bytes]
    findings: Sequence[Sequence[bytes]]

    def chapter(self) -> Chapter:
        """Raises OutputError for a folder that was edited."""
        each = zip(self.names, self.findings, strict=True)
        found = [_finding(one, name, self.folder) for name, lines in each for one in lines]
        return Chapter([json.loads(line) for line in self.photos], found)


def chapters(folder: Path, order: Sequence[str], size: int) -> Iterator[Chapter]:
    """All photographs that are done, `size` at a time: in the order given, then those that it does not name.

    Only where each begins is kept in memory. Raises OutputError for a folder that was edited.
    """
    return (lines.chapter() for lines in chapter_lines(folder, order, size))


def chapter_lines(folder: Path, order: Sequence[str], size: int) -> Iterator[Lines]:
    """As `chapters`, not yet parsed."""
    if not (folder / PROGRESS).exists():
        return
    places = places_of(folder)
    names = [name for name in dict.fromkeys((*order, *places)) if name in places]
    with (folder / PROGRESS).open("rb") as progress, (folder / FINDINGS).open("rb") as findings:
        for start in range(0, len(names), size):
            some_of = names[start : start + size]
            read = [lines_of(places[name], progress, findings) for name in some_of]
            yield Lines(folder, some_of, [line for line, _ in read], [lines for _, lines in read])


def _finding(line: bytes, photo: str, folder: Path) -> Finding:
    found = finding_from(json.loads(line or b"{}"))
    if found.photo != photo:
        raise edited(folder, photo)
    return found
