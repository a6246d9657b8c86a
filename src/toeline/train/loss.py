"""What the judge's training minimizes: the answers over the tree, and what covers each image token of the crops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from toeline.core.question import PromptBudget
from toeline.judge.packing import MAX_TOKENS
from toeline.train.datasets import SheetPool
from toeline.train.feature_cache import Store
from toeline.train.samples import TrainingRow, row

if TYPE_CHECKING:
    from torch import Tensor

    from toeline.judge.packing import Layout


BACKGROUND = 0.3  # weight of a token without an object in the dense loss
NO_TOKENS = np.zeros((0, 0), np.float32)  # of a batch that shows no crop


@dataclass(frozen=True)
class Collate:
    """Rows to what `judge_loss` takes. Photographs without a question are left out.

    `weights` says how much an answer of a type counts in the loss; 1 for a type that it does not name.
    """

    judge: Any
    weights: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, rows: Sequence[TrainingRow]) -> dict[str, Any]:
        import torch

        from toeline.judge.packing import collate, lay_out, pictures
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

    from toeline.judge.packing import tree_log_probs
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


def held_out_dense(judge: Any, pool: SheetPool, view: PromptBudget) -> dict[str, float]:
    """The dense loss alone, the mean over a pool's photographs without augmentation."""
    import torch

    rows = (row(pool[i], pool.taxonomy, view) for i in range(len(pool)))
    collate = Collate(judge)
    judge.model.eval()
    with torch.inference_mode():
        losses = [float(judge_loss(judge.model, collate([r]), answers=False)[0]) for r in rows if r.sheet.questions]
    judge.model.train()
    return {"dense": float(np.mean(losses))}


def accuracy(judge: Any, pool: SheetPool, view: PromptBudget) -> dict[str, float]:
    """Share of right answers over all questions of a pool, without augmentation, and by object type."""
    return share_right(judge, (row(pool[i], pool.taxonomy, view) for i in range(len(pool))))


def share_right(judge: Any, rows: Iterable[TrainingRow], *, at_once: int = 8) -> dict[str, float]:
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


def batched(rows: Iterable[TrainingRow], size: int) -> Iterator[list[TrainingRow]]:
    """Lists of `size` rows; the last may be shorter. (itertools.batched needs Python 3.12.)"""
    left = iter(rows)
    while some := list(islice(left, size)):
        yield some


Chunk = dict[str, Any]  # batch, pixels or features, answers, weights: what a model's forward takes in training


@dataclass(frozen=True)
class Packer:
    """Rows to {"chunks": [...], "questions": how many}, for a data loader.

    A photograph is one chunk unless it is longer than `max_tokens`; then its questions are shared out. `weights` says
    how much an object of a class counts in the loss; 1 for a class that it does not name. With a `store`, image
    features are read from it and no pixels are prepared. With `dense`, chunks say what covers each token of a crop.
    """

    judge: Any
    weights: Mapping[str, float] = field(default_factory=dict)
    max_tokens: int = MAX_TOKENS
    store: Store | None = None
    dense: bool = False

    def __call__(self, rows: Sequence[TrainingRow]) -> dict[str, Any]:
        chunks = [chunk for row in rows for chunk in self.chunks(row)]
        return {"chunks": chunks, "questions": sum(len(c["answers"]) for c in chunks)}

    def chunks(self, row: TrainingRow) -> Iterator[Chunk]:
        """One photograph as chunks of its questions, in order."""
        import torch

        from toeline.judge.packing import collate, lay_out

        layouts = lay_out(row.sheet, self.judge.alphabet, max_tokens=self.max_tokens)
        seen = self._seen(row, layouts)
        ends = [0]
        for layout in layouts:
            ends.append(ends[-1] + len(layout.counts))
        for layout, shown, (begin, end) in zip(layouts, seen, pairwise(ends), strict=True):
            asked = zip(row.sheet.questions[begin:end], row.answers[begin:end], strict=True)
            weights = torch.tensor([self.weights.get(q.answers[a], 1.0) for q, a in asked])
            yield {
                "batch": collate([layout]),
                **shown,
                **(_covered(row, layout) if self.dense else {}),
                "answers": list(row.answers[begin:end]),
                "weights": weights,
            }

    def _seen(self, row: TrainingRow, layouts: Sequence[Layout]) -> list[dict[str, Any]]:
        """For each layout its pictures, as pixels or as features."""
        from toeline.judge.packing import pictures
        from toeline.judge.qwen_vl import patches

        shown = pictures(row.sheet)
        if self.store is not None:
            known = self.store.read(shown) if shown else []
            return [{"features": [known[i] for i in layout.pictures]} for layout in layouts]
        parts = [[shown[i] for i in layout.pictures] for layout in layouts]
        return [{"pixels": patches(part, self.judge.processor)[0] if part else None} for part in parts]


