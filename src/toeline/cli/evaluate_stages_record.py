"""integration.json, and a folder with the cases of every true object that `toeline compare` can read."""

from __future__ import annotations

import json
from typing import Any

from toeline.cli.evaluate_run import Evaluated
from toeline.cli.evaluate_stages import Stages
from toeline.cli.evaluate_stages_page import worst_of
from toeline.core.lines import join_lines
from toeline.core.taxonomy import Taxonomy
from toeline.evaluate.cases import CASES, case_record
from toeline.evaluate.figure import figure_record
from toeline.evaluate.scorecard import Scorecard, card_record
from toeline.report.folder import RUN, write_whole
from toeline.report.stages_page import Blamed

VERSION = 1
INTEGRATION, BOTH = "integration.json", "both-stages"
KEPT = 20  # mistakes of each kind in the record


def write_stages(done: Evaluated, found: Stages, beside: Scorecard, headline: str, taxonomy: Taxonomy) -> None:
    """integration.json, and both-stages/ with the cases of every true object, for `toeline compare`."""
    folder = done.folder.path
    record = integration_record(done, found, beside, headline, taxonomy)
    write_whole(folder / INTEGRATION, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    write_whole(folder / BOTH / CASES, join_lines(case_record(s.case) for s in found.objects))
    write_whole(
        folder / BOTH / "scorecard.json", json.dumps(card_record(found.card), indent=2, ensure_ascii=False) + "\n"
    )
    write_whole(folder / BOTH / RUN, json.dumps(done.folder.run, indent=2, ensure_ascii=False) + "\n")


def integration_record(
    done: Evaluated, found: Stages, beside: Scorecard, headline: str, taxonomy: Taxonomy
) -> dict[str, Any]:
    """Everything that the report says of both stages, as JSON."""
    worst = worst_of(done, found, taxonomy)
    return {
        "version": VERSION,
        "headline": headline,
        "split": done.split.name,
        "counts": found.blame.counts.record(),
        "by_type": {kind: b.record() for kind, b in found.blame.by_type.items()},
        "figures": [figure_record(f) for f in (*found.detector, *found.blame.figures)],
        "both_stages": card_record(found.card),
        "where_found": card_record(beside),
        "true_boxes": card_record(found.true_boxes) if found.true_boxes else None,
        "cost_of_detected_boxes": found.cost.record() if found.cost else None,
        "judge_on_found_and_true_boxes": found.off.record() if found.off else None,
        "worst": {name: list(map(_worst_record, ones[:KEPT])) for name, ones in worst.items()},
    }


def _worst_record(one: Blamed) -> dict[str, Any]:
    return {
        "photo": one.photo,
        "id": one.thing_id,
        "is": one.is_class,
        "said": one.said,
        "sure": round(one.sure, 4),
        "true_box": list(one.true.xyxy) if one.true else None,
        "found_box": list(one.found.xyxy) if one.found else None,
    }
