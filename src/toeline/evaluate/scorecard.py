"""Everything that is said of one judge on one split: figures with intervals, and who is taken for whom.

Values are scikit-learn's; intervals come from tables of counts, all draws at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError
from toeline.evaluate.cases import Judged
from toeline.evaluate.figure import FINE_TUNED_TARGETS, Figure, figure_from, figure_record, ratio, with_target
from toeline.evaluate.resample import DRAWS, Array, Resampling, divided
from toeline.evaluate.shares import Coded, Codes, Share, most_common, most_common_side, shares

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

    figures: tuple[Figure, ...]
    confusion: Confusion
    objects: int
    photographs: int
    asked: int
    unreadable: int
    cluster: Cluster
    clusters: int
    draws: int
    seed: int

    def __getitem__(self, key: str) -> Figure:
        """The figure of that key. Raises KeyError."""
        for figure in self.figures:
            if figure.key == key:
                return figure
        raise KeyError(key)

    @property
    def headline(self) -> Figure:
        """The condition, given the type, over the types that leave a choice."""
        return self[HEADLINE]

    def under(self, prefix: str) -> tuple[Figure, ...]:
        """The figures of one kind: `class`, `condition`, `condition_given_type` or `type`."""
        return tuple(f for f in self.figures if f.key.startswith(f"{prefix}/"))


def score(
    cases: Sequence[Judged],
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
    train split, for the floor of a look-up that was made there. Raises OutputError for classes of another taxonomy.
    """
    coded = Coded(cases, taxonomy)
    labels = [case.photo if cluster == "photo" else case.flight for case in cases]
    work = _Work(coded, Resampling.of(labels, draws=draws, seed=seed), train)
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
        clusters=work.resampling.clusters,
        draws=draws,
        seed=seed,
    )


@dataclass(frozen=True)
class _Work:
    """What all figures of one card share: codes, draws, and both look-ups here and from the train split."""

    coded: Coded
    resampling: Resampling
    train: Sequence[tuple[str, str]]

    def share(self, share: Share) -> Figure:
        """A share with Wilson's and the bootstrap's interval."""
        hits, among = share.hits(self.coded.said) & share.among, share.among
        measured = ratio(
            share.key,
            share.label,
            hits,
            among,
            self.resampling,
            lower_is_better=share.lower_is_better,
        )

        def without_pixels(said: Codes) -> float | None:
            return float(share.hits(said)[among].mean()) if among.any() else None

        floor, train_floor = self._floors(without_pixels, most_common_side if share.sides else most_common)
        return replace(measured, floor=floor, train_floor=train_floor)

    def mean(self, key: str, label: str, value: Callable[[Coded, Codes], float]) -> Figure:
        """A mean over classes: no numerator, so the bootstrap alone."""
        n = len(self.coded.cases)
        floor, train_floor = self._floors(lambda said: value(self.coded, said) if n else None, most_common)
        clustered = self.resampling.interval(table_columns(self.coded, self.coded.said), _STATISTICS[key])
        return Figure(
            key=key,
            label=label,
            value=value(self.coded, self.coded.said),
            n=n,
            count=None,
            interval=clustered,
            clustered=clustered,
            floor=floor,
            train_floor=train_floor,
        )

    def _floors(
        self,
        value: Callable[[Codes], float | None],
        lookup: Callable[[Sequence[tuple[str, str]], Taxonomy], dict[str, str]],
    ) -> tuple[float | None, float | None]:
        words = self.coded.taxonomy
        here = [(case.kind, case.true_class) for case in self.coded.cases]
        floors = [value(self.coded.looked_up(lookup(pairs, words))) if pairs else None for pairs in (here, self.train)]
        return floors[0], floors[1]


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
    return {**asdict(card), "version": VERSION, "figures": [figure_record(f) for f in card.figures]}


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
        return Scorecard(**{**rest, "confusion": confusion, "figures": tuple(map(figure_from, rest["figures"]))})
    except (KeyError, TypeError, ValueError) as why:
        raise OutputError(
            f"scorecard.json: {why!r} is missing or of the wrong form. Run toeline evaluate again."
        ) from None
