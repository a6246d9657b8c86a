"""`toeline learn`: from labeled photographs to one model folder, in steps that a kill cannot lose.

Each part is trained once for every fold, on the photographs of other flight lines, and once on all of train. What the
folds' models say of photographs that they never saw sets thresholds, weights and temperatures. The validation split
chooses nothing: it is measured on, at the end.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline.analysis.suggest import SeenObject, SeenPhoto, doubted
from toeline.core.box import Box
from toeline.core.calibration import Calibration, load_calibration, log_loss, padded
from toeline.core.finding import Problem
from toeline.core.provenance import now_words, start_record
from toeline.core.records import counted, join_lines, problem_record, read_lines
from toeline.core.run_folder import ERRORS, begun_with, claimed, write_run, write_whole, writing
from toeline.core.scene import Instance
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.data.domain import FEWEST, DomainCard, Score, fit_domain, load_domain, save_domain
from toeline.data.feature_maps import feature_network
from toeline.data.images import read_photo
from toeline.data.photo_measures import Measures, measures_in
from toeline.data.split import folds_of
from toeline.data.yolo import LabeledScene, open_yolo
from toeline.detect.detector import RESCORE, DetectorOptions
from toeline.detect.load import load_detector
from toeline.detect.onnx import OnnxDetector
from toeline.detect.rescore import columns_of
from toeline.detect.views import LEAST, STEADY, WHOLE, Candidates
from toeline.errors import SetupError
from toeline.evaluate.average_precision import Precisions, best_thresholds, found_of, precisions, true_rows
from toeline.evaluate.calibration import calibrated, reliability, review_at, review_curve
from toeline.evaluate.matching import Case
from toeline.evaluate.results import LearnResult, Trusted
from toeline.judge.decide import probabilities
from toeline.pipelines.boxes import DETECTOR as FOUND
from toeline.pipelines.boxes import TRUTH
from toeline.pipelines.evaluate import evaluate_into
from toeline.pipelines.evaluate_detector import DETECTIONS, HTML, MARKDOWN, SCORECARD, measure
from toeline.pipelines.evaluate_run import TRUE_BOXES, Workbench, once
from toeline.pipelines.model_folder import (
    BASELINE,
    CALIBRATION,
    DETECTOR,
    DOMAIN,
    ENSEMBLE,
    JUDGE,
    MODEL,
    WORDS,
    ModelFolder,
    seen_by_package,
    write_model,
)
from toeline.pipelines.progress import Summary, bar, escape, goes_on, tell_problems, training_bars
from toeline.pipelines.settings import EvaluateRun, Scoring
from toeline.pipelines.steps import Act, Step, carry_out, side_by_side, threads_each
from toeline.report.document import render_html, render_markdown
from toeline.report.learn_page import page_of
from toeline.train.config import DRAWN, DRAWN_TIMES, EMBEDDED, MIXED_IN, LearnRun
from toeline.train.detector import (
    DetectorTrainingData,
    fit_detector,
    read_detector_training_data,
    seconds_a_photograph,
)
from toeline.train.detector_data import drawn_photograph, fill_pool
from toeline.train.ensemble import AnsweredCase, ask_scenes, ensemble_out_of_fold, fit_on
from toeline.train.finetune import CHECKPOINTS, TrainingData, finetune, read_training_data, release
from toeline.train.rescore import SeenPhotograph, fit_rescorer, paired, rescored_out_of_fold
from toeline.train.sampling import class_weights
from toeline.weights import pick_device

if TYPE_CHECKING:
    from PIL.Image import Image

    from toeline.judge.ensemble import EnsembleJudge

NOT_SEEN = 3_000_017  # added to the seed: drawn scenes that no detector was trained on
LABELED = "drawn-labeled"  # drawn scenes with their conditions
STEPS, ANSWERS, LOOK, BASELINE_STEP = "steps", "answers.jsonl", "look", "baseline"
ONE_VIEW, VIEWS, AGAIN = "one view", "several views", "a second look"  # how detections are made
DATA, BEFORE, EVALUATION = "data", "before", "evaluation"
VALID_SHARE = 0.2  # of the flight lines, to measure on, where a data set has no split for it
EXPECTED = {"both_stages": "of objects right in class and place", "judge": "of classes right on true boxes"}
DETECTOR_FILES = ("model.onnx", "detector.json")
USUAL_S = {
    DRAWN: 0.1,
    "baseline": 0.9,
    "detector": 0.25,
    LOOK: 0.8,
    "judge": 2.8,
    "joined": 0.1,
    "domain": 0.2,
}  # a photograph, on a CPU
LEAST_EPOCHS = {"detector": 6, "judge": 2}  # fewer teach nothing worth having
RECALL = 2.0  # times as much as precision counts for what may be a defect: a miss is worse than one that a person drops
OWN = (STEPS, DATA, BEFORE, EVALUATION)


@dataclass(frozen=True)
class Learning:
    """What the steps share: settings, data, and the fold of each photograph of train by its path."""

    run: LearnRun
    data: Path
    out: Path
    boxes: DetectorTrainingData
    sheets: TrainingData
    fold: Mapping[Path, int]

    @classmethod
    def of(cls, run: LearnRun, data: Path, out: Path) -> Learning:
        """Read the data set and cut train into folds. Raises LabelError."""
        boxes = read_detector_training_data(run.detector, data)
        scenes = boxes.train.scenes
        numbers = folds_of([s.flight_line for s in scenes], run.folds)
        fold = {s.path: n for s, n in zip(scenes, numbers, strict=True)}
        return cls(run, data, out, boxes, read_training_data(run.judge, data), fold)

    @property
    def folds(self) -> range:
        """Numbers of the folds."""
        return range(max(self.fold.values()) + 1)

    @property
    def steps(self) -> list[Step]:
        """All of the work, in order; trainings need none of each other."""
        run, n = self.run, len(self.boxes.train.scenes)

        def step(name: str, label: str, photographs: int, act: Act, needs: Sequence[str] = ()) -> Step:
            kind = name.partition("-")[0]
            return Step(name, label, kind, USUAL_S[kind] * photographs, act, tuple(needs))

        scenes, parts = DRAWN_TIMES * run.detector.mix_drawn, list[Step]()
        if scenes:
            parts.append(step(DRAWN, "the drawn scenes that it mixes with photographs", scenes, self.drawn))
        parts.append(step(BASELINE_STEP, "the baseline", n, self.baseline))
        held: dict[str, list[str]] = {}
        for kind, epochs, drawn, act, needs in (
            ("detector", run.epochs, run.detector.mix_drawn, self.detector, (DRAWN,) if scenes else ()),
            ("judge", run.judge_epochs, run.judge.mix_drawn, self.judge, (BASELINE_STEP,)),
        ):
            if not epochs:
                continue
            whole = step(kind, f"the {kind}, on all of {run.split}", (n + drawn) * epochs, partial(act, None), needs)
            folds = [
                step(
                    f"{kind}-{k + 1}",
                    f"a {kind} without fold {k + 1} of {len(self.folds)}",
                    (sum(f != k for f in self.fold.values()) + drawn) * epochs,
                    partial(act, k),
                    needs,
                )
                for k in self.folds
            ]
            held[kind] = [s.name for s in folds]
            parts += [whole, *folds]  # the longest first, so that none is left alone at the end
        parts.append(step(LOOK, "a second look at what was found", n, self.second_look, held["detector"]))
        judged = [BASELINE_STEP, *held.get("judge", ()), *(["judge"] if run.judge_epochs else [])]
        parts.append(step("joined", "how sure it is", n, self.joined, judged))
        return [*parts, step("domain", "what its photographs are like", n, self.domain)]

    def planned(self, record: dict[str, Any]) -> Learning:
        """With the number of epochs that the budget allows; chosen once, for a run that continues must stay as is."""
        run = self.run
        if run.budget is not None:
            chosen = record.get("epochs") or affordable(run, len(self.boxes.train.scenes), self.pace())
            record["epochs"] = chosen
            run = replace(run, epochs=chosen["detector"], judge_epochs=chosen["judge"])
        return replace(self, run=run)

    def pace(self) -> float:
        """Seconds in which this machine trains the detector on a photograph."""
        return seconds_a_photograph(self.run.detector, self.boxes)

    def outside(self, scenes: Iterable[LabeledScene], fold: int | None) -> tuple[LabeledScene, ...]:
        """Photographs to train on for a fold; all for None."""
        return tuple(s for s in scenes if self.fold.get(s.path) != fold)

    def inside(self, scenes: Iterable[LabeledScene], fold: int) -> tuple[LabeledScene, ...]:
        """Photographs of a fold."""
        return tuple(s for s in scenes if self.fold.get(s.path) == fold)

    def folder(self, step: str) -> Path:
        """Where a step works."""
        return self.out / STEPS / step

    def drawn(self, folder: Path) -> Mapping[str, Any]:
        """The scenes that all detectors see; drawn once, for two trainings may run at the same time."""
        run = self.run.detector
        return {"scenes": len(fill_pool(folder, scenes=DRAWN_TIMES * run.mix_drawn, seed=run.seed + MIXED_IN))}

    def baseline(self, folder: Path) -> Mapping[str, Any]:
        """The judge without a language model; it keeps its answers out of fold."""
        from toeline.pipelines.baseline import baseline_into

        run = replace(self.run.baseline, data=self.data)
        facts = baseline_into(run, folder / BASELINE, drawn=self.folder(LABELED)).facts
        return {name: facts[name] for name in ("features", "log_loss_by_features", "cross_validated")}

    def detector(self, fold: int | None, folder: Path) -> Mapping[str, Any]:
        """A detector; that of a fold looks at the fold's photographs, that of all at the validation split."""
        data, valid = self.boxes, self.boxes.valid
        if fold is not None:
            valid = replace(data.train, name=f"fold {fold + 1}", scenes=self.inside(data.train.scenes, fold))
        train = replace(data.train, scenes=self.outside(data.train.scenes, fold))
        with training_bars(self.run.epochs) as tell:
            fit_detector(
                self.run.detector, replace(data, train=train, valid=valid), folder, resume=True,
                tell=partial(tell, "train"), choose=False, pool=self.folder(DRAWN),
            )  # fmt: skip
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        return {"photographs": len(train.scenes), "objects": train.objects}

    def second_look(self, folder: Path) -> Mapping[str, Any]:
        """How detections are made of what the network says: by one view or several, with a second look or without.

        The one of the highest mean average precision is kept, by the detectors of the folds on what they never saw.
        """
        seen, plain = self.looked_at()
        kinds = self.boxes.kinds
        network = feature_network()
        once_more = rescored_out_of_fold(seen, kinds, len(STEADY), network)
        said = {VIEWS: [p.found for p in seen], AGAIN: once_more}
        n = len(self.held)  # what comes after them are drawn scenes
        found = {ONE_VIEW: plain} | {how: [_instances(one, kinds) for one in its[:n]] for how, its in said.items()}
        true, lines = [s.instances for s in self.held], [p.flight_line for p in seen[:n]]
        scores = {how: precisions(its, true, kinds, lines, draws=0).map_50 for how, its in found.items()}
        kept = max(scores, key=scores.__getitem__)
        (folder / RESCORE).unlink(missing_ok=True)
        if kept == AGAIN:
            fit_rescorer(seen, kinds, len(STEADY), network).save(folder / RESCORE)
        rows = zip(self.held, found[kept], strict=True)
        write_whole(folder / DETECTIONS, join_lines(_detection_record(p, its) for p, its in rows))
        return {"kept": kept, "map_50": scores, "photographs": n, "drawn": len(seen) - n}

    @cached_property
    def held(self) -> list[LabeledScene]:
        """The photographs of train, fold by fold."""
        return [s for k in self.folds for s in self.inside(self.boxes.train.scenes, k)]

    def looked_at(self) -> tuple[list[SeenPhotograph], list[list[Instance]]]:
        """What several views find on each of `held`, and after them on drawn scenes that no detector has seen; and
        what one view finds on each of `held`. By the detector of a photograph's fold."""
        seen, scenes, plain = list[SeenPhotograph](), list[SeenPhotograph](), list[list[Instance]]()
        with bar("Looking at what it never saw", total=len(self.held) + self.run.drawn) as step:
            for k in self.folds:
                name, options = str(self.folder(f"detector-{k + 1}")), DetectorOptions(general=LEAST)
                detector = load_detector(name, taxonomy=self.boxes.taxonomy, options=options)
                assert isinstance(detector, OnnxDetector)
                for scene in self.inside(self.boxes.train.scenes, k):
                    image = read_photo(scene.path)
                    seen.append(self.seen(detector, image, scene.instances, scene.flight_line or scene.name))
                    plain.append([s.instance for s in detector.viewed(WHOLE).find([image])[0]])
                    step(())
                for n in range(k, self.run.drawn, len(self.folds)):
                    scenes.append(self.seen(detector, *drawn_photograph(n, self.run.seed + NOT_SEEN), f"drawn {n}"))
                    step(())
        return seen + scenes, plain

    def seen(self, detector: OnnxDetector, image: Image, true: Sequence[Instance], flight_line: str) -> SeenPhotograph:
        """What several views of a photograph show to a detector, and what of it is right."""
        kinds, found = self.boxes.kinds, detector.viewed(STEADY).candidates(image)
        columns = columns_of(image, found, len(kinds), feature_network())
        return SeenPhotograph(flight_line, found, columns, paired(found, true, kinds))

    def detected(self) -> tuple[list[LabeledScene], list[list[Instance]]]:
        """Every photograph of train with what the detector of its fold found, which never saw it."""
        found = {
            row["photo"]: [Instance("", kind, Box(*box), score) for kind, score, box in row["found"]]
            for row in read_lines(self.folder(LOOK) / DETECTIONS)
        }
        return self.held, [found[s.name] for s in self.held]

    def thresholds(self) -> dict[str, float]:
        """Of best F2 on detections out of fold; of best F1 for a type that leaves one answer, which is no defect."""
        scenes, found = self.detected()
        kinds, taxonomy = self.boxes.kinds, self.boxes.taxonomy
        seen = [found_of(f, kinds) for f in found]
        true = [true_rows(s.instances, kinds) for s in scenes]
        plain, often = (best_thresholds(seen, true, kinds, beta=beta) for beta in (1.0, RECALL))
        return {k: round((often if len(taxonomy.answers(k)) > 1 else plain)[k].score, 3) for k in kinds}

    @cached_property
    def out_of_fold(self) -> Precisions:
        """Average precision of the detectors of the folds, on photographs they never saw; flight lines drawn anew."""
        scenes, found = self.detected()
        lines = [s.flight_line or s.name for s in scenes]
        return precisions(found, [s.instances for s in scenes], self.boxes.kinds, lines)

    def judge(self, fold: int | None, folder: Path) -> Mapping[str, Any]:
        """A language model; that of a fold answers for the fold's photographs."""
        data = self.sheets
        train = replace(data.train, scenes=self.outside(data.train.scenes, fold))
        counts = replace(data, train=train).counts
        own = replace(data, train=train, valid=None, weights=class_weights(counts, data.taxonomy))
        with training_bars(self.run.judge_epochs) as tell:
            finetune(self.run.judge, own, folder, resume=True, tell=tell)
        release()
        if fold is not None:
            judge = self.both(folder / "model")
            with bar("Answering for what it never saw", total=len(data.train) - len(train)) as step:
                asked = ask_scenes(self.inside(data.train.scenes, fold), judge, data.taxonomy, step=step)
            write_whole(folder / ANSWERS, join_lines(one._asdict() for one in asked))
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        return {"photographs": len(train)}

    def both(self, model: Path | None) -> EnsembleJudge:
        """A trained judge beside the baseline; the baseline twice without one."""
        from toeline.judge.baseline.judge import BaselineJudge
        from toeline.judge.ensemble import EnsembleJudge
        from toeline.judge.load import load_judge

        baseline = BaselineJudge.load(self.folder("baseline") / BASELINE)
        if model is None:
            return EnsembleJudge((baseline, baseline), (BASELINE, BASELINE))
        return EnsembleJudge(
            (load_judge(str(model), device=self.run.device), baseline), (JUDGE, f"baseline:{BASELINE}")
        )

    def answers(self) -> list[AnsweredCase]:
        """What both judges said of every object of train, out of fold."""
        if not self.run.judge_epochs:
            return ask_scenes(self.sheets.train.scenes, self.both(None), self.sheets.taxonomy)
        return [AnsweredCase(**row) for k in self.folds for row in read_lines(self.folder(f"judge-{k + 1}") / ANSWERS)]

    def domain(self, folder: Path) -> Mapping[str, Any]:
        """What the photographs of train are like, so that inspection can tell others from them."""
        scenes = self.boxes.train.scenes
        if len(scenes) < FEWEST:
            return {"photographs": 0}
        trained_on = (
            f"{some(len(scenes), 'photograph')} of {some(len({s.flight_line for s in scenes}), 'flight line')} of "
            f"{self.data.resolve().name}"
        )
        with bar("Looking at the photographs", total=len(scenes)) as step:

            def measured(photo: Path) -> Measures:
                step(())
                return measures_in(photo)

            lines = [s.flight_line for s in scenes]
            model = fit_domain([s.path for s in scenes], lines, measured, DomainCard(trained_on))
        save_domain(model, folder / DOMAIN)
        return {"photographs": model.n, "false_alarms": model.false_alarms, **model.facts}

    def doubts(self) -> list[tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]]:
        """Classes and flight lines of train by how many objects the judge was unsure of out of fold, as tables."""
        objects: dict[tuple[str, str], list[SeenObject]] = {}
        for row in read_lines(self.folder("joined") / ANSWERS):
            name = self.boxes.taxonomy.spoken(row["type_name"])
            one = SeenObject(name, answers=probabilities(row["said"]))
            objects.setdefault((row["photo"], row["flight_line"]), []).append(one)
        tables = doubted(SeenPhoto(photo, line, tuple(its)) for (photo, line), its in objects.items())
        heads = (("class that was said", "objects", "in doubt"), ("flight line", "objects", "in doubt"))
        return [
            ("", head, tuple((need.name, f"{need.n:,}", need.words) for need in needs))
            for head, needs in zip(heads, tables, strict=True)
        ]

    def trained_on(self) -> dict[str, Any]:
        """What model.json says of the photographs."""
        scenes = self.boxes.train.scenes
        return {
            "split": self.run.split,
            "photographs": len(scenes),
            "objects": self.boxes.train.objects,
            "flight_lines": sorted({s.flight_line for s in scenes}),
            "folds": len(self.folds),
            "photographs_sha256": list(self.sheets.train.photos_sha256),
        }

    def joined(self, folder: Path) -> Mapping[str, Any]:
        """Which judge is kept, by the log loss out of fold; its weights, and its calibration."""
        from toeline.judge.ensemble import save_ensemble

        asked = self.answers()
        at = [list(x.a).index(x.right) for x in asked]
        mixed = ensemble_out_of_fold(asked) if self.run.judge_epochs else None
        scores = {"baseline": [x.b for x in asked], "judge": [x.a for x in asked], "ensemble": mixed}
        losses = {
            name: log_loss(padded([[s[n] for n in x.a] for s, x in zip(said, asked, strict=True)]), at)
            for name, said in scores.items()
            if said is not None
        }
        kept = "ensemble" if losses.get("ensemble", 1e9) < losses["baseline"] else "baseline"
        (folder / ENSEMBLE).unlink(missing_ok=True)
        if kept == "ensemble":
            judge = replace(self.both(self.folder("judge") / "model"), mix=fit_on(asked))
            save_ensemble(folder / ENSEMBLE, judge, {"fitted_on": f"{self.run.split}, out of fold", "n": len(asked)})
        rows = zip(asked, scores[kept] or (), strict=True)
        write_whole(folder / ANSWERS, join_lines({**x._asdict(), "said": dict(said)} for x, said in rows))
        return {"kept": kept, "log_loss": losses, "objects": len(asked), "folds": len(self.folds)}


