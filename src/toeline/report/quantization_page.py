"""The report of a gate: size, memory, time and accuracy of all judges side by side, the rules, and what changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from toeline.core.statistics import Interval
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.evaluate.calibration import Reliability
from toeline.evaluate.classification import HEADLINE
from toeline.evaluate.gate import PROMOTED, REFUSED, Gate
from toeline.evaluate.matching import Case
from toeline.evaluate.metric import NOT_PROVABLE
from toeline.evaluate.results import GateResult, Variant
from toeline.report.document import (
    Grid,
    Highlight,
    Mistake,
    MistakeGroup,
    ScorecardPage,
    Section,
    interval_words,
    tenths,
)
from toeline.report.experiments_page import UNREADABLE, flip_grids, sections_of
from toeline.report.judge_page import GB, GIB, MOST_CROPS, crop_uri

SIZE = ("judge", "weights as", "on the disk", "most memory", "s per photograph")
KEPT = ("judge", "answer", "condition, given the type", "95 % interval", "of it kept", "95 % interval")
RULES = ("rule", "what was measured", "answer", "objects that would prove it")
TRUST = ("judge", "calibration error (ECE)", "after temperature", "log loss, nats", "after temperature", "temperature")
MOODS = {PROMOTED: "good", REFUSED: "bad", NOT_PROVABLE: "careful"}
MEASURED = (
    "Every judge answered the same questions about the same objects, one photograph at a time. The size is that of the "
    "files of weights; the memory is the most that the process held (on a GPU: that tensors held) while this judge was "
    "loaded and at work, libraries included; seconds are the mean over photographs, and the first one warms up."
)
GROUPS = ("Right before, wrong now", "Wrong before, right now", "Wrong before and now, in another way")


def page_of(result: GateResult, taxonomy: Taxonomy, files: Mapping[str, Path]) -> ScorecardPage:
    """Everything that quantization.html and .md say. `files` are the photographs by name."""
    gates = [v.gate for v in result.variants if v.gate]
    return ScorecardPage(
        title="Smaller judges beside " + result.variants[0].name,
        headline=" ".join(gate.sentence for gate in gates),
        sections=[
            Section("Side by side", (MEASURED,), grids=side_by_side(result)),
            *(section for gate in gates for section in _sections(gate, taxonomy, files)),
            _trust(result.variants),
        ],
        run=result.record,
        problems=result.problems,
        files=("quantization.md", "gate.json"),
        points=[Highlight(MOODS[g.answer], g.sentence, f"the-rules-{g.comparison.second}") for g in gates],
    )


def size_words(size: int) -> str:
    """Bytes in both units, of which limits may speak.

    >>> size_words(14_460_000_000), size_words(10_252_648)
    ('14.46 GB (13.47 GiB)', '10.3 MB (9.8 MiB)')
    """
    if size < GB / 10:
        return f"{size / 1e6:.1f} MB ({size / 2**20:.1f} MiB)"
    return f"{size / GB:.2f} GB ({size / GIB:.2f} GiB)"


def side_by_side(result: GateResult) -> tuple[Grid, Grid]:
    """All judges: what they take, and how right they are with the gate's answers. One table would be too wide."""
    return (
        Grid("", SIZE, tuple(map(_taken, result.variants)), words=2),
        Grid("", KEPT, tuple(map(_kept, result.variants)), words=2),
    )


def _taken(variant: Variant) -> tuple[str, ...]:
    memory = variant.memory.get("gpu") or variant.memory.get("process")
    return (
        variant.name,
        variant.dtype,
        size_words(variant.bytes) if variant.bytes else "",
        size_words(memory) if memory else "",
        "" if variant.seconds is None else f"{variant.seconds:.3f}",
    )


def _kept(variant: Variant) -> tuple[str, ...]:
    metric, gate = variant.card[HEADLINE], variant.gate
    return (
        variant.name,
        gate.answer if gate else "the judge they come from",
        tenths(metric.value),
        interval_words(metric.interval),
        tenths(gate.kept.value) if gate else "",
        _ends(gate.kept.interval) if gate else "",
    )


