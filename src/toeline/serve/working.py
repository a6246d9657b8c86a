"""Routes that need the model: one photograph now, and jobs."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Query, Request, Response, UploadFile
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from toeline.report.geolocate import collection
from toeline.serve.accounts import Who
from toeline.serve.decisions import Refused
from toeline.serve.forms import Anything, Id, Job, Name
from toeline.serve.jobs import FINISHED, UPLOADS, Jobs, job_record
from toeline.serve.reviewing import FAULTS
from toeline.serve.uploads import folder_below, keep
from toeline.serve.who import ENGINEER, REVIEWER, VIEWER, current

router = APIRouter(responses=FAULTS, tags=["jobs"])
POLL_S, ALIVE_S = 0.5, 15.0
KINDS = {"json": "application/json", "geojson": "application/geo+json", "marked": "image/jpeg"}
INSPECTED: dict[int | str, dict[str, Any]] = {200: {"content": {kind: {"schema": {}} for kind in KINDS.values()}}}


@router.post("/inspect", response_class=Response, responses=INSPECTED)
def inspect(
    request: Request,
    file: Annotated[UploadFile, File(description="One photograph")],
    who: Who = REVIEWER,
    format: Annotated[Literal["json", "geojson", "marked"], Query()] = "json",
) -> Response:
    """Inspect one photograph now; nothing of it is kept."""
    state = request.app.state
    jobs: Jobs = state.jobs
    if jobs.model is None:
        raise Refused(503, "no_model", "this server has no model. Start it with --model.")
    folder: Path = state.store.folder / "quick" / secrets.token_hex(8)
    limits = state.limits
    try:
        photo = keep(
            file.file, file.filename or "", 1, folder / "in", most_bytes=limits.photo_bytes, most_pixels=limits.pixels
        )
        said = jobs.quickly(lambda: jobs.inspect_now(photo, folder / "out"), limits.inspect_s)
        return _inspected(said, folder / "out", format)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _inspected(said: dict[str, Any], out: Path, format: str) -> Response:
    if format == "marked":
        return Response((out / said["marked"]).read_bytes(), media_type=KINDS[format])
    if format == "geojson":
        places = out / "findings.geojson"
        text = (
            places.read_bytes()
            if places.is_file()
            else "".join(collection("findings", "no position is known", ())).encode()
        )
        return Response(text, media_type=KINDS[format])
    return JSONResponse({name: said[name] for name in ("findings", "size", "seconds")})


@router.post("/jobs", response_model=Job, status_code=202)
def start(
    request: Request,
    who: Who = ENGINEER,
    name: Annotated[Name, Form()] = "inspection",
    folder: Annotated[str, Form(max_length=1000)] = "",
    files: Annotated[list[UploadFile] | None, File()] = None,
) -> dict[str, Any]:
    """Inspect a folder that lies on the server, or what is uploaded."""
    state, sent = request.app.state, files or []
    jobs: Jobs = state.jobs
    jobs.require_room()
    if bool(folder) == bool(sent):
        raise Refused(422, "invalid", "send either a folder of the server or files.", where=["body", "folder"])
    if len(sent) > state.limits.uploads:
        raise Refused(413, "limit", f"{len(sent)} files, and {state.limits.uploads} are allowed. Start several jobs.")
    place = folder_below(jobs.roots, folder) if folder else None

    def fill(number: int) -> Path:
        if place is not None:
            return place
        target: Path = state.store.folder / UPLOADS / f"job-{number}"
        for at, one in enumerate(sent, start=1):
            keep(
                one.file,
                one.filename or "",
                at,
                target,
                most_bytes=state.limits.photo_bytes,
                most_pixels=state.limits.pixels,
            )
        return target

    return job_record(jobs.add(name, who.name, fill))


@router.get("/jobs")
def listed(request: Request, who: Who = VIEWER) -> Anything:
    """All jobs, the latest first."""
    rows = request.app.state.store.rows("SELECT * FROM jobs WHERE state != 'preparing' ORDER BY id DESC LIMIT 500")
    return {"items": [job_record(row) for row in rows]}


@router.get("/jobs/{job}", response_model=Job)
def one(job: Id, request: Request, who: Who = VIEWER) -> dict[str, Any]:
    """One job."""
    return job_record(request.app.state.jobs.row(job))


@router.delete("/jobs/{job}", response_model=Job)
def cancel(job: Id, request: Request, who: Who = ENGINEER) -> dict[str, Any]:
    """Cancel a job; a finished one stays as it is."""
    return job_record(request.app.state.jobs.cancel(job))


@router.get(
    "/jobs/{job}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
def follow(job: Id, request: Request, who: Who = VIEWER) -> StreamingResponse:
    """The job whenever it changes, as server-sent events, until it is finished."""
    jobs: Jobs = request.app.state.jobs
    jobs.row(job)

    async def told() -> AsyncIterator[str]:
        last, quiet = "", 0.0
        while not await request.is_disconnected():
            if await run_in_threadpool(current, request) is None:  # logged out meanwhile, or the account is gone
                return
            said = job_record(await run_in_threadpool(jobs.row, job))
            text = json.dumps(said, ensure_ascii=False)
            if text != last or quiet >= ALIVE_S:
                yield f"event: job\ndata: {text}\n\n"
                last, quiet = text, 0.0
            if said["state"] in FINISHED:
                return
            await asyncio.sleep(POLL_S)
            quiet += POLL_S

    return StreamingResponse(
        told(), media_type="text/event-stream", headers={"cache-control": "no-store", "x-accel-buffering": "no"}
    )
