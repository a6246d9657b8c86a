"""Was the fine-tuning worth it? The judge before and after on the validation split, object by object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toeline.cli.evaluate_run import EvaluateRun, Workbench, once
from toeline.cli.show import some
from toeline.core.result import Problem
from toeline.evaluate.compare import Comparison, Difference, Run, compare
from toeline.evaluate.scorecard import HEADLINE, Scorecard, card_record, score
from toeline.train.finetune import release
from toeline.train.lora import LoraRun

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class Worth:
    """Both scorecards on the same objects, and what lies between them."""

    before: Scorecard
    after: Scorecard
    comparison: Comparison
    problems: tuple[Problem, ...] = ()

    @property
    def headline(self) -> Difference:
        """The difference in conditions rightly said, given the type."""
        return self.comparison[HEADLINE]

    @property
    def words(self) -> str:
        """What it came to, with the interval, and a warning when it became worse."""
        return said_of(self.headline, self.comparison.photographs)

    def record(self) -> dict[str, Any]:
        """As run.json holds it."""
        return {
            "words": self.words,
            "before": card_record(self.before),
            "after": card_record(self.after),
            "comparison": self.comparison.record(),
        }


def said_of(d: Difference, photographs: int) -> str:
    """One difference in words."""
    low, high = (100 * end for end in d.interval)
    figures = (
        f"conditions rightly said, given the type: {100 * d.first:.1f} % before, {100 * d.second:.1f} % after, a "
        f"difference of {100 * d.difference:+.1f} points (95 % {low:+.1f} to {high:+.1f}; {d.n} objects on "
        f"{some(photographs, 'photograph')}; {d.gained} gained, {d.lost} lost, McNemar p = {d.p_value:.3g})"
    )
    if low > 0:
        return f"Fine-tuning helped: {figures}."
    if high < 0:
        return f"Fine-tuning made it WORSE: {figures}. Do not use it; keep the judge as it was."
    if d.difference < 0:
        return f"Fine-tuning did not help, and may have made it worse: {figures}. Keep the judge as it was."
    return f"Whether fine-tuning helped is not shown: {figures}."


def worth_of(run: LoraRun, data: Path, out: Path, folder: Path) -> Worth:
    """Evaluate the judge as it was and as it is now on `run.valid`, into out/before and out/after. Raises ToelineError.

    Both are loaded as `toeline evaluate` loads them, the trained one from what was saved. With --qlora both keep their
    4-bit weights, because the others may not fit.
    """
    plain = EvaluateRun(
        data=str(data), split=run.valid, judge=run.judge, taxonomy=_typed(run.taxonomy), device=run.device
    )
    trained = EvaluateRun(**{**vars(plain), "judge" if run.all_weights else "adapter": str(folder)})
    first, problems = _evaluated(run, plain, out / BEFORE)
    second, more = _evaluated(run, trained, out / AFTER)
    taxonomy = Workbench(plain).taxonomy
    return Worth(
        score(first, taxonomy),
        score(second, taxonomy),
        compare(Run(BEFORE, first), Run(AFTER, second), taxonomy),
        tuple(dict.fromkeys([*problems, *more])),
    )


def _typed(path: Path | None) -> str | None:
    return str(path) if path else None


def _evaluated(run: LoraRun, how: EvaluateRun, out: Path) -> tuple[Any, list[Problem]]:
    bench = Workbench(how)
    if run.qlora:
        bench.judge = _in_4_bits(run, how)
    done = once(bench, how, out)
    del bench
    release()
    return done.cases, done.folder.problems()


def _in_4_bits(run: LoraRun, how: EvaluateRun) -> Any:
    """The judge with 4-bit weights, with the adapter or without."""
    from dataclasses import replace

    from toeline.judge.load import add_adapter
    from toeline.train.base import load_judge

    judge = load_judge(run)
    if how.adapter is None:
        return judge
    return replace(judge, model=add_adapter(judge.model, Path(how.adapter)).eval(), adapter=Path(how.adapter))
