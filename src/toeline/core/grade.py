"""Findings of one photograph get the owner's grades. Knows what was decided and what stands beside what; no pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from toeline.core.finding import Finding
from toeline.core.scene import Relation
from toeline.core.severity import UNGRADED, Grade, Rule
from toeline.core.taxonomy import Taxonomy


def may_be_immediate(findings: Iterable[Finding], taxonomy: Taxonomy) -> bool:
    """Whether some rule could hold of one of these, so that their relations are needed."""
    told = {_what(f, taxonomy) for f in findings}
    return any((rule.type, rule.condition) in told for rule in taxonomy.grading.rules)


def graded(findings: Sequence[Finding], relations: Iterable[Relation], taxonomy: Taxonomy) -> tuple[Finding, ...]:
    """The findings of one photograph with their grades. `relations` are all of them, between every two objects.

    A finding whose answer is no class name, and every finding where the taxonomy has no scale, stays without one.
    """
    if not taxonomy.grading:
        return tuple(findings)
    by_id = {f.thing_id: f for f in findings}
    beside: dict[str, list[tuple[str, Finding]]] = {}
    for r in relations:
        if r.other in by_id:
            beside.setdefault(r.subject, []).append((r.name, by_id[r.other]))
    return tuple(replace(f, grade=grade_of(f, beside.get(f.thing_id, ()), taxonomy)) for f in findings)


def grade_of(finding: Finding, beside: Sequence[tuple[str, Finding]], taxonomy: Taxonomy) -> Grade:
    """Severity and action of its class, and the first rule that holds; `beside` are relation names with the other."""
    grading = taxonomy.grading
    advice = grading.of(finding.verdict.class_name)
    if not advice.severity:
        return UNGRADED
    reasons = (_reason(rule, finding, beside, taxonomy) for rule in grading.rules)
    return Grade(
        severity=advice.severity,
        rank=grading.rank(advice.severity),
        action=advice.action,
        immediate=next(filter(None, reasons), ""),
    )


def _reason(rule: Rule, finding: Finding, beside: Sequence[tuple[str, Finding]], taxonomy: Taxonomy) -> str:
    """Why it cannot wait, with the name of the other object, or empty when the rule does not hold."""
    if _what(finding, taxonomy) != (rule.type, rule.condition):
        return ""
    if not rule.relations:
        return rule.why
    for name, other in beside:
        kind, condition = _what(other, taxonomy)
        if name in rule.relations and kind == rule.other_type and condition in (rule.other_conditions or (condition,)):
            return f"{rule.why} ({taxonomy.spoken(kind)} {other.thing_id})"
    return ""


def _what(finding: Finding, taxonomy: Taxonomy) -> tuple[str, str]:
    """Type and condition as they were decided, where the judge may have overruled the detector's type."""
    if not finding.verdict.readable:
        return finding.kind, ""
    return taxonomy.class_of(finding.verdict.class_name).type, finding.verdict.condition
