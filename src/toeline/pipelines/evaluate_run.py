"""One evaluation: one judge, one prompt, one source of boxes on one split, into one folder; and several side by side.

`once` is the unit. It inspects what is not yet done and gives every true object with what was said of it. What is
evaluated further (the calibration split, the true boxes beside the detected ones, other prompts) is `once` again with
other settings, into a folder below; models are loaded once and shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline.core.finding import by_photo
from toeline.core.reading import file_hash
from toeline.core.records import join_lines
from toeline.core.run_folder import Check, RunFolder, write_whole
from toeline.core.taxonomy import Taxonomy
from toeline.data.datasets import LabeledSplit, read_split
from toeline.data.images import Photo
from toeline.data.places import SPLITS
from toeline.data.yolo import YoloSet, open_dataset
from toeline.errors import LabelError, ToelineError
from toeline.evaluate.matching import CASES, Case, Matched, case_record, match, on_found_boxes, on_true_boxes
from toeline.evaluate.results import Evaluated
from toeline.judge.prior import (
    CONTENT_FREE,
    OFF,
    SPLIT,
    Prior,
    PriorJudge,
    content_free,
    is_split,
    load_prior,
    mean_prior,
    owner_of,
    prior_hash,
)
from toeline.pipelines.boxes import DETECTOR, TRUTH, Source, chosen_boxes, decided, saved, with_prompt
from toeline.pipelines.changes import changes, model_files, removed, require_same_models, tell_anew
from toeline.pipelines.settings import EvaluateRun, InspectRun
from toeline.prompts.relation_ablation import RELATIONS

if TYPE_CHECKING:
    from toeline.core.question import PromptBudget, QuestionSheet
    from toeline.detect.detector import Detector
    from toeline.judge.judge import Judge
    from toeline.judge.prior import Scores
    from toeline.pipelines.inspector import Boxes


ADVICE = "Correct it, then run the same command again; the rest was evaluated without it."
CALIBRATION, TRUE_BOXES = "calibration", "true-boxes"  # folders below an evaluation
UNCORRECTED, PRIOR = "uncorrected", "prior"  # with --prior: the same answers without it, those it is the mean of
TRAIN = "train"  # the split whose mean is the prior, unless another one is named


@dataclass
class Workbench:
    """What several evaluations of one command share: the vocabulary, the data set, and models that are loaded once.

    `out` is the folder of the command's results. `priors` are by prompt; `said` is what the judge scored before a prior
    was taken off, by the settings without it, so that nothing is asked twice for that.
    """

    run: EvaluateRun
    splits: dict[str, LabeledSplit] = field(default_factory=dict)
    out: Path = Path()
    priors: dict[str | None, Prior] = field(default_factory=dict)
    said: dict[EvaluateRun, dict[tuple[str, str], Scores]] = field(default_factory=dict)

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """The words of all of it."""
        return Taxonomy.load(self.run.taxonomy)

    @cached_property
    def dataset(self) -> YoloSet:
        """Raises LabelError."""
        return open_dataset(self.run.data, self.taxonomy, classes=self.run.classes)

    def split(self, name: str) -> LabeledSplit:
        """A split with its truth, read once. Raises LabelError."""
        key = SPLITS.get(name, name)
        if key not in self.splits:
            self.splits[key] = read_split(self.dataset, name, self.taxonomy, todo=ADVICE)
        return self.splits[key]

    @cached_property
    def judge(self) -> Judge:
        """Raises ModelError and SetupError."""
        from toeline.judge.judge import require_readable
        from toeline.judge.load import load_judge

        judge = load_judge(self.run.judge, device=self.run.device, adapter=self.run.adapter)
        require_readable(judge, self.taxonomy)
        return judge

    @cached_property
    def detector(self) -> Detector:
        """Raises ModelError and SetupError."""
        from toeline.detect.detector import typed_options
        from toeline.detect.load import load_detector
        from toeline.detect.tiling import tiled

        options = typed_options(self.run.thresholds, trust=self.run.trust, device=self.run.device, head=self.run.head)
        return tiled(load_detector(self.run.detector, taxonomy=self.taxonomy, options=options), "auto")


def once(bench: Workbench, run: EvaluateRun, out: Path, *, held: bool = False) -> Evaluated:
    """Inspect what is not yet done of `run.split`; write findings.jsonl, cases.jsonl, run.json. Raises ToelineError.

    `held` says that the caller keeps other processes out of `out`.
    """
    from toeline.core.provenance import data_hash, now_words

    split = bench.split(run.split)
    boxes, problems = (None, ()) if run.findings else chosen_boxes(run.boxes, split, bench.taxonomy, bench.run.classes)
    hashed = run.boxes == TRUTH or Path(run.boxes).is_file()  # in labels_sha256, or among the weights
    check = changes(split.photos, boxes, read=not run.findings, hashed=hashed)
    folder = _open(bench, run, out, check, held=held)
    todo = [p for p in split.photos if p.name not in folder.names]
    tell_anew(folder.stale)
    require_same_models(folder, run.judge, run.adapter)
    if todo:
        prior_of(bench, run)  # it may need a pass of its own
        _answer(bench, run, split, folder, todo, boxes)
    folder.note((*split.problems, *problems, *removed(folder.stale)))
    cases, matched, unjudged = _case(split, folder, true_boxes=_on_true_boxes(run, split, folder))
    write_whole(out / CASES, join_lines(map(case_record, cases)))
    folder.save_run(finished=now_words(), data_sha256=data_hash(list(folder.done.values())))
    return Evaluated(folder, split, cases, matched, unjudged, len(split.photos) - len(todo))


def _open(bench: Workbench, run: EvaluateRun, out: Path, check: Check, *, held: bool) -> RunFolder:
    from toeline.core.provenance import settings_of, start_record

    settings = {
        **settings_of(run),
        "weights": _weights(run),
        "labels_sha256": labels_hash(bench.split(run.split)),
        **prior_hash(run.prior),
    }
    if run.prior == OFF:
        settings.pop("prior")  # as evaluations of before there was one have it
    return RunFolder.open(out, start_record("evaluate", settings, bench.taxonomy), held=held, check=check)


def _weights(run: EvaluateRun) -> dict[str, str]:
    """SHA-256 of what answers, as far as it is hashed in no time; the judge's own weights are under `models`."""
    from toeline.pipelines.inspect import quick_weights

    if run.findings:
        return {run.findings.name: file_hash(run.findings)} if run.findings.is_file() else {}
    boxes = None if run.boxes == DETECTOR else Path(run.boxes)
    hashes = quick_weights(InspectRun(photos=(), detector=run.detector, boxes=boxes, judge=run.judge))
    if boxes and boxes.is_file():
        hashes[boxes.name] = file_hash(boxes)
    return hashes


