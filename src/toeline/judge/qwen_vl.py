"""Scores closed answers with a Qwen-VL model in one forward pass per photograph. Knows tensors and no kinds.

The functions take a model, so that training runs exactly what inspection runs:
`lay_out` -> `collate` -> `image_features` -> `hidden_states` -> `answer_logits` -> `tree_log_probs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from toeline.core.question import Picture, PromptBudget, QuestionSheet
from toeline.errors import ModelError
from toeline.judge.attention import BRANCHES
from toeline.judge.checkpoint import called
from toeline.judge.families import FAMILIES
from toeline.judge.packing import (
    MAX_TOKENS,
    Alphabet,
    Batch,
    alphabet_of,
    collate,
    lay_out,
    pictures,
    subtrees,
    tree_log_probs,
)
from toeline.judge.vocabulary import check_of


def patches(shown: Sequence[Picture], processor: Any) -> tuple[Tensor, Tensor]:
    """Pictures, not resized, as (patches, numbers) float32, those of one token in a row, and their (n, 3) grids."""
    done = processor(images=list(shown), do_resize=False, return_tensors="pt")
    return done["pixel_values"], done["image_grid_thw"]


def image_features(model: Any, pixel_values: Tensor, grids: Tensor) -> list[Tensor]:
    """One (tokens, levels x hidden) tensor per picture, from the vision tower; pictures do not see each other.

    The first level stands in for the embeddings. Where the tower has more (deepstack, arXiv 2406.04334), they follow
    side by side, and `hidden_states` adds each to the outputs of one layer, the first of them to the first layer's.
    """
    found = model.model.get_image_features(pixel_values, grids)
    deeper = getattr(found, "deepstack_features", None) or ()
    all_of_one = zip(found.pooler_output, *deeper, strict=True)  # last_hidden_state is the unmerged patches
    return [torch.cat(levels, dim=-1) if deeper else levels[0] for levels in all_of_one]


def hidden_states(model: Any, batch: Batch, features: Sequence[Tensor]) -> Tensor:
    """(B, S, hidden) outputs of the language model after its final norm; `features` belong to the pictures in order.

    Positions and mask are always given: with a 4-D mask transformers adds neither causality nor padding, and without
    positions it silently reuses those of the call before. The language model is called by itself, because the model
    around it takes deeper features from pixels only.
    """
    embedded = model.get_input_embeddings()(batch.ids)
    more: dict[str, Any] = {}
    if len(features):
        where = batch.ids == model.config.image_token_id
        first, *deeper = _levels(features, embedded.shape[-1])
        embedded = embedded.masked_scatter(where.unsqueeze(-1), first.to(embedded.dtype))
        more = {"visual_pos_masks": where, "deepstack_visual_embeds": deeper} if deeper else {}
        del first
    if model.model.language_model.config._attn_implementation == BRANCHES and len(batch.ids) == 1:
        more["branches"] = subtrees(batch.last[0].tolist())
    done = model.model.language_model(
        inputs_embeds=embedded, attention_mask=batch.mask, position_ids=batch.position_ids, use_cache=False, **more
    )
    hidden: Tensor = done.last_hidden_state
    return hidden


def _levels(features: Sequence[Tensor], width: int) -> list[Tensor]:
    """(tokens, width) of all pictures in a row for each level that they have."""
    return [torch.cat([f[:, at : at + width] for f in features]) for at in range(0, features[0].shape[-1], width)]


def answer_logits(model: Any, batch: Batch, hidden: Tensor) -> Tensor:
    """(P, T) outputs at the places that decide, for the tokens that can be decided: what `tree_log_probs` takes.

    A plain head multiplies only the rows of these tokens; the full vocabulary would be 152,064 wide.
    """
    deciding = hidden.flatten(0, 1)[batch.at]
    head: Any = model.lm_head
    if type(head) is torch.nn.Linear:
        return F.linear(deciding, head.weight[batch.tokens])
    logits: Tensor = head(deciding)[:, batch.tokens]
    return logits


@dataclass(frozen=True)
class QwenVLJudge:
    """A Judge of one of `families.FAMILIES`. `model` is the stock model of transformers, with LoRA layers or without.

    `facts` go into `info`; `folder` and `adapter` are where its files were read; `original` is the tokenizer before the
    vocabulary was trimmed, if it was. Build it with `load`, or from a model in training.
    """

    model: Any
    tokenizer: Any
    processor: Any
    view: PromptBudget
    facts: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    adapter: Path | None = None
    max_tokens: int = MAX_TOKENS
    original: Any = None

    @classmethod
    def load(
        cls, where: str | Path, *, device: str = "auto", dtype: str = "auto", adapter: Path | None = None
    ) -> QwenVLJudge:
        """Load a model directory or hub id, and on top of it a peft adapter. Raises ModelError and SetupError.

        `device` is auto, cpu, cuda or mps; `dtype` is auto, float32, bfloat16 or float16.
        """
        from toeline.judge.checkpoint import load_parts

        return cls(**load_parts(str(where), device=device, dtype=dtype, adapter=adapter))

    @cached_property
    def alphabet(self) -> Alphabet:
        """The tokenizer as the layout needs it; a trimmed judge's raises ModelError for what it cannot read."""
        vision, system = self.model.config.vision_config, FAMILIES[self.model.config.model_type].system
        check = check_of(self.tokenizer, self.original) if self.original is not None else None
        sizes = {"patch": vision.patch_size, "merge": vision.spatial_merge_size}
        return alphabet_of(self.tokenizer, **sizes, system=system, check=check)

    def read(self, texts: Iterable[str]) -> None:
        """Raise ModelError for a text that a trimmed judge cannot read as it is written; a whole one reads all."""
        if self.original is not None:
            for text in texts:
                self.alphabet.encode(text)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        found: torch.device = self.model.lm_head.weight.device
        return found

    @property
    def quantized(self) -> str:
        """In what the linear layers are held: int8 (W8A8), NF4 and others; empty for whole precision."""
        found = getattr(self.model.config, "quantization_config", None)
        return called(found if isinstance(found, dict) or not found else found.to_dict())

    @cached_property
    def info(self) -> dict[str, Any]:
        """What a result depends on, for run.json: hashes of weights and adapter, attention, dtype, device, versions."""
        import PIL
        import transformers

        from toeline.weights import hashes

        return {
            "back_end": "qwen_vl",
            **self.facts,
            "weights": hashes(self.folder) if self.folder else {},
            "adapter": hashes(self.adapter) if self.adapter else {},
            "attention": self.model.config.get_text_config()._attn_implementation,
            "dtype": str(self.model.lm_head.weight.dtype).removeprefix("torch."),
            "device": str(self.device),
            **({"quantized": self.quantized} if self.quantized else {}),
            "max_tokens": self.max_tokens,
            "versions": {
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "pillow": PIL.__version__,
                "numpy": np.__version__,
            },
        }

    def features(self, sheet: QuestionSheet) -> list[Tensor]:
        """The vision tower's output for every picture of the sheet, in the order of `layout.pictures`, in one go."""
        shown = pictures(sheet)
        if not shown:
            return []
        pixels, grids = patches(shown, self.processor)
        return image_features(self.model, pixels.to(self.device), grids.to(self.device))

    def score(self, sheet: QuestionSheet) -> list[dict[str, float]]:
        """Log-probability of every answer, question by question in the sheet's order; each question's sum to 1.

        Raises ValueError when a picture's sides are not multiples of the view's cell or two answers spell alike, and
        ModelError when the model's outputs are not numbers.
        """
        layouts = lay_out(sheet, self.alphabet, max_tokens=self.max_tokens)
        if not layouts:
            return []
        with torch.inference_mode():
            features = self.features(sheet)
            scored = [row for one in layouts for row in self._run(collate([one]), [features[i] for i in one.pictures])]
        if not all(row.isfinite().all() for row in scored):
            raise ModelError(
                f"{sheet.photo}: the judge's outputs are not numbers in {self.model.dtype}. If that is float16, "
                f"they overflowed: use a device with bfloat16, or the CPU. If not, its weights are damaged."
            )
        return [
            dict(zip(question.answers, row.tolist(), strict=True))
            for question, row in zip(sheet.questions, scored, strict=True)
        ]

    def _run(self, batch: Batch, features: Sequence[Tensor]) -> list[Tensor]:
        batch = batch.to(self.device)
        hidden = hidden_states(self.model, batch, features)
        return tree_log_probs(batch, answer_logits(self.model, batch, hidden))