def side_by_side_of(run: LearnRun) -> LearnRun:
    """With the number of trainings at a time, and of the threads of each, that this machine takes."""
    jobs = side_by_side(run.jobs, pick_device(run.device))
    return replace(run, jobs=jobs, threads=run.threads or (threads_each(jobs) if jobs > 1 else 0))


def affordable(run: LearnRun, photographs: int, pace: float) -> dict[str, int]:
    """How many epochs the detector and the judge get in `run.budget` minutes, when the detector takes `pace` seconds.

    Half of the budget at least is the detector's, which loses the most objects. A judge of fewer epochs than
    LEAST_EPOCHS is left out; a detector of fewer is a SetupError that says how long it takes. Trainings side by side
    take a tenth of their speed from each other (measured on 2 cores).
    """
    assert run.budget is not None
    often, asked = (  # of the folds together all but one, and all once more; and drawn scenes each time
        photographs * run.folds + (run.folds + 1) * part.mix_drawn for part in (run.detector, run.judge)
    )
    judge_s = asked * USUAL_S["judge"] * pace / USUAL_S["detector"]
    at_a_time = max(1.0, 0.9 * run.jobs)
    left_s = 60 * run.budget * at_a_time - photographs * USUAL_S["baseline"]
    judge = min(run.judge_epochs, int(left_s / 2 / judge_s))
    judge = judge if judge >= LEAST_EPOCHS["judge"] else 0
    detector = min(run.epochs, int((left_s - judge * judge_s) / (often * pace)))
    if detector < min(LEAST_EPOCHS["detector"], run.epochs):
        epochs = LEAST_EPOCHS["detector"]
        raise SetupError(
            f"--budget {run.budget:g}: this machine needs {epochs * often * pace / at_a_time / 60:,.0f} minutes "
            f"for {epochs} "
            f"epochs of the detector on {photographs:,} photographs. Give more, or fewer --folds."
        )
    return {"detector": detector, "judge": judge}


