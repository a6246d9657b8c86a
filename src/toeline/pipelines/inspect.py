"""What `inspect` and `demo` share: photographs in, a folder of results out."""

from __future__ import annotations

import errno
import json
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from toeline.core.finding import Finding, Problem, ProblemKind, Result, kinds_of
from toeline.core.prefetch import ahead, few_collections
from toeline.core.provenance import data_hash, now_words, settings_of, start_record
from toeline.core.reading import file_hash, is_file
from toeline.core.records import each_line, finding_from
from toeline.core.run_folder import (
    ERRORS,
    PROGRESS,
    RUN,
    RunFolder,
    claimed,
    read_run,
    same_value,
    write_whole,
    writing,
    written,
)
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.data.extracted import EXTRACTED
from toeline.data.object_stores import FETCHED
from toeline.detect import load as detectors
from toeline.detect.detector import typed_options
from toeline.errors import OutputError, PhotoError, SetupError
from toeline.judge import load as judges
from toeline.judge.prior import prior_hash
from toeline.pipelines.changes import FILES, changes, model_files, removed, require_same_models, tell_anew
from toeline.pipelines.domain import AUTO, OFF, domain_facts, domain_file, settle
from toeline.pipelines.extraction import search, with_extracted, with_fetched
from toeline.pipelines.model_folder import calibration_file, doubts, with_model, with_shipped
from toeline.pipelines.parts import JOINED, SHARE, Part, Portion
from toeline.pipelines.progress import (
    bar,
    escape,
    goes_on,
    out,
    saying,
    show_places,
    tell_kinds,
    tell_problems,
)
from toeline.pipelines.settings import Extras, InspectRun, Pace
from toeline.report.draw import as_jpeg, draw
from toeline.report.geolocate import AREAS, POINTS, locate
from toeline.report.inspection_page import (
    MOST_PROBLEMS,
    PAGE,
    PAGES,
    Book,
    PageInput,
    PagePart,
    TruthNotes,
    crops_of,
    drop_pages,
    links_of,
    page_book,
    page_name,
    render_page,
    render_print,
    side_for,
)
from toeline.report.map import on_map, sketched
from toeline.report.parquet import PARQUET, parquet_file, parquet_rows, require_parquet
from toeline.report.pdf import PDF, printer
from toeline.report.tables import (
    FIRST,
    MOST_SHOWN,
    WORKLIST,
    Chapter,
    Lines,
    Totals,
    Urgency,
    chapter_lines,
    chapters,
    csv_head,
    csv_lines,
    joined_csv,
    marked_name,
    rows,
    severities,
    urgency,
    work_lines,
    work_rows,
    worklist,
)

if TYPE_CHECKING:
    from toeline.data.images import Photo
    from toeline.pipelines.boxes import Source
    from toeline.pipelines.inspector import Boxes, Inspector


