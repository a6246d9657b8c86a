"""What Toeline says of one object, and how sure it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from toeline.core.box import Box
from toeline.core.geo import CameraPose, GeoPosition
from toeline.core.question import Picture
from toeline.core.scene import Alternative, Relation
from toeline.core.severity import UNGRADED, Grade, Rule

if TYPE_CHECKING:
    from toeline.core.taxonomy import Taxonomy


@dataclass(frozen=True)
class Verdict:
    """The decision on one object. `probabilities` cover the legal class names and sum to 1.

    `asked` is False when the type has one legal answer, so no model was consulted. `review` is the reason why a person
    should look, or empty. A generated answer that is none of the names is not `readable`: it has no class name.
    `uncalibrated` are the probabilities before a calibration, empty where there is none.
    """

    class_name: str
    condition: str
    probability: float
    probabilities: Mapping[str, float]
    asked: bool = True
    review: str = ""
    uncalibrated: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def readable(self) -> bool:
        """Whether there is an answer at all."""
        return bool(self.class_name)

    @property
    def second(self) -> tuple[str, float] | None:
        """The runner-up and its probability; None when there was only one legal answer."""
        others = [(p, name) for name, p in self.probabilities.items() if name != self.class_name]
        if not others:
            return None
        p, name = max(others, key=lambda pair: pair[0])
        return name, p


@dataclass(frozen=True)
class Finding:
    """One row of the result: an object, where it is, what was decided, and what stands around it.

    `photo` is the photograph's path below the folder that the user named; `score` is the detector's, 0 to 1.
    `detector_class` is the class that a detector of conditional classes gave it, or empty: told beside the verdict, and
    never part of it. `detector_others` is what else the detector saw on the same place, by confidence. `grade` is what
    the taxonomy makes of it: how bad it is, what to do, and whether it can wait.
    `geo_position` is where it is on Earth: known when all photographs are done, and only if the photograph has a
    position.
    """

    photo: str
    instance_id: str
    type_name: str
    box: Box
    score: float
    verdict: Verdict
    relations: tuple[Relation, ...] = ()
    polygon: tuple[tuple[float, float], ...] = ()
    detector_class: str = ""
    detector_others: tuple[Alternative, ...] = ()
    grade: Grade = UNGRADED
    geo_position: GeoPosition | None = None

    @property
    def id(self) -> str:
        """The object's number on its photograph, as text: `id` in the files."""
        return self.instance_id

    @property
    def type(self) -> str:
        """The type that was detected: `type` in the files."""
        return self.type_name

    @property
    def detector_confidence(self) -> float:
        """How sure the detector is that it is there, 0 to 1; 1 for boxes that were given."""
        return self.score

    @property
    def class_name(self) -> str:
        """The answer, empty if it was none of the class names: `class` in the files."""
        return self.verdict.class_name

    @property
    def condition(self) -> str:
        """The condition of that class."""
        return self.verdict.condition

    @property
    def probability(self) -> float:
        """Of the answer, 0 to 1; 1 for a type that leaves one answer."""
        return self.verdict.probability

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Of every legal answer; they sum to 1."""
        return self.verdict.probabilities

    @property
    def review(self) -> bool:
        """Whether a person should look."""
        return bool(self.verdict.review)

    @property
    def review_reason(self) -> str:
        """Why a person should look, or empty."""
        return self.verdict.review

    @property
    def severity(self) -> str:
        """How bad the class is by the taxonomy, or empty."""
        return self.grade.severity

    @property
    def action(self) -> str:
        """What the taxonomy says is to be done, or empty."""
        return self.grade.action

    @property
    def immediate(self) -> bool:
        """Whether it cannot wait."""
        return bool(self.grade.immediate)

    @property
    def immediate_reason(self) -> str:
        """Why it cannot wait, or empty."""
        return self.grade.immediate


@dataclass(frozen=True)
class Problem:
    """Something the user can correct: in which `file` (and `line`, from 1), `what` is wrong, and `todo` about it.

    `photo` is the photograph that it concerns, as in Finding.photo, or empty. The rest of the file is used. A `note` is
    what was left out or assumed and needs no correction, such as files of other programs: it is said where problems are
    said, and does not change the exit code.

    >>> str(Problem.in_file(Path("labels/a.txt"), "the box has no area", 3))
    'labels/a.txt, line 3: the box has no area'
    """

    photo: str
    file: str
    what: str
    todo: str = ""
    line: int | None = None
    note: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.file}, line {self.line}" if self.line else self.file

    @classmethod
    def in_file(cls, file: Path, what: str, line: int | None = None, *, note: bool = False) -> Problem:
        """A problem of a file that no photograph of a run is named with."""
        return cls("", str(file), what, line=line, note=note)

    @classmethod
    def unread(cls, photo: Path, why: Exception, todo: str = "", *, name: str = "") -> Problem:
        """A photograph that cannot be read; `why` is a PhotoError, whose text begins with the path."""
        return cls(name, str(photo), str(why).removeprefix(f"{photo}: "), todo)


def grave(problems: Iterable[Problem]) -> list[Problem]:
    """Those that need correction: all but the notes."""
    return [p for p in problems if not p.note]


FEW, MOST_KINDS = 3, 40  # places that are named of each kind; kinds that are told apart
VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|[0-9]+(?:[.,][0-9]+)*")  # what differs from one problem of a kind to the next


@dataclass
class ProblemKind:
    """Problems or notes that say the same: `what` and `todo` of the first, how many there are, where the first few are.

    >>> print(ProblemKind("the box has no area", count=5, places=["a.txt, line 3", "b.txt, line 1", "c.txt, line 7"]))
    5 times: the box has no area (a.txt, line 3; b.txt, line 1; c.txt, line 7; and 2 more)
    """

    what: str
    todo: str = ""
    note: bool = False
    count: int = 0
    places: list[str] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        """One more."""
        self.count += 1
        if len(self.places) < FEW:
            self.places.append(problem.place)

    def __str__(self) -> str:
        if self.count == 1:
            return f"{self.places[0]}: {self.what}"
        more = f"; and {self.count - len(self.places):,} more" if self.count > len(self.places) else ""
        return f"{self.count:,} times: {self.what} ({'; '.join(self.places)}{more})"


def kinds_of(problems: Iterable[Problem]) -> tuple[ProblemKind, ...]:
    """Problems by what they say, in the order of the first of each, and after them the notes.

    >>> said = kinds_of([Problem.in_file(Path(f"{n}.txt"), f"{n} points are no polygon", 1) for n in (1, 2)])
    >>> str(*said)
    '2 times: 1 points are no polygon (1.txt, line 1; 2.txt, line 1)'
    """
    kinds: dict[tuple[bool, str], ProblemKind] = {}
    for p in problems:
        key = p.note, VARYING.sub("", p.what)
        if key not in kinds and len(kinds) >= MOST_KINDS:
            key, p = (p.note, ""), replace(p, what="of other kinds")
        kinds.setdefault(key, ProblemKind(p.what, p.todo, p.note)).add(p)
    return tuple(sorted(kinds.values(), key=lambda kind: kind.note))


Step = Callable[[Sequence[Problem]], None]  # called after each photograph with what was wrong with it


@dataclass(frozen=True)
class Result:
    """Everything that one photograph gave. `failed` means that it has no findings because it could not be inspected.

    `size_wh` is in pixels after EXIF rotation, (0, 0) when the photograph could not be opened. `sha256` is of the file.
    `file` says whether it is still the same one without reading it: bytes, and the times of its last changes.
    `boxes_sha256` is of the boxes that were given for it. `marked` is where its marked picture lies in the output
    folder, empty when it could not be drawn.
    `place` is where the photograph was taken, if the file says so. `domain` says how far it is from the photographs
    that the models were measured on (1 is the limit), in what, and to which kind of them, where that was looked at.
    `image` is kept for whoever draws on it and is no part of what a Result says; nor is `drawing`, the marked picture
    as JPEG where it was drawn already, or why it could not be.
    """

    photo: str
    size_wh: tuple[int, int] = (0, 0)
    findings: tuple[Finding, ...] = ()
    problems: tuple[Problem, ...] = ()
    failed: bool = False
    seconds: float = 0.0
    sha256: str = ""
    place: CameraPose | None = None
    file: tuple[int, ...] = ()
    boxes_sha256: str = ""
    marked: str | None = None
    domain: tuple[float, str, int] | None = None
    image: Picture | None = field(default=None, compare=False, repr=False)
    drawing: bytes | Exception = field(default=b"", compare=False, repr=False)


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
    by_id = {f.instance_id: f for f in findings}
    beside: dict[str, list[tuple[str, Finding]]] = {}
    for r in relations:
        if r.other in by_id:
            beside.setdefault(r.subject, []).append((r.name, by_id[r.other]))
    return tuple(replace(f, grade=grade_of(f, beside.get(f.instance_id, ()), taxonomy)) for f in findings)


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
            return f"{rule.why} ({taxonomy.spoken(kind)} {other.instance_id})"
    return ""


def _what(finding: Finding, taxonomy: Taxonomy) -> tuple[str, str]:
    """Type and condition as they were decided, where the judge may have overruled the detector's type."""
    if not finding.verdict.readable:
        return finding.type_name, ""
    return taxonomy.class_of(finding.verdict.class_name).type, finding.verdict.condition


UNLIKE_PHOTO = "not measured on photographs like this one"  # the domain check of one photograph, and of a run
UNLIKE_RUN = "not measured on photographs like those of this run"


def held_back(finding: Finding, reason: str) -> Finding:
    """The finding as one that is not to be trusted: a person looks first, and nothing is to be done immediately."""
    verdict, grade = finding.verdict, finding.grade
    if verdict.review.startswith((UNLIKE_PHOTO, UNLIKE_RUN)):
        return finding
    review = "; ".join(filter(None, (reason, verdict.review)))
    untrusted = replace(grade, immediate="", withheld=grade.immediate)
    return replace(finding, verdict=replace(verdict, review=review), grade=untrusted)


def let_go(finding: Finding, reason: str) -> Finding:
    """The finding as it was before `held_back` for that reason."""
    verdict, grade = finding.verdict, finding.grade
    if not verdict.review.startswith(reason):
        return finding
    review = verdict.review.removeprefix(reason).removeprefix("; ")
    trusted = replace(grade, immediate=grade.withheld, withheld="")
    return replace(finding, verdict=replace(verdict, review=review), grade=trusted)


def by_photo(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Findings under their photograph, in the order in which both came."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.photo, []).append(finding)
    return groups
