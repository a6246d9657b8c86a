"""Second thoughts: what changes no answer is applied again to a run that is on disk, and no model is loaded.

That are the rule for review (--review-below, --risk), a calibration, severities and words of a taxonomy, and another
path to the same photographs. Findings hold the probabilities before calibration, so that what comes out is what a new
run would have said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from toeline.core.calibration import Calibration, calibration_from, load_calibration
from toeline.core.finding import UNLIKE_PHOTO, UNLIKE_RUN, Finding, Verdict, held_back, let_go
from toeline.core.prefetch import ahead
from toeline.core.reading import file_hash, is_file
from toeline.core.records import each_line, finding_from, finding_record, join_lines
from toeline.core.run_folder import FINDINGS, PROGRESS, RUN, read_run, same_value, write_run, write_whole, written
from toeline.core.scene import Instance, Scene
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import Photo, read_photo
from toeline.errors import PhotoError
from toeline.judge.decide import Floor, decided_again
from toeline.judge.judge import require_fitted_for
from toeline.pipelines.changes import file_state
from toeline.pipelines.inspector import graded_in, require_thresholds
from toeline.pipelines.model_folder import calibration_file
from toeline.pipelines.progress import errors, escape
from toeline.pipelines.settings import InspectRun
from toeline.report.draw import as_jpeg, draw, marks_of
from toeline.report.tables import marked_of

RULES = {"review_below", "risk", "calibration", "calibration_sha256"}
WORDS = {"taxonomy", "taxonomy_sha256", "grading_sha256"}
UNDERWAY = "applied_again"  # in run.json while findings are rewritten: the rule of before, and what it had written
ENOUGH = 20  # photographs that are compared to know a folder again


@dataclass(frozen=True)
class _Rules:
    """What findings are decided and graded by; `before` is the calibration of their probabilities."""

    taxonomy: Taxonomy
    review_below: float | None
    risk: float | None
    calibration: Calibration | None
    before: Calibration | None
    sizes: Mapping[str, tuple[int, int]]


def apply_again(
    out: Path, record: Mapping[str, Any], run: InspectRun, taxonomy: Taxonomy, photos: Sequence[Photo], *, workers: int
) -> None:
    """Bring what lies in `out` to the settings of `record`, where they differ in nothing that changes an answer.

    What else differs is left to be refused. A kill in the middle is made good by the same command. Raises ModelError
    for a calibration of another judge, OutputError for a risk without thresholds.
    """
    before = read_run(out) if is_file(out / RUN) else {}
    changed = _changed(before, record, photos, out)
    now = {**{k: v for k, v in before.items() if k != UNDERWAY}, "settings": record["settings"]}
    if changed == {"photos"}:
        write_run(out, now)
    elif changed:
        made, review = _review(run, before["models"]["judge"])
        sizes = {r["photo"]: (r["size"][0], r["size"][1]) for _, r in each_line(out / PROGRESS) if not r["failed"]}
        former = _former(out, before)
        was = calibration_from(former["calibration"]) if former.get("calibration") else None
        rules = _Rules(taxonomy, run.review_below, _share(run), made, was, sizes)
        underway = {"review": former, "findings_sha256": file_hash(out / FINDINGS)}
        now["models"] = {**before["models"], "review": review}
        write_run(out, {**now, "finished": None, UNDERWAY: underway})
        redrawn = _rewrite(out, rules, all_pictures="taxonomy_sha256" in changed)
        _draw_again(out, redrawn, photos, taxonomy, workers)
        write_run(out, now)
        errors.print(escape(f"Applied again to what is on disk, without a model: {', '.join(sorted(changed))}."))


def _share(run: InspectRun) -> float | None:
    return None if run.risk is None else run.risk / 100


def _review(run: InspectRun, judge: Mapping[str, Any]) -> tuple[Calibration | None, dict[str, Any]]:
    """The calibration of now, and the rule for review as run.json holds it."""
    file = calibration_file(run.calibration, run.judge)
    made = load_calibration(file) if file else None
    require_thresholds(made, run.review_below, _share(run))
    if made:
        require_fitted_for(made, judge, judge.get("prompt"))
    floor = Floor.chosen(run.review_below, made, _share(run))
    return made, {**asdict(floor), "calibration": made.record() if made else None}


def _former(out: Path, before: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rule for review that findings.jsonl was written by: of a kill, the one of before if it was not rewritten."""
    underway: Mapping[str, Any] = before.get(UNDERWAY, {})
    untouched = underway and file_hash(out / FINDINGS) == underway["findings_sha256"]
    former: Mapping[str, Any] = underway["review"] if untouched else before["models"]["review"]
    return former


