"""How far a merged judge in bfloat16 is from the same judge with its adapter: what `toeline merge` may tolerate.

    pip install -e '.[adapter]'
    python benchmarks/merge_drift.py [--check 4] [--sizes 0.03 0.1 0.3] [--seeds 2]

Adapters of rank 16 on q, k, v and o with random numbers, so large that each changes its layer by a share of the norm
that this has (LoRA changes a layer by some per cent), on the embedded judge rounded to bfloat16, as a 7B comes. Prints,
for each, how far the adapter moves log-probabilities at all, and how far merging does: computed in float32, as on a
CPU, and in bfloat16, as on a card. docs/quantize.md says what the tolerance (pipelines/trim.py) is.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import peft
import torch

from toeline.core.taxonomy import Taxonomy
from toeline.judge.checkpoint import load_model
from toeline.judge.load import EMBEDDED
from toeline.judge.merge import merge
from toeline.judge.qwen_vl import QwenVLJudge
from toeline.pipelines.plan import drawn
from toeline.prompts.build import ask
from toeline.prompts.relations import around
from toeline.weights import copy_small, quiet, rewrite_weights

Scores = list[dict[str, float]]
LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj"]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--check", type=int, default=4, help="drawn photographs")
    options.add_argument("--sizes", type=float, nargs="+", default=[0.03, 0.1, 0.3], help="shares of a layer's norm")
    options.add_argument("--seeds", type=int, default=2)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as work:
        base = in_bfloat16(Path(work) / "base")
        plain = scores(base, None, "float32", given.check)
        for size in given.sizes:
            for seed in range(given.seeds):
                row = measured(base, plain, Path(work) / f"{size}-{seed}", size, seed, given.check)
                print(json.dumps(row), flush=True)


def in_bfloat16(folder: Path) -> Path:
    """The embedded judge, its weights rounded."""
    folder.mkdir()
    copy_small(EMBEDDED, folder)
    rewrite_weights(EMBEDDED, folder, lambda _, weight: weight.to(torch.bfloat16))
    return folder


def measured(base: Path, plain: Scores, work: Path, size: float, seed: int, check: int) -> dict[str, Any]:
    """The largest changes of a log-probability for one adapter."""
    adapter, out = write_adapter(base, work / "adapter", size, seed), work / "merged"
    out.mkdir()
    merge(base, adapter, out, dtype="bfloat16")
    exact = scores(base, adapter, "float32", check)
    row: dict[str, Any] = {"size": size, "seed": seed, "adapter": drift(plain, exact)}
    row["merged, float32"] = drift(exact, scores(out, None, "float32", check))
    half = scores(base, adapter, "bfloat16", check)
    return {**row, "merged, bfloat16": drift(half, scores(out, None, "bfloat16", check))}


def write_adapter(base: Path, folder: Path, size: float, seed: int) -> Path:
    drawn_numbers = torch.Generator().manual_seed(seed)
    with quiet(), torch.no_grad():
        model = load_model(base, dtype=torch.float32)
        wrapped = peft.get_peft_model(model, peft.LoraConfig(r=16, lora_alpha=32, target_modules=LAYERS))
        for layer in wrapped.modules():
            if hasattr(layer, "lora_B"):
                a, b = (getattr(layer, name)["default"].weight for name in ("lora_A", "lora_B"))
                for part in (a, b):
                    part.copy_(torch.randn(part.shape, generator=drawn_numbers))
                change = (b @ a).norm() * 2  # alpha over rank
                b.mul_(size * layer.base_layer.weight.norm() / change)  # type: ignore[operator,union-attr]
        wrapped.save_pretrained(folder)
    return folder


def scores(folder: Path, adapter: Path | None, dtype: str, check: int) -> Scores:
    judge, taxonomy = QwenVLJudge.load(folder, device="cpu", dtype=dtype, adapter=adapter), Taxonomy.load()
    found: Scores = []
    for scene, image in map(drawn, range(1, check + 1)):
        relations = {t.id: around(scene, t.id) for t in scene.instances}
        found += judge.score(ask(scene, image, relations, taxonomy, judge.view))
    return found


def drift(one: Sequence[dict[str, float]], two: Sequence[dict[str, float]]) -> float:
    return round(max(abs(a[name] - b[name]) for a, b in zip(one, two, strict=True) for name in a), 4)


if __name__ == "__main__":
    main()
