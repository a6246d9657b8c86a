"""What an evaluation measures besides the scorecard: spatial reasoning, other prompts, both stages, probabilities.

Spatial reasoning is measured in three ways: questions about marked pictures, relations withheld and falsified, and
relations of detected boxes beside those of true ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from toeline.core.finding import Problem
from toeline.core.reading import read_json
from toeline.core.records import read_lines, to_line
from toeline.core.run_folder import write_whole
from toeline.core.scene import Scene
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.data.images import read_photo
from toeline.errors import ModelError, PhotoError
from toeline.evaluate.classification import HEADLINE, Cluster, Scorecard
from toeline.evaluate.compare import Comparison, Run, compare, compare_all
from toeline.evaluate.detection import detection_metrics, sort_out
from toeline.evaluate.end_to_end import error_breakdown, score_both, seen
from toeline.evaluate.matching import Matched, match
from toeline.evaluate.results import Evaluated, PromptResult, Spatial, Stages, best_of
from toeline.evaluate.spatial import Agreement, SpatialCase, agreement, score_spatial, spatial_from
from toeline.judge.prior import UNASKED
from toeline.pipelines.boxes import TRUTH, require_prompt
from toeline.pipelines.evaluate_prior import prior_passes, reads_words
from toeline.pipelines.evaluate_run import Workbench, once
from toeline.pipelines.settings import EvaluateRun
from toeline.prompts.relation_ablation import RELATIONS
from toeline.prompts.spatial_questions import Probe, quiz
from toeline.report.document import interval_words, tenths
from toeline.report.judge_page import against, time_tile

if TYPE_CHECKING:
    from toeline.judge.judge import Judge


QUIZ, SPATIAL = "spatial.jsonl", "spatial.json"
ALTERED = tuple(name for name in RELATIONS if name != "given")


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
    if run.findings or bench.judge.info.get("back_end") in UNASKED:
        left_out.append("Questions were not asked: these answers do not come from a judge that reads words.")
    elif cases := ask_questions(bench, done, most):
        questions = score_spatial(cases, target=target, cluster=cluster)
    else:
        left_out.append("There is no balanced question to ask: too few objects, or every answer is the same.")
    relations = _relations(bench, run, done, cluster, left_out)
    found = Spatial(questions, relations, _boxes(bench, run, done, cluster), tuple(left_out))
    write_whole(done.folder.path / SPATIAL, json.dumps(found.record(), indent=2, allow_nan=False) + "\n")
    return found


def passes(run: EvaluateRun, *, calibrate: str | None, spatial: int, every_prompt: bool) -> list[str]:
    """What an evaluation goes over the photographs for, one line a pass, with the option that it is there for."""
    from toeline.prompts.templates import PROMPTS

    live, found = not run.findings, [f"{run.split}: the answers that are measured"]
    if calibrate:
        found.append(f"{calibrate}: temperature and review threshold (--calibrate)")
    if live and run.boxes != TRUTH:
        found.append("the labels' boxes, to tell the errors of both stages apart (--boxes)")
    found += prior_passes(run, PROMPTS if every_prompt else ())
    if every_prompt:
        found += [f"prompt {name} (--prompt all)" for name in PROMPTS if name != run.prompt]
    if spatial and live and reads_words(run.judge):
        found.append("questions about where objects lie (--spatial)")
        if run.prompt is None or PROMPTS[run.prompt].tells_relations:
            found += [f"the prompt with relations {name} (--spatial)" for name in ALTERED]
    if spatial and live and run.boxes == TRUTH:
        found.append("the detector, whose boxes' relations are compared (--spatial)")
    return found


def true_scenes(done: Evaluated) -> dict[str, Scene]:
    """The true objects of every photograph that could be opened, without their conditions."""
    sizes = {name: r["size"] for name, r in done.folder.done.items() if not r["failed"]}
    return {
        p.name: Scene(Path(p.name), _size(sizes[p.name]), tuple(t.instance for t in done.split.true[p.name]))
        for p in done.split.photos
        if min(sizes.get(p.name, (0, 0))) > 0
    }


def _size(pair: Sequence[int]) -> tuple[int, int]:
    wide, high = pair
    return int(wide), int(high)


def ask_questions(bench: Workbench, done: Evaluated, most: int) -> list[SpatialCase]:
    """Ask a balanced quiz about true boxes, photograph by photograph.

    What was asked before is not asked again, unless the questions or the photograph are others now.
    """
    from toeline.pipelines.progress import bar, goes_on

    scenes, file = true_scenes(done), done.folder.path / QUIZ
    asked = quiz(scenes.values(), most_per_template=most)
    kept = {str(r["photo"]): r for r in read_lines(file)}
    files = {p.name: p.path for p in done.split.photos}
    cases: list[SpatialCase] = []
    with goes_on(), bar("Asking where things lie", total=len(asked)) as step, file.open("a", encoding="utf-8") as out:
        for photo, probes in asked.items():
            known = [spatial_from(record) for record in kept.get(photo, {}).get("cases", ())]
            sha256 = done.folder.done[photo]["sha256"]
            if not _same(known, probes) or kept[photo].get("sha256", sha256) != sha256:
                try:
                    known = list(_answers(bench, scenes[photo], files[photo], probes, done.split.groups[photo]))
                except PhotoError as why:
                    done.folder.note([Problem.unread(files[photo], why, name=photo)])
                    continue
                out.write(to_line({"photo": photo, "sha256": sha256, "cases": [asdict(case) for case in known]}))
                out.flush()
            cases += known
            step(())
    return cases


def _same(known: Sequence[SpatialCase], probes: Sequence[Probe]) -> bool:
    """Whether these are the answers to these questions."""
    before = [(c.template, (c.subject, c.other, *filter(None, [c.third])), c.truth) for c in known]
    return before == [(p.template, tuple(p.marked), p.holds) for p in probes]


def _answers(bench: Workbench, scene: Scene, file: Path, probes: Sequence[Probe], group: str) -> Iterator[SpatialCase]:
    from toeline.judge.decide import probabilities
    from toeline.prompts.spatial_questions import YES, ask_where

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
    from toeline.prompts.templates import PROMPTS

    if run.findings or bench.judge.info.get("back_end") in UNASKED:
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
    from toeline.core.finding import Finding
    from toeline.detect.postprocess import find_settled
    from toeline.judge.decide import unreadable
    from toeline.pipelines.progress import bar

    scenes = true_scenes(done)
    photos = [p for p in done.split.photos if p.name in scenes]
    with bar("Detecting", total=len(photos)) as step:
        for photo in photos:
            try:
                instances = [s.instance for s in find_settled(bench.detector, [read_photo(photo.path)])[0]]
            except PhotoError:
                continue  # it is among the problems of the evaluation already
            found = [Finding(photo.name, t.id, t.type_name, t.box, t.score, unreadable()) for t in instances]
            yield match(photo.name, found, done.split.true[photo.name])
            step(())


ALL, PROMPTS_FILE = "all", "prompts.json"


def own_prompt(bench: Workbench, run: EvaluateRun) -> EvaluateRun:
    """The run that the others stand beside: asked with the prompt that the judge was made for."""
    return replace(run, prompt=bench.judge.view.prompt)


def other_prompts(bench: Workbench, first: EvaluateRun, out: Path) -> dict[str, Evaluated]:
    """The same run with every other prompt, each into a folder below."""
    from toeline.prompts.templates import PROMPTS

    names = [name for name in PROMPTS if name != first.prompt]
    return {name: once(bench, replace(first, prompt=name), out / "prompts" / name) for name in names}


def side_by_side(
    bench: Workbench,
    first: tuple[str, Evaluated],
    others: Mapping[str, Evaluated],
    cards: Mapping[str, Scorecard],
    cluster: Cluster,
) -> tuple[PromptResult, ...]:
    """Every prompt with its card, in the order asked; those of the first objects only are compared with it."""
    name, done = first
    rows = [PromptResult(name, cards[name], _seconds(done), None)]
    for other, evaluated in others.items():
        both = Run(name, done.cases), Run(other, evaluated.cases)
        rows.append(
            PromptResult(other, cards[other], _seconds(evaluated), compare(*both, bench.taxonomy, cluster=cluster))
        )
    return tuple(rows)


def _seconds(done: Evaluated) -> float:
    """The median over the photographs; 0 where no time is known."""
    known = [float(r["seconds"]) for r in done.folder.done.values() if not r["failed"]]
    return median(known) if known else 0.0


def keep_best(rows: tuple[PromptResult, ...], done: Evaluated, judge: str) -> Path:
    """Write prompts.json beside the results. The best on a split was chosen there, and says so."""
    file = done.folder.path / PROMPTS_FILE
    record: dict[str, Any] = {
        "best": best_of(rows).name,
        "by": HEADLINE,
        "judge": judge,
        "split": done.split.name,
        "note": "Chosen on this split, so its figure there is optimistic: measure the chosen prompt on another split.",
        "prompts": {row.name: _record(row) for row in rows},
    }
    write_whole(file, json.dumps(record, indent=2, allow_nan=False) + "\n")
    return file


def _record(row: PromptResult) -> dict[str, Any]:
    figure = row.card[HEADLINE]
    record: dict[str, Any] = {
        "value": figure.value,
        "interval": list(figure.interval),
        "n": figure.n,
        "accuracy": row.card["accuracy"].value,
        "seconds_per_photograph": round(row.seconds, 4),
    }
    if row.against:
        change = row.against[HEADLINE]
        record["difference"] = {"value": change.difference, "interval": list(change.interval), "p": change.p_value}
    return record


def chosen_prompt(typed: str | None) -> str | None:
    """A prompt's name as typed, or the best one of a prompts.json that is named. Raises ModelError."""
    if typed is None:
        return None
    if not typed.endswith(".json"):
        require_prompt(typed)
        return typed
    advice = "Name a prompts.json of evaluate --prompt all."
    found = read_json(Path(typed), ModelError, advice=advice)
    if not isinstance(found, dict) or not isinstance(found.get("best"), str):
        raise ModelError(f"{typed}: holds no best prompt. {advice}")
    return str(found["best"])


