"""How bad a class is, what to do about it, and what cannot wait: the owner's view, kept in the taxonomy file.

Optional. Knows names and ranks; knows no photograph and no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toeline.core.scene import RELATIONS

RULE_KEYS = {"type", "condition", "relation", "other_type", "other_condition", "why"}


@dataclass(frozen=True)
class Severity:
    """One step of the owner's scale; `meaning` says what it asks for."""

    name: str
    meaning: str = ""


@dataclass(frozen=True)
class Advice:
    """How bad a class is, as a name of the scale, and what to do about it."""

    class_name: str
    severity: str
    action: str = ""


@dataclass(frozen=True)
class Rule:
    """What cannot wait: an object of `type` in `condition` that stands in one of `relations` to another object.

    The other one is of `other_type`, in one of `other_conditions` (any, when empty). Without `relations` the rule holds
    wherever the object is. `why` completes the sentence "immediate, because".
    """

    type: str
    condition: str
    why: str
    relations: tuple[str, ...] = ()
    other_type: str = ""
    other_conditions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grading:
    """The scale, from the least to the worst, what each class gets on it, and the rules for what cannot wait.

    Empty (and false) for a taxonomy without [[severities]]: then nothing is graded and there is no work list.
    """

    severities: tuple[Severity, ...] = ()
    advice: tuple[Advice, ...] = ()
    rules: tuple[Rule, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.severities)

    def rank(self, severity: str) -> int:
        """Place on the scale, 0 for the least. Raises ValueError for a name that is not on it."""
        return [s.name for s in self.severities].index(severity)

    def of(self, class_name: str) -> Advice:
        """What a class gets; Advice without severity for one that is not known, as for an unreadable answer."""
        return next((a for a in self.advice if a.class_name == class_name), Advice(class_name, ""))


NO_GRADING = Grading()


@dataclass(frozen=True)
class Grade:
    """What the owner's scale says of one finding.

    `severity` is empty when nothing grades it, `rank` its place on the scale, 0 for the least. `immediate` is why it
    cannot wait, or empty; `withheld` is why it could not wait if it were to be trusted (core/finding.py, held_back).
    """

    severity: str = ""
    rank: int = 0
    action: str = ""
    immediate: str = ""
    withheld: str = ""


UNGRADED = Grade()


@dataclass(frozen=True)
class Legal:
    """What the rest of a taxonomy allows: class names in order, and the conditions of each type."""

    classes: tuple[str, ...]
    conditions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def grading_from(raw: Mapping[str, Any]) -> Grading:
    """The grading of a taxonomy file as TOML reads it. Raises ValueError that names the entry."""
    scale = [Severity(text(s, "name", where), text(s, "meaning", where, "")) for where, s in tables(raw, "severities")]
    advice = [
        Advice(str(c.get("name", "")), text(c, "severity", where, ""), text(c, "action", where, ""))
        for where, c in tables(raw, "classes")
    ]
    graded = tuple(a for a in advice if a.severity or a.action)
    return Grading(tuple(scale), graded, tuple(_rule(r, where) for where, r in tables(raw, "immediate")))