def _covered(row: TrainingRow, layout: Layout) -> dict[str, Any]:
    """What covers each token of a layout's crops, as `dense_loss` takes it; a whole photograph has no targets."""
    import torch

    whole = int(row.sheet.picture is not None)
    crops = [i >= whole and bool(row.tokens) for i in layout.pictures]
    tokens = [row.tokens[i - whole] for i, crop in zip(layout.pictures, crops, strict=True) if crop]
    flat = np.concatenate([t.reshape(-1, t.shape[-1]) for t in tokens]) if tokens else NO_TOKENS
    return {"crops": crops, "tokens": torch.from_numpy(flat)}


def answer_scores(model: Any, chunk: Mapping[str, Any]) -> list[Tensor]:
    """Log-probabilities of the answers, one float32 (answers,) tensor per question of a chunk; differentiable."""
    return _scores_and_features(model, chunk)[0]


def _scores_and_features(model: Any, chunk: Mapping[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    from toeline.judge.packing import tree_log_probs
    from toeline.judge.qwen_vl import answer_logits, hidden_states

    batch = chunk["batch"].to(model.lm_head.weight.device)
    features = _features(model, chunk, batch)
    logits = answer_logits(model, batch, hidden_states(model, batch, features))
    return tree_log_probs(batch, logits), features


def _features(model: Any, chunk: Mapping[str, Any], batch: Any) -> list[Tensor]:
    """Stored features, or the vision tower's; a frozen tower keeps nothing for gradients that nobody wants."""
    import torch

    from toeline.judge.qwen_vl import image_features

    if chunk.get("features") is not None:
        return [f.to(batch.ids.device) for f in chunk["features"]]
    if chunk.get("pixels") is None:
        return []
    frozen = not any(w.requires_grad for w in model.model.visual.parameters())
    with torch.no_grad() if frozen else nullcontext():
        return image_features(model, chunk["pixels"].to(batch.ids.device), batch.grids)


def losses(model: Any, chunk: Mapping[str, Any], *, dense: float = 0.0) -> Tensor:
    """(questions,) weighted negative log-probabilities of the true answers, the end token of each included.

    The sum over all questions of a step, divided by their number, is what training minimizes: it does not depend on
    how questions are packed. A `dense` above 0 adds to each question its weight times the chunk's dense loss.
    """
    import torch

    scores, features = _scores_and_features(model, chunk)
    said = torch.stack([s[a] for s, a in zip(scores, chunk["answers"], strict=True)])
    weights: Tensor = chunk["weights"]
    wrong = -(weights.to(said.device) * said)
    return wrong + dense * dense_loss(model, chunk, features) if dense and features else wrong


def learn_packed(model: Any, *, dense: float = 0.0) -> None:
    """Make `losses` the model's forward, so that whoever wraps the model (peft, accelerate, DDP) wraps it too.

    Only the instance is changed, and no weight or name: what is saved is a stock model.
    """

    def forward(**chunk: Any) -> Tensor:
        return losses(model, chunk, dense=dense)

    model.forward = forward


def right_and_loss(model: Any, chunks: Sequence[Chunk]) -> list[tuple[bool, float]]:
    """For each question whether the likeliest answer is the true one, and its unweighted loss. Keeps no gradients."""
    import torch

    found = []
    with torch.inference_mode():
        for chunk in chunks:
            for scores, true in zip(answer_scores(model, chunk), chunk["answers"], strict=True):
                found.append((int(scores.argmax()) == true, -float(scores[true])))
    return found
