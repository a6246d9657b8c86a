"""One measurement of a detector, from its folder to its report."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline.core.finding import Problem, Step
from toeline.core.provenance import now_words, settings_of, start_record
from toeline.core.records import counted, join_lines, problem_record
from toeline.core.run_folder import ERRORS, begun_with, claimed, write_run, write_whole, writing
from toeline.core.scene import Detection
from toeline.core.taxonomy import Taxonomy
from toeline.data.datasets import LabeledSplit, read_split
from toeline.data.yolo import LabeledScene, open_dataset
from toeline.detect.detector import typed_options
from toeline.detect.load import require_detector
from toeline.errors import PhotoError
from toeline.evaluate.results import DetectorEvaluation, DetectorMeasurement
from toeline.pipelines.progress import Summary, bar, escape, saying
from toeline.pipelines.settings import DetectorScoring
from toeline.report.detector_page import headline, sections, tiles
from toeline.report.document import ScorecardPage, render_html, render_markdown

if TYPE_CHECKING:
    from toeline.detect.detector import Detector, DetectorOptions


SCORECARD, DETECTIONS, HTML, MARKDOWN = "scorecard.json", "detections.jsonl", "report.html", "report.md"
COMMAND = "evaluate-detector"


def score_into(run: DetectorScoring, out: Path) -> DetectorEvaluation:
    """Measure, and write everything into `out`. Raises ToelineError."""
    run = replace(run, against=None if run.against in ("none", run.detector) else run.against)
    taxonomy = Taxonomy.load(run.taxonomy)
    typed_options(run.thresholds, trust=run.trust, device=run.device, head=run.head).settled(taxonomy)
    for name in filter(None, (run.detector, run.against)):
        require_detector(name)
    data = open_dataset(run.data, taxonomy, classes=run.classes)
    split = read_split(data, run.split, taxonomy, conditions=False)
    record = _record(run, split, taxonomy)
    with claimed(out) as begun, writing(out):
        if begun:  # the same run, which is then made anew
            begun_with(out, record)
        return _score_into(run, out, split, taxonomy, record)


def _score_into(
    run: DetectorScoring, out: Path, split: LabeledSplit, taxonomy: Taxonomy, record: dict[str, Any]
) -> DetectorEvaluation:
    write_run(out, record)
    measured, other = _measured(run, split, taxonomy)
    problems = tuple(dict.fromkeys([*split.problems, *measured.problems]))
    record |= {"finished": now_words(), **counted(problems)}
    card = {**measured.record(), "split": split.name, "against": other.record() if other else None}
    if other:
        gain, interval = measured.precision.gained_over(other.precision)
        card["map_50_gained"] = {"value": gain, "interval": list(interval)}
    page = ScorecardPage(
        title=f"The detector {run.detector} on {split.name}",
        headline=headline(measured, other),
        sections=sections(measured, other, taxonomy, out),
        run=record,
        tiles=tiles(measured),
        problems=problems,
    )
    write_whole(out / SCORECARD, json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    write_whole(out / DETECTIONS, join_lines(detection_rows(measured)))
    write_whole(out / ERRORS, join_lines(map(problem_record, problems)))
    write_whole(out / HTML, render_html(page))
    write_whole(out / MARKDOWN, render_markdown(page))
    write_run(out, record)
    written = {"report": str(out / HTML), "figures": str(out / SCORECARD), "boxes": str(out / DETECTIONS)}
    return DetectorEvaluation(measured, other, problems, written, card)


def _record(run: DetectorScoring, split: LabeledSplit, taxonomy: Taxonomy) -> dict[str, Any]:
    from toeline.core.reading import file_hash
    from toeline.detect.load import weight_files

    files = [f for name in (run.detector, run.against) if name for f in weight_files(name)]
    settings = {
        **settings_of(run),
        "weights": {f"{f.parent.name}/{f.name}": file_hash(f) for f in files},
        "labels_sha256": split.sha256(),
    }
    return start_record(COMMAND, settings, taxonomy)


def _measured(
    run: DetectorScoring, split: LabeledSplit, taxonomy: Taxonomy
) -> tuple[DetectorMeasurement, DetectorMeasurement | None]:
    """The detector, and the one beside it at its own thresholds."""
    options = typed_options(run.thresholds, trust=run.trust, device=run.device, head=run.head)
    own = typed_options((), trust=run.trust, device=run.device)
    by_flight = run.cluster == "flight"
    names = [run.detector, *([run.against] if run.against else [])]
    with bar("Looking", total=len(names) * len(split.photos)) as step:
        done = [
            measure(name, split, taxonomy, options if name == run.detector else own, step=step, by_flight=by_flight)
            for name in names
        ]
    with saying("Drawing photographs anew for the intervals"):
        for one in done:
            _ = one.precision
    return done[0], done[1] if run.against else None


def detection_rows(measured: DetectorMeasurement) -> Iterator[dict[str, Any]]:
    """One row per box that inspection would show, in pixels of the photograph."""
    for photo, found in zip(measured.photos, measured.used, strict=True):
        for t in found:
            box = [round(v, 2) for v in t.box.xyxy]
            yield {"photo": photo.name, "id": t.id, "kind": t.type_name, "score": round(t.score, 4), "box": box}


def summary(scored: DetectorEvaluation) -> Summary:
    """What it came to, average precision by type, and where everything is."""
    by_type = [f"  {escape(str(f))}" for f in scored.measured.figures if f.n and f.key.startswith("ap_50/")]
    lines = [f"[bold]{escape(headline(scored.measured, scored.other))}[/]", *by_type]
    return Summary(lines, scored.written, scored.record, scored.problems)


EVERY_BOX = 0.001  # average precision wants the whole curve, not only what passes the thresholds


def measure(
    name: str,
    split: LabeledSplit,
    taxonomy: Taxonomy,
    options: DetectorOptions,
    *,
    step: Step,
    by_flight: bool = False,
) -> DetectorMeasurement:
    """Let a detector look at every photograph of a split. Raises ModelError, SetupError and TaxonomyError.

    A photograph that cannot be read is a problem and is left out.
    """
    from toeline.data.images import read_photo
    from toeline.detect.load import load_detector
    from toeline.detect.postprocess import find_settled

    using = load_detector(name, taxonomy=taxonomy, options=options)
    seeing = load_detector(name, taxonomy=taxonomy, options=replace(options, thresholds={}, general=EVERY_BOX))
    kept: list[LabeledScene] = []
    every, used, problems, spent = [], [], [], 0.0
    for photo in split.scenes:
        said: list[Problem] = []
        try:
            image = read_photo(photo.path)
        except PhotoError as why:
            said.append(Problem.unread(photo.path, why, name=photo.name))
        else:
            began = time.perf_counter()
            used.append(tuple(s.instance for s in find_settled(using, [image])[0]))
            spent += time.perf_counter() - began
            every.append(tuple(s.instance for s in _every(seeing, image)))
            kept.append(photo)
        problems += said
        step(said)
    kinds = tuple(t.name for t in taxonomy.types)
    return DetectorMeasurement(name, kinds, tuple(kept), tuple(every), tuple(used), tuple(problems), spent, by_flight)


def _every(detector: Detector, image: Any) -> Sequence[Detection]:
    """Raw, as average precision is measured; but one object in two conditions is found once, not twice."""
    from toeline.detect.postprocess import settle

    found = detector.find([image])[0]
    return settle(found, other=2.0) if any(s.class_name for s in found) else found