def tables(raw: Mapping[str, Any], key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every entry of a list of tables with the words that name it: a class by its name, others counted from 1."""
    found = raw.get(key, [])
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        raise ValueError(f"{key} is no list of tables; write [[{key}]] above each entry")
    for number, table in enumerate(found, start=1):
        named = key == "classes" and isinstance(table.get("name"), str)
        yield f"class {table['name']!r}" if named else f"entry {number} of [[{key}]]", table


def text(table: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    """A text that is not empty, or `default` where the key is missing. Raises ValueError that names the entry."""
    if key not in table and default is not None:
        return default
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where} needs {key}, a text" + (f", not {value!r}" if key in table else ""))
    return value


def texts(table: Mapping[str, Any], key: str, where: str, *, or_one: bool = False) -> tuple[str, ...]:
    """A list of texts, none when the key is missing; `or_one` takes a single text as well. Raises ValueError."""
    values = table.get(key, [])
    if or_one and key in table and values == []:
        raise ValueError(f"{where} has an empty {key}; leave it out, or name at least one")
    listed = [values] if or_one and not isinstance(values, list) else values
    if not isinstance(listed, list):
        raise ValueError(f"{where} needs {key}, a list of texts, not {values!r}")
    return tuple(text({key: value}, key, where) for value in listed)


def _rule(table: Mapping[str, Any], where: str) -> Rule:
    """A misspelled key would make a rule hold more often than it was meant to, so it is refused."""
    if strange := sorted(table.keys() - RULE_KEYS):
        raise ValueError(f"{where} has the unknown key {strange[0]!r}; known: {', '.join(sorted(RULE_KEYS))}")
    return Rule(
        type=text(table, "type", where),
        condition=text(table, "condition", where),
        why=text(table, "why", where),
        relations=texts(table, "relation", where, or_one=True),
        other_type=text(table, "other_type", where, ""),
        other_conditions=texts(table, "other_condition", where, or_one=True),
    )


def faults(grading: Grading, legal: Legal) -> Iterator[str]:
    """What contradicts itself or the rest of the taxonomy, each fault naming its entry."""
    if not grading:
        yield from (
            f"class {a.class_name!r} has a severity or an action, but there are no [[severities]]"
            for a in grading.advice[:1]
        )
        yield from ("there are [[immediate]] rules, but no [[severities]]" for _ in grading.rules[:1])
        return
    names = [s.name for s in grading.severities]
    yield from (
        f"the severity {n!r} stands there more than once" for n in sorted({n for n in names if names.count(n) > 1})
    )
    if len(names) < 2:
        yield f"[[severities]] has only {names[0]!r}; the first one means nothing to do, so give two or more"
    for class_name in legal.classes:
        yield from _class_faults(grading.of(class_name), names)
    for number, rule in enumerate(grading.rules, start=1):
        yield from (f"entry {number} of [[immediate]] {fault}" for fault in _rule_faults(rule, legal))


def _class_faults(advice: Advice, names: Sequence[str]) -> Iterator[str]:
    who = f"class {advice.class_name!r}"
    if not advice.severity:
        yield f"{who} has no severity, and other classes have; give it one of {', '.join(names)}"
    elif advice.severity not in names:
        yield f"{who} has severity {advice.severity!r}, which is not under [[severities]] ({', '.join(names)})"
    elif advice.severity != names[0] and not advice.action:
        yield f"{who} is of severity {advice.severity!r} and has no action; say what is to be done"


def _rule_faults(rule: Rule, legal: Legal) -> Iterator[str]:
    yield from _relation_faults("type", rule.type, "condition", (rule.condition,), legal)
    for name in rule.relations:
        if name not in RELATIONS:
            yield f"has the unknown relation {name!r}; known: {', '.join(RELATIONS)}"
    if rule.relations and not rule.other_type:
        yield "has a relation and no other_type, so it does not say to what"
    if rule.other_type and not rule.relations:
        yield "has an other_type and no relation, so it does not say how they stand to one another"
    if rule.other_conditions and not rule.other_type:
        yield "has an other_condition and no other_type"
    if rule.other_type:
        yield from _relation_faults("other_type", rule.other_type, "other_condition", rule.other_conditions, legal)


def _relation_faults(
    type_key: str, name: str, condition_key: str, conditions: Sequence[str], legal: Legal
) -> Iterator[str]:
    if name not in legal.conditions:
        yield f"has {type_key} {name!r}, which is not under [[types]] ({', '.join(legal.conditions)})"
        return
    for condition in conditions:
        if condition not in legal.conditions[name]:
            known = ", ".join(legal.conditions[name])
            yield f"has {condition_key} {condition!r}, which no class of {name!r} has ({known})"
