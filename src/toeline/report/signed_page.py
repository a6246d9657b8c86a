"""The report that an engineer signs: what is to be done, what people changed, every finding, and the hashes.

One page for the screen and for paper. What cannot wait comes first, then the rest of the work, then what was changed;
the long table of all findings stands last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from toeline.core.finding import Finding
from toeline.core.geo import GeoPosition
from toeline.core.taxonomy import Taxonomy
from toeline.evaluate.classification import normal_condition
from toeline.report.document import environment
from toeline.report.geolocate import position_words
from toeline.report.inspection_page import condition_styles, matrix
from toeline.report.tables import Facets, Totals, shown_facts, urgency

PICTURED, PICTURE_PX = 60, 480  # findings with a picture, four on a sheet of paper; its longest side
CHAIN = "@ of the last decision@@"  # stands in the page for the hash of the last event until that is known
PRINTED = "<!-- printed -->"
DID = {
    "confirm": "confirmed", "change": "changed", "reject": "no object", "unsure": "cannot be judged", "add": "added",
    "": "not decided",
}  # fmt: skip


@dataclass(frozen=True)
class SignedFinding:
    """One finding as it is signed: `finding` has the class that was decided, with its grade; `said` is the model's.

    `action` is empty where nobody decided: then both are the same. `event` is the number of the decision.
    """

    finding: Finding
    said: str
    action: str = ""
    user: str = ""
    time: str = ""
    event: int = 0
    picture: str = ""

    @property
    def there(self) -> bool:
        """Whether it is an object whose class is known."""
        return self.action not in ("reject", "unsure")

    @property
    def changed(self) -> bool:
        """Whether a person said something else than the model."""
        return self.action in ("reject", "add") or (bool(self.action) and self.finding.class_name != self.said)


@dataclass(frozen=True)
class SignedReport:
    """What is signed. `facts` are name and value, for the last section."""

    title: str
    name: str
    time: str
    note: str
    photographs: int
    answers: Sequence[SignedFinding]
    taxonomy: Taxonomy
    facts: Sequence[tuple[str, str]]

    @property
    def work(self) -> list[SignedFinding]:
        """What is to be done: what cannot wait, then by severity; without a scale all that is not normal."""
        normal, graded = normal_condition(self.taxonomy), bool(self.taxonomy.grading)
        todo = [
            a for a in self.answers if a.there and (a.finding.grade.rank if graded else a.finding.condition != normal)
        ]
        return sorted(todo, key=lambda a: (not a.finding.immediate, urgency(a.finding)))

    @property
    def pictured(self) -> list[SignedFinding]:
        """The first of the work, less types that leave no choice (vegetation): those stand in the table."""
        free = {t.name for t in self.taxonomy.types if len(self.taxonomy.answers(t.name)) > 1}
        return [a for a in self.work if a.finding.type_name in free][:PICTURED]


def with_pictures(report: SignedReport, picture: Callable[[SignedFinding], str]) -> SignedReport:
    """With pictures (data URIs) of the first of the work; empty ones where the photograph is not there."""
    first = {id(a) for a in report.pictured}
    return replace(report, answers=[replace(a, picture=picture(a)) if id(a) in first else a for a in report.answers])


def render_signed(report: SignedReport) -> str:
    """The text of the page; nothing is loaded from outside. CHAIN stands where the hash of the last event belongs."""
    words, work = report.taxonomy, report.work
    there = [a.finding for a in report.answers if a.there]
    totals = Totals(report.photographs, findings=len(there), facets=Counter(map(Facets.of, there)))
    order = {id(a): n for n, a in enumerate(work, start=1)}
    slugs = {c["name"]: c["slug"] for c in condition_styles(words)}
    rows = [_row(a, words, slugs, order.get(id(a), 0)) for a in report.answers]
    listed = sorted((row for row in rows if row["n"]), key=lambda row: row["n"])
    pictured = {order[id(a)] for a in report.pictured}
    return (
        environment()
        .get_template("signed.html.j2")
        .render(
            report=report,
            tiles=_tiles(report, totals),
            conditions=condition_styles(words),
            matrix=matrix(totals, words),
            scale=[(s.name, s.meaning) for s in words.grading.severities[:0:-1]],
            shown=[row for row in listed if row["n"] in pictured],
            rest=[row for row in listed if row["n"] not in pictured],
            changed=[row for row in rows if row["changed"]],
            rows=rows,
            open=sum(not a.action for a in report.answers),
            unsure=sum(a.action == "unsure" for a in report.answers),
            chain=CHAIN,
        )
    )


def printed(page: str, digest: str) -> str:
    """The page for paper, which names the hash of what was signed; the page itself cannot hold it."""
    told = f"<p class='soft small'>Printed from the signed page with SHA-256 <code>{digest}</code></p>"
    return page.replace(PRINTED, told, 1)


def _tiles(report: SignedReport, totals: Totals) -> list[tuple[str, str]]:
    answers = report.answers
    counts = (
        (report.photographs, "photographs"),
        (totals.findings, "objects"),
        *((totals.count(condition=c.name), c.name) for c in report.taxonomy.conditions),
        *([(totals.immediate, "cannot wait")] if report.taxonomy.grading.rules else []),
        (sum(a.changed for a in answers), "changed by people"),
        (sum(not a.action for a in answers), "not decided"),
    )
    return [(f"{count:,}", what) for count, what in counts]


def _place(at: GeoPosition | None) -> str:
    """A position for a narrow column of a table."""
    if at is None:
        return ""
    near = "" if at.error_m is None else f" ±{at.error_m:.0f} m"
    ends = ("S" if at.latitude < 0 else "N", "W" if at.longitude < 0 else "E")
    return f"{abs(at.latitude):.5f} {ends[0]} {abs(at.longitude):.5f} {ends[1]}{near}"


def _row(answer: SignedFinding, taxonomy: Taxonomy, slugs: Mapping[str, str], n: int) -> dict[str, Any]:
    """What the page says of one finding."""
    finding, there = answer.finding, answer.there
    return {
        **shown_facts(finding, taxonomy),
        "n": n,
        "answer": finding.class_name if there else DID[answer.action],
        "slug": slugs.get(finding.condition, "") if there else "",
        "grade": finding.grade,
        "where": position_words(finding.geo_position),
        "place": _place(finding.geo_position),
        "said": answer.said or "nothing",
        "did": DID.get(answer.action, answer.action),
        "changed": answer.changed,
        "user": answer.user,
        "time": answer.time[:16].replace("T", " "),
        "event": answer.event or "",
        "picture": answer.picture,
        "immediate": finding.immediate_reason if there else "",
    }
