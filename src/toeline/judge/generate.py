"""Free generation, as the user configured it: at most 50 new tokens, temperature 0.7, top-p 0.9.

For measuring what closed scoring is worth. Answers are read strictly: what is not exactly one of the legal names is
unreadable. It is never searched for a name, because "slope drain" is part of "slope drain blocked".
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toeline.core.question import PromptBudget, Question, QuestionSheet
from toeline.errors import ModelError
from toeline.judge.packing import branch, trunk
from toeline.judge.qwen_vl import QwenVLJudge, patches

MAX_NEW_TOKENS, TEMPERATURE, TOP_P = 50, 0.7, 0.9


def read_strictly(said: str, answers: Sequence[str]) -> dict[str, float]:
    """Log-probabilities of a generated answer: 0 for the name that was said, nothing at all if none was.

    Space around the answer does not count; everything else does.

    >>> read_strictly(" slope drain\\n", ["slope drain", "slope drain blocked"])
    {'slope drain': 0.0, 'slope drain blocked': -inf}
    >>> read_strictly("The slope drain is blocked.", ["slope drain", "slope drain blocked"])
    {}
    """
    name = said.strip()
    return {answer: 0.0 if answer == name else -math.inf for answer in answers} if name in answers else {}


@dataclass(frozen=True)
class GeneratingJudge:
    """A Judge that lets the model write. Same seed, same photograph, same question: same answer, in any order."""

    judge: QwenVLJudge
    seed: int = 0
    max_new_tokens: int = MAX_NEW_TOKENS
    temperature: float = TEMPERATURE
    top_p: float = TOP_P

    @property
    def view(self) -> PromptBudget:
        return self.judge.view

    @cached_property
    def info(self) -> Mapping[str, Any]:
        settings = ("seed", "max_new_tokens", "temperature", "top_p")
        return {**self.judge.info, "decide": "generate", **{name: getattr(self, name) for name in settings}}

    def score(self, sheet: QuestionSheet) -> list[dict[str, float]]:
        """For each question what `read_strictly` makes of the text; an empty mapping is an unreadable answer."""
        return [read_strictly(self.write(sheet, question), question.answers) for question in sheet.questions]

    def write(self, sheet: QuestionSheet, question: Question) -> str:
        """What the model writes after one question, to the end token or the limit."""
        abc = self.judge.alphabet
        ids = torch.from_numpy(np.concatenate([trunk(sheet, abc).ids, branch(question, abc).ids]))[None]
        with torch.random.fork_rng(devices=_cuda(self.judge.device)):
            torch.manual_seed(_seed(self.seed, sheet.photo, question.instance_id))
            written = self._generate(ids.to(self.judge.device), sheet, question)
        return str(self.judge.tokenizer.decode(written[0, ids.shape[1] :].tolist(), skip_special_tokens=True))

    def _generate(self, ids: Tensor, sheet: QuestionSheet, question: Question) -> Tensor:
        shown: dict[str, Any] = {}
        if pictures := [p for p in (sheet.picture, question.crop) if p is not None]:
            pixels, grids = patches(pictures, self.judge.processor)
            shown = {"pixel_values": pixels.to(ids.device), "image_grid_thw": grids.to(ids.device)}
            shown["mm_token_type_ids"] = (ids == self.judge.alphabet.image).int()
        try:
            with torch.inference_mode():
                done: Tensor = self.judge.model.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    do_sample=True,
                    max_new_tokens=self.max_new_tokens,
                    temperature=self.temperature,
                    top_p=self.top_p,
                    top_k=0,  # the model's own file may ask for 1, which would make the other two mean nothing
                    eos_token_id=self.judge.alphabet.end,
                    **shown,
                )
        except RuntimeError as why:
            raise ModelError(
                f"{sheet.photo}: generating failed ({why}). Try --decide score, or a device with bfloat16."
            ) from None
        return done


def _seed(seed: int, photo: str, instance_id: str) -> int:
    """63 bits of a hash, the same on every machine."""
    digest = hashlib.sha256(f"{seed}\n{photo}\n{instance_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _cuda(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
