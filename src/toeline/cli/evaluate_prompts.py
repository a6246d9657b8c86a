"""`--prompt all`: one judge asked with every prompt, side by side on the same objects; the best is kept by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from toeline.cli.evaluate_run import Evaluated, EvaluateRun, Workbench, once
from toeline.errors import ModelError
from toeline.evaluate.compare import Comparison, Run, compare
from toeline.evaluate.scorecard import HEADLINE, Cluster, Scorecard
from toeline.report.folder import write_whole

ALL, PROMPTS_FILE = "all", "prompts.json"


@dataclass(frozen=True)
class Asked:
    """One prompt: its scorecard, and its paired difference from the first, None for the first itself."""

    name: str
    card: Scorecard
    seconds: float
    against: Comparison | None


def own_prompt(bench: Workbench, run: EvaluateRun) -> EvaluateRun:
    """The run that the others stand beside: asked with the prompt that the judge was made for."""
    return replace(run, prompt=bench.judge.view.prompt)


def other_prompts(bench: Workbench, first: EvaluateRun, out: Path) -> dict[str, Evaluated]:
    """The same run with every other prompt, each into a folder below."""
    from toeline.ask.prompt import PROMPTS

    names = [name for name in PROMPTS if name != first.prompt]
    return {name: once(bench, replace(first, prompt=name), out / "prompts" / name) for name in names}


def side_by_side(
    bench: Workbench,
    first: tuple[str, Evaluated],
    others: Mapping[str, Evaluated],
    cards: Mapping[str, Scorecard],
    cluster: Cluster,
) -> tuple[Asked, ...]:
    """Every prompt with its card, in the order asked; those of the first objects only are compared with it."""
    name, done = first
    rows = [Asked(name, cards[name], _seconds(done), None)]
    for other, evaluated in others.items():
        both = Run(name, done.cases), Run(other, evaluated.cases)
        rows.append(Asked(other, cards[other], _seconds(evaluated), compare(*both, bench.taxonomy, cluster=cluster)))
    return tuple(rows)


def _seconds(done: Evaluated) -> float:
    """The median over the photographs; 0 where no time is known."""
    known = [float(r["seconds"]) for r in done.folder.done.values() if not r["failed"]]
    return median(known) if known else 0.0


def best_of(rows: tuple[Asked, ...]) -> Asked:
    """The highest headline; among equals the first."""
    return max(rows, key=lambda row: row.card[HEADLINE].value)


def keep_best(rows: tuple[Asked, ...], done: Evaluated, judge: str) -> Path:
    """Write prompts.json beside the results. The best on a split was chosen there, and says so."""
    file = done.folder.path / PROMPTS_FILE
    record: dict[str, Any] = {
        "best": best_of(rows).name,
        "by": HEADLINE,
        "judge": judge,
        "split": done.split.name,
        "note": "Chosen on this split, so its figure there is flattered: measure the chosen prompt on another split.",
        "prompts": {row.name: _record(row) for row in rows},
    }
    write_whole(file, json.dumps(record, indent=2, allow_nan=False) + "\n")
    return file


def _record(row: Asked) -> dict[str, Any]:
    figure = row.card[HEADLINE]
    record: dict[str, Any] = {
        "value": figure.value,
        "interval": list(figure.interval),
        "n": figure.n,
        "accuracy": row.card["accuracy"].value,
        "seconds_per_photograph": round(row.seconds, 4),
    }
    if row.against:
        change = row.against[HEADLINE]
        record["difference"] = {"value": change.difference, "interval": list(change.interval), "p": change.p_value}
    return record


def chosen_prompt(typed: str | None) -> str | None:
    """A prompt's name as typed, or the best one of a prompts.json that is named. Raises ModelError."""
    if typed is None or not typed.endswith(".json"):
        return typed
    try:
        return str(json.loads(Path(typed).read_text(encoding="utf-8"))["best"])
    except (OSError, ValueError, KeyError, TypeError) as why:
        raise ModelError(
            f"{typed}: holds no best prompt ({why!r}). Name a prompts.json of evaluate --prompt all."
        ) from None