def _instances(found: Candidates, kinds: Sequence[str]) -> list[Instance]:
    boxes = (Box(*map(float, box)) for box in found.boxes)
    rows = zip(boxes, found.kinds, found.scores, strict=True)
    return [Instance("", kinds[k], box, min(float(score), 1.0)) for box, k, score in rows]


def _detection_record(photo: LabeledScene, found: Sequence[Instance]) -> dict[str, Any]:
    rows = [(t.type_name, round(t.score, 5), [round(v, 2) for v in t.box.xyxy]) for t in found]
    return {"photo": photo.name, "found": rows}


def learn_into(run: LearnRun, data: Path, out: Path) -> LearnResult:
    """Train, measure and write everything into `out`; the same again continues. Raises ToelineError."""
    open_yolo(data, Taxonomy.load(run.taxonomy), classes=run.classes)  # refused before a folder is made
    with claimed(out, own=OWN) as begun, writing(out):
        data, cut = _with_valid(run, data, out)
        learning = Learning.of(side_by_side_of(run), data, out)
        record = _record(learning)
        if begun:
            record = begun_with(out, record)
        learning = learning.planned(record)
        record |= {"jobs": learning.run.jobs, "threads": learning.run.threads}
        write_run(out, record)
        known = _known(learning)
        problems = tuple(dict.fromkeys([*known, *cut, *learning.boxes.train.problems, *learning.sheets.problems]))
        tell_problems(problems)
        with goes_on():
            done = carry_out(learning.steps, out / STEPS, jobs=learning.run.jobs)
            parts = publish(learning, done)
            return _measured(learning, record, done, parts, problems)


