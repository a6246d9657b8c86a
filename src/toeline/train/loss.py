"""What the judge's training minimizes: the answers over the tree, and what covers each image token of the crops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from toeline.core.question import View
from toeline.train.pool import Pool
from toeline.train.rows import Row, row

if TYPE_CHECKING:
    from torch import Tensor

BACKGROUND = 0.3  # weight of a token without an object in the dense loss
NO_TOKENS = np.zeros((0, 0), np.float32)  # of a batch that shows no crop


@dataclass(frozen=True)
class Collate:
    """Rows to what `judge_loss` takes. Photographs without a question are left out.

    `weights` says how much an answer of a type counts in the loss; 1 for a type that it does not name.
    """

    judge: Any
    weights: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        import torch

        from toeline.judge.batch import collate
        from toeline.judge.layout import lay_out, pictures
        from toeline.judge.qwen_vl import patches

        rows = [r for r in rows if r.sheet.questions]
        layouts = [lay_out(r.sheet, self.judge.alphabet, max_tokens=1 << 30)[0] for r in rows]
        pixels, _ = patches([p for r in rows for p in pictures(r.sheet)], self.judge.processor)
        shown = [(r.sheet.picture is not None, [t.reshape(-1, t.shape[-1]) for t in r.tokens]) for r in rows]
        crops = [is_crop for has, tokens in shown for is_crop in [*([False] if has else []), *(True for _ in tokens)]]
        return {
            "batch": collate(layouts),
            "pixels": pixels,
            "answers": [a for r in rows for a in r.answers],
            "weights": [self.weights.get(kind, 1.0) for r in rows for kind in r.kinds],
            "crops": crops,
            "tokens": torch.from_numpy(
                np.concatenate(flat) if (flat := [t for _, ts in shown for t in ts]) else NO_TOKENS
            ),
        }


def dense_loss(model: Any, inputs: Mapping[str, Any], features: Sequence[Tensor]) -> Tensor:
    """Cross-entropy of what covers each token of the crops. Most tokens are background, which counts for less."""
    import torch
    from torch.nn import functional as F

    crops = [f for f, is_crop in zip(features, inputs["crops"], strict=True) if is_crop]
    if not crops:
        return torch.zeros((), device=features[0].device)
    seen = torch.cat(crops)
    covered = model.token_head(seen).float()
    weights = torch.ones(covered.shape[-1], device=covered.device)
    weights[0] = BACKGROUND
    return F.cross_entropy(covered, inputs["tokens"].to(covered.device), weight=weights)


def half_precision_pays(device: str) -> bool:
    """Whether products in bfloat16 are faster than in float32; on a CPU without instructions for them they are not."""
    import torch

    return device != "cpu" or bool(torch.cpu._is_avx512_bf16_supported())


def judge_loss(
    model: Any, inputs: dict[str, Any], *, answers: bool = True, token_loss: float = 1.0
) -> tuple[Tensor, list[bool]]:
    """Mean negative log-probability of the true answer over the tree, plus the dense loss on the crops' tokens.

    The answer loss is of the very quantity that inspection reports; without `answers` the language model is not run.
    Products in bfloat16 where that is faster, losses in float32. Returns also which questions were answered right.
    """
    import torch

    from toeline.judge.batch import tree_log_probs
    from toeline.judge.qwen_vl import answer_logits, hidden_states, image_features

    device = next(model.parameters()).device
    batch, pixels = inputs["batch"].to(device), inputs["pixels"].to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half_precision_pays(device.type)):
        features = image_features(model, pixels, batch.grids)
        dense = dense_loss(model, inputs, features)
        if not answers:
            return dense, []
        logits = answer_logits(model, batch, hidden_states(model, batch, features)).float()
    scores = tree_log_probs(batch, logits)
    said = torch.stack([s[a] for s, a in zip(scores, inputs["answers"], strict=True)])
    weights = torch.tensor(inputs["weights"], device=device)
    answer = -(weights * said).sum() / weights.sum()
    right = [int(s.argmax()) == a for s, a in zip(scores, inputs["answers"], strict=True)]
    return answer + token_loss * dense, right


def held_out_dense(judge: Any, pool: Pool, view: View) -> dict[str, float]:
    """The dense loss alone, the mean over a pool's photographs without augmentation."""
    import torch

    rows = (row(pool[i], pool.taxonomy, view) for i in range(len(pool)))
    collate = Collate(judge)
    judge.model.eval()
    with torch.inference_mode():
        losses = [float(judge_loss(judge.model, collate([r]), answers=False)[0]) for r in rows if r.sheet.questions]
    judge.model.train()
    return {"dense": float(np.mean(losses))}


def accuracy(judge: Any, pool: Pool, view: View) -> dict[str, float]:
    """Share of right answers over all questions of a pool, without augmentation, and by object type."""
    return share_right(judge, (row(pool[i], pool.taxonomy, view) for i in range(len(pool))))


def share_right(judge: Any, rows: Iterable[Row], *, at_once: int = 8) -> dict[str, float]:
    """Share of right answers over all questions of some rows, and by what each row calls their kinds."""
    import torch

    collate, right = Collate(judge), []
    kinds: list[str] = []
    judge.model.eval()
    with torch.inference_mode():
        for some in batched((r for r in rows if r.sheet.questions), at_once):
            kinds += [kind for r in some for kind in r.kinds]
            right += judge_loss(judge.model, collate(some), token_loss=0.0)[1]
    judge.model.train()
    shares = {"accuracy": float(np.mean(right))}
    for kind in sorted(set(kinds)):
        shares[kind] = float(np.mean([r for r, k in zip(right, kinds, strict=True) if k == kind]))
    return shares


def batched(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Lists of `size` rows; the last may be shorter. (itertools.batched needs Python 3.12.)"""
    left = iter(rows)
    while some := list(islice(left, size)):
        yield some
