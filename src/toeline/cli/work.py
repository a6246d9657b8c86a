"""What `inspect` and `demo` share: photographs in, a folder of results out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError

if TYPE_CHECKING:
    from toeline.core.finding import Finding
    from toeline.core.result import Problem
    from toeline.data.images import Photo
    from toeline.detect.options import DetectorOptions
    from toeline.inspector import Boxes, Inspector
    from toeline.report.folder import RunFolder
    from toeline.report.page import TruthNotes
    from toeline.report.save import Summary


BESIDE = ("masks", "labels")


@dataclass(frozen=True, kw_only=True)
class InspectRun:
    """Settings of one inspection, as the user typed them; equal settings are the same run."""

    photos: tuple[str, ...]
    detector: str = "embedded"
    thresholds: tuple[str, ...] = ()
    trust: bool = False
    boxes: str | None = None
    judge: str = "embedded"
    adapter: str | None = None
    answers: str = "type"
    taxonomy: str | None = None
    device: str = "auto"
    tile: str = "auto"
    calibration: str | None = None
    review_below: float | None = None


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast, which changes nothing of what comes out: so another pace is no other run."""

    workers: int = 0
    batch: int = 1


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where results go. `own` are names in `out` that are no results; `compare` sets findings beside a truth."""

    out: Path
    command: str
    title: str = ""
    own: tuple[str, ...] = ()
    pace: Pace = Pace()
    compare: Callable[[list[Finding]], TruthNotes] | None = None


def inspect_into(run: InspectRun, output: Output) -> Summary:
    """Inspect what is not yet done, write everything, and say what it came to. Raises ToelineError."""
    from toeline.cli.show import saying
    from toeline.data.images import file_hash
    from toeline.report.folder import RunFolder
    from toeline.report.record import start_record
    from toeline.report.save import finish

    taxonomy = Taxonomy.load(Path(run.taxonomy) if run.taxonomy else None)
    photos = _photos(run.photos, output.out)
    typed = {**asdict(run), "photos": list(run.photos), "thresholds": list(run.thresholds)}
    made = file_hash(Path(run.calibration)) if run.calibration and Path(run.calibration).is_file() else None
    settings: dict[str, Any] = {**typed, "weights": quick_weights(run), "calibration_sha256": made}
    record = start_record(output.command, settings, taxonomy, title=output.title)
    folder = RunFolder.open(output.out, record, own=output.own)
    todo = [p for p in photos if p.name not in folder.names]
    if todo:
        _inspect(run, todo, folder, taxonomy, total=len(photos), pace=output.pace)
    truth = output.compare(folder.findings()) if output.compare else None
    order, already = [p.name for p in photos], len(photos) - len(todo)
    with saying("Writing tables and report"):
        return finish(folder, order, taxonomy, already=already, truth=truth, workers=output.pace.workers)


def _photos(typed: Sequence[str], out: Path) -> list[Photo]:
    """The photographs of what was typed, without pictures that are none: see _beside, and those we marked ourselves."""
    from toeline.cli.show import errors, some
    from toeline.data.images import find_photos
    from toeline.errors import PhotoError

    paths, marked = [Path(t) for t in typed], (out / "marked").resolve()
    found = [p for p in find_photos(paths) if not p.path.resolve().is_relative_to(marked)]
    photos = [p for p in found if not _beside(p.path, paths)]
    if len(photos) < len(found):
        errors.print(
            f"{some(len(found) - len(photos), 'picture')} in folders called {' or '.join(BESIDE)} passed over: they "
            f"belong to a data set. Name such a folder itself if it holds photographs."
        )
    if not photos:
        raise PhotoError(f"{', '.join(typed)}: no photographs there. Name a folder that holds some.")
    return photos


def _beside(photo: Path, typed: Sequence[Path]) -> bool:
    """Whether a picture lies in a folder of labels, as data sets (and `toeline synth`) have them beside photographs."""
    below = [photo.relative_to(path).parts[:-1] for path in typed if photo.is_relative_to(path)]
    return all(any(part.lower() in BESIDE for part in parts) for parts in below)


def _inspect(
    run: InspectRun, todo: list[Photo], folder: RunFolder, taxonomy: Taxonomy, *, total: int, pace: Pace
) -> None:
    from toeline.cli.show import bar, goes_on, saying
    from toeline.report.save import save

    with saying("Loading the models"):
        boxes, notes = _boxes(run, taxonomy)
        inspector = _load(run, taxonomy, boxes)
    folder.note(notes)
    remember_models(folder, models_of(run, inspector))
    with goes_on(), bar("Inspecting", total=total, done=total - len(todo)) as step:
        results = inspector.inspect_all(todo, workers=pace.workers, batch=pace.batch)
        for result in save(folder, results, taxonomy, workers=pace.workers):
            step(result.problems)


def _load(run: InspectRun, taxonomy: Taxonomy, boxes: Boxes | None) -> Inspector:
    from toeline.inspector import Inspector

    return Inspector.load(
        run.detector,
        run.judge,
        adapter=run.adapter,
        taxonomy=taxonomy,
        device=run.device,
        answers="all" if run.answers == "all" else "type",
        boxes=boxes,
        detector_options=detector_options(run.thresholds, trust=run.trust, device=run.device),
        tile=run.tile,
        calibration=run.calibration,
        floor=run.review_below,
    )


def detector_options(thresholds: Sequence[str], *, trust: bool, device: str) -> DetectorOptions:
    """What was typed of the detector. Raises SetupError for a threshold that is none."""
    from toeline.detect.options import DetectorOptions, read_thresholds

    by_type, general = read_thresholds(thresholds)
    return DetectorOptions(by_type, general, trust, device)


def _boxes(run: InspectRun, taxonomy: Taxonomy) -> tuple[Boxes | None, list[Problem]]:
    from toeline.cli.boxes import label_boxes

    return label_boxes(Path(run.boxes), taxonomy) if run.boxes else (None, [])


def quick_weights(run: InspectRun) -> dict[str, str]:
    """SHA-256 of the weights that are hashed in no time, before any is loaded: the detector's, those of small judges.

    They are part of the settings, so that a finished run is not taken for one of newer models.
    """
    from toeline.data.images import file_hash
    from toeline.detect import choose as detectors
    from toeline.judge import choose as judges

    files = [] if run.boxes else detectors.weight_files(run.detector)
    files += sorted(judges.EMBEDDED.glob("*.safetensors")) if "embedded" in run.judge else []
    files += [Path(part) for part in re.split("[:,]", run.judge)[1:]]  # floor:FILE, fuse:A,floor:FILE, replay:FILE
    return {f"{f.parent.name}/{f.name}": file_hash(f) for f in files if f.is_file()}


def models_of(run: InspectRun, inspector: Inspector) -> dict[str, Any]:
    """What is at work, called as the user called it: where it lies on this machine says nothing later."""
    detector = {"labels": run.boxes} if run.boxes else {"model": run.detector}
    made = inspector.calibration
    return {
        "detector": detector,
        "judge": {**inspector.judge.info, "model": run.judge},
        "review": {"below": inspector.floor, "calibration": made.record() if made else None},
    }


def remember_models(folder: RunFolder, models: dict[str, Any]) -> None:
    """Write down which weights are at work. Raises OutputError for a run that was begun with others."""
    before = folder.run.get("models")
    if folder.names and before and _lasting(before) != _lasting(models):
        raise OutputError(
            f"{folder.path}: was begun with other model weights or on another device, and {len(folder.names)} "
            f"photographs are done. Choose a new folder with --out, or delete this one."
        )
    folder.save_run(models=models, finished=None)


def _lasting(models: Any) -> Any:
    """Models as run.json gives them back, without versions, which may change in the middle of a run."""
    plain = json.loads(json.dumps(models))
    return {room: {k: v for k, v in facts.items() if k != "versions"} for room, facts in plain.items()}
