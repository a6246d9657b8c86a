"""What people decided of visits, for `toeline revisit --store`; and visits as the store has them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from toeline.core.box import Box
from toeline.core.records import finding_from
from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError
from toeline.pipelines.revisit import Decisions
from toeline.pipelines.saved_run import SavedRun
from toeline.report.revisit import Revisit, compared
from toeline.report.visits import PersonsAnswer, Visit
from toeline.serve.decisions import Refused, required
from toeline.serve.imports import as_stored, run_hash
from toeline.serve.labels import box_of
from toeline.serve.listing import JOINED
from toeline.serve.store import Row, Store

MOST_FINDINGS = 20_000  # of an inspection that is compared while somebody waits: some 10 seconds


def reviewed_in(store_dir: Path) -> Decisions:
    """What a store knows of runs, found by their content. Raises OutputError where it holds none of them."""

    def reviewed(runs: Sequence[SavedRun]) -> list[list[PersonsAnswer] | None]:
        with closing(Store.open(store_dir, make=False)) as store:
            found = [_of_run(store, run) for run in runs]
        if all(one is None for one in found):
            names = " nor ".join(str(run.folder) for run in runs)
            raise OutputError(
                f"{store_dir}: holds neither {names}. Import them: toeline serve import RUN --store {store_dir}"
            )
        return found

    return reviewed


def _of_run(store: Store, run: SavedRun) -> list[PersonsAnswer] | None:
    number = store.value("SELECT id FROM inspections WHERE run_sha256 = ?", run_hash(run))
    names = {as_stored(str(r["photo"])): str(r["photo"]) for r in run.progress}
    return None if number is None else [_reviewed(row, names[row["photo_name"]]) for row in _decided(store, number)]


def _decided(store: Store, inspection: int) -> Iterator[Row]:
    """Rows that say something of their finding; an added one that is no object after all never was."""
    rows = store.rows(
        f"{JOINED} WHERE f.inspection = ? AND f.removed = 0 AND (f.decided = 1 OR f.now_box IS NOT NULL) ORDER BY f.id",
        inspection,
    )
    return (row for row in rows if not (row["added"] and row["now_action"] == "reject"))


def _reviewed(row: Row, photo: str) -> PersonsAnswer:
    action = "add" if row["added"] else row["now_action"] if row["decided"] else "box"
    box: Box | None = box_of(row) if row["added"] or row["now_box"] else None
    name = row["now_class"] if row["decided"] else ""
    return PersonsAnswer(photo, row["object"], action, name, box, row["now_user"], row["now_time"])


def changes_of(store: Store, taxonomy: Taxonomy, since: int, inspection: int) -> Revisit:
    """What changed from one inspection to another, with what people decided. Raises Refused."""
    return compared(visit_of(store, since, taxonomy), visit_of(store, inspection, taxonomy))


def visit_of(store: Store, number: int, taxonomy: Taxonomy) -> Visit:
    """An inspection as the store has it: its folder need not be there any more."""
    row = required(store.row("SELECT * FROM inspections WHERE id = ?", number), "inspection", number)
    if store.value("SELECT COUNT(*) FROM findings WHERE inspection = ?", number) > MOST_FINDINGS:
        told = f"inspection {number}: has over {MOST_FINDINGS:,} findings, too many to wait for. Use toeline revisit."
        raise Refused(413, "limit", told)
    progress = [
        json.loads(photo["record"]) | {"photo": photo["name"]}
        for photo in store.rows("SELECT name, record FROM photos WHERE inspection = ? ORDER BY id", number)
    ]
    of_it = "SELECT r.record FROM records r JOIN findings f ON f.id = r.finding WHERE f.inspection = ? ORDER BY f.id"
    kept = store.rows(of_it, number)
    findings = [finding_from(json.loads(one["record"])) for one in kept]
    reviewed = [_reviewed(one, one["photo_name"]) for one in _decided(store, number)]
    return Visit(f"{row['name']} ({number})", json.loads(row["run"]), taxonomy, progress, findings, reviewed)