def _with_valid(run: LearnRun, data: Path, out: Path) -> tuple[Path, list[Problem]]:
    """The data set itself, or one in `out` with a fifth of its flight lines cut off, where it has no such split."""
    from toeline.data.datasets import Carry
    from toeline.data.places import ALL, SPLITS
    from toeline.data.split import SplitRun, plan_split, write_split
    from toeline.data.yolo import open_dataset

    found = open_dataset(data, Taxonomy.load(run.taxonomy), classes=run.classes)
    if SPLITS.get(run.valid, run.valid) in found.splits:
        return data, []
    name, entries = (ALL, found.splits[ALL]) if [*found.splits] == [ALL] else found.split(run.split)
    parts = {run.split: 1 - VALID_SHARE, run.valid: VALID_SHARE}
    plan = plan_split(replace(found, splits={name: entries}), SplitRun(seed=run.seed, parts=parts, carry=Carry.LINK))
    write_split(plan, out / DATA)
    lines = ", ".join(plan.groups_of[run.valid])
    what = f"has no split {run.valid!r}: flight lines {lines} were cut off to measure on; nothing is trained on them."
    return out / DATA, [Problem.in_file(data, what, note=True), *plan.problems]


def _known(learning: Learning) -> list[Problem]:
    """What makes figures out of fold optimistic: photographs that the models have seen that training begins with."""
    if learning.run.begin != EMBEDDED:
        return []  # whoever names other weights knows what they have seen
    seen = seen_by_package(learning.sheets.train.photos_sha256)
    what = (
        f"{seen:,} of its photographs are among those that the models in the package were trained on, with which "
        f"training begins: figures out of fold are too good, and thresholds and calibration chosen on them too bold. "
        f"Take that model as it is, or begin with another detector (--from), as toeline train-embedded makes one."
    )
    return [Problem.in_file(learning.data, what)] if seen else []


