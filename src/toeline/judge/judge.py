"""What a judge is, and which ones there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from toeline.core.calibration import Calibration
from toeline.core.question import PromptBudget, QuestionSheet
from toeline.core.taxonomy import Taxonomy
from toeline.errors import ModelError
from toeline.prompts.texts import rendered_texts


class Judge(Protocol):
    """Stage 2, whatever stands behind it."""

    @property
    def view(self) -> PromptBudget:
        """How much it wants to be shown."""

    @property
    def info(self) -> Mapping[str, Any]:
        """What its scores depend on, as JSON: back end, weights' hashes, precision, device, versions."""

    def score(self, sheet: QuestionSheet) -> Sequence[Mapping[str, float]]:
        """Log-probability of every answer, question by question in the sheet's order."""


def fingerprint(info: Mapping[str, Any]) -> dict[str, Any]:
    """The hashes in a judge's info: the same for the same weights, wherever they lie and on whatever device.

    Empty for a replay, whose file is another one for every set of photographs, and for weights without a hash. Of a
    server it is what that says of its model, which need not change with the weights, and our layout. Scores from which
    a prior is taken (judge/prior.py) are others than those without, so it is in it.
    """
    if info.get("back_end") == "replay":
        return {}
    if info.get("back_end") == "fuse":
        parts = [fingerprint(part) for part in info["parts"].values()]
        return {"weight": info["weight"], "temperatures": list(info["temperatures"]), "parts": parts}
    found = {name: info[name] for name in ("weights", "adapter", "sha256", "served", "layout") if name in info}
    return {**found, "prior": info["prior"]["mark"]} if "prior" in info else found


def require_fitted_for(calibration: Calibration, info: Mapping[str, Any], prompt: str | None) -> None:
    """Raise ModelError when a calibration was fitted on the answers of other weights, or to another prompt.

    One that does not say for whom it was fitted is taken at the user's word; so is a prompt that is not known any more.
    """
    of = calibration.fitted_for
    if not of:
        return
    others = [
        what
        for what, now in (("fingerprint", fingerprint(info)), ("prompt", prompt))
        if of.get(what) != now and now is not None
    ]
    if others:
        what = "other weights" if "fingerprint" in others else f"the prompt {of.get('prompt')!r}"
        if of.get("fingerprint", {}).get("prior") != fingerprint(info).get("prior"):
            what = "answers with another --prior, or without one"
        raise ModelError(
            f"the calibration was fitted for {what} (judge {of.get('judge')}), so it says nothing about this judge's "
            f"probabilities. Make it again with toeline evaluate --calibrate, or leave --calibration out."
        )


def require_readable(judge: Judge, taxonomy: Taxonomy) -> None:
    """Raise ModelError when a judge, or a part of it, cannot read what prompts say of a taxonomy: a trimmed one."""
    for part in getattr(judge, "parts", (judge,)):
        if read := getattr(part, "read", None):
            read(rendered_texts(taxonomy))