def _ends(interval: Interval) -> str:
    return interval_words(interval) if interval.high < float("inf") else ""


def _sections(gate: Gate, taxonomy: Taxonomy, files: Mapping[str, Path]) -> Iterator[Section]:
    new = gate.comparison.second
    rows = tuple((r.asked, r.measured, r.answer, f"{r.needed:,}" if r.needed else "") for r in gate.answers)
    yield Section(f"The rules: {new}", (gate.sentence, _moved(gate)), grids=(Grid("", RULES, rows, words=3),))
    yield sections_of(gate.comparison)[0]
    yield _changed(gate, taxonomy, files)


def _moved(gate: Gate) -> str:
    drift = gate.drift
    if not drift.n:
        return "No object was asked about, so no log-probability changed."
    return (
        f"Over {some(drift.n, 'object')} that were asked about, log-probabilities of answers changed by "
        f"{drift.mean:.3f} in the mean and by {drift.largest:.3f} at most ({drift.photo}, object {drift.instance_id}, "
        f"{drift.answer})."
    )


def _changed(gate: Gate, taxonomy: Taxonomy, files: Mapping[str, Path]) -> Section:
    """All objects whose answer changed, as tables, and the first of them with crops."""
    groups: list[list[tuple[Case, Case]]] = [[], [], []]
    for old, new in gate.changed:
        groups[0 if old.right else 1 if new.right else 2].append((old, new))
    colors = {c.name: taxonomy.color(c.condition) for c in taxonomy.classes}
    left, shown = MOST_CROPS, []
    for title, pairs in zip(GROUPS, groups, strict=True):
        first = sorted(pairs, key=lambda pair: (-pair[1].probability, pair[1].key))[:left]
        left -= len(first)
        crops = tuple(_crop(old, new, files, colors) for old, new in first)
        shown += [MistakeGroup("", "", len(pairs), crops, title=title)] if pairs else []
    name = gate.comparison.second
    text = f"{len(gate.changed):,} of {some(gate.comparison.objects, 'object')} got another answer."
    return Section(
        f"Answers that {name} changed", (text,), grids=tuple(flip_grids(gate.comparison.flips)), mistakes=tuple(shown)
    )


def _crop(old: Case, new: Case, files: Mapping[str, Path], colors: Mapping[str, str]) -> Mistake:
    picture = crop_uri(files[new.photo], new.box, colors[new.true_class]) if new.photo in files else ""
    answers = tuple(sorted(new.probabilities.items(), key=lambda pair: (pair[0] != new.said_class, -pair[1])))
    before = f"{old.said_class or UNREADABLE} {old.probability:.2f}"
    note = f"is {new.true_class}; before: {before}; now: {new.said_class or UNREADABLE}"
    return Mistake(new.photo, new.instance_id, picture, answers, note)


def _trust(variants: Sequence[Variant]) -> Section:
    """What each judge's probabilities are worth, and the temperature that it needs for itself."""
    rows: list[tuple[str, ...]] = []
    for variant in variants[1:]:
        assert variant.gate
        names = (variants[0].name, variant.name) if not rows else (variant.name,)
        pairs = list(zip(variant.gate.trust, variant.gate.calibrations, strict=True))[-len(names) :]
        rows += [_trusted(name, *trust, made.temperature) for name, (trust, made) in zip(names, pairs, strict=True)]
    text = (
        "A calibration holds for the weights that it was fitted for, so each judge needs its own. These temperatures "
        "were fitted on the very objects that they are measured on, which makes them optimistic; calibration.json "
        "beside a judge's answers holds them. For one that is measured: toeline evaluate --calibrate."
    )
    return Section("Probabilities", (text,), grids=(Grid("", TRUST, tuple(rows)),))


def _trusted(name: str, before: Reliability, after: Reliability, temperature: float) -> tuple[str, ...]:
    if not before.n:
        return (name, "", "", "", "", "")
    errors, losses = (tenths(before.ece), tenths(after.ece)), (f"{before.log_loss:.3f}", f"{after.log_loss:.3f}")
    return (name, *errors, *losses, f"{temperature:.2f}")