def _record(learning: Learning) -> dict[str, Any]:
    """run.json as it begins; equal settings and data are the same run."""
    boxes, sheets = learning.boxes, learning.sheets
    hashes = {part.name: part.sha256() for part in (boxes.train, boxes.valid)}
    settings = {
        **learning.run.record(),
        "data": str(learning.data),
        "boxes_sha256": hashes,
        "data_sha256": {part.name: part.sha256 for part in (sheets.train, sheets.valid) if part},
    }
    record = start_record("learn", settings, boxes.taxonomy, title="Learning")
    return {**record, "photographs_sha256": list(sheets.train.photos_sha256)}


def publish(learning: Learning, done: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Put the parts that were kept into the folder, beside each other; their names."""
    out, parts = learning.out, [DETECTOR, BASELINE, CALIBRATION]
    (out / DETECTOR).mkdir(exist_ok=True)
    weights, card = (learning.folder("detector") / name for name in DETECTOR_FILES)
    write_whole(out / DETECTOR / weights.name, weights.read_bytes())
    told = {**json.loads(card.read_text(encoding="utf-8")), "thresholds": learning.thresholds()}
    (out / DETECTOR / RESCORE).unlink(missing_ok=True)
    if done[LOOK]["kept"] != ONE_VIEW:
        told["views"] = [view._asdict() for view in STEADY]
    if done[LOOK]["kept"] == AGAIN:
        write_whole(out / DETECTOR / RESCORE, (learning.folder(LOOK) / RESCORE).read_bytes())
    write_whole(out / DETECTOR / card.name, json.dumps(told, indent=1) + "\n")
    write_whole(out / BASELINE, (learning.folder("baseline") / BASELINE).read_bytes())
    if learning.run.judge_epochs:  # also where the baseline alone answers: for prompts, adapters and what quantizes it
        (out / JUDGE).mkdir(exist_ok=True)
        for file in sorted((learning.folder("judge") / "model").iterdir()):
            write_whole(out / JUDGE / file.name, file.read_bytes())
        parts.append(JUDGE)
    if done["joined"]["kept"] == "ensemble":
        write_whole(out / ENSEMBLE, (learning.folder("joined") / ENSEMBLE).read_bytes())
        parts.append(ENSEMBLE)
    if learning.run.taxonomy:
        write_whole(out / WORDS, learning.run.taxonomy.read_bytes())
        parts.append(WORDS)
    write_whole(
        out / CALIBRATION, json.dumps(_calibration(learning, parts).record(), indent=2, ensure_ascii=False) + "\n"
    )
    return parts


def _calibration(learning: Learning, parts: Sequence[str]) -> Calibration:
    """Temperatures and thresholds of review, of the answers out of fold, for the judge that is kept."""
    from toeline.evaluate.calibration import fit
    from toeline.judge.judge import fingerprint
    from toeline.judge.load import load_judge

    taxonomy = learning.boxes.taxonomy
    cases = [
        Case.without_box(
            (row["photo"], row["flight_line"], row["instance_id"]), row["right"], probabilities(row["said"]), taxonomy
        )
        for row in read_lines(learning.folder("joined") / ANSWERS)
    ]
    judge = load_judge(ModelFolder(learning.out, dict.fromkeys(parts, "")).judge, device=learning.run.device)
    whose = {"judge": MODEL, "fingerprint": fingerprint(judge.info), "prompt": judge.view.prompt}
    made = fit(cases, split=f"{learning.run.split}, out of fold", risk=learning.run.risk / 100)
    return replace(made, fitted_for=whose)


def _measured(
    learning: Learning,
    record: dict[str, Any],
    done: Mapping[str, Mapping[str, Any]],
    parts: Sequence[str],
    problems: tuple[Problem, ...],
) -> LearnResult:
    """What the folder scores on the validation split, beside what is shipped; model.json and the report."""
    run, out, taxonomy = learning.run, learning.out, learning.boxes.taxonomy
    folder = ModelFolder(out, dict.fromkeys(parts, ""))
    shipped = EvaluateRun(
        data=learning.data, split=run.valid, boxes=FOUND, device=run.device, taxonomy=run.taxonomy,
        classes=run.classes,
    )  # fmt: skip
    own = replace(shipped, detector=folder.detector, judge=folder.judge)
    before, after = (
        evaluate_into(one, Scoring(spatial=0), out / name) for one, name in ((shipped, BEFORE), (own, EVALUATION))
    )
    with bar("Measuring the detectors", total=2 * len(learning.boxes.valid.scenes)) as step:
        options = DetectorOptions(device=run.device)
        detector, other = (
            measure(name, learning.boxes.valid, taxonomy, options, step=step) for name in (folder.detector, EMBEDDED)
        )
    made = load_calibration(out / CALIBRATION)
    bench = Workbench(own)
    cases = once(bench, replace(own, boxes=TRUTH), out / EVALUATION / TRUE_BOXES).cases
    tempered = calibrated(cases, made)
    point = review_at(tempered, made.step(run.risk / 100).below)
    trust = Trusted(reliability(cases), review_curve(tempered), reliability(tempered), made, point)
    every = [*problems, *before.problems, *after.problems]  # the same ones, with other advice: the first counts
    problems = tuple({(p.photo, p.file, p.line, p.what): p for p in reversed(every)}.values())[::-1]
    if done["domain"]["photographs"]:
        parts = [*parts, DOMAIN]
    else:
        what = f"has fewer than {FEWEST} photographs to train on: inspection cannot tell whether others are like them."
        problems += (Problem.in_file(learning.data, what, note=True),)
    record |= {"finished": now_words(), "steps": done, **counted(problems)}
    result = LearnResult(
        record=record, steps=done, detector=replace(detector, name="this detector"),
        shipped=replace(other, name="the embedded detector"), out_of_fold=learning.out_of_fold, before=before,
        after=after, trust=trust, doubts=learning.doubts(), problems=problems,
        written={"model": str(out), "report": str(out / HTML), "figures": str(out / SCORECARD)},
    )  # fmt: skip
    if DOMAIN in parts:
        write_domain(learning, result)
    write_model(out, parts, learning.trained_on(), result.scores())
    page = page_of(result, taxonomy)
    write_whole(out / ERRORS, join_lines(map(problem_record, problems)))
    write_whole(out / SCORECARD, json.dumps(result.scores(), indent=2, ensure_ascii=False) + "\n")
    write_whole(out / HTML, render_html(page))
    write_whole(out / MARKDOWN, render_markdown(page))
    write_run(out, record)
    return result


def write_domain(learning: Learning, result: LearnResult) -> None:
    """The domain file with what the model scores on the validation split, which is what may then be expected."""
    model, metrics = load_domain(learning.folder("domain") / DOMAIN), result.metrics()
    scores = tuple(
        Score(what, m.value, m.interval.low, m.interval.high, m.n)
        for key, what in EXPECTED.items()
        if (m := metrics[key])
    )
    measured_on = f"{result.after.done.split.name} of {learning.data.resolve().name}"
    save_domain(replace(model, card=replace(model.card, measured_on=measured_on, scores=scores)), learning.out / DOMAIN)


def summary(result: LearnResult) -> Summary:
    """What it came to, and how the folder is used."""
    use = f"Inspect with it: toeline inspect PHOTOS --model {escape(result.written['model'])} --out ..."
    lines = [f"[bold]{escape(line)}[/]" if not n else escape(line) for n, line in enumerate(result.sentences)]
    return Summary(
        lines, result.written, {"written": dict(result.written), **result.scores()}, result.problems, last=use
    )