DETECTOR_METRICS = ("objects_found", "findings_real", "end_to_end_f1")  # the rest is in the card of both stages


def stages_of(
    done: Evaluated, true_boxes: tuple[Evaluated, Scorecard] | None, taxonomy: Taxonomy, *, like: Scorecard,
    targets: Mapping[str, float], train: Sequence[tuple[str, str]],
) -> Stages | None:  # fmt: skip
    """None for an evaluation on true boxes. `like` says how to resample; `train` are types and classes to look up."""
    if done.matched is None:
        return None
    groups = done.split.groups
    drawn = groups if like.cluster == "group" else None
    photos = tuple(map(sort_out, done.matched))
    objects = seen(photos, groups)
    again = partial(compare, taxonomy=taxonomy, cluster=like.cluster, draws=like.draws, seed=like.seed)
    cost = off = None
    if true_boxes:
        cases = true_boxes[0].cases
        keys, found = {c.key for c in cases}, {c.key for c in done.cases}
        cost = again(
            Run("true boxes", tuple(c for c in cases if c.key in {s.case.key for s in objects})),
            Run("both stages", tuple(s.case for s in objects if s.case.key in keys)),
        )
        off = again(
            Run("true boxes", tuple(c for c in cases if c.key in found)),
            Run("found boxes", tuple(c for c in done.cases if c.key in keys)),
        )
    return Stages(
        card=score_both(
            objects, taxonomy, targets=targets, train=train, cluster=like.cluster, draws=like.draws, seed=like.seed
        ),
        error_breakdown=error_breakdown(photos, taxonomy, groups=drawn, draws=like.draws, seed=like.seed),
        detector=tuple(
            f
            for f in detection_metrics(done.matched, groups=drawn, draws=like.draws, seed=like.seed)
            if f.key in DETECTOR_METRICS
        ),
        photos=photos,
        objects=objects,
        true_boxes=true_boxes[1] if true_boxes else None,
        cost=cost,
        off=off,
    )


