"""What goes to a person, and what is wrong of the rest: the baseline, calibrated on its out-of-fold answers.

    python benchmarks/review.py [--data ../shared/data/lagoon-dyke] [--out benchmarks/results]

Rules are compared inside train, on the out-of-fold answers of the baseline and the detections of the shipped detector:
thresholds are chosen on one half of the flight lines and tried on the other. Then valid is looked at once, with
everything fixed. Boxes and types are the true ones, but for detections. Chance: answers drawn from the probabilities
that were stated, 2,000 times.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from results import write

from toeline.core.calibration import Calibration
from toeline.core.reading import file_hash
from toeline.core.scene import Detection
from toeline.core.statistics import wilson
from toeline.core.taxonomy import Taxonomy
from toeline.data.images import read_photo
from toeline.data.yolo import LabeledScene, open_yolo, read_entry
from toeline.detect.detector import limits_of
from toeline.detect.load import load_detector
from toeline.detect.postprocess import find_settled
from toeline.detect.tiling import tiled
from toeline.evaluate.calibration import (
    BINS,
    SURE,
    calibrated,
    fit,
    reliability,
    review_at,
    review_steps,
)
from toeline.evaluate.matching import Case, pair_up
from toeline.judge.baseline.judge import BaselineJudge
from toeline.judge.decide import LEAD, WEAK, decide
from toeline.prompts.build import ask
from toeline.prompts.relations import around
from toeline.train.baseline import BaselineRun, train_baseline

TAXONOMY = Taxonomy.load()
OUT_OF_FOLD, INSIDE = "out of fold", "its answers to what it was trained on"
RISKS = (0.05, 0.1, 0.15, 0.2)
HALVES, FEWEST = 300, 150  # ways to cut the flight lines in two; answers that each half must have
DRAWN = 2000
SETS = 200  # of answers drawn from their probabilities
Below = Callable[[float], dict[str, float]]  # a threshold for each type, by the risk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/lagoon-dyke"))
    parser.add_argument("--out", type=Path, help="folder for review.json and review.md")
    args = parser.parse_args()
    judge = BaselineJudge(train_baseline(BaselineRun(data=args.data), TAXONOMY).model)
    held = answers(args.data, "train", judge, out_of_fold=True)
    results = {
        "halves": halves(held),
        "drawn": [drawn(held, risk, count) for risk in (0.05, 0.1, 0.2) for count in (100, len(held))],
        "leads": leads(held),
        "detections": detections(args.data),
        "valid": valid(args.data, judge, held),
    }
    text = page(results)
    print(text)
    if args.out:
        write("review", text, results, args.out)


def labeled(data: Path, split: str) -> Iterator[LabeledScene]:
    found = open_yolo(data, TAXONOMY)
    for entry in found.splits[split]:
        yield read_entry(entry, TAXONOMY, found.names)


def answers(data: Path, split: str, judge: BaselineJudge, *, out_of_fold: bool) -> list[Case]:
    """What the baseline says of every object that leaves a choice; with `out_of_fold` what it said before it saw it."""
    cases: list[Case] = []
    for photo in labeled(data, split):
        scene, true = photo.scene, {t.instance_id: t for t in photo.ground_truths}
        relations = {i.id: around(scene, i.id) for i in scene.instances}
        sheet = ask(scene, read_photo(photo.path), relations, TAXONOMY, judge.view)
        kept = judge.unseen(sheet, file_hash(photo.path)) if out_of_fold else judge.score(sheet)
        for question, scores in zip(sheet.questions, kept or [], strict=True):
            instance, truth = scene.instance(question.instance_id), true[question.instance_id]
            said = decide(scores, TAXONOMY)
            cases.append(
                Case(
                    photo.path.name, scene.flight_line, instance.id, instance.type_name, instance.box,
                    truth.class_name, truth.condition, said.class_name, said.condition, said.probability,
                    said.probabilities,
                )
            )  # fmt: skip
    return cases


def bounded(cases: Sequence[Case]) -> Below:
    steps = Calibration(steps=review_steps(cases))
    return lambda risk: dict.fromkeys(kinds(cases), steps.step(risk).below)


def plain(cases: Sequence[Case]) -> Below:
    """The least work that leaves no more wrong on these answers themselves, without a bound."""
    held = sorted(cases, key=lambda c: -c.probability)
    wrong = np.cumsum([not c.right for c in held]) / np.arange(1, len(held) + 1)

    def below(risk: float) -> dict[str, float]:
        fine = np.flatnonzero(wrong <= risk)
        return dict.fromkeys(kinds(cases), held[fine[-1]].probability if len(fine) else 1.0)

    return below


def by_type(cases: Sequence[Case]) -> Below:
    each = {kind: bounded([c for c in cases if c.type_name == kind]) for kind in kinds(cases)}
    return lambda risk: {kind: below(risk)[kind] for kind, below in each.items()}


def by_lead(cases: Sequence[Case]) -> Below:
    return bounded([replace(c, probability=lead(c)) for c in cases])


RULES: dict[str, Callable[[Sequence[Case]], Below]] = {
    "one threshold, bound": bounded,
    "one threshold, without a bound": plain,
    "a threshold for each type, bound": by_type,
    "by the lead over the second, bound": by_lead,
}


def kinds(cases: Sequence[Case]) -> list[str]:
    return sorted({c.type_name for c in cases})


def lead(case: Case) -> float:
    return case.probability - max(p for name, p in case.probabilities.items() if name != case.said_class)


def halves(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Each rule's thresholds from one half of the flight lines, tried on the other."""
    rng, lines = np.random.default_rng(0), np.array(sorted({c.flight for c in cases}))
    rows: dict[tuple[float, str], list[tuple[float, float]]] = {(r, name): [] for r in RISKS for name in RULES}
    for _ in range(HALVES):
        here = set(lines[rng.random(len(lines)) < 0.5])
        first, second = [c for c in cases if c.flight in here], [c for c in cases if c.flight not in here]
        if min(len(first), len(second)) < FEWEST:
            continue
        for name, learn in RULES.items():
            below = learn(first)
            sure = [lead(c) if learn is by_lead else c.probability for c in second]
            for risk in RISKS:
                rows[risk, name].append(tried(second, sure, below(risk)))
    return [{"rule": name, "risk": risk, **summed(found, risk)} for (risk, name), found in rows.items()]


