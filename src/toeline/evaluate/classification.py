"""Everything that is said of one judge on one split: figures with intervals, and who is taken for whom.

Values are scikit-learn's; intervals come from tables of counts, all draws at once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError
from toeline.evaluate.matching import Case
from toeline.evaluate.metric import (
    DRAWS,
    FINE_TUNED_TARGETS,
    Array,
    ClusterBootstrap,
    Flags,
    Metric,
    divided,
    metric_from,
    metric_record,
    ratio,
    with_target,
)

VERSION = 1  # of scorecard.json; a reader refuses what it does not know
HEADLINE = "condition_given_type"
UNREADABLE = "(unreadable)"  # the last column of a confusion matrix
Cluster = Literal["photo", "group"]


@dataclass(frozen=True)
class Confusion:
    """Rows are true classes, columns are said ones, both in the taxonomy's order; the last column is UNREADABLE."""

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def said(self) -> tuple[str, ...]:
        """Names of the columns."""
        return (*self.names, UNREADABLE)


@dataclass(frozen=True)
class Scorecard:
    """All figures of one judge on one set of objects.

    `cluster` is what the bootstrap resampled, `clusters` how many of them there were, `draws` and `seed` how it was
    drawn. `asked` objects were shown to the judge; `unreadable` of its answers were no class name.
    """

    figures: tuple[Metric, ...]
    confusion: Confusion
    objects: int
    photographs: int
    asked: int
    unreadable: int
    cluster: Cluster
    clusters: int
    draws: int
    seed: int

    def __getitem__(self, key: str) -> Metric:
        """The figure of that key. Raises KeyError."""
        for figure in self.figures:
            if figure.key == key:
                return figure
        raise KeyError(key)

    @property
    def headline(self) -> Metric:
        """The condition, given the type, over the types that leave a choice."""
        return self[HEADLINE]

    def under(self, prefix: str) -> tuple[Metric, ...]:
        """The figures of one kind: `class`, `condition`, `condition_given_type` or `type`."""
        return tuple(f for f in self.figures if f.key.startswith(f"{prefix}/"))


def score(
    cases: Sequence[Case],
    taxonomy: Taxonomy,
    *,
    targets: Mapping[str, float] = FINE_TUNED_TARGETS,
    train: Sequence[tuple[str, str]] = (),
    cluster: Cluster = "photo",
    draws: int = DRAWS,
    seed: int = 0,
) -> Scorecard:
    """Every figure of one judge on these objects.

    `targets` maps figure keys to shares that are to be exceeded. `train` holds type and class of each object of the
    train split, for the majority-class baseline fitted there. Raises OutputError for classes of another taxonomy.
    """
    coded = Coded(cases, taxonomy)
    labels = [case.photo if cluster == "photo" else case.flight for case in cases]
    work = _Scoring(coded, ClusterBootstrap.of(labels, draws=draws, seed=seed), train)
    figures = [work.share(s) for s in shares(coded)]
    figures[2:2] = [
        work.mean("balanced_accuracy", "balanced accuracy", balanced),
        work.mean("macro_f1", "macro F1", macro_f1),
    ]
    return Scorecard(
        figures=tuple(with_target(f, targets.get(f.key)) for f in figures),
        confusion=confusion(coded),
        objects=len(cases),
        photographs=len({case.photo for case in cases}),
        asked=sum(case.asked for case in cases),
        unreadable=sum(not case.readable for case in cases),
        cluster=cluster,
        clusters=work.bootstrap.clusters,
        draws=draws,
        seed=seed,
    )


