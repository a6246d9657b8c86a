"""`toeline learn`: from labeled photographs to one model folder, in steps that a kill cannot lose.

Each part is trained once for every fold, on the photographs of other flight lines, and once on all of train. What the
folds' models say of photographs that they never saw sets thresholds, weights and temperatures. The validation split
chooses nothing: it is measured on, at the end.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline.core.finding import Problem
from toeline.core.provenance import now_words, start_record
from toeline.core.records import counted, join_lines, problem_record, read_lines
from toeline.core.run_folder import ERRORS, claimed, read_run, require_same, require_same_command, write_run, write_whole, writing
from toeline.core.scene import Instance
from toeline.core.words import some
from toeline.data.split import folds_of
from toeline.data.yolo import LabeledScene
from toeline.detect.detector import DetectorOptions
from toeline.evaluate.average_precision import Precisions, best_thresholds, found_of, precisions, true_rows
from toeline.pipelines.evaluate_detector import measure
from toeline.pipelines.model_folder import BASELINE, CALIBRATION, DETECTOR, ENSEMBLE, JUDGE, ModelFolder, write_model
from toeline.pipelines.progress import bar, errors, goes_on, tell_problems, training_bars
from toeline.train.config import LearnRun
from toeline.train.detector import DetectorTrainingData, fit_detector, read_detector_training_data
from toeline.train.ensemble import AnsweredCase, ask_scenes, ensemble_out_of_fold, fit_on
from toeline.train.finetune import CHECKPOINTS, TrainingData, finetune, read_training_data, release
from toeline.train.sampling import class_weights

if TYPE_CHECKING:
    from toeline.judge.ensemble import EnsembleJudge

STEPS, DONE, ANSWERS, DETECTIONS = "steps", "done.json", "answers.jsonl", "detections.jsonl"
RECALL = 2.0  # times as much as precision when thresholds are set: a miss is worse than a finding that a person drops
OWN = (STEPS, DETECTOR, JUDGE, BASELINE, ENSEMBLE, CALIBRATION)


@dataclass(frozen=True)
class LearnStep:
    """One piece of work in the folder `steps/NAME`. `photographs` are how often one is trained on, for the time left."""

    name: str
    label: str
    kind: str
    photographs: int
    act: Callable[[Path], Mapping[str, Any]]


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
    def steps(self) -> list[LearnStep]:
        """All of the work, in order."""
        run, n = self.run, len(self.boxes.train.scenes)
        parts: list[LearnStep] = [LearnStep("baseline", "the baseline", "baseline", n, self.baseline)]
        for kind, epochs, act in (("detector", run.epochs, self.detector), ("judge", run.judge_epochs, self.judge)):
            if not epochs:
                continue
            for k in self.folds:
                seen = sum(f != k for f in self.fold.values()) * epochs
                label = f"a {kind} without fold {k + 1} of {len(self.folds)}"
                parts.append(LearnStep(f"{kind}-{k + 1}", label, kind, seen, partial(act, k)))
            parts.append(LearnStep(kind, f"the {kind}, on all of {run.split}", kind, n * epochs, partial(act, None)))
        return [*parts, LearnStep("joined", "how sure it is", "joined", n, self.joined)]

    def outside(self, scenes: Iterable[LabeledScene], fold: int | None) -> tuple[LabeledScene, ...]:
        """Photographs to train on for a fold; all for None."""
        return tuple(s for s in scenes if self.fold.get(s.path) != fold)

    def inside(self, scenes: Iterable[LabeledScene], fold: int) -> tuple[LabeledScene, ...]:
        """Photographs of a fold."""
        return tuple(s for s in scenes if self.fold.get(s.path) == fold)

    def folder(self, step: str) -> Path:
        """Where a step works."""
        return self.out / STEPS / step

    def baseline(self, folder: Path) -> Mapping[str, Any]:
        """The judge without a language model, which keeps its own answers out of fold."""
        from toeline.pipelines.baseline import baseline_into

        made = baseline_into(
            self.data, folder / BASELINE, split=self.run.split, seed=self.run.seed, folds=5,
            taxonomy=self.run.taxonomy, classes=self.run.classes,
        )  # fmt: skip
        return {"cross_validated": made.facts["cross_validated"]}

    def detector(self, fold: int | None, folder: Path) -> Mapping[str, Any]:
        """A detector; that of a fold looks at the fold's photographs, that of all is measured on the validation split."""
        data, valid = self.boxes, self.boxes.valid
        if fold is not None:
            valid = replace(data.train, name=f"fold {fold + 1}", scenes=self.inside(data.train.scenes, fold))
        train = replace(data.train, scenes=self.outside(data.train.scenes, fold))
        limits = self.thresholds() if fold is None else None
        with training_bars(self.run.epochs) as tell:
            fit_detector(
                self.run.detector, replace(data, train=train, valid=valid), folder, resume=True,
                tell=partial(tell, "train"), thresholds=limits, choose=False,
            )  # fmt: skip
        with bar("Looking at what it never saw", total=len(valid.scenes)) as step:
            options = DetectorOptions(device=self.run.device)
            seen = measure(str(folder), valid, data.taxonomy, options, step=step)
        rows = zip(seen.photos, seen.every, strict=True)
        write_whole(folder / DETECTIONS, join_lines(_detection_record(p, found) for p, found in rows))
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        return {"photographs": len(train.scenes), "objects": train.objects, "map_50": seen.precision.map_50}

    def detected(self) -> tuple[list[LabeledScene], list[list[Instance]]]:
        """Every photograph of train with what the detector of its fold found, which never saw it."""
        found = {
            row["photo"]: [Instance("", kind, _box(box), score) for kind, score, box in row["found"]]
            for k in self.folds
            for row in read_lines(self.folder(f"detector-{k + 1}") / DETECTIONS)
        }
        scenes = [s for s in self.boxes.train.scenes if s.name in found]
        return scenes, [found[s.name] for s in scenes]

    def thresholds(self) -> Mapping[str, Any]:
        """Of best F2, on detections out of fold."""
        scenes, found = self.detected()
        kinds = self.boxes.kinds
        true = [true_rows(s.instances, kinds) for s in scenes]
        return best_thresholds([found_of(f, kinds) for f in found], true, kinds, beta=RECALL)

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
        return EnsembleJudge((load_judge(str(model), device=self.run.device), baseline), (JUDGE, f"baseline:{BASELINE}"))

    def answers(self) -> list[AnsweredCase]:
        """What both judges said of every object of train, out of fold."""
        if not self.run.judge_epochs:
            return ask_scenes(self.sheets.train.scenes, self.both(None), self.sheets.taxonomy)
        return [
            AnsweredCase(**row) for k in self.folds for row in read_lines(self.folder(f"judge-{k + 1}") / ANSWERS)
        ]

    def joined(self, folder: Path) -> Mapping[str, Any]:
        """Which judge is kept, by the log loss out of fold; its weights, and its calibration."""
        from toeline.core.calibration import log_loss, padded
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
        return {"kept": kept, "log_loss": losses, "objects": len(asked)}


def _detection_record(photo: LabeledScene, found: Sequence[Instance]) -> dict[str, Any]:
    rows = [(t.type_name, round(t.score, 5), [round(v, 2) for v in t.box.xyxy]) for t in found]
    return {"photo": photo.name, "found": rows}
