"""Decisions for other programs: options about boxes of a photograph, in the form of System One APIs.

The protocol is that of `POST /v1/systemone` (TypeSafe, vLLM, SGLang): a state, named questions, and for each question a
probability of every option. Here the state is a photograph with its boxes, and all questions are one packed pass.
"""

from __future__ import annotations

import base64
import binascii
import io
import secrets
import shutil
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request

from toeline.core.box import Box
from toeline.core.finding import Verdict
from toeline.core.scene import Instance
from toeline.core.taxonomy import Taxonomy
from toeline.serve.accounts import Who
from toeline.serve.decisions import Refused
from toeline.serve.forms import BoxForm, ChoiceForm, SystemOneForm, SystemOneSaid
from toeline.serve.jobs import Jobs
from toeline.serve.reviewing import FAULTS
from toeline.serve.uploads import keep
from toeline.serve.who import REVIEWER

router = APIRouter(responses=FAULTS, tags=["jobs"])
OURS = "toeline"  # as a model, whatever answers


@router.post("/systemone", response_model=SystemOneSaid)
def systemone(form: SystemOneForm, request: Request, who: Who = REVIEWER) -> dict[str, Any]:
    """Which class the objects in given boxes have, with a probability of each option; nothing is kept."""
    state = request.app.state
    jobs: Jobs = state.jobs
    if jobs.model is None:
        raise Refused(503, "no_model", "this server has no model. Start it with --model.")
    if form.model not in (OURS, jobs.fingerprint):
        said = f"model: this server has no {form.model!r}. Send {OURS!r}, or {jobs.fingerprint!r}, as /version says."
        raise Refused(422, "invalid", said, where=["body", "model"])
    taxonomy = jobs.model.taxonomy
    instances = [_instance(name, box, taxonomy) for name, box in form.state.boxes.items()]
    options = {name: _options(name, one, form.state.boxes, taxonomy) for name, one in form.questions.items()}
    folder: Path = state.store.folder / "quick" / secrets.token_hex(8)
    try:
        photo = _kept(form.state.photograph, folder, state.limits.pixels)
        done = jobs.quickly(lambda: jobs.decide_now(photo, instances, options), state.limits.inspect_s)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    answers = {name: _said(done.verdicts[name], done.asked.get(name, "")) for name in options}
    return {"model": jobs.fingerprint, "answers": answers, "usage": {"input_tokens": done.tokens}}


def _instance(name: str, given: BoxForm, taxonomy: Taxonomy) -> Instance:
    where = ["body", "state", "boxes", name]
    if given.type not in (types := [t.name for t in taxonomy.types]):
        raise Refused(
            422, "invalid", f"{name}: there is no type {given.type!r}. Types: {', '.join(types)}.", where=where
        )
    x1, y1, x2, y2 = given.box
    if x1 >= x2 or y1 >= y2:
        raise Refused(422, "invalid", f"{name}: the box has no area. Send [x1, y1, x2, y2] in pixels.", where=where)
    return Instance(name, given.type, Box(x1, y1, x2, y2))


def _options(name: str, asked: ChoiceForm, boxes: dict[str, BoxForm], taxonomy: Taxonomy) -> tuple[str, ...]:
    where = ["body", "questions", name]
    if name not in boxes:
        raise Refused(422, "invalid", f"{name}: is no name of a box. Ask under the names of state.boxes.", where=where)
    own, known = taxonomy.answers(boxes[name].type), taxonomy.answers()
    options = own if asked.criteria is None else tuple(asked.criteria)
    if strange := [option for option in options if option not in known]:
        said = f"{name}: there is no class {strange[0]!r}. Classes: {', '.join(known)}."
        raise Refused(422, "invalid", said, where=where)
    if len(options) < 2:
        said = f"{name}: {boxes[name].type} has one class only. Name two or more as criteria, or leave it out."
        raise Refused(422, "invalid", said, where=where)
    return options


def _kept(url: str, folder: Path, most_pixels: int) -> Path:
    """The photograph of a data URL as a file, checked as every upload is. Raises Refused."""
    head, _, text = url.partition(",")
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        said = f"photograph: what follows {head!r} is no base64. Send data:image/jpeg;base64,..."
        raise Refused(422, "invalid", said, where=["body", "state", "photograph"]) from None
    return keep(io.BytesIO(data), "photograph", 1, folder, most_bytes=len(data), most_pixels=most_pixels)


def _said(verdict: Verdict, asked: str) -> dict[str, Any]:
    many, best = len(verdict.probabilities), verdict.probability
    confidence = min(max((many * best - 1) / (many - 1), 0.0), 1.0)
    return {
        "choice": verdict.class_name,
        "confidence": confidence,
        "probabilities": verdict.probabilities,
        "review": verdict.review,
        "asked": asked,
    }