@dataclass(frozen=True)
class _Scoring:
    """What all figures of one card share: codes, draws, and type and class of the train split's objects."""

    coded: Coded
    bootstrap: ClusterBootstrap
    train: Sequence[tuple[str, str]]

    def share(self, share: Share) -> Metric:
        """A share with Wilson's and the bootstrap's interval."""
        hits, among = share.hits(self.coded.said) & share.among, share.among
        measured = ratio(
            share.key,
            share.label,
            hits,
            among,
            self.bootstrap,
            lower_is_better=share.lower_is_better,
        )

        def baseline(said: Codes) -> float | None:
            return float(share.hits(said)[among].mean()) if among.any() else None

        if share.by_truth:
            return measured
        majority_baseline, train_majority_baseline = self._majority_baselines(baseline)
        return replace(measured, majority_baseline=majority_baseline, train_majority_baseline=train_majority_baseline)

    def mean(self, key: str, label: str, value: Callable[[Coded, Codes], float]) -> Metric:
        """A mean over classes: no numerator, so the bootstrap alone."""
        n = len(self.coded.cases)
        majority_baseline, train_majority_baseline = self._majority_baselines(
            lambda said: value(self.coded, said) if n else None
        )
        clustered = self.bootstrap.interval(table_columns(self.coded, self.coded.said), _STATISTICS[key])
        return Metric(
            key=key,
            label=label,
            value=value(self.coded, self.coded.said),
            n=n,
            count=None,
            interval=clustered,
            clustered=clustered,
            majority_baseline=majority_baseline,
            train_majority_baseline=train_majority_baseline,
        )

    def _majority_baselines(self, value: Callable[[Codes], float | None]) -> tuple[float | None, float | None]:
        words = self.coded.taxonomy
        here = [(case.type_name, case.true_class) for case in self.coded.cases]
        majority_baselines = [
            value(self.coded.majority_baselines(most_common(pairs, words))) if pairs else None
            for pairs in (here, self.train)
        ]
        return majority_baselines[0], majority_baselines[1]


def balanced(coded: Coded, said: Codes) -> float:
    """Mean recall of the classes that occur; NaN without objects."""
    from sklearn.metrics import recall_score

    return _macro(recall_score, coded, said)


def macro_f1(coded: Coded, said: Codes) -> float:
    """Mean F1 of the classes that occur; NaN without objects."""
    from sklearn.metrics import f1_score

    return _macro(f1_score, coded, said)


def _macro(metric: Callable[..., float], coded: Coded, said: Codes) -> float:
    if not coded.cases:
        return math.nan
    return float(metric(coded.true, said, labels=np.unique(coded.true), average="macro", zero_division=0))


def confusion(coded: Coded) -> Confusion:
    """Who is taken for whom, as counts."""
    from sklearn.metrics import confusion_matrix

    names = coded.taxonomy.answers()
    counts = np.zeros((len(names) + 1, len(names) + 1), dtype=int)
    if coded.cases:
        counts = confusion_matrix(coded.true, coded.said, labels=range(len(names) + 1))
    return Confusion(names, tuple(tuple(int(v) for v in row) for row in counts[:-1]))


def table_columns(coded: Coded, said: Codes) -> Array:
    """(n, classes * (classes + 1)) one-hot: each object's cell of the confusion matrix."""
    classes = coded.unreadable
    columns = np.zeros((len(said), classes * (classes + 1)))
    columns[np.arange(len(said)), coded.true * (classes + 1) + said] = 1
    return columns


def _tables(sums: Array) -> tuple[Array, Array, Array]:
    """(draws, classes) rightly said, true and said counts, from summed confusion matrices (draws, cells)."""
    classes = int(math.sqrt(sums.shape[1]))  # cells are classes * (classes + 1), between two squares
    tables = sums.reshape(len(sums), classes, classes + 1)
    return np.diagonal(tables[:, :, :-1], axis1=1, axis2=2), tables.sum(axis=2), tables[:, :, :-1].sum(axis=1)


def _mean_where(values: Array, true: Array) -> Array:
    """(draws,) mean over the classes that occur in a draw."""
    present = true > 0
    return divided(np.where(present, values, 0).sum(axis=1), present.sum(axis=1).astype(np.float64))


