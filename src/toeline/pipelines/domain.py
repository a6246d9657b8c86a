"""What a run as a whole is worth: whether its photographs are like those that its models were measured on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline.core.finding import UNLIKE_RUN, held_back, let_go
from toeline.core.reading import file_hash
from toeline.core.records import each_bytes, each_line, finding_from, finding_record, to_line
from toeline.core.run_folder import FINDINGS, PROGRESS, RunFolder, written
from toeline.data.domain import RunStanding, Standing, card_from, card_record

if TYPE_CHECKING:
    from toeline.data.domain import DomainModel

SHIPPED: Path | None = Path(__file__).parent.parent / "models" / "domain.safetensors"
AUTO, OFF = "auto", "off"


def domain_file(domain: str, *, detector: str, judge: str, boxes: bool) -> Path | None:
    """The domain file of what was typed; of itself the shipped one, where one of the shipped models is at work."""
    if domain != AUTO:
        return None if domain == OFF else Path(domain)
    shipped = "embedded" in judge or (detector == "embedded" and not boxes)
    return SHIPPED if shipped else None


def domain_facts(domain: DomainModel | None, file: Path | None, *, as_measured: bool) -> dict[str, Any]:
    """What run.json says of it from the beginning; empty where none is at work.

    Scores of the shipped models are left out unless they are at work `as_measured`: both, and with their own settings.
    """
    if domain is None or file is None:
        return {}
    scores = as_measured or file != SHIPPED
    kinds = [
        {
            "card": card_record(kind.card if scores else replace(kind.card, scores=())),
            "photographs": kind.n,
            "false_alarms": kind.false_alarms,
        }
        for kind in domain.kinds
    ]
    return {"sha256": file_hash(file), **kinds[0], **({"others": kinds[1:]} if kinds[1:] else {})}


def settle(folder: RunFolder) -> dict[str, Any]:
    """The verdict on all photographs that are done, as run.json holds it; empty where none was asked for.

    Where the run as a whole is not like what was measured, every finding in findings.jsonl is held back, also of
    photographs that would pass alone; a verdict of before, on fewer photographs, is taken back.
    """
    facts = folder.run.get("models", {}).get("domain", {})
    if not facts.get("card"):
        return {}
    cards = [card_from(kind["card"]) for kind in (facts, *facts.get("others", ()))]
    standing = RunStanding.of(Standing(*r["domain"]) for _, r in each_line(folder.path / PROGRESS) if r.get("domain"))
    if standing.unlike or any(UNLIKE_RUN.encode() in line for line in each_bytes(folder.path / FINDINGS)):
        with written(folder.path / FINDINGS) as file:
            file.writelines(_settled(folder, unlike=standing.unlike))
    return {
        "photographs": standing.n,
        "beyond": standing.beyond,
        "least_share": round(standing.least, 4),
        "unlike": standing.unlike,
        "said": standing.said(*cards),
    }


def _settled(folder: RunFolder, *, unlike: bool) -> Iterator[bytes]:
    """What each line of findings.jsonl is to be; a line that stays is the same bytes."""
    for line, record in each_line(folder.path / FINDINGS):
        before = finding_from(record)
        after = held_back(before, UNLIKE_RUN) if unlike else let_go(before, UNLIKE_RUN)
        yield line if after == before else to_line(_with_verdict(record, finding_record(after))).encode("utf-8")


def _with_verdict(record: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """The record with what a verdict changes; the rest, such as positions, stays as it is written."""
    changed = {name: made[name] for name in VERDICT if name in made}
    return {**{k: v for k, v in record.items() if k != "withheld_reason"}, **changed}


VERDICT = ("review", "review_reason", "immediate", "immediate_reason", "withheld_reason")
