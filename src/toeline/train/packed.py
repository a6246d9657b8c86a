"""From rows to the loss: photographs packed as inspection packs them, and the forward that training differentiates.

Nothing is computed here that inspection does not compute: the layout, the features, the hidden states, the outputs at
the places that decide, and the log-probabilities of the answers over their tree are the functions of judge/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from toeline.judge.layout import MAX_TOKENS
from toeline.train.features import Store
from toeline.train.loss import NO_TOKENS, dense_loss
from toeline.train.rows import Row

if TYPE_CHECKING:
    from torch import Tensor

    from toeline.judge.layout import Layout

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

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        chunks = [chunk for row in rows for chunk in self.chunks(row)]
        return {"chunks": chunks, "questions": sum(len(c["answers"]) for c in chunks)}

    def chunks(self, row: Row) -> Iterator[Chunk]:
        """One photograph as chunks of its questions, in order."""
        import torch

        from toeline.judge.batch import collate
        from toeline.judge.layout import lay_out

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

    def _seen(self, row: Row, layouts: Sequence[Layout]) -> list[dict[str, Any]]:
        """For each layout its pictures, as pixels or as features."""
        from toeline.judge.layout import pictures
        from toeline.judge.qwen_vl import patches

        shown = pictures(row.sheet)
        if self.store is not None:
            known = self.store.read(shown) if shown else []
            return [{"features": [known[i] for i in layout.pictures]} for layout in layouts]
        parts = [[shown[i] for i in layout.pictures] for layout in layouts]
        return [{"pixels": patches(part, self.judge.processor)[0] if part else None} for part in parts]


def _covered(row: Row, layout: Layout) -> dict[str, Any]:
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
    from toeline.judge.batch import tree_log_probs
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
