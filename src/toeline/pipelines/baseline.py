"""`toeline floor` and `toeline fuse`: judges that need no GPU, trained and fitted here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from toeline.core.box import Box
from toeline.core.taxonomy import Taxonomy
from toeline.core.words import some
from toeline.pipelines.progress import errors, out, show_places

if TYPE_CHECKING:
    from toeline.evaluate.matching import Case
    from toeline.evaluate.metric import Metric
    from toeline.judge.ensemble import EnsembleJudge, Scores
    from toeline.train.ensemble import AnsweredCase


SHOWN = ("condition_given_type", "accuracy", "balanced_accuracy", "normal_or_not")
ENSEMBLE = "fused, fitted on other flight lines"
NOWHERE = Box(0, 0, 0, 0)  # these figures ask for no place


class Said(NamedTuple):
    """One object, its true class, and the answer."""

    photo: str
    flight_line: str
    instance_id: str
    right: str
    answer: str


def compared(joined: EnsembleJudge, asked: Sequence[AnsweredCase], taxonomy: Taxonomy) -> dict[str, list[Metric]]:
    """Metrics of both judges, and of their fusion with weights fitted on other flight lines, on the same objects."""
    from toeline.train.ensemble import ensemble_out_of_fold

    by_judge: dict[str, Sequence[Scores]] = {
        joined.names[0]: [x.a for x in asked],
        joined.names[1]: [x.b for x in asked],
    }
    if (unseen := ensemble_out_of_fold(asked)) is not None:
        by_judge[ENSEMBLE] = unseen
    return {
        name: measured(
            (
                Said(x.photo, x.flight_line, x.instance_id, x.right, _best(s))
                for x, s in zip(asked, scores, strict=True)
            ),
            taxonomy,
        )
        for name, scores in by_judge.items()
    }


def _best(scores: Mapping[str, float]) -> str:
    return max(scores, key=scores.__getitem__)


def measured(said: Iterable[Said], taxonomy: Taxonomy) -> list[Metric]:
    """The figures SHOWN, clustered by flight line: photographs of one flight share light, season and site."""
    from toeline.evaluate.classification import score

    card = score([_case(row, taxonomy) for row in said], taxonomy, targets={}, cluster="group")
    return [card[key] for key in SHOWN]


def _case(said: Said, taxonomy: Taxonomy) -> Case:
    from toeline.evaluate.matching import Case

    true, answer = taxonomy.class_of(said.right), taxonomy.class_of(said.answer)
    return Case(
        photo=said.photo,
        flight_line=said.flight_line,
        instance_id=said.instance_id,
        type_name=true.type,
        box=NOWHERE,
        true_class=true.name,
        true_condition=true.condition,
        said_class=answer.name,
        said_condition=answer.condition,
        probability=1.0,
        probabilities={answer.name: 1.0},
    )


def show_ensemble(joined: Any, kept: tuple[int, int], file: str) -> None:
    """Weight and temperatures, whose scores were kept out of fold, and where it is."""
    for name, weight, t, n in zip(
        joined.names, (1 - joined.mix.weight, joined.mix.weight), joined.mix.temperatures, kept, strict=True
    ):
        how = f", {some(n, 'score')} kept from its cross-validation" if n else ""
        out.print(f"{name}: weight {weight:.2f}, temperature {t:.2f}{how}")
    if not all(kept):
        errors.print("[dim]A judge that was trained on these photographs gets too much weight; Toeline cannot know.[/]")
    show_places({"written": file, "next": f"toeline inspect PHOTOS --judge fuse:{file} --out runs/fused"})
