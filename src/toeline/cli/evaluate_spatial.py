"""Spatial reasoning of one judge, three ways: questions about marked pictures, relations withheld and falsified, and
relations of detected boxes beside those of true ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline.cli.evaluate_run import Evaluated, EvaluateRun, Workbench, once
from toeline.cli.evaluate_source import TRUTH
from toeline.core.lines import read_lines, to_line
from toeline.core.scene import Scene
from toeline.data.images import read_photo
from toeline.errors import PhotoError
from toeline.evaluate.compare import Comparison, Run, compare_all
from toeline.evaluate.match import Matched, match
from toeline.evaluate.scorecard import Cluster
from toeline.evaluate.spatial import Agreement, SpatialCard, SpatialCase, agreement, score_spatial, spatial_from
from toeline.relate.alter import RELATIONS
from toeline.relate.quiz import Probe, quiz
from toeline.report.folder import write_whole

if TYPE_CHECKING:
    from toeline.judge.choose import Judge

QUIZ, SPATIAL = "spatial.jsonl", "spatial.json"
READ_NO_WORDS = {"floor", "fuse", "replay"}  # back ends that cannot be asked anything but conditions
ALTERED = tuple(name for name in RELATIONS if name != "given")


@dataclass(frozen=True)
class Spatial:
    """What was found out; None or empty with the reason in `left_out` where a part could not be measured."""

    questions: SpatialCard | None
    relations: tuple[Comparison, ...]
    boxes: tuple[Agreement, ...]
    left_out: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "questions": self.questions.record() if self.questions else None,
            "relations": [c.record() for c in self.relations],
            "boxes": [a.record() for a in self.boxes],
            "left_out": list(self.left_out),
        }


def measure_spatial(
    bench: Workbench,
    run: EvaluateRun,
    done: Evaluated,
    *,
    most: int,
    cluster: Cluster,
    target: float | None,
) -> Spatial:
    """All three, below the folder of `done`; writes spatial.jsonl and spatial.json. Raises ToelineError.

    `most` is the number of questions of a template.
    """
    left_out: list[str] = []
    questions = None
    if run.findings or bench.judge.info.get("back_end") in READ_NO_WORDS:
        left_out.append("Questions were not asked: these answers do not come from a judge that reads words.")
    elif cases := ask_questions(bench, done, most):
        questions = score_spatial(cases, target=target, cluster=cluster)
    else:
        left_out.append("There is no balanced question to ask: too few objects, or every answer is the same.")
    relations = _relations(bench, run, done, cluster, left_out)
    found = Spatial(questions, relations, _boxes(bench, run, done, cluster), tuple(left_out))
    write_whole(done.folder.path / SPATIAL, json.dumps(found.record(), indent=2, allow_nan=False) + "\n")
    return found


def true_scenes(done: Evaluated) -> dict[str, Scene]:
    """The true objects of every photograph that could be opened, without their conditions."""
    sizes = {name: r["size"] for name, r in done.folder.done.items() if not r["failed"]}
    return {
        p.name: Scene(Path(p.name), _size(sizes[p.name]), tuple(t.thing for t in done.split.true[p.name]))
        for p in done.split.photos
        if min(sizes.get(p.name, (0, 0))) > 0
    }


def _size(pair: Sequence[int]) -> tuple[int, int]:
    wide, high = pair
    return int(wide), int(high)


def ask_questions(bench: Workbench, done: Evaluated, most: int) -> list[SpatialCase]:
    """Ask a balanced quiz about true boxes, photograph by photograph; what was asked before is not asked again."""
    from toeline.cli.show import bar, goes_on

    scenes, file = true_scenes(done), done.folder.path / QUIZ
    asked = quiz(scenes.values(), most_per_template=most)
    kept = {str(r["photo"]): r["cases"] for r in read_lines(file)}
    files = {p.name: p.path for p in done.split.photos}
    cases: list[SpatialCase] = []
    with goes_on(), bar("Asking where things lie", total=len(asked)) as step, file.open("a", encoding="utf-8") as out:
        for photo, probes in asked.items():
            if photo not in kept:
                new = _answers(bench, scenes[photo], files[photo], probes, done.split.groups[photo])
                kept[photo] = [asdict(case) for case in new]
                out.write(to_line({"photo": photo, "cases": kept[photo]}))
                out.flush()
            cases += [spatial_from(record) for record in kept[photo]]
            step(())
    return cases


def _answers(bench: Workbench, scene: Scene, file: Path, probes: Sequence[Probe], group: str) -> Iterator[SpatialCase]:
    from toeline.ask.spatial import YES, ask_where
    from toeline.judge.decide import probabilities

    judge: Judge = bench.judge
    asked = [(p.template, p.marked) for p in probes]
    sheet = ask_where(scene, read_photo(file), asked, bench.taxonomy, judge.view)
    for probe, scores in zip(probes, judge.score(sheet), strict=True):
        yes = probabilities(scores)[YES]
        first, other, *third = probe.marked
        yield SpatialCase(
            photo=str(scene.image),
            group=group,
            template=probe.template,
            subject=first,
            other=other,
            truth=probe.holds,
            said=yes > 0.5,
            probability_yes=round(yes, 6),
            third=third[0] if third else "",
        )


def _relations(
    bench: Workbench, run: EvaluateRun, done: Evaluated, cluster: Cluster, left_out: list[str]
) -> tuple[Comparison, ...]:
    """The same objects, asked with relations removed, lent and turned round, each beside the relations that hold."""
    from toeline.ask.prompt import PROMPTS

    if run.findings or bench.judge.info.get("back_end") in READ_NO_WORDS:
        left_out.append("Relations were not altered: these answers do not depend on words.")
        return ()
    prompt = run.prompt or bench.judge.view.prompt
    if not PROMPTS[prompt].tells_relations:
        left_out.append(f"Relations were not altered: the prompt {prompt!r} does not tell them.")
        return ()
    others = [
        Run(f"relations {name}", once(bench, replace(run, relations=name), done.folder.path / "relations" / name).cases)
        for name in ALTERED
    ]
    return compare_all([Run("relations given", done.cases), *others], bench.taxonomy, cluster=cluster)


def _boxes(bench: Workbench, run: EvaluateRun, done: Evaluated, cluster: Cluster) -> tuple[Agreement, ...]:
    matched = done.matched
    if matched is None:
        if run.findings or run.boxes != TRUTH:
            return ()
        matched = tuple(_detected(bench, done))
    sizes = {name: scene.size_wh for name, scene in true_scenes(done).items()}
    groups: Mapping[str, str] | None = done.split.groups if cluster == "group" else None
    return agreement([(m, sizes[m.photo]) for m in matched if m.photo in sizes], groups=groups)


def _detected(bench: Workbench, done: Evaluated) -> Iterator[Matched]:
    """What the detector finds, matched with the true objects; nobody is asked about conditions here."""
    from toeline.cli.show import bar
    from toeline.core.finding import Finding
    from toeline.detect.settle import find_settled
    from toeline.judge.decide import unreadable

    scenes = true_scenes(done)
    photos = [p for p in done.split.photos if p.name in scenes]
    with bar("Detecting", total=len(photos)) as step:
        for photo in photos:
            try:
                things = [s.thing for s in find_settled(bench.detector, [read_photo(photo.path)])[0]]
            except PhotoError:
                continue  # it is among the problems of the evaluation already
            found = [Finding(photo.name, t.id, t.kind, t.box, t.score, unreadable()) for t in things]
            yield match(photo.name, found, done.split.true[photo.name])
            step(())