def labels_hash(split: LabeledSplit) -> str:
    """SHA-256 of what is true of a split: places and classes, so that corrected labels are another evaluation."""
    import hashlib
    import json

    rows = [
        (photo, t.instance.id, t.instance.box.xyxy, t.ground_truth.class_name)
        for photo, instances in sorted(split.true.items())
        for t in instances
    ]
    return hashlib.sha256(json.dumps(rows).encode("utf-8")).hexdigest()


def _answer(
    bench: Workbench, run: EvaluateRun, split: LabeledSplit, folder: RunFolder, todo: list[Photo], boxes: Boxes | None
) -> None:
    from toeline.core.provenance import most, peak_memory
    from toeline.pipelines.inspect import remember_models
    from toeline.pipelines.progress import bar, goes_on, saying

    with saying("Loading the models"):
        source = saved(run.findings, split) if run.findings else _live(bench, run, boxes)
    remember_models(folder, dict(source.models), model_files(run.judge, run.adapter))
    total = len(split.photos)
    with goes_on(), bar(called(bench, run), total=total, done=total - len(todo)) as step:
        for result in folder.keep(source.results(todo)):
            step(result.problems)
    folder.save_run(memory=most(folder.run.get("memory", {}), peak_memory()))


def called(bench: Workbench, run: EvaluateRun) -> str:
    """The name of a pass: the split, and what is other than in the evaluation that it belongs to."""
    others = (
        (run.relations != "given", f"relations {run.relations}"),
        (run.prompt is not None and run.prompt != bench.run.prompt, f"prompt {run.prompt}"),
        (run.boxes == TRUTH != bench.run.boxes, "true boxes"),
        (run.prior != bench.run.prior, "uncorrected"),
        (run.answered is not None, str(run.answered)),
    )
    return ", ".join([f"Evaluating {run.split}", *(name for other, name in others if other)])


def _live(bench: Workbench, run: EvaluateRun, boxes: Boxes | None) -> Source:
    from toeline.pipelines.inspector import Inspector

    judge = decided(with_prompt(bench.judge, run.prompt), run.decide, run.seed)
    if prior := prior_of(bench, run):
        known = bench.said[replace(run, prior=OFF)] = {}
        judge = PriorJudge.of(Recalling(judge, known), prior, bench.taxonomy, answers=run.answers)
    elif run in bench.said:
        judge = Recalling(judge, bench.said[run])
    inspector = Inspector(
        detector=None if boxes else bench.detector,
        judge=judge,
        taxonomy=bench.taxonomy,
        answers=run.answers,
        boxes=boxes,
        relations=RELATIONS[run.relations],
    )
    models = {
        "detector": {"boxes": run.boxes} if boxes else {"model": run.detector},
        "judge": {**judge.info, "model": run.judge, "view": asdict(judge.view)},
    }
    return Source(inspector.inspect_all, models)