def tried(cases: Sequence[Case], sure: Sequence[float], below: dict[str, float]) -> tuple[float, float]:
    """The share sent, and the share wrong of the rest."""
    limits = [below.get(c.type_name, 1.0) for c in cases]
    rest = [c.right for c, p, limit in zip(cases, sure, limits, strict=True) if p >= limit and limit < 1]
    return 1 - len(rest) / len(cases), 1 - float(np.mean(rest)) if rest else 0.0


def summed(found: Sequence[tuple[float, float]], risk: float) -> dict[str, Any]:
    sent, wrong = np.array(found).T
    beyond, far = (float(np.mean(wrong > risk * times)) for times in (1, 1.5))
    return {"sets": len(found), "sent": sent.mean(), "wrong": wrong[sent < 1].mean(), "beyond": beyond, "far": far}


def drawn(cases: Sequence[Case], risk: float, count: int) -> dict[str, Any]:
    """The same of answers that are right as often as their probabilities say, whose risk is then known exactly."""
    rng, sure = np.random.default_rng(1), np.array([c.probability for c in cases])
    found = []
    for _ in range(SETS):
        chosen = [cases[i] for i in rng.choice(len(cases), count)]
        said = [replace(c, true_class=c.said_class if rng.random() < c.probability else "other") for c in chosen]
        below = Calibration(steps=review_steps(said)).step(risk).below
        rest = sure[sure >= below] if below < 1 else sure[:0]
        found.append((1 - len(rest) / len(sure), 1 - float(rest.mean()) if len(rest) else 0.0))
    return {"risk": risk, "answers": count, **summed(found, risk)}