def _changed(before: Mapping[str, Any], record: Mapping[str, Any], photos: Sequence[Photo], out: Path) -> set[str]:
    """The settings that are to be applied again; none where nothing is, or where something else differs as well."""
    if before.get("command") != record["command"] or "review" not in before.get("models", {}):
        return set()
    was, now = before.get("settings", {}), record["settings"]
    changed = {name for name in {*was, *now} if not same_value(was.get(name), now.get(name))}
    if UNDERWAY in before:
        changed |= {"review_below"}
    if "taxonomy_sha256" in changed and before.get("classes_sha256") != record["classes_sha256"]:
        return set()
    if "photos" in changed and not _same_photographs(photos, out):
        return set()
    return changed if changed <= RULES | WORDS | {"photos"} else set()


def _same_photographs(photos: Sequence[Photo], out: Path) -> bool:
    """Whether the first photographs of the run are there under their names, byte for byte: a moved or linked folder."""
    there = {photo.name: photo.path for photo in photos}
    known = [r for _, r in islice(each_line(out / PROGRESS), ENOUGH)]
    return bool(known) and all(
        r["photo"] in there
        and (list(r.get("file", ())) == list(file_state(there[r["photo"]])) or _hash(there[r["photo"]]) == r["sha256"])
        for r in known
    )


def _hash(path: Path) -> str:
    try:
        return file_hash(path)
    except OSError:
        return ""


def _rewrite(out: Path, rules: _Rules, *, all_pictures: bool) -> dict[str, list[Finding]]:
    """Write findings.jsonl anew; the findings of the photographs whose marked picture says something else now."""
    redrawn: dict[str, list[Finding]] = {}
    with written(out / FINDINGS) as file:
        for before, after in _pairs(out, rules):
            file.write(join_lines(map(finding_record, after)).encode("utf-8"))
            if all_pictures or marks_of(before, rules.taxonomy) != marks_of(after, rules.taxonomy):
                redrawn[after[0].photo] = after
    return redrawn


def _pairs(out: Path, rules: _Rules) -> Iterator[tuple[list[Finding], list[Finding]]]:
    """The findings of each photograph as they are and as they are to be. What a kill left half done stays as it is."""
    records = (record for _, record in each_line(out / FINDINGS))
    for photo, group in groupby(records, key=lambda record: record["photo"]):
        before = [finding_from(record) for record in group]
        yield before, _again(before, rules.sizes[photo], rules) if photo in rules.sizes else before


def _again(findings: Sequence[Finding], size_wh: tuple[int, int], rules: _Rules) -> list[Finding]:
    """The findings of one photograph, decided and graded anew; what is to be held back stays held back."""
    free = [let_go(let_go(f, UNLIKE_RUN), UNLIKE_PHOTO) for f in findings]
    decided = [replace(f, verdict=_decided(f, rules)) for f in free]
    instances = tuple(Instance(f.instance_id, f.type_name, f.box, f.score, f.polygon) for f in findings)
    graded = graded_in(Scene(Path(findings[0].photo), size_wh, instances), decided, rules.taxonomy)
    held = zip(graded, findings, strict=True)
    return [held_back(f, UNLIKE_PHOTO) if was.verdict.review.startswith(UNLIKE_PHOTO) else f for f, was in held]


def _decided(f: Finding, rules: _Rules) -> Verdict:
    return decided_again(
        f.verdict,
        rules.taxonomy,
        kind=f.type_name,
        before=rules.before,
        review_below=rules.review_below,
        calibration=rules.calibration,
        risk=rules.risk,
    )


def _draw_again(
    out: Path, redrawn: Mapping[str, Sequence[Finding]], photos: Sequence[Photo], taxonomy: Taxonomy, workers: int
) -> None:
    """Marked pictures show what is to be reviewed and what cannot wait; of photographs that are gone they stay."""
    there = {photo.name: photo.path for photo in photos}
    jobs = [
        (there[r["photo"]], redrawn[r["photo"]], out / marked_of(r))
        for _, r in each_line(out / PROGRESS)
        if r["photo"] in redrawn and r["photo"] in there and marked_of(r)
    ]
    for _ in ahead(partial(_draw, taxonomy=taxonomy), jobs, workers=workers, most=workers + 1):
        pass


def _draw(job: tuple[Path, Sequence[Finding], Path], *, taxonomy: Taxonomy) -> None:
    photo, findings, picture = job
    try:
        write_whole(picture, as_jpeg(draw(read_photo(photo), findings, taxonomy)))
    except PhotoError:  # it is inspected anew, or gone: both are told elsewhere
        return
