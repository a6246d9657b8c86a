"""The report on a fine-tuning: before and after, curves, training data, time and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toeline.core.words import some
from toeline.evaluate.compare import Difference
from toeline.evaluate.results import BeforeAfter
from toeline.report.document import Grid, ScorecardPage, Section, tenths
from toeline.report.plots import ValidationPoint, accuracy_plot, loss_plot

if TYPE_CHECKING:
    from toeline.evaluate.results import FinetuneResult


LEFT_OUT = ("worth", "trained")  # of run.json at the foot of the page: told above, in full in run.json
DIFFERENCE = ("measured", "n", "before", "after", "difference", "95 % interval", "gained", "lost", "McNemar p")


def page_of(outcome: FinetuneResult, steps: Sequence[Mapping[str, Any]], *, kept: int) -> ScorecardPage:
    """Everything that report.html and report.md say. `steps` are of log.jsonl, `kept` is the epoch that was kept."""
    checked = [checked_of(line) for line in outcome.validations if line["valid"]]
    parts = [_before_after_section(outcome.before_after), _curves(steps, checked, outcome)]
    parts += [_data_section(outcome.record["trained"]), _cost_section(outcome, steps)]
    record = {k: v for k, v in outcome.record.items() if k not in LEFT_OUT}
    return ScorecardPage(
        title=f"Fine-tuning of {outcome.record['settings']['judge']}",
        headline=outcome.before_after.words
        if outcome.before_after
        else "There is no validation split, so nothing is known of it.",
        sections=[part for part in parts if part],
        run={**record, "learner": _learner(outcome.record["trained"])},
        tiles=_tiles(outcome, kept),
        problems=outcome.problems,
    )


def checked_of(line: Mapping[str, Any]) -> ValidationPoint:
    """A validation of log.jsonl."""
    return ValidationPoint(line["epoch"], line["valid"]["accuracy"], line["valid"]["loss"], bool(line.get("best")))


def _tiles(outcome: FinetuneResult, kept: int) -> list[tuple[str, str]]:
    trained = outcome.record["trained"]
    tiles = [(str(kept), "epoch kept"), (f"{trained['trained_parameters']:,}", "numbers trained")]
    if before_after := outcome.before_after:
        both = ((before_after.headline.first, "right before"), (before_after.headline.second, "right after"))
        tiles = [*((tenths(value), what) for value, what in both), *tiles]
    return tiles


def _before_after_section(before_after: BeforeAfter | None) -> Section | None:
    if before_after is None:
        return None
    c = before_after.comparison
    text = (
        f"The judge as it was and as it is now, on the same {c.objects:,} objects of "
        f"{some(c.photographs, 'photograph')} of the validation split. Intervals resample whole photographs. The best "
        f"epoch was chosen on these very photographs, which makes it "
        f"optimistic: measure what is kept on a split that it has not seen (toeline evaluate)."
    )
    rows = [difference_row(d) for d in c.differences if d.n and d.key.count("/") == 0]
    inside = [difference_row(d) for d in c.differences if d.n and d.key.count("/") == 1]
    grids = (Grid("", DIFFERENCE, tuple(rows)), Grid("By condition, type and class", DIFFERENCE, tuple(inside)))
    return Section("Before and after", (text,), grids=grids)


def difference_row(d: Difference) -> tuple[str, ...]:
    """A difference as texts, under DIFFERENCE."""
    counts = ("" if v is None else str(v) for v in (d.gained, d.lost))
    p = "" if d.p_value is None else f"{d.p_value:.3g}"
    interval = f"{100 * d.interval.low:+.1f} to {100 * d.interval.high:+.1f}"
    return (d.caption, str(d.n), tenths(d.first), tenths(d.second), f"{100 * d.difference:+.1f}", interval, *counts, p)


def _curves(steps: Sequence[Mapping[str, Any]], checked: Sequence[ValidationPoint], outcome: FinetuneResult) -> Section:
    settings, before_after = outcome.record["settings"], outcome.before_after
    epochs, patience = settings["epochs"], settings["patience"]
    last = max((s["step"] for s in steps), default=1)
    done = max((c.epoch for c in checked), default=epochs)
    points = [(s["step"] / last * done, s["loss"]) for s in steps if s["loss"] is not None]
    majority_baseline = before_after.before.headline.majority_baseline if before_after else None
    plots = [loss_plot(points, checked)] + ([accuracy_plot(checked, majority_baseline)] if checked else [])
    rows = tuple(
        ("untrained" if c.epoch == 0 else f"{c.epoch}", tenths(c.accuracy), f"{c.loss:.4f}", "better" if c.kept else "")
        for c in checked
    )
    grids = (Grid("By epoch", ("epoch", "right, given the type", "loss", "than all before"), rows),) if rows else ()
    stopped = ""
    if checked and checked[-1].epoch < epochs:
        stopped = f" It was stopped after epoch {checked[-1].epoch}: {patience} epochs had brought nothing better."
    text = f"The weights of the best epoch were kept: most answers right, and of equals the smaller loss.{stopped}"
    return Section("Curves", (text,) if checked else (), plots=tuple(plots), grids=grids)


def _data_section(trained: Mapping[str, Any]) -> Section:
    counts, weights = trained["class_counts"], trained["class_weights"]
    of = trained["data"]["train"]
    text = (
        f"{some(of['photographs'], 'photograph')} of the split {of['split']}; on {of['nothing_asked']} more there was "
        f"nothing to ask. An object's weight is how rare its type is, times how rare its condition is in that type, "
        f"each to the power of a half; 1 on average."
    )
    rows = tuple((name, str(n), f"{weights.get(name, 1.0):.2f}") for name, n in sorted(counts.items()))
    return Section("What it learned from", (text,), grids=(Grid("", ("class", "objects", "weight"), rows),))


def _cost_section(outcome: FinetuneResult, steps: Sequence[Mapping[str, Any]]) -> Section:
    seconds = max((s["seconds"] for s in steps), default=0.0)
    rows = [("training", f"{seconds:,.0f} s"), ("steps", str(len(steps)))]
    rows += [(f"peak memory, {name}", f"{size / 1e9:.2f} GB") for name, size in outcome.record["memory"].items()]
    return Section("What it took", grids=(Grid("", ("what", "how much"), tuple(rows)),))


def _learner(trained: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in trained.items() if k not in ("class_counts", "class_weights")}
