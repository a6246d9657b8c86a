"""`toeline suggest`: what more labels would help most, of an inspection or of a labeled data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table

from toeline.core.finding import Finding, Problem, grave
from toeline.core.geo import pose_from
from toeline.core.provenance import now_words, settings_of, start_record
from toeline.core.records import counted, join_lines, problem_record
from toeline.core.run_folder import ERRORS, RUN, replacing, write_run, write_whole
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.errors import PhotoError
from toeline.pipelines.progress import Summary, bar, escape, tell_problems
from toeline.pipelines.saved_run import SavedRun, is_saved_run, read_saved
from toeline.pipelines.settings import SuggestRun

if TYPE_CHECKING:
    from toeline.analysis.suggest import Need, SeenObject, Suggestion
    from toeline.data.split import Grouping
    from toeline.report.document import Plot, Section

LIST, CSV, HTML = "suggest.txt", "suggest.csv", "suggest.html"
TARGET = 0.90  # the accuracy that each class should be shown to have, as in `toeline analyze`
IN_TERMINAL, PICTURES, PICTURE_PX = 20, 100, 480
EXPLAINED = (
    "Uncertainty is the sum of the doubts about the objects on a photograph, each from 0 (sure) to 1 (a tie). The "
    "order is by what a photograph adds to those above it: near ones, and many of one flight line, add less."
)

HEAD = ("photograph", "flight line", "uncertainty", "why")
TITLES = ("Classes", "Flight lines")
DOUBTED = (
    ("class", "objects", "photographs", "flight lines", "in doubt"),
    ("flight line", "objects", "photographs", "classes", "in doubt"),
)
NEEDED = (
    ("class", "objects", "photographs", "flight lines", "what more would do"),
    ("flight line", "objects", "labeled", "classes", "what more would do"),
)


@dataclass(frozen=True)
class Suggested:
    """What is suggested of `total` photographs; `labeled` of them need no label. `files` has the paths of photographs.

    `marked` has their pictures with boxes, where there are such. `heads` are those of the tables of classes and lines.
    """

    chosen: Sequence[Suggestion]
    total: int
    labeled: int
    problems: tuple[Problem, ...]
    files: Mapping[str, Path]
    classes: Sequence[Need]
    lines: Sequence[Need]
    marked: Mapping[str, Path] = field(default_factory=dict)
    heads: tuple[tuple[str, ...], tuple[str, ...]] = NEEDED

    @property
    def headline(self) -> str:
        """What it came to, in one sentence."""
        if not self.chosen and self.labeled == self.total:
            return f"All {some(self.total, 'photograph')} have labels. Inspect new ones, and suggest of that run."
        if not self.chosen:
            return f"No photograph to suggest: {self.labeled:,} of {self.total:,} have labels, the others are not read."
        lines = some(len({s.flight_line for s in self.chosen}), "flight line")
        told = f", {self.labeled:,} of which have labels" if self.labeled else ""
        return f"{some(len(self.chosen), 'photograph')} to label, of {lines}, out of {self.total:,}{told}."

    @property
    def fine(self) -> bool:
        """Whether all could be read."""
        return not grave(self.problems)

    def path(self, chosen: Suggestion) -> str:
        """Where a photograph lies; its name if that is not known."""
        return str(self.files.get(chosen.photo, chosen.photo))

    def record(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "photographs": self.total,
            "labeled": self.labeled,
            "suggested": [
                # "worth" is what uncertainty was called before
                {**asdict(s), "worth": s.uncertainty, "path": self.path(s)}
                for s in self.chosen
            ],
            "classes": [asdict(need) for need in self.classes],
            "flight_lines": [asdict(need) for need in self.lines],
            **counted(self.problems),
        }


def suggest_into(source: Path, run: SuggestRun, out: Path) -> Suggested:
    """Suggest, and write the list, the table and the page into `out`, or the list alone if it is a .txt.

    `source` is what `toeline inspect` wrote, or a data set. Raises ToelineError.
    """
    from toeline.analysis.analyze import flight_lines
    from toeline.data.export import require_apart, staged

    group_of = flight_lines(run.flight)
    if is_saved_run(source):
        saved = read_saved(source, run.taxonomy, of=("inspect",))
        taxonomy, found = saved.taxonomy, _of_run(saved, run, group_of)
    else:
        taxonomy = Taxonomy.load(run.taxonomy)
        found = _of_data(source, run, taxonomy, group_of)
    require_apart(out, (file.parent for file in found.files.values()))
    listed = "".join(f"{found.path(s)}\n" for s in found.chosen)
    if out.suffix == ".txt":
        with replacing(out, _is_list, "list of photographs"):
            write_whole(out, listed)
        return found
    record = start_record("suggest", {"source": str(source), **settings_of(run)}, taxonomy)
    with staged(out, RUN, record["settings"], own=(RUN, LIST, CSV, HTML, ERRORS)) as stage:
        assert stage is not None, "with names of its own to replace, it is always made anew"
        write_whole(stage / LIST, listed)
        write_whole(stage / ERRORS, join_lines(map(problem_record, found.problems)))
        record |= {"finished": now_words(), **counted(found.problems)}
        _write_tables(stage, found, record)
        write_run(stage, record)
    return found


def _is_list(file: Path) -> bool:
    """Whether a file may be written over: each of its lines names a photograph."""
    from toeline.data.images import SUFFIXES

    lines = file.read_bytes().splitlines()
    return all(line.decode(errors="replace").lower().endswith(SUFFIXES) for line in lines)


def _of_run(saved: SavedRun, run: SuggestRun, group_of: Grouping) -> Suggested:
    from toeline.analysis.suggest import SeenPhoto, doubted, suggestions
    from toeline.report.tables import marked_of

    progress, taxonomy, findings = saved.progress, saved.taxonomy, saved.findings()
    limits = _limits(saved.record["settings"], taxonomy, [f.score for its in findings.values() for f in its])
    files, failed = saved.photographs(), saved.failed()
    problems = [*saved.lost(files, "it is listed by its name in the run."), *saved.unfinished(), *failed.values()]
    first: dict[str, str] = {}
    seen, marked = [], {}
    for row in progress:
        name = row["photo"]
        same = first.setdefault(row.get("sha256") or name, name)
        if same != name:
            problems.append(Problem(name, name, f"is the same file as {same}, so it is not suggested.", note=True))
        elif name not in failed:
            objects = tuple(_seen(f, taxonomy, limits) for f in findings.get(name, ()))
            pose = pose_from(row.get("place"))
            seen.append(SeenPhoto(name, group_of(Path(name)), objects, pose.point if pose else None))
            marked[name] = saved.folder / marked_of(row)
    chosen, (classes, lines) = suggestions(seen, run.n), doubted(seen)
    return Suggested(chosen, len(progress), 0, tuple(problems), files, classes, lines, marked, DOUBTED)


def _seen(f: Finding, taxonomy: Taxonomy, limits: Mapping[str, float]) -> SeenObject:
    from toeline.analysis.suggest import SeenObject

    other = next((o for o in f.detector_others if o.type_name != f.type_name), None)
    return SeenObject(
        name=f"{taxonomy.spoken(f.type_name)} {f.instance_id}",
        confidence=f.score,
        threshold=min(limits[f.type_name], f.score),
        answers=f.verdict.probabilities,
        readable=f.verdict.readable,
        rival=(taxonomy.spoken(other.type_name), other.score) if other else None,
    )


def _limits(settings: Mapping[str, Any], taxonomy: Taxonomy, scores: Sequence[float]) -> dict[str, float]:
    """The detector's thresholds by type.

    A run keeps those that were typed; the detector's own stand beside its weights, else they are taken for the least
    confidence that there is. Boxes that people drew have none.
    """
    from toeline.detect.detector import DetectorOptions, read_thresholds
    from toeline.detect.load import CARD, weight_files
    from toeline.detect.onnx import DetectorCard

    if settings.get("boxes"):
        return dict.fromkeys((t.name for t in taxonomy.types), 0.0)
    typed = DetectorOptions(*read_thresholds(settings.get("thresholds", ()))).settled(taxonomy)
    cards = [
        DetectorCard.load(f, taxonomy) for f in weight_files(settings.get("detector", "embedded")) if f.name == CARD
    ]
    own = {kind: limit for card in cards for kind, limit in zip(card.kinds, card.thresholds, strict=True)}
    least = min(scores, default=0.0)
    return {t.name: typed.threshold(t.name, own.get(t.name, least)) for t in taxonomy.types}


def _of_data(source: Path, run: SuggestRun, taxonomy: Taxonomy, group_of: Grouping) -> Suggested:
    from toeline.analysis.analyze import UNREADABLE, How, read_all
    from toeline.analysis.suggest import SeenPhoto, class_needs, line_needs, suggestions
    from toeline.data.yolo import open_dataset

    opened = open_dataset(source, taxonomy, classes=run.classes)
    tell_problems(opened.problems)
    with bar("Reading", total=sum(map(len, opened.splits.values()))) as step:
        read = read_all(opened, taxonomy, How(flight=run.flight), step=step)
    unread = [Problem(f.photo, f.file, f.what, f.todo, f.line) for f in read.flags if f.check in UNREADABLE]
    table = read.collector.table()
    seen = [SeenPhoto(name, group_of(Path(name))) for name in dict.fromkeys(table.photos)]
    known = {name for name, there in zip(table.photos, table.known, strict=True) if there}
    open_ = {name for name, file in zip(table.photos, table.label_files, strict=True) if not file} - known
    return Suggested(
        chosen=suggestions([p for p in seen if p.name in open_], run.n, labeled=[p for p in seen if p.name in known]),
        total=len(seen),
        labeled=len(known),
        problems=(*opened.problems, *unread),
        files={name: (opened.root / name).absolute() for name in table.photos},
        classes=class_needs(table, TARGET),
        lines=line_needs(table),
    )


def _rows(found: Suggested) -> Iterator[tuple[str, ...]]:
    for s in found.chosen:
        yield s.photo, s.flight_line, f"{s.uncertainty:.2f}", "; ".join(s.why)


def _need_rows(needs: Sequence[Need]) -> list[tuple[str, ...]]:
    return [(n.name, f"{n.n:,}", f"{n.photos:,}", f"{n.spread:,}", n.words or "–") for n in needs]


def _write_tables(folder: Path, found: Suggested, record: Mapping[str, Any]) -> None:
    """The table and the page."""
    from toeline.report.document import ScorecardPage, render_html
    from toeline.report.tables import to_csv

    columns = ("n", "photo", "path", "flight_line", "uncertainty", "adds", "why")
    rows = [
        (at, s.photo, found.path(s), s.flight_line, round(s.uncertainty, 4), round(s.adds, 4), "; ".join(s.why))
        for at, s in enumerate(found.chosen, start=1)
    ]
    write_whole(folder / CSV, to_csv([dict(zip(columns, row, strict=True)) for row in rows], columns))
    page = ScorecardPage(
        title="What to label next",
        headline=found.headline,
        sections=list(_sections(found)),
        run=record,
        problems=found.problems,
        files=(LIST, CSV),
    )
    write_whole(folder / HTML, render_html(page))


def _sections(found: Suggested) -> Iterator[Section]:
    from toeline.report.document import Grid, Section

    if found.chosen:
        plots = tuple(_pictures(found))
        yield Section("Photographs", (EXPLAINED,), plots=plots, grids=(Grid("", HEAD, tuple(_rows(found)), words=2),))
    for title, head, needs in zip(TITLES, found.heads, (found.classes, found.lines), strict=True):
        if needs:
            yield Section(title, grids=(Grid("", head, tuple(_need_rows(needs))),))


def _pictures(found: Suggested) -> Iterator[Plot]:
    """The first photographs, with their boxes where an inspection drew them; those that cannot be read are left out."""
    from toeline.data.images import read_photo
    from toeline.report.plots import picture_plot

    for at, s in enumerate(found.chosen[:PICTURES], start=1):
        for file in filter(None, (found.marked.get(s.photo), found.files.get(s.photo))):
            try:
                picture = read_photo(file)
            except PhotoError:
                continue
            picture.thumbnail((PICTURE_PX, PICTURE_PX))
            yield replace(picture_plot(picture, f"{at}. {s.photo}: {'; '.join(s.why)}"), wide_px=PICTURE_PX)
            break


def summary(found: Suggested, out: Path) -> Summary:
    """Tables for the terminal, and where all of it is."""
    lines: list[RenderableType] = [f"[bold]{escape(found.headline)}[/]"]
    whole = out.suffix != ".txt"
    for head, rows in (
        (found.heads[0], _need_rows(found.classes)),
        (found.heads[1], _need_rows([need for need in found.lines if need.words])),
        (HEAD, list(_rows(found))),
    ):
        lines += [_table(head, rows[:IN_TERMINAL])] if rows else []
        if len(rows) > IN_TERMINAL:
            lines.append(f"  and {len(rows) - IN_TERMINAL} more")
    names = {"list": LIST, "table": CSV, "page": HTML}
    places = {what: f"{out}/{name}" for what, name in names.items()} if whole else {"list": str(out)}
    record = {"out": str(out), **found.record(), "files": places}
    return Summary(
        lines, places, record, found.problems, f"{out}/{ERRORS}" if whole else f"{ERRORS}, which --out DIR writes"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """As wide as the terminal: long names break, and the last column, which holds words, has the most room."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, expand=True)
    for at, name in enumerate(head):
        number = all(row[at][:1].isdigit() and " " not in row[at] for row in rows)
        wide = 5 if at == len(head) - 1 else 3 if at == 0 else 2
        table.add_column(name, justify="right" if number else "left", overflow="fold", ratio=None if number else wide)
    for row in rows:
        table.add_row(*map(escape, row))
    return table