def leads(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """How often answers are right by their lead over the second, for types of two and of three answers."""
    rows = []
    for answers_of in (2, 3):
        for low, high in ((0.0, LEAD), (LEAD, 2 * LEAD), (2 * LEAD, 1.01)):
            right = [c.right for c in cases if len(c.probabilities) == answers_of and low <= lead(c) < high]
            rows.append({"answers": answers_of, "from": low, "to": min(high, 1), **share(right)})
    return rows


def detections(data: Path) -> list[dict[str, Any]]:
    """How many detections stand on an object of their type, by how far they are over their threshold; near ties."""
    detector = tiled(load_detector("embedded", taxonomy=TAXONOMY), "auto")
    limits, seen = limits_of(detector), list[tuple[float, bool]]()
    for photo in labeled(data, "train"):
        (found,) = find_settled(detector, [read_photo(photo.path)])
        true = [(i.type_name, i.box) for i in photo.scene.instances]
        pairs = pair_up([(d.instance.type_name, d.instance.box) for d in found], true)
        seen += [(over(d, limits[d.instance.type_name]), n in pairs) for n, d in enumerate(found)]
    steps = ((0.0, WEAK / 2), (WEAK / 2, WEAK), (WEAK, 2 * WEAK), (2 * WEAK, 1.01))
    return [{"from": a, "to": min(b, 1), **share([right for at, right in seen if a <= at < b])} for a, b in steps]


def over(detection: Detection, limit: float) -> float:
    """0 at the threshold, 1 at a confidence of 1."""
    return (detection.instance.score - limit) / (1 - limit)


def share(right: Sequence[bool]) -> dict[str, Any]:
    return {"n": len(right), "right": sum(right), "share": float(np.mean(right)) if right else None}


def valid(data: Path, judge: BaselineJudge, held: Sequence[Case]) -> dict[str, Any]:
    """Temperatures and thresholds of train on valid: from out-of-fold answers, and as it was done before."""
    cases = answers(data, "valid", judge, out_of_fold=False)
    inside = answers(data, "train", judge, out_of_fold=False)
    rows = {OUT_OF_FOLD: fit(held, split="train"), INSIDE: fit(inside, split="train")}
    return {
        "as scored": measured(cases, Calibration()),
        **{name: {**measured(cases, made), "risks": kept(cases, made)} for name, made in rows.items()},
        "by type": [
            {"type": kind, **point([c for c in cases if c.type_name == kind], rows[OUT_OF_FOLD], 0.1)}
            for kind in kinds(cases)
        ],
    }


def measured(cases: Sequence[Case], made: Calibration) -> dict[str, Any]:
    told = calibrated(cases, made)
    found, rng = reliability(told), np.random.default_rng(0)
    sure = np.array([c.probability for c in told])
    chance = [error_of(sure, rng.random(len(sure)) < sure) for _ in range(DRAWN)]
    return {
        "n": found.n,
        "temperature": made.temperature,
        "calibration_error": found.ece,
        "by_chance": float(np.mean(chance)),
        "by_chance_95": float(np.quantile(chance, 0.95)),
        "log_loss": found.log_loss,
    }


def error_of(sure: Any, right: Any) -> float:
    """The calibration error of the scorecard: bins of equal count."""
    bins = np.array_split(np.argsort(sure, kind="stable"), BINS)
    return float(sum(abs(sure[b].sum() - right[b].sum()) for b in bins) / len(sure))


def kept(cases: Sequence[Case], made: Calibration) -> list[dict[str, Any]]:
    return [point(cases, made, risk) for risk in RISKS]


def point(cases: Sequence[Case], made: Calibration, risk: float) -> dict[str, Any]:
    """What the threshold of a risk does on these answers."""
    step = made.step(risk)
    at = review_at(calibrated(cases, made), step.below)
    low, high = wilson(at.kept - at.wrong, at.kept) if at.kept else (0.0, 1.0)
    return {
        "risk": risk, "below": step.below, "sent_there": step.sent, "wrong_there": step.wrong, "sent": at.review,
        "kept": at.kept, "wrong": at.wrong, "share_wrong": at.errors_left, "interval": [1 - high, 1 - low],
    }  # fmt: skip


def percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def page(results: dict[str, Any]) -> str:
    rows = ["# Review\n", "\n\n".join((__doc__ or "").split("\n\n")[2:3]) + "\n", *valid_rows(results["valid"])]
    rows += [
        "\n## Rules: inside train, thresholds of one half of the flight lines on the other half\n",
        f"Bounds are Clopper and Pearson's with a certainty of {SURE:.0%} for answers like those they were chosen on; "
        "another half of the flight lines is not quite like them.\n",
        "| at most wrong | rule | sent | wrong of the rest | more than asked | more than 1.5 times that |",
        "|--:|---|--:|--:|--:|--:|",
    ]
    for r in results["halves"]:
        told = " | ".join(percent(r[k]) for k in ("sent", "wrong", "beyond", "far"))
        rows.append(f"| {r['risk']:.0%} | {r['rule']} | {told} |")
    rows += [
        "\nThe first rule on answers that are right as often as their probabilities say:\n",
        "| at most wrong | held answers | sent | wrong of the rest | more than asked |",
        "|--:|--:|--:|--:|--:|",
    ]
    for r in results["drawn"]:
        told = " | ".join(percent(r[k]) for k in ("sent", "wrong", "beyond"))
        rows.append(f"| {r['risk']:.0%} | {r['answers']} | {told} |")
    return "\n".join([*rows, *doubt_rows(results)])


def valid_rows(found: dict[str, Any]) -> Iterator[str]:
    yield "## Valid: temperature and thresholds of train\n"
    yield "| fitted on | temperature | calibration error | by chance (95 % of draws below) | log loss | n |"
    yield "|---|--:|--:|--:|--:|--:|"
    for name in ("as scored", OUT_OF_FOLD, INSIDE):
        r = found[name]
        chance = f"{percent(r['by_chance'])} ({percent(r['by_chance_95'])})"
        error = percent(r["calibration_error"])
        yield f"| {name} | {r['temperature']:.2f} | {error} | {chance} | {r['log_loss']:.3f} | {r['n']} |"
    yield "\n| fitted on | at most wrong | answers under | sent | wrong of the rest | 95 % interval |"
    yield "|---|--:|--:|--:|--:|---|"
    for name in (OUT_OF_FOLD, INSIDE):
        yield from (f"| {name} | {r['risk']:.0%} | {told(r)}" for r in found[name]["risks"])
    yield "\nBy type, fitted out of fold, at most 10 %: rock toes have two answers, the others three.\n"
    yield "| type | at most wrong | answers under | sent | wrong of the rest | 95 % interval |"
    yield "|---|--:|--:|--:|--:|---|"
    yield from (f"| {r['type'].replace('_', ' ')} | {r['risk']:.0%} | {told(r)}" for r in found["by type"])


def told(r: dict[str, Any]) -> str:
    low, high = r["interval"]
    between = f"{100 * low:.1f} to {100 * high:.1f}" if r["kept"] else ""
    wrong = f"{r['wrong']} of {r['kept']} ({percent(r['share_wrong'])})" if r["kept"] else "none kept"
    return f"{r['below']:.2f} | {percent(r['sent'])} | {wrong} | {between} |"


def doubt_rows(results: dict[str, Any]) -> Iterator[str]:
    yield "\n## Near ties and weak detections, in train\n"
    yield "Without a calibration an answer goes to a person by its lead over the second:\n"
    yield "| answers of the type | lead | right |"
    yield "|--:|---|--:|"
    for r in results["leads"]:
        right = f"{r['right']} of {r['n']} ({percent(r['share'])})"
        yield f"| {r['answers']} | {r['from']:.1f} to {r['to']:.1f} | {right} |"
    yield "\nDetections by their way from the threshold to 1; right: an object of their type is there (IoU 0.5).\n"
    yield "| way | right |"
    yield "|---|--:|"
    for r in results["detections"]:
        yield f"| {r['from']:.1f} to {r['to']:.1f} | {r['right']} of {r['n']} ({percent(r['share'])}) |"


if __name__ == "__main__":
    main()
