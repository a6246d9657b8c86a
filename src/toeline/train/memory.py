"""When memory runs out: how each kind of machine says it, and what to change."""

from __future__ import annotations

from toeline.train.lora import LoraRun


def is_out_of_memory(why: BaseException) -> bool:
    """Whether an error says that memory ran out: CUDA, MPS and the CPU say it each in their own way."""
    said = str(why).lower()
    return isinstance(why, MemoryError) or "out of memory" in said or "can't allocate memory" in said


def advice(run: LoraRun, said: str) -> str:
    """What to change when memory runs out: what is not used yet, the cheapest in accuracy first."""
    ways = []
    if run.checkpointing != "on":
        ways.append("--checkpointing on (activations are computed twice instead of kept)")
    if run.max_tokens > 1024:
        ways.append(f"--max-tokens {max(1024, run.max_tokens // 2)} (shorter sequences, the same loss)")
    if ways:
        ways[-1] += ", both also for a run that goes on" if len(ways) == 2 else ", also for a run that goes on"
    if run.cache_features is None and not run.all_weights:
        ways.append("--cache-features DIR (the vision tower is not loaded: 1.3 GB of a 7B)")
    ways.append("--scene-tokens and --crop-tokens with smaller numbers (the judge sees less detail)")
    if run.all_weights:
        ways.append("LoRA instead of --full or --from-scratch")
    elif not run.qlora:
        ways.append("--qlora (frozen weights in 4 bits: about 5.5 GB instead of 15 for a 7B)")
    first = next(iter(said.splitlines()), "")[:200]
    return f"Memory ran out while training ({first}). Change, in this order: {'; '.join(ways)}."
