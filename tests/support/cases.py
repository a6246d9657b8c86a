"""Judged objects from a few words, for all tests of evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from toeline.core.box import Box
from toeline.core.statistics import Interval
from toeline.core.taxonomy import Taxonomy
from toeline.evaluate.matching import Case
from toeline.evaluate.metric import Metric

TAXONOMY = Taxonomy.load()


def case(
    true: str, said: str, *, photo: str = "a.jpg", instance_id: str = "1", probability: float = 0.9, group: str = ""
) -> Case:
    """One object; an empty `said` is an unreadable answer. The rest of the probability is spread over the others."""
    ground_truth = TAXONOMY.class_of(true)
    legal = TAXONOMY.answers(ground_truth.type)
    others = [name for name in legal if name != said]
    spread = {name: (1 - probability) / max(1, len(others)) for name in others}
    alone = len(legal) == 1
    return Case(
        photo=photo,
        flight_line=group,
        instance_id=instance_id,
        type_name=ground_truth.type,
        box=Box(0, 0, 10, 10),
        true_class=ground_truth.name,
        true_condition=ground_truth.condition,
        said_class=said,
        said_condition=TAXONOMY.class_of(said).condition if said else "",
        probability=1.0 if alone else probability if said else 0.0,
        probabilities={} if not said else {said: 1.0} if alone else {said: probability, **spread},
        asked=not alone,
        readable=bool(said),
    )


def some_cases(
    count: int = 120, *, seed: int = 3, share: float = 0.8, unreadable: float = 0.0, per_photo: int = 5
) -> list[Case]:
    """Objects of all classes; about `share` of the answers are right, `unreadable` of them no class name."""
    rng = np.random.default_rng(seed)
    cases = []
    for i in range(count):
        true = TAXONOMY.classes[rng.integers(len(TAXONOMY.classes))]
        said = true.name if rng.random() < share else str(rng.choice(TAXONOMY.answers(true.type)))
        said = "" if true.type != "vegetation" and rng.random() < unreadable else said
        photo = f"{i // per_photo}.jpg"
        probability = float(rng.uniform(0.55, 0.99))
        cases.append(case(true.name, said, photo=photo, instance_id=str(i), probability=probability, group=photo[:1]))
    return cases


def labels(cases: Sequence[Case]) -> tuple[list[str], list[str]]:
    """True and said class names, as scikit-learn takes them."""
    return [c.true_class for c in cases], [c.said_class for c in cases]


def metric(label: str, value: float, low: float, high: float, n: int, **more: Any) -> Metric:
    """A metric with its interval; `more` are further fields."""
    ends = Interval(low, high)
    return Metric(label, label, value, n, round(value * n) if n else 0, ends, ends, **more)


def better(cases: list[Case], *, share: float = 0.5, seed: int = 1) -> list[Case]:
    """The same objects, with about `share` of the wrong answers mended and a few right ones spoiled."""
    rng = np.random.default_rng(seed)
    made = []
    for c in cases:
        said = c.true_class if rng.random() < share else c.said_class
        said = TAXONOMY.answers(c.type_name)[0] if rng.random() < 0.03 else said
        made.append(
            replace(case(c.true_class, said, photo=c.photo, instance_id=c.instance_id), flight_line=c.flight_line)
        )
    return made