def headline_both(found: Stages, split: str) -> str:
    """Both stages in a sentence each: how often right, what true boxes give, who lost what, false alarms."""
    figure, counts, n = found.card["accuracy"], found.error_breakdown.counts, found.card.objects
    words = (
        f"Both stages together gave the right class in the right place to {figure.count:,} of "
        f"{some(n, 'true object')} on {some(found.card.photographs, 'photograph')} of {split}: {tenths(figure.value)} "
        f"(95 % interval {interval_words(figure.interval)})."
    )
    if figure.majority_baseline is not None:
        words += (
            f" The same boxes with the most common class of each type are right on {tenths(figure.majority_baseline)}: "
            f"{against(figure, figure.majority_baseline)} that."
        )
    if found.true_boxes:
        words += f" Given true boxes, the same judge is right on {tenths(found.true_boxes['accuracy'].value)}."
    return words + (
        f" The detector lost {counts.lost_by_detector:,} ({counts.missed:,} not found, {counts.misplaced:,} badly "
        f"placed, {counts.wrong_type:,} of a wrong type), the judge {counts.lost_by_judge:,} of those that were found; "
        f"{counts.false + counts.double:,} of {some(counts.findings, 'finding')} are of nothing or of an object that "
        f"another one has."
    )


def tiles_both(found: Stages, done: Evaluated) -> list[tuple[str, str]]:
    """The numbers that are looked for first."""
    counts, named = found.error_breakdown.counts, {f.key: f for f in found.detector}
    tiles = [(tenths(found.card["accuracy"].value), "both stages, class and place")]
    if found.true_boxes:
        tiles.append((tenths(found.true_boxes["accuracy"].value), "the judge on true boxes"))
    tiles += [(tenths(f.value), "objects found") for f in (named["objects_found"],) if f.n]
    if (missed := found.card["missed_defects"]).n:
        tiles.append((tenths(missed.value), "of defects missed"))
    tiles += [(f"{counts.false + counts.double:,}", "findings too many"), (f"{counts.objects:,}", "true objects")]
    return [*tiles, *time_tile(done)]
