"""A judge held against another: what is promoted, refused, and not provable; rules from files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.cases import TAXONOMY, case, some_cases

from toeline.errors import OutputError, ToelineError
from toeline.evaluate.compare import Run, paired_interval
from toeline.evaluate.gate import (
    BROKEN,
    HOLDS,
    PROMOTED,
    REFUSED,
    Gate,
    GateRules,
    RuleAnswer,
    hold_against,
    objects_needed,
    worst_of,
)
from toeline.evaluate.matching import Case
from toeline.evaluate.metric import NOT_PROVABLE

RULES = GateRules.load()
OLD = some_cases(600)


def held(old: Sequence[Case], new: Sequence[Case], rules: GateRules = RULES, *, allowed: bool = False) -> Gate:
    return hold_against(
        Run("old", tuple(old)), Run("new", tuple(new)), TAXONOMY, rules, split="valid", draws=300, allowed=allowed
    )  # fmt: skip


def rule(gate: Gate, name: str) -> RuleAnswer:
    return next(r for r in gate.answers if r.rule == name)


def spoiled(cases: Sequence[Case], share: float, *, seed: int = 0) -> list[Case]:
    """A share of the objects whose type leaves a choice, answered wrongly with certainty."""
    rng, made = np.random.default_rng(seed), []
    for c in cases:
        others = [name for name in TAXONOMY.answers(c.type_name) if name != c.true_class]
        wrong = bool(others) and rng.random() < share
        made.append(replace(c, said_class=others[0], probability=0.9) if wrong else c)
    return made


def test_the_same_answers_are_promoted_when_there_are_enough() -> None:
    gate = held(OLD, OLD)
    assert (gate.answer, gate.passes, gate.kept.value, gate.changed) == (PROMOTED, True, 1.0, ())
    assert {r.answer for r in gate.answers} == {HOLDS}
    assert gate.kept.interval.low < 1 < gate.kept.interval.high  # nobody is certain of a sample
    assert gate.drift.largest == 0


def test_a_judge_that_loses_is_refused_with_what_it_lost() -> None:
    gate = held(OLD, spoiled(OLD, 0.15))
    assert (gate.answer, gate.passes) == (REFUSED, False)
    assert rule(gate, "loss_points").answer == rule(gate, "kept").answer == BROKEN
    assert gate.sentence.startswith("new is refused: the accuracy must not fall by more than 2 points")
    assert not held(OLD, spoiled(OLD, 0.15), allowed=True).passes  # what is broken cannot be allowed
    assert len(gate.changed) == sum(a.said_class != b.said_class for a, b in zip(OLD, spoiled(OLD, 0.15), strict=True))


def test_too_few_objects_are_not_provable_and_what_would_prove_is_said() -> None:
    few = some_cases(60)
    gate = held(few, few)
    assert (gate.answer, gate.passes) == (NOT_PROVABLE, False)
    needed = rule(gate, "loss_points").needed
    assert needed == 96  # of nothing changed, Agresti and Min's interval is within 2 points from there on
    assert paired_interval(0, 0, 96).low >= -0.02 > paired_interval(0, 0, 95).low
    assert "About 96 objects that come out like these" in gate.sentence
    allowed = held(few, few, allowed=True)
    assert (allowed.answer, allowed.passes) == (NOT_PROVABLE, True)
    assert allowed.sentence.endswith("(--allow-unproven).")
    assert allowed.record()["allowed_unproven"] is True


@pytest.mark.parametrize(("gained", "lost", "n"), [(3, 5, 300), (0, 2, 200), (10, 10, 400)])
def test_as_many_objects_as_are_needed_prove_it(gained: int, lost: int, n: int) -> None:
    d = replace(held(OLD, OLD).comparison["accuracy"], gained=gained, lost=lost, n=n, difference=(gained - lost) / n)
    limit = -0.02
    now = paired_interval(gained, lost, n).low
    assert now < limit
    needed = objects_needed(d, now, limit)
    assert needed is not None
    assert paired_interval(gained / n * needed, lost / n * needed, needed).low >= limit
    assert paired_interval(gained / n * (needed - 1), lost / n * (needed - 1), needed - 1).low < limit
    wider = objects_needed(d, d.difference - 2 * (d.difference - now), limit)  # as of objects that hang together
    assert wider is not None
    assert wider == pytest.approx(4 * needed, rel=0.02)


def test_no_number_proves_a_loss_that_is_the_limit_itself() -> None:
    d = replace(held(OLD, OLD).comparison["accuracy"], gained=0, lost=4, n=200, difference=-0.02)
    assert objects_needed(d, paired_interval(0, 4, 200).low, -0.02) is None


def test_one_class_that_is_lost_is_refused_though_all_of_them_hold() -> None:
    true = next(c.true_class for c in OLD if c.asked)
    chosen = {c.key for c in [c for c in OLD if c.true_class == true and c.right][:6]}
    other = next(name for name in TAXONOMY.answers(TAXONOMY.class_of(true).type) if name != true)
    gate = held(OLD, [replace(c, said_class=other) if c.key in chosen else c for c in OLD])
    assert rule(gate, "class_loss_points").answer == BROKEN
    assert true in rule(gate, "class_loss_points").measured
    assert gate.answer == REFUSED
    lenient = replace(RULES, class_loss_points=50.0)
    assert rule(held(OLD, [replace(c, said_class=other) if c.key in chosen else c for c in OLD], lenient),
                "class_loss_points").answer == HOLDS  # fmt: skip


def test_a_defect_more_that_is_missed_is_refused() -> None:
    defect = next(c for c in OLD if c.right and c.true_condition == "blocked")
    normal = TAXONOMY.answers(defect.type_name)[0]
    new = [replace(c, said_class=normal, said_condition="normal") if c.key == defect.key else c for c in OLD]
    gate = held(OLD, new)
    assert (rule(gate, "more_missed").answer, gate.answer) == (BROKEN, REFUSED)
    assert held(OLD, new, replace(RULES, more_missed=1)).answer == PROMOTED


def test_log_probabilities_are_measured_and_a_rule_only_if_asked() -> None:
    one = next(c for c in OLD if c.asked and c.readable)
    tempered = {name: p * 0.5 if name == one.said_class else p for name, p in one.probabilities.items()}
    gate = held(OLD, [replace(c, probabilities=tempered) if c.key == one.key else c for c in OLD])
    assert gate.drift.largest == pytest.approx(math.log(2))
    assert (gate.drift.photo, gate.drift.instance_id, gate.drift.answer) == (one.photo, one.instance_id, one.said_class)
    assert gate.answer == PROMOTED
    for most, answer in ((0.5, BROKEN), (0.8, HOLDS)):
        ruled = held(OLD, [replace(c, probabilities=tempered) if c.key == one.key else c for c in OLD],
                     replace(RULES, log_probability=most))  # fmt: skip
        assert rule(ruled, "log_probability").answer == answer


def test_each_judge_gets_a_calibration_of_its_own() -> None:
    surer = [
        replace(c, probability=0.99, probabilities={
            name: 0.99 if name == c.said_class else 0.01 / (len(c.probabilities) - 1) for name in c.probabilities
        }) if c.asked and c.readable else c for c in OLD
    ]  # fmt: skip
    gate = held(OLD, surer)
    before, after = (made.temperature for made in gate.calibrations)
    assert after > 2 * before  # answers that are as often right, and much surer
    assert gate.trust[1][1].log_loss < gate.trust[1][0].log_loss


def test_nothing_to_ask_is_not_provable() -> None:
    plants = [case("vegetation", "vegetation", photo=f"{i}.jpg") for i in range(30)]
    gate = held(plants, plants)
    assert gate.answer == NOT_PROVABLE
    assert {r.rule: r.answer for r in gate.answers}["kept"] == NOT_PROVABLE
    json.dumps(gate.record(), allow_nan=False, default=str)


def test_other_objects_are_refused() -> None:
    with pytest.raises(OutputError, match="not on the same objects"):
        held(OLD, OLD[1:])


def test_rules_of_a_file_replace_those_of_the_package(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text("loss_points = 1\nlog_probability = 0.5\n", encoding="utf-8")
    assert GateRules.load(file) == replace(RULES, loss_points=1.0, log_probability=0.5)
    assert (RULES.loss_points, RULES.kept, RULES.class_loss_points, RULES.class_objects, RULES.more_missed) == (
        2.0, 0.95, 5.0, 20, 0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("loss_point = 1", "'loss_point' is no rule"),
        ("kept = 95", "kept is 95"),
        ("kept = 'most'", "kept is 'most'"),
        ("class_objects = 0", "class_objects is 0"),
        ("more_missed = 1.5", "whole number"),
        ("loss_points = nan", "loss_points is nan"),
        ("loss_points =", "cannot be read as TOML"),
    ],
)
def test_rules_that_are_none_are_told(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ToelineError, match=said) as told:
        GateRules.load(file)
    assert str(file) in str(told.value)


def test_of_several_answers_the_worst_counts() -> None:
    assert worst_of([PROMOTED, NOT_PROVABLE, REFUSED]) == REFUSED
    assert worst_of([PROMOTED, NOT_PROVABLE]) == NOT_PROVABLE
    assert worst_of([PROMOTED]) == PROMOTED