def balanced_draws(sums: Array) -> Array:
    """(draws,) balanced accuracy of summed confusion matrices."""
    right, true, _ = _tables(sums)
    return _mean_where(divided(right, true), true)


def macro_f1_draws(sums: Array) -> Array:
    """(draws,) macro F1 of summed confusion matrices."""
    right, true, said = _tables(sums)
    return _mean_where(divided(2 * right, true + said), true)


_STATISTICS = {"balanced_accuracy": balanced_draws, "macro_f1": macro_f1_draws}


def card_record(card: Scorecard) -> dict[str, Any]:
    """A scorecard as scorecard.json holds it."""
    return {**asdict(card), "version": VERSION, "figures": [metric_record(f) for f in card.figures]}


def card_from(record: Mapping[str, Any]) -> Scorecard:
    """The scorecard of a record, whatever else the record holds. Raises OutputError for what is not one."""
    if record.get("version") != VERSION:
        raise OutputError(
            f"scorecard.json: is of version {record.get('version')!r}, and this Toeline reads version {VERSION}. Run "
            f"toeline evaluate again."
        )
    try:
        rest = {name: record[name] for name in Scorecard.__dataclass_fields__}
        confusion = Confusion(tuple(rest["confusion"]["names"]), tuple(map(tuple, rest["confusion"]["counts"])))
        return Scorecard(**{**rest, "confusion": confusion, "figures": tuple(map(metric_from, rest["figures"]))})
    except (KeyError, TypeError, ValueError) as why:
        raise OutputError(
            f"scorecard.json: {why!r} is missing or of the wrong form. Run toeline evaluate again."
        ) from None


NORMAL = "normal"  # the condition in which nobody has to act; a taxonomy without one uses its first condition
Codes = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Coded:
    """Cases as numbers: (n,) positions of the true and the said class in the taxonomy; `unreadable` is one past them.

    Raises OutputError for a class that the taxonomy does not hold.
    """

    cases: Sequence[Case]
    taxonomy: Taxonomy

    def __post_init__(self) -> None:
        known = {"", *self.taxonomy.answers()}
        for case in self.cases:
            if {case.true_class, case.said_class} - known or not case.true_class:
                raise OutputError(
                    f"{case.photo}, object {case.instance_id}: {case.true_class!r} was said to be {case.said_class!r}, "
                    f"which are not both classes of {self.taxonomy.name}. Name the taxonomy of the run with --taxonomy."
                )

    @property
    def unreadable(self) -> int:
        """The code of an answer that is no class name."""
        return len(self.taxonomy.classes)

    @cached_property
    def true(self) -> Codes:
        return self.codes(case.true_class for case in self.cases)

    @cached_property
    def said(self) -> Codes:
        return self.codes(case.said_class for case in self.cases)

    def codes(self, names: Iterable[str]) -> Codes:
        """Class names as numbers; an empty name is unreadable."""
        ids = {"": self.unreadable, **{name: i for i, name in enumerate(self.taxonomy.answers())}}
        return np.array([ids[name] for name in names], dtype=np.intp)

    def kind_is(self, kind: str) -> Flags:
        """(n,) whether the true type is `kind`."""
        return np.array([case.type_name == kind for case in self.cases], dtype=bool)

    @cached_property
    def choice(self) -> Flags:
        """(n,) whether the true type leaves a choice."""
        free = {t.name for t in self.taxonomy.types if len(self.taxonomy.answers(t.name)) > 1}
        return np.array([case.type_name in free for case in self.cases], dtype=bool)

    def majority_baselines(self, classes: Mapping[str, str]) -> Codes:
        """(n,) what the class of each type in `classes` says; another type is not answered."""
        return self.codes(classes.get(case.type_name, "") for case in self.cases)