@dataclass(frozen=True)
class Recalling:
    """A judge that is not asked again about an object whose scores are in `known`, by photograph and id."""

    judge: Judge
    known: dict[tuple[str, str], Scores]

    @property
    def view(self) -> PromptBudget:
        """That of the judge."""
        return self.judge.view

    @property
    def info(self) -> Mapping[str, Any]:
        """That of the judge."""
        return self.judge.info

    def score(self, sheet: QuestionSheet) -> Sequence[Scores]:
        """The judge's scores, question by question."""
        keys = [(sheet.photo, question.instance_id) for question in sheet.questions]
        if not all(key in self.known for key in keys):
            self.known.update(zip(keys, self.judge.score(sheet), strict=True))
        return [self.known[key] for key in keys]


def prior_of(bench: Workbench, run: EvaluateRun) -> Prior | None:
    """What is taken off the scores of a run: estimated once for each prompt, before its first photograph is judged."""
    if run.prior == OFF:
        return None
    if run.prompt not in bench.priors:
        judge = with_prompt(bench.judge, run.prompt)
        if is_split(run.prior):
            bench.priors[run.prompt] = _mean(bench, run, judge)
        elif run.prior == CONTENT_FREE:
            bench.priors[run.prompt] = content_free(judge, bench.taxonomy, answers=run.answers)
        else:
            bench.priors[run.prompt] = load_prior(Path(run.prior))
    return bench.priors[run.prompt]


def _mean(bench: Workbench, run: EvaluateRun, judge: Judge) -> Prior:
    """The mean over the objects of a split as the judge scores them; of its labels no more than boxes and types."""
    name = prior_split(bench, run.prior)
    other = replace(run, split=name, boxes=bench.run.boxes, prior=OFF, relations="given", answered=None)
    done = once(bench, other, uncorrected_in(bench, other))
    return mean_prior(done.folder.findings(), f"{SPLIT} {name}", answers=run.answers, owner=owner_of(judge))


def prior_split(bench: Workbench, typed: str) -> str:
    """The split that `--prior split[:NAME]` means: train, unless one is named. Raises LabelError where there is none.

    That which is measured has to be named: then the prior has seen its photographs, though never their conditions.
    """
    name = typed.partition(":")[2]
    if name or (TRAIN in bench.dataset.splits and not same_split(bench.run.split, TRAIN)):
        return bench.split(name or TRAIN).name
    what = "is what is measured" if TRAIN in bench.dataset.splits else "is not in the data set"
    raise LabelError(
        f"--prior split takes the mean over the split {TRAIN}, which {what}. Name another one, as split:test, or the "
        f"measured one itself, as split:{bench.run.split}: its conditions are not looked at, and the page says so."
    )


def same_split(one: str, other: str) -> bool:
    """Whether two names mean one split."""
    return SPLITS.get(one, one) == SPLITS.get(other, other)


def uncorrected_in(bench: Workbench, run: EvaluateRun) -> Path:
    """The folder of answers from which nothing is taken off: of the measured photographs, or of those of the prior."""
    measured = same_split(run.split, bench.run.split)
    return bench.out / (UNCORRECTED if measured else PRIOR) / (run.prompt or "own")


def _on_true_boxes(run: EvaluateRun, split: LabeledSplit, folder: RunFolder) -> bool:
    """Whether findings stand on the true objects. Saved ones do when each is on the object of its id."""
    if not run.findings:
        return run.boxes == TRUTH
    try:
        for name, findings in by_photo(folder.findings()).items():
            on_true_boxes(findings, split.true[name])
    except ToelineError:
        return False
    return True


Joined = tuple[tuple[Case, ...], tuple[Matched, ...] | None, int]


def _case(split: LabeledSplit, folder: RunFolder, *, true_boxes: bool) -> Joined:
    """Every true object with what was said of it, photograph by photograph, leaving out those that failed."""
    groups = by_photo(folder.findings())
    names = [p.name for p in split.photos if p.name in folder.done and not folder.done[p.name]["failed"]]
    if true_boxes:
        joined = [on_true_boxes(groups.get(n, []), split.true[n], group=split.groups[n]) for n in names]
        return tuple(c for cases, _ in joined for c in cases), None, sum(len(left) for _, left in joined)
    matched = tuple(match(n, groups.get(n, []), split.true[n]) for n in names)
    found = tuple(c for m in matched for c in on_found_boxes(m, group=split.groups[m.photo]))
    return found, matched, sum(len(m.missed) for m in matched)