ALONE = Pace(workers=0, batch=1)  # one photograph after another, in one thread


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where results go. `own` are names in `out` that are no results; `compare` sets findings beside a truth.

    `load` gives the models, for whoever keeps them loaded from one run to the next; by default they are loaded anew.
    `source` gives what inspects in place of this process, of settings, photographs, taxonomy and boxes.
    """

    out: Path
    command: str
    title: str = ""
    own: tuple[str, ...] = ()
    pace: Pace = ALONE
    compare: Callable[[list[Finding]], TruthNotes] | None = None
    load: Callable[[InspectRun, Taxonomy, Boxes | None], Inspector] | None = None
    extras: Extras = field(default_factory=Extras)
    source: Callable[[InspectRun, Sequence[Photo], Taxonomy, Boxes | None], AbstractContextManager[Source]] | None = (
        None
    )


def inspect_into(run: InspectRun, output: Output) -> Summary:
    """Inspect what is not yet done, write everything, and say what it came to. Raises ToelineError."""
    from toeline.pipelines.again import apply_again

    run = _as_begun(with_model(run), output.out)
    part = _part(run, output.extras)
    unproven = doubts(run.model)
    tell_problems(unproven)
    require(output.extras)
    taxonomy = Taxonomy.load(run.taxonomy)
    own = (*output.own, EXTRACTED, FETCHED)
    found, stored, left_out = search(run, output.out)
    share = Portion(part, found)
    here, missing = with_fetched(share.mine, stored, output.out, own, number=part.number if part else 0)
    photos, said = with_extracted(here, run.every, output.out, own)
    left_out += (said := [*missing, *said])
    if not photos and part is None:
        raise PhotoError(str(said[0]))
    record = start_record(output.command, _settings(run, part), taxonomy, title=output.title)
    record |= {"unproven": unproven[0].what} if unproven else {}
    boxes, notes = _boxes(run, taxonomy, [*share.others, *photos])
    with claimed(output.out, own=own), writing(output.out):
        apply_again(output.out, record, run, taxonomy, photos, workers=output.pace.workers)
        folder = RunFolder.open(output.out, record, own=own, held=True, check=changes(photos, boxes))
        folder.note([*unproven, *left_out, *notes, *removed(folder.stale)])
        tell_anew(folder.stale)
        require_same_models(folder, run.judge, run.adapter)
        share.note(folder, photos)
        todo = [p for p in photos if p.name not in folder.names]
        if todo:
            twins = twins_of({photo.name for photo in (*share.found, *photos)})
            _inspect(run, todo, folder, taxonomy, boxes, total=len(photos), output=output, twins=twins)
        already = len(photos) - len(todo)
        if part:
            return finish_part(folder, taxonomy, already=already)
        ground_truth = output.compare(folder.findings()) if output.compare else None
        with saying("Writing tables and report"):
            return finish(
                folder,
                [p.name for p in photos],
                taxonomy,
                already=already,
                ground_truth=ground_truth,
                workers=output.pace.workers,
                extras=output.extras,
            )


def _settings(run: InspectRun, part: Part | None) -> dict[str, Any]:
    """What makes a run the same: what was typed, and hashes of the files that it names."""
    made = calibration_file(run.calibration, run.judge)
    settings = {**settings_of(run), "weights": quick_weights(run), "part": str(part) if part else None}
    settings["calibration_sha256"] = file_hash(made) if made and made.is_file() else None
    if domain := _domain(run):
        settings["domain_sha256"] = file_hash(domain) if domain.is_file() else None
    settings |= prior_hash(run.prior)
    for name in ("domain", "prior"):
        if settings[name] == OFF:
            settings.pop(name)  # as runs of before there was one have it
    return settings


def require(extras: Extras) -> None:
    """Raise SetupError, before any work, when what is wanted besides cannot be made on this machine."""
    if extras.pdf:
        printer()
    if extras.parquet:
        require_parquet()


def _part(run: InspectRun, extras: Extras) -> Part | None:
    if run.part is None:
        return None
    if extras.pdf or extras.parquet:
        raise SetupError("--pdf and --parquet are of a whole run. Leave them to toeline join.")
    return Part.typed(run.part)


def _inspect(
    run: InspectRun,
    todo: list[Photo],
    folder: RunFolder,
    taxonomy: Taxonomy,
    boxes: Boxes | None,
    *,
    total: int,
    output: Output,
    twins: Collection[str],
) -> None:
    from toeline.pipelines.boxes import Source

    with ExitStack() as stack:
        with saying("Loading the models"):
            if output.source:
                source = stack.enter_context(output.source(run, todo, taxonomy, boxes))
            else:
                inspector = (output.load or load_inspector)(run, taxonomy, boxes)
                work = partial(inspector.inspect_all, workers=output.pace.workers, batch=output.pace.batch)
                source = Source(work, models_of(run, inspector))
        folder.run.pop(JOINED, None)  # from now on it is more than its parts
        remember_models(folder, dict(source.models), model_files(run.judge, run.adapter))
        with goes_on(), bar("Inspecting", total=total, done=total - len(todo)) as step:
            for result in save(folder, source.results(todo), taxonomy, workers=output.pace.workers, twins=twins):
                step(result.problems)
        folder.note(source.notes())


def load_inspector(run: InspectRun, taxonomy: Taxonomy, boxes: Boxes | None = None) -> Inspector:
    """The models that the settings name. Raises ModelError, OutputError, SetupError and TaxonomyError."""
    from toeline.pipelines.inspector import Inspector

    return Inspector.load(
        run.detector,
        run.judge,
        adapter=run.adapter,
        taxonomy=taxonomy,
        device=run.device,
        answers=run.answers,
        boxes=boxes,
        detector_options=typed_options(run.thresholds, trust=run.trust, device=run.device, head=run.head),
        tile=run.tile,
        calibration=run.calibration,
        review_below=run.review_below,
        risk=None if run.risk is None else run.risk / 100,
        domain=_domain(run),
        prior=run.prior,
    )


def _as_begun(run: InspectRun, out: Path) -> InspectRun:
    """The settings, less the domain check where a run was begun before there was one: it continues without."""
    begun = is_file(out / RUN) and "domain" not in read_run(out).get("settings", {"domain": ""})
    return replace(run, domain=OFF) if begun and run.domain == AUTO else run


def _domain(run: InspectRun) -> Path | None:
    return domain_file(run.domain, detector=run.detector, judge=run.judge, boxes=bool(run.boxes))


def _as_measured(run: InspectRun) -> bool:
    """Whether both shipped models are at work, as they were when they were measured."""
    plain = InspectRun(photos=run.photos, device=run.device, tile=run.tile, domain=run.domain, taxonomy=run.taxonomy)
    own = replace(run, calibration=None, review_below=None, risk=None, part=None, every=None)  # these change no answer
    return with_shipped(own) == with_shipped(plain)


def _boxes(run: InspectRun, taxonomy: Taxonomy, photos: list[Photo]) -> tuple[Boxes | None, list[Problem]]:
    from toeline.pipelines.boxes import label_boxes

    if not run.boxes:
        return None, []
    return label_boxes(run.boxes, taxonomy, photos, classes=run.classes)


def quick_weights(run: InspectRun) -> dict[str, str]:
    """SHA-256 of the weights that are hashed in no time, before any is loaded: the detector's, those of small judges.

    They are part of the settings, so that a finished run is not taken for one of newer models.
    """
    files = [] if run.boxes else detectors.weight_files(run.detector)
    files += judges.packaged_files(run.judge)
    files += [Path(part) for part in re.split("[:,]", run.judge)[1:]]  # ensemble:A,baseline:FILE, replay:FILE
    return {f"{f.parent.name}/{f.name}": file_hash(f) for f in files if f.is_file()}


def models_of(run: InspectRun, inspector: Inspector) -> dict[str, Any]:
    """What is at work, called as the user called it: where it lies on this machine says nothing later."""
    detector = {"labels": str(run.boxes)} if run.boxes else {"model": run.detector}
    made = inspector.calibration
    return {
        "detector": detector,
        "judge": {**inspector.judge.info, "model": run.judge, "prompt": inspector.judge.view.prompt},
        "review": {**asdict(inspector.floor), "calibration": made.record() if made else None},
        "domain": domain_facts(inspector.domain, _domain(run), as_measured=_as_measured(run)),
    }


def remember_models(folder: RunFolder, models: dict[str, Any], files: dict[str, Any]) -> None:
    """Write down which weights and rule for review are at work. Raises OutputError for a run begun with others."""
    before = folder.run.get("models")
    if folder.names and before and not same_value(lasting(before), lasting(models)):
        raise OutputError(
            f"{folder.path}: was begun with other model weights, on another device, or by another rule for "
            f"review, and {len(folder.names)} photographs are done. Choose a new folder with --out, or delete this one."
        )
    folder.save_run(**{"models": models, FILES: files, "finished": None})


def lasting(models: Any) -> Any:
    """Models as run.json gives them back, without versions, which may change in the middle of a run.

    The prompt goes with the judge and the version; runs of before do not say it.
    """
    plain = json.loads(json.dumps(models))
    return {room: {k: v for k, v in facts.items() if k not in ("versions", "prompt")} for room, facts in plain.items()}


@dataclass(frozen=True)
class Summary:
    """What a run came to. `photographs` were asked for, `already` of them were done by an earlier start of this run.

    `by_severity` counts the worst first and is empty when the taxonomy has no scale; `worst` are the first rows of the
    work list.
    `located` counts findings with a position. `problems` are to be corrected; `notes` tell what was left out;
    `told` has both by their kinds. `domain` says whether the photographs are like those that the models were measured
    on; it is empty where that is not known. `part` says which part of a run it is, such as 2/4, if it is one.
    """

    out: str
    photographs: int
    already: int
    failed: int
    findings: int
    by_condition: dict[str, int]
    review: int
    problems: int
    seconds: float
    by_severity: dict[str, int] = field(default_factory=dict)
    immediate: int = 0
    worst: tuple[dict[str, Any], ...] = ()
    located: int = 0
    notes: int = 0
    told: tuple[ProblemKind, ...] = ()
    domain: dict[str, Any] = field(default_factory=dict)
    extras: Extras = field(default_factory=Extras)
    part: str = ""

    @property
    def fine(self) -> bool:
        """Whether everything that was asked for was done."""
        return self.problems == 0

    @property
    def anything(self) -> bool:
        """Whether at least one photograph was inspected; a part may have none."""
        return self.failed < self.photographs or not self.photographs

    def record(self) -> dict[str, Any]:
        """As JSON, with the places of what was written."""
        names = ["findings.jsonl", "errors.jsonl", "run.json", "marked"]
        names += [SHARE] if self.part else ["findings.csv", "report.html"]
        names += [WORKLIST] if self.by_severity and not self.part else []
        names += [POINTS, AREAS] if self.located else []
        names += [PDF] if self.extras.pdf else []
        names += [PARQUET] if self.extras.parquet else []
        facts = {k: v for k, v in asdict(self).items() if k != "extras"}
        return {**facts, **asdict(self.extras), "fine": self.fine, "files": {n: f"{self.out}/{n}" for n in names}}


def save(
    folder: RunFolder,
    results: Iterable[Result],
    taxonomy: Taxonomy,
    *,
    workers: int = 0,
    twins: Collection[str] = (),
) -> Iterator[Result]:
    """Write every result as it comes and pass it on, without its picture. Raises OutputError when the disk refuses.

    The pictures of `twins` get names of their own: see twins_of. `workers` threads draw and write the marked pictures,
    while this one gets the next result; with 0 this one does.
    """
    mark = partial(_marked, folder, taxonomy, frozenset(twins))
    with writing(folder.path):
        yield from folder.keep(ahead(mark, results, workers=workers, most=workers + 1, greedy=False))


def twins_of(photos: Iterable[str]) -> set[str]:
    """Names that differ from another one in nothing but case or the form of accents: one file, on some file systems."""
    same: dict[str, list[str]] = {}
    for photo in photos:
        same.setdefault(unicodedata.normalize("NFC", photo).casefold(), []).append(photo)
    return {photo for group in same.values() if len(group) > 1 for photo in group}


def _marked(folder: RunFolder, taxonomy: Taxonomy, twins: Collection[str], result: Result) -> Result:
    """Writes the marked picture. One that cannot be drawn, or whose name the disk refuses, is a problem of its own."""
    drawing = drawn(result, taxonomy).drawing
    result = replace(result, image=None, drawing=b"")
    if not drawing:
        return result
    name = marked_name(result.photo, apart=result.photo in twins)
    try:
        if isinstance(drawing, Exception):
            raise drawing
        folder.require_there()
        write_whole(folder.path / name, drawing)
    except UNDRAWN as why:
        if isinstance(why, OSError) and why.errno not in OF_ONE_PICTURE:
            raise
        what = f"its marked picture could not be written ({getattr(why, 'strerror', None) or why})."
        problem = Problem(result.photo, name, what, "Its findings are kept; run the same command again.")
        return replace(result, marked="", problems=(*result.problems, problem))
    return replace(result, marked=name)


def drawn(result: Result, taxonomy: Taxonomy) -> Result:
    """The result with its marked picture in place of the photograph; one that is drawn already stays."""
    if not isinstance(result.image, Image.Image):
        return result
    try:
        return replace(result, image=None, drawing=as_jpeg(draw(result.image, result.findings, taxonomy)))
    except UNDRAWN as why:
        return replace(result, image=None, drawing=why)


UNDRAWN = (OSError, MemoryError, RuntimeError, ValueError)
OF_ONE_PICTURE = {None, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}  # any other error is the disk's


@few_collections()
def finish(
    folder: RunFolder,
    order: Sequence[str],
    taxonomy: Taxonomy,
    *,
    already: int = 0,
    ground_truth: TruthNotes | None = None,
    workers: int = 0,
    extras: Extras = Extras(),  # noqa: B008 (it is frozen)
) -> Summary:
    """Write the tables, report.html (and its pages) and the end of run.json, from what is on the disk.

    `order` names the photographs as they were asked for. No more than a few pages' photographs are in memory at a time;
    of the work list, which is sorted as a whole, it is the finished lines. `extras` are written as well.
    """
    domain = settle(folder)
    located = sketched(locate(folder.path, taxonomy), taxonomy)  # before all else: both write into findings.jsonl
    run = {**folder.run, "domain": domain, "finished": now_words()}
    base = PageInput(folder.path, (), (), (), run, taxonomy, ground_truth)
    marked: dict[str, set[tuple[str, str]]] = {}
    for key in on_map(located):
        marked.setdefault(key[0], set()).add(key)
    pages = _Pages(base, len(folder.names), marked, parquet=extras.parquet)
    book = _write_tables(folder, pages, chapter_lines(folder.path, order, PAGE), workers)
    summary = _summary(folder, book, taxonomy, already)
    summary = replace(summary, located=located.counted.findings if located else 0, domain=domain, extras=extras)
    _save_end(folder, summary, finished=run["finished"])
    page = replace(base, run=folder.run, located=located, told=summary.told)
    book = replace(book, problems=summary.problems)
    _write_report(folder, page, order, book)
    (folder.path / PDF).unlink(missing_ok=True)  # of an earlier start
    if extras.pdf:
        wanted = {f.photo for f in book.worst}
        photos = [r for _, r in each_line(folder.path / PROGRESS) if r["photo"] in wanted]
        printer()(render_print(replace(page, book=book, photos=photos)), folder.path / PDF)
    folder.require_there()
    return summary


def finish_part(folder: RunFolder, taxonomy: Taxonomy, *, already: int) -> Summary:
    """Count what a part came to. Tables, report, positions and the verdict on the domain are of all parts together."""
    list(folder.keep(()))  # of a part without photographs the files are there, too
    totals = sum((Totals.of(c.photos, c.findings) for c in chapters(folder.path, (), PAGE)), Totals())
    summary = replace(_summary(folder, Book(totals), taxonomy, already), part=folder.run["settings"]["part"])
    _save_end(folder, summary, finished=now_words())
    folder.require_there()
    return summary


def _save_end(folder: RunFolder, summary: Summary, *, finished: str) -> None:
    """The last of run.json: what the run came to."""
    done = (record for _, record in each_line(folder.path / PROGRESS))
    counts = {k: v for k, v in asdict(summary).items() if k not in NOT_COUNTED}
    told = [asdict(kind) for kind in summary.told]
    more = {"data_sha256": data_hash(done), "counts": counts, "told": told}
    folder.save_run(finished=finished, domain=summary.domain, **more)


NOT_COUNTED = ("out", "already", "worst", "told", "domain", "extras", "part")


def _write_tables(folder: RunFolder, pages: _Pages, read: Iterable[Lines], workers: int) -> Book:
    """findings.csv, findings.parquet, worklist.csv and the pages with photographs; what the contents say of them."""
    book, todo, worst = Book(Totals()), list[tuple[Urgency, bytes]](), list[_Worst]()
    (folder.path / PARQUET).unlink(missing_ok=True)  # of an earlier start
    with ExitStack() as stack:
        add = stack.enter_context(parquet_file(folder.path / PARQUET)) if pages.parquet else None
        table = stack.enter_context(written(folder.path / "findings.csv"))
        table.write(csv_head())
        many = not pages.embeds and workers > 1  # pictures take no turns in Python, pages without them do
        given = ((number, lines, pages.marked_in(lines)) for number, lines in enumerate(read, start=1))
        bind = replace(pages, marked={}).bind  # without what is not asked for there: each call may be sent
        for bound in ahead(bind, given, workers=workers, most=workers + 1, processes=many):
            table.write(bound.table)
            if add:
                add(bound.rows)
            todo += bound.todo
            worst = sorted((*worst, *bound.worst), key=lambda one: one.urgency)[:MOST_SHOWN]
            book = pages.joined(book, bound, {one.key for one in worst})
    book = replace(book, worst=[finding_from(json.loads(one.line)) for one in worst])
    if pages.base.taxonomy.grading:
        with written(folder.path / WORKLIST) as table:
            table.writelines(joined_csv(todo))
    if not pages.embeds:
        wanted = {f.photo for f in book.worst}
        photos = [r for _, r in each_line(folder.path / PROGRESS) if r["photo"] in wanted]
        book = replace(book, crops=crops_of(folder.path, photos, book.worst))
    return book


class _Worst(NamedTuple):
    """A finding of the work list that may be shown: what it is sorted by, photograph and id, its line."""

    urgency: Urgency
    key: tuple[str, str]
    line: bytes


@dataclass(frozen=True)
class _Bound:
    """What is left of a chapter when its page is written: its lines of all tables, and what the contents say of it."""

    part: PagePart
    table: bytes
    rows: Any
    todo: list[tuple[Urgency, bytes]]
    worst: list[_Worst]
    links: dict[tuple[str, str], str]
    crops: dict[tuple[str, str], str]


@dataclass(frozen=True)
class _Pages:
    """The pages of a run of `number` photographs. `marked` are what its map links, findings and photographs by name."""

    base: PageInput
    number: int
    marked: Mapping[str, Collection[tuple[str, str]]]
    parquet: bool

    @property
    def embeds(self) -> bool:
        """Whether pages hold small pictures; those of very many photographs link to the marked ones."""
        return side_for(self.number) > 0

    def marked_in(self, lines: Lines) -> frozenset[tuple[str, str]]:
        """What the map links of the photographs of a chapter."""
        return frozenset(key for name in lines.names for key in self.marked.get(name, ()))

    def bind(self, given: tuple[int, Lines, Collection[tuple[str, str]]]) -> _Bound:
        """Writes the page of a chapter, unless there is only one."""
        (number, lines, marked), chapter = given, given[1].chapter()
        base, pages = self.base, -(-self.number // PAGE)
        totals, name = Totals.of(chapter.photos, chapter.findings), f"{PAGES}/{page_name(number)}"
        todo = worklist(chapter.findings)
        worst = todo[:MOST_SHOWN]
        crops = crops_of(base.folder, chapter.photos, worst) if self.embeds else {}
        if pages > 1:
            book = replace(page_book(number, pages, totals, side_for(self.number)), crops=crops)
            page = replace(base, photos=chapter.photos, findings=chapter.findings, book=book)
            write_whole(base.folder / name, render_page(page))
        there = links_of(chapter, name)
        line_of = dict(zip(map(_key, chapter.findings), chain.from_iterable(lines.findings), strict=True))
        return _Bound(
            part=PagePart(name, chapter.photos[0]["photo"], chapter.photos[-1]["photo"], totals),
            table=csv_lines(rows(chapter.findings, base.taxonomy, chapter.marked)),
            rows=parquet_rows(chapter) if self.parquet else None,
            todo=work_lines(todo, chapter.marked),
            worst=[_Worst(urgency(f), _key(f), line_of[_key(f)]) for f in worst],
            crops=crops,
            links={k: link for k, link in there.items() if k in marked} | {key: there[key] for key in map(_key, worst)},
        )

    def joined(self, book: Book, bound: _Bound, worst: Collection[tuple[str, str]]) -> Book:
        """The contents with one more part; of the work list no more is kept than the `worst`, which are shown."""
        known, crops = {**book.links, **bound.links}, {**book.crops, **bound.crops}
        return replace(
            book,
            totals=book.totals + bound.part.totals,
            parts=(*book.parts, bound.part),
            crops={key: crop for key, crop in crops.items() if key in worst},
            links={key: link for key, link in known.items() if key in worst or key in self.marked.get(key[0], ())},
        )


def _key(f: Finding) -> tuple[str, str]:
    return f.photo, f.instance_id


def _summary(folder: RunFolder, book: Book, taxonomy: Taxonomy, already: int) -> Summary:
    totals, told = book.totals, kinds_of(folder.each_problem())
    return Summary(
        out=str(folder.path),
        photographs=totals.photographs,
        already=already,
        failed=totals.failed,
        findings=totals.findings,
        by_condition={c.name: totals.count(condition=c.name) for c in taxonomy.conditions},
        review=totals.review,
        problems=sum(kind.count for kind in told if not kind.note),
        seconds=round(totals.seconds, 1),
        by_severity=severities(totals.by_severity, taxonomy),
        immediate=totals.immediate,
        worst=tuple(work_rows(book.worst[:FIRST])),
        notes=sum(kind.count for kind in told if kind.note),
        told=told,
    )


def _write_report(folder: RunFolder, base: PageInput, order: Sequence[str], book: Book) -> None:
    """report.html: everything, or the contents of the pages that are there already."""
    grave = (problem for problem in folder.each_problem() if not problem.note)
    page = replace(base, problems=list(islice(grave, MOST_PROBLEMS)), book=book)
    if len(book.parts) < 2:
        whole = next(chapters(folder.path, order, PAGE), Chapter((), ()))
        alone = Book(book.totals, book.problems, side_for(book.totals.photographs), crops=book.crops)
        page = replace(page, photos=whole.photos, findings=whole.findings, book=alone)
    write_whole(folder.path / "report.html", render_page(page))
    drop_pages(folder.path, len(book.parts) if len(book.parts) > 1 else 0)


def tell(summary: Summary) -> None:
    """What a run came to and where it is, for people."""
    if summary.already == summary.photographs > 0:
        anew = "" if summary.part else f"; tables and report in {escape(summary.out)} were made anew"
        out.print(f"This run was finished already{anew}.")
    elif summary.already:
        out.print(f"Taken up where it stopped: {some(summary.already, 'photograph')} had been done before.")
    if said := summary.domain.get("said"):
        out.print(escape(said), style="bold yellow" if summary.domain["beyond"] else "")
    conditions = ", ".join(f"{n} {name}" for name, n in summary.by_condition.items())
    inspected = some(summary.photographs - summary.failed, "photograph")
    of_part = f"Part {summary.part}: " if summary.part else ""
    found = f"{of_part}[bold]{some(summary.findings, 'finding')}[/]"
    out.print(f"{found} on {inspected}: {conditions}; {summary.review} to review")
    if not summary.part:
        tell_work(summary)
    show_places(_to_look_at(summary))
    tell_kinds(summary.told, f"{summary.out}/{ERRORS}", f", {some(summary.failed, 'photograph')} not inspected")


def _to_look_at(summary: Summary) -> dict[str, str]:
    """What was written, by what it is."""
    out, extras = summary.out, summary.extras
    if summary.part:
        merge = "toeline join, with the folders of all parts"
        return {"records": f"{out}/findings.jsonl", "pictures": f"{out}/marked/", "next": merge}
    return {
        "report": f"{out}/report.html",
        **({"in print": f"{out}/{PDF}"} if extras.pdf else {}),
        **({"work list": f"{out}/{WORKLIST}"} if summary.by_severity else {}),
        "table": f"{out}/findings.csv",
        **({"parquet": f"{out}/{PARQUET}"} if extras.parquet else {}),
        "records": f"{out}/findings.jsonl",
        "pictures": f"{out}/marked/",
        **({"positions": f"{out}/{POINTS}"} if summary.located else {}),
    }


def tell_work(summary: Summary) -> None:
    """What is to be done, and the first rows of it."""
    if not summary.by_severity:
        out.print("[dim]No work list: the taxonomy says of no class how severe it is (docs/severity.md).[/]")
        return
    from toeline.report.tables import said_of

    out.print(f"[bold]Work list:[/] {said_of(summary.by_severity, summary.immediate)}")
    for row in summary.worst:
        marks = ("[bold red]immediate[/] " if row["immediate"] else "") + (
            "[yellow]to review[/] " if row["review"] else ""
        )
        what = f"{row['severity']}, {row['class']} {row['id']} on {row['photo']}"
        out.print(f"  {row['n']}. {escape(what)} [dim]{row['probability']:.0%}[/] {marks}".rstrip())
    if left := sum(list(summary.by_severity.values())[:-1]) - len(summary.worst):
        out.print(f"  [dim]and {left:,} more[/]")