@dataclass(frozen=True)
class Share:
    """One figure: of the objects `among` (n,), those whose answer `hits`, a function of what was said (n,)."""

    key: str
    label: str
    among: Flags
    hits: Callable[[Codes], Flags]
    by_truth: bool = False  # whether all have one true class or condition: a fixed answer is then right on all or none
    lower_is_better: bool = False


def shares(coded: Coded) -> Iterator[Share]:
    """Every share of a scorecard, in the order in which people read them."""
    yield from _overall(coded)
    yield from _sides(coded)
    yield from _by_condition(coded)
    words = coded.taxonomy
    for t in words.types:
        yield Share(f"type/{t.name}", t.spoken, coded.kind_is(t.name), _same(coded))
    for c in words.classes:
        yield Share(f"class/{c.name}", c.name, coded.true == words.class_id(c.name), _same(coded), by_truth=True)


def _same(coded: Coded) -> Callable[[Codes], Flags]:
    return lambda said: said == coded.true


def _overall(coded: Coded) -> Iterator[Share]:
    yield Share("condition_given_type", "condition, given the type", coded.choice, _same(coded))
    yield Share("accuracy", "class, every type", np.ones(len(coded.cases), dtype=bool), _same(coded))


def _sides(coded: Coded) -> Iterator[Share]:
    """Normal or not: an unreadable answer is on neither side, so it is wrong and raises no alarm."""
    side = side_of(coded.taxonomy)
    true = side[coded.true]

    def agrees(said: Codes) -> Flags:
        return np.asarray(side[said] == true)

    def alarms(said: Codes) -> Flags:
        return np.asarray(side[said] == 1)

    every = np.ones(len(coded.cases), dtype=bool)
    yield Share("normal_or_not", "normal or not, every type", every, agrees)
    yield Share("normal_or_not_given_type", "normal or not, given the type", coded.choice, agrees)
    yield Share("missed_defects", "defects missed", true == 1, lambda said: ~alarms(said), lower_is_better=True)
    healthy = coded.choice & (true == 0)
    yield Share("false_alarms", "false alarms", healthy, alarms, lower_is_better=True)


def _by_condition(coded: Coded) -> Iterator[Share]:
    """Each condition over every type; and over types that leave a choice, where that is something else."""
    names = [c.name for c in coded.taxonomy.conditions]
    of = np.array([*(names.index(c.condition) for c in coded.taxonomy.classes), -1])
    for number, name in enumerate(names):
        among = of[coded.true] == number

        def hits(said: Codes, number: int = number) -> Flags:
            return np.asarray(of[said] == number)

        yield Share(f"condition/{name}", name, among, hits, by_truth=True)
        if (among & ~coded.choice).any():
            asked = among & coded.choice
            yield Share(f"condition_given_type/{name}", f"{name}, given the type", asked, hits, by_truth=True)


def normal_condition(taxonomy: Taxonomy) -> str:
    """The condition in which nobody has to act: the one called normal, else the taxonomy's first."""
    names = [c.name for c in taxonomy.conditions]
    return NORMAL if NORMAL in names else names[0]


def side_of(taxonomy: Taxonomy) -> Codes:
    """(classes + 1,) 0 for a class in the normal condition, 1 for another one, -1 for an unreadable answer."""
    normal = normal_condition(taxonomy)
    return np.array([*(int(c.condition != normal) for c in taxonomy.classes), -1], dtype=np.intp)


def most_common(ground_truths: Iterable[tuple[str, str]], taxonomy: Taxonomy) -> dict[str, str]:
    """The most common class of each type, from pairs of type and class: the majority-class baseline.

    Among equals the taxonomy's first.

    >>> most_common([("rock_toe", "rock toe"), ("rock_toe", "rock toe damaged")], Taxonomy.load())
    {'rock_toe': 'rock toe'}
    """
    counts = Counter(ground_truths)
    kinds = [t.name for t in taxonomy.types if any(kind == t.name for kind, _ in counts)]
    return {kind: max(taxonomy.answers(kind), key=lambda name: counts[kind, name]) for kind in kinds}
