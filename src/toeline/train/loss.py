"""What the judge's training minimizes and is measured by: rows to chunks, their losses, which answers were right.

The loss is of the answers over the tree and, if it is asked for, of what covers each image token of the crops.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from toeline.judge.packing import MAX_TOKENS
from toeline.train.feature_cache import FeatureStore
from toeline.train.samples import TrainingRow

if TYPE_CHECKING:
    from torch import Tensor

    from toeline.judge.packing import Layout


BACKGROUND = 0.3  # weight of a token without an object in the dense loss
NO_TOKENS = np.zeros((0, 0), np.float32)  # of a batch that shows no crop


def dense_loss(model: Any, inputs: Mapping[str, Any], features: Sequence[Tensor]) -> Tensor:
    """Cross-entropy of what covers each token of the crops. Most tokens are background, which counts for less."""
    import torch
    from torch.nn import functional as F

    crops = [f for f, is_crop in zip(features, inputs["crops"], strict=True) if is_crop]
    if not crops:
        return torch.zeros((), device=features[0].device)
    seen = torch.cat(crops)[:, : model.token_head.in_features]  # of deeper levels the answers' loss learns
    covered = model.token_head(seen).float()
    weights = torch.ones(covered.shape[-1], device=covered.device)
    weights[0] = BACKGROUND
    return F.cross_entropy(covered, inputs["tokens"].to(covered.device), weight=weights)


def half_precision_pays(device: str) -> bool:
    """Whether products in bfloat16 are faster than in float32; on a CPU without instructions for them they are not."""
    import torch

    return device != "cpu" or bool(torch.cpu._is_avx512_bf16_supported())


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
    store: FeatureStore | None = None
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


def _scores(model: Any, batch: Any, features: Sequence[Tensor]) -> list[Tensor]:
    """Log-probabilities of the answers, one float32 (answers,) tensor per question of a batch; differentiable."""
    from toeline.judge.packing import tree_log_probs
    from toeline.judge.qwen_vl import answer_logits, hidden_states

    return tree_log_probs(batch, answer_logits(model, batch, hidden_states(model, batch, features)))


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


def losses(model: Any, chunk: Mapping[str, Any], *, answers: bool = True, dense: float = 0.0) -> Tensor:
    """(questions,) weighted negative log-probabilities of the true answers, the end token of each included.

    The sum over all questions of a step, divided by their number, is what training minimizes: it does not depend on
    how questions are packed. A `dense` above 0 adds to each question its weight times the chunk's dense loss. Without
    `answers` the language model is not run, and the dense loss is all there is.
    """
    import torch

    batch = chunk["batch"].to(model.lm_head.weight.device)
    features = _features(model, chunk, batch)
    weights: Tensor = chunk["weights"].to(batch.ids.device)
    wrong = torch.zeros_like(weights)
    if answers:
        scores = _scores(model, batch, features)
        wrong = -(weights * torch.stack([s[a] for s, a in zip(scores, chunk["answers"], strict=True)]))
    return wrong + dense * dense_loss(model, chunk, features) if dense and features else wrong


def learn_packed(model: Any, *, answers: bool = True, dense: float = 0.0) -> None:
    """Make `losses` the model's forward, so that whoever wraps the model (peft, accelerate, DDP) wraps it too.

    Only the instance is changed, and no weight or name: what is saved is a stock model.
    """

    def forward(**chunk: Any) -> Tensor:
        return losses(model, chunk, answers=answers, dense=dense)

    model.forward = forward


def right_and_loss(model: Any, chunks: Sequence[Chunk]) -> list[tuple[bool, float]]:
    """For each question whether the likeliest answer is the true one, and its unweighted loss. Keeps no gradients."""
    import torch

    found = []
    with torch.inference_mode():
        for chunk in chunks:
            batch = chunk["batch"].to(model.lm_head.weight.device)
            said = _scores(model, batch, _features(model, chunk, batch))
            for scores, true in zip(said, chunk["answers"], strict=True):
                found.append((int(scores.argmax()) == true, -float(scores[true])))
    return found


class Answered(NamedTuple):
    """One question as it was answered: what its row calls its kind, whether it is right, its unweighted loss."""

    kind: str
    right: bool
    loss: float


def answered(packer: Packer, rows: Iterable[TrainingRow]) -> list[Answered]:
    """Ask the packer's judge all questions of some rows, without gradients; class weights do not count."""
    packer, model = replace(packer, weights={}, dense=False), packer.judge.model
    model.eval()
    return [
        Answered(kind, right, loss)
        for row in rows
        for kind, (right, loss) in zip(row.kinds, right_and_loss(model, list(packer.chunks(row))), strict=True)
    ]


def dense_alone(packer: Packer, rows: Iterable[TrainingRow]) -> float:
    """The dense loss, the mean over some rows, without gradients; `packer` says what covers each token."""
    import torch

    model = packer.judge.model
    model.eval()
    with torch.inference_mode():
        chunks = (chunk for row in rows for chunk in packer.chunks(row))
        found = [float(losses(model, chunk, answers=False, dense=1.0)[0]) for chunk in chunks]
    return sum(found) / len(found)


def headline(found: Sequence[Answered]) -> dict[str, float]:
    """The share of right answers, their mean loss, and how many there are."""
    n = len(found)
    return {"accuracy": sum(a.right for a in found) / n, "loss": sum(a.loss for a in found) / n, "n": n}
