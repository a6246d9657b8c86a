"""The report on what `toeline learn` made: how good each step is, how sure that is, and what would help most."""

from __future__ import annotations

from collections.abc import Iterator

from toeline.core.statistics import Interval
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.evaluate.metric import Metric
from toeline.evaluate.results import LearnResult
from toeline.report.detector_page import headline as detector_headline
from toeline.report.document import Grid, ScorecardPage, Section, interval_words, tenths
from toeline.report.judge_page import trust_section

STEP_HEAD = ("step", "measured on", "value", "95 % interval", "n")
LINKS = (("evaluation/report.html", "both stages in full"), ("before/report.html", "the models in the package"))


def page_of(result: LearnResult, taxonomy: Taxonomy) -> ScorecardPage:
    """Everything that report.html and report.md say."""
    metrics = result.metrics()
    tiles = [
        (tenths(metrics["detector"].value), "mAP@0.5 of the detector"),
        (tenths(metrics["judge"].value), "right class on true boxes"),
        (tenths(metrics["both_stages"].value), "right class in the right place"),
    ]
    return ScorecardPage(
        title="A model of your photographs",
        headline=" ".join(result.sentences),
        sections=[
            _accuracy(result),
            _detector(result, taxonomy),
            *trust_section(result.trust),
            _labels(result),
            _steps(result),
        ],
        run={k: v for k, v in result.record.items() if k not in ("steps", "photographs_sha256")},
        tiles=tiles,
        problems=result.problems,
        links=LINKS,
    )


def _accuracy(result: LearnResult) -> Section:
    valid = result.after.done.split.name
    text = (
        f"Nothing was chosen on {valid}: it was measured on once, at the end. Train was cut into "
        f"{some(result.record['steps']['joined']['folds'], 'fold')} by flight line, and what is called out of fold "
        f"was said of photographs by models that had not seen their flight line. Intervals draw whole photographs "
        f"anew, out of fold whole flight lines."
    )
    return Section("How good each step is", (text,), grids=(Grid("", STEP_HEAD, tuple(_rows(result)), words=2),))


def _rows(result: LearnResult) -> Iterator[tuple[str, ...]]:
    valid = result.after.done.split.name
    before, after = result.before.stages, result.after.stages
    assert before, "both stages were evaluated"
    assert after, "in both"
    assert before.true_boxes, "and the judges"
    assert after.true_boxes, "on true boxes"
    yield _row("detector, in the package", valid, result.shipped.figure("map_50"))
    folds = {f.key: f for f in result.out_of_fold.figures()}
    look = result.steps["look"]
    for how, value in look["map_50"].items():
        if how != look["kept"]:
            yield (f"detector, learned, by {how}", "train, out of fold", tenths(value), "", f"{folds['map_50'].n:,}")
    yield _row(f"detector, learned, by {look['kept']}", "train, out of fold", folds["map_50"])
    yield _row("detector, learned", valid, result.detector.figure("map_50"))
    for figure in result.steps["baseline"]["cross_validated"]["figures"]:
        if figure["key"] == "accuracy":
            cells = tenths(figure["value"]), interval_words(Interval(*figure["interval"])), f"{figure['n']:,}"
            yield ("baseline, true boxes", "train, out of fold", *cells)
    yield _row("judge in the package, true boxes", valid, before.true_boxes["accuracy"])
    yield _row(f"{result.steps['joined']['kept']}, true boxes", valid, after.true_boxes["accuracy"])
    if (majority := after.true_boxes["accuracy"].train_majority_baseline) is not None:
        yield ("majority-class baseline, true boxes", valid, tenths(majority), "", str(after.true_boxes.objects))
    yield _row("both stages, in the package", valid, before.card["accuracy"])
    yield _row("both stages, learned", valid, after.card["accuracy"])
    if (majority := after.card["accuracy"].train_majority_baseline) is not None:
        yield ("majority class on the learned boxes", valid, tenths(majority), "", str(after.card.objects))


def _row(step: str, where: str, metric: Metric) -> tuple[str, ...]:
    return (step, where, tenths(metric.value), interval_words(metric.interval), f"{metric.n:,}")


def _detector(result: LearnResult, taxonomy: Taxonomy) -> Section:
    rows = []
    folds = {f.key: f for f in result.out_of_fold.figures()}
    for kind in result.detector.kinds:
        keys = (f"ap_50/{kind}", f"recall/{kind}", f"precision/{kind}")
        found = {f.key: f for f in result.detector.figures}
        cells = [tenths(folds[keys[0]].value), *(tenths(found[key].value) if found[key].n else "" for key in keys)]
        rows.append((taxonomy.spoken(kind), *cells))
    head = ("type", "AP@0.5 out of fold", "AP@0.5", "found", "of boxes right")
    text = (
        detector_headline(result.detector, result.shipped),
        f"What the network says becomes detections by {result.steps['look']['kept']}, the best of three out of fold. "
        f"Several views of a photograph (mirrored, smaller) are joined; a second look then says how probable each box "
        f"is, from what the views say, what lies around, and what an ImageNet network sees in it.",
        "Thresholds are those of best F2 out of fold, because a defect that is missed counts more than a finding "
        "that a person drops; of best F1 for types that have no defects. What is hardly above its threshold goes "
        "to a person.",
    )
    return Section("Detector", text, grids=(Grid("", head, tuple(rows)),))


def _labels(result: LearnResult) -> Section:
    text = (
        "Where the judge was least sure of photographs that it had not seen: more labels of these classes and flight "
        "lines would help most. Which of your new photographs to label, toeline suggest says of an inspection with "
        "this model."
    )
    return Section("What more labels would help most", (text,), grids=tuple(Grid(*grid) for grid in result.doubts))


def _steps(result: LearnResult) -> Section:
    rows = tuple((name, f"{facts['seconds']:,.0f} s") for name, facts in result.steps.items())
    whole = sum(facts["seconds"] for facts in result.steps.values())
    return Section(
        "What it took", (f"{whole / 60:,.0f} minutes of training.",), grids=(Grid("", ("step", "time"), rows),)
    )
