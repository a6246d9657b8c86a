"""Routes of exports: the findings of a filter as CSV, GeoJSON, COCO and YOLO, with what was decided of them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from toeline.core.records import finding_record
from toeline.core.words import some
from toeline.data.coco import coco_record
from toeline.data.export import data_yaml, row
from toeline.report.geolocate import collection, finding_feature
from toeline.report.tables import COLUMNS, csv_head, csv_lines, rows
from toeline.serve.decisions import Refused
from toeline.serve.forms import Anything
from toeline.serve.imports import find_command
from toeline.serve.labels import Labels, labels_of
from toeline.serve.listing import JOINED, Filter, Listing, as_found
from toeline.serve.reviewing import FAULTS, chosen
from toeline.serve.store import Row, Store

router = APIRouter(responses=FAULTS, tags=["exports"])
PIECE = 500  # findings that are in memory together
DECIDED = ("decided", "decided_class", "decided_condition", "decided_by", "decided_at", "decided_box")


def _kind(media: str) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "object"} if media.endswith("json") else {"type": "string", "format": "binary"}
    return {200: {"content": {media: {"schema": schema}}}}


CHOSEN = chosen("decided")


def _pieces(listing: Listing, which: Filter) -> Iterator[list[Row]]:
    """All findings of a filter, some at a time."""
    where, values = which.where()
    last = 0
    while found := listing.store.rows(
        f"{JOINED} WHERE {where} AND f.id > ? ORDER BY f.id LIMIT {PIECE}", *values, last
    ):
        yield found
        last = found[-1]["id"]


def _attached(pieces: Iterator[Any], media: str, name: str) -> StreamingResponse:
    return StreamingResponse(
        pieces, media_type=media, headers={"content-disposition": f'attachment; filename="{name}"'}
    )


@router.get("/findings.csv", response_class=StreamingResponse, responses=_kind("text/csv"))
def as_csv(request: Request, which: Filter = CHOSEN) -> StreamingResponse:
    """A table for spreadsheets; cells that would run as a formula are quoted."""
    state = request.app.state

    def lines() -> Iterator[bytes]:
        columns = (*COLUMNS, *DECIDED)
        yield csv_head(columns)
        for piece in _pieces(state.listing, which):
            table = rows([as_found(state.store, one) for one in piece], state.taxonomy)
            by_key = {(r["photo"], str(r["id"])): r for r in table}
            yield csv_lines([by_key[one["photo_name"], one["object"]] | _decided(one) for one in piece], columns)

    return _attached(lines(), "text/csv; charset=utf-8", "findings.csv")


def _decided(one: Row) -> dict[str, Any]:
    done = bool(one["decided"])
    values = (
        one["now_action"],
        one["now_class"] if done else "",
        one["now_condition"] if done else "",
        one["now_user"],
        one["now_time"],
        one["now_box"] or "",
    )
    return dict(zip(DECIDED, values, strict=True))


@router.get("/findings.geojson", response_class=StreamingResponse, responses=_kind("application/geo+json"))
def as_geojson(request: Request, which: Filter = CHOSEN) -> StreamingResponse:
    """Points of the findings whose position is known."""
    state = request.app.state

    def features() -> Iterator[dict[str, Any]]:
        for piece in _pieces(state.listing, which):
            yield from (_feature(state.store, one) for one in piece if one["latitude"] is not None)

    text = collection(
        "findings", "Findings with what people decided; those without a position are left out.", features()
    )
    return _attached(text, "application/geo+json", "findings.geojson")


def _feature(store: Store, one: Row) -> dict[str, Any]:
    """As `toeline export` writes it, with what was decided."""
    found = finding_feature(finding_record(as_found(store, one)))
    return {**found, "properties": {**found["properties"], **_decided(one)}}


def _labels(request: Request, which: Filter) -> Labels:
    state = request.app.state
    ids = {one["id"] for piece in _pieces(state.listing, which) for one in piece}
    labels = labels_of(state.store, state.taxonomy, ids=ids)
    if labels.gone and not labels.data.photographs:
        what = f"none of {some(labels.gone, 'photograph')} is where it was"
        raise Refused(410, "gone", f"{what}. Bring them back, or, on the server: {find_command('STORE')}")
    return labels


@router.get("/findings.coco.json")
def as_coco(request: Request, which: Filter = CHOSEN) -> Anything:
    """COCO annotations of what was decided: one file for all splits; `toeline labels` writes them apart."""
    labels = _labels(request, which)
    photos = [photo for its in labels.data.splits.values() for photo in its]
    record = coco_record(photos, labels.data.names)
    record["info"]["left_out"] = [str(problem) for problem in labels.problems]
    return record


@router.get("/findings.yolo.zip", response_class=Response, responses=_kind("application/zip"))
def as_yolo(request: Request, which: Filter = CHOSEN) -> Response:
    """YOLO label files of what was decided, with data.yaml; `toeline labels` writes the photographs too."""
    labels, buffer = _labels(request, which), io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.yaml", data_yaml(list(labels.data.splits), labels.data.names))
        for split, photos in labels.data.splits.items():
            for photo in photos:
                text = "".join(f"{row(line, photo.size_wh)}\n" for line in photo.lines or ())
                archive.writestr(f"{split}/labels/{photo.name.rsplit('.', 1)[0]}.txt", text)
        archive.writestr(
            "provenance.jsonl", "".join(json.dumps(source, ensure_ascii=False) + "\n" for source in labels.sources)
        )
        told = [str(problem) for problem in labels.problems]
        archive.writestr("left_out.txt", "".join(f"{line}\n" for line in told) or f"{some(0, 'photograph')} left out\n")
    headers = {"content-disposition": 'attachment; filename="findings.yolo.zip"'}
    return Response(buffer.getvalue(), media_type="application/zip", headers=headers)
