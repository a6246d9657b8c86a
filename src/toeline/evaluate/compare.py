"""Two runs on the same objects: differences with intervals, what was gained and lost, which objects flipped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from toeline.core.statistics import Z95, Interval
from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError
from toeline.evaluate.classification import (
    Cluster,
    Coded,
    Codes,
    Share,
    balanced,
    balanced_draws,
    macro_f1,
    macro_f1_draws,
    shares,
    table_columns,
)
from toeline.evaluate.matching import SAME_BOX, Case
from toeline.evaluate.metric import DRAWS, Array, ClusterBootstrap, Flags, caption, hull, share_of

VERSION = 1
LIMITS = Interval(-1.0, 1.0)  # of a difference of two shares
NAMED = 3  # objects that a refusal names


@dataclass(frozen=True)
class Run:
    """What is compared: the judged objects of one run, under the name that the user gave it.

    `data` and `labels` are hashes of the photographs and of the ground truth; empty when they are not known.
    """

    name: str
    cases: tuple[Case, ...]
    data: str = ""
    labels: str = ""


@dataclass(frozen=True)
class Difference:
    """One figure in both runs; `difference` is second minus first, over the same `n` objects.

    `gained` objects became right and `lost` ones wrong; `p_value` is McNemar's exact test of that, which takes objects
    as independent. Both are None for means over classes. Quote `interval`: `clustered` resamples whole photographs (or
    flight lines), and where next to nothing changed Agresti and Min's formula keeps it from pretending to certainty.
    """

    key: str
    label: str
    n: int
    first: float
    second: float
    difference: float
    interval: Interval
    clustered: Interval
    gained: int | None = None
    lost: int | None = None
    p_value: float | None = None
    lower_is_better: bool = False

    @property
    def caption(self) -> str:
        """The label as tables show it."""
        return caption(self.label, lower_is_better=self.lower_is_better)


@dataclass(frozen=True)
class Flip:
    """An object that one run had right and the other wrong; `gained` if the second is the right one."""

    photo: str
    instance_id: str
    true_class: str
    first_said: str
    second_said: str
    first_probability: float
    second_probability: float
    gained: bool


@dataclass(frozen=True)
class Comparison:
    """The second run beside the first. `otherwise` counts objects that both have wrong, with different answers."""

    first: str
    second: str
    objects: int
    photographs: int
    cluster: Cluster
    clusters: int
    draws: int
    seed: int
    differences: tuple[Difference, ...]
    flips: tuple[Flip, ...]
    otherwise: int

    def __getitem__(self, key: str) -> Difference:
        """The difference of the figure of that key. Raises KeyError."""
        for difference in self.differences:
            if difference.key == key:
                return difference
        raise KeyError(key)

    def record(self) -> dict[str, Any]:
        """As JSON; what is not known is null."""
        rows = [{k: _or_null(v) for k, v in asdict(d).items()} for d in self.differences]
        flips = [{"thing_id" if k == "instance_id" else k: v for k, v in asdict(f).items()} for f in self.flips]
        return {"version": VERSION, **asdict(self), "differences": rows, "flips": flips}


def compare_all(
    runs: Sequence[Run], taxonomy: Taxonomy, *, cluster: Cluster = "photo", draws: int = DRAWS, seed: int = 0
) -> tuple[Comparison, ...]:
    """Every other run beside the first. Raises OutputError for fewer than two, and for runs on different objects."""
    if len(runs) < 2:
        raise OutputError("One run alone cannot be compared. Name two or more output folders of toeline evaluate.")
    for other in runs[1:]:
        require_same(runs[0], other)
    return tuple(compare(runs[0], other, taxonomy, cluster=cluster, draws=draws, seed=seed) for other in runs[1:])


def compare(
    first: Run, second: Run, taxonomy: Taxonomy, *, cluster: Cluster = "photo", draws: int = DRAWS, seed: int = 0
) -> Comparison:
    """The second run beside the first, object by object. Raises OutputError for runs on different objects."""
    require_same(first, second)
    by_key = {case.key: case for case in second.cases}
    pairs = [(case, by_key[case.key]) for case in first.cases]
    labels = [a.photo if cluster == "photo" else a.flight for a, _ in pairs]
    both = _Both(
        Coded([a for a, _ in pairs], taxonomy),
        Coded([b for _, b in pairs], taxonomy).said,
        ClusterBootstrap.of(labels, draws=draws, seed=seed),
    )
    return Comparison(
        first=first.name,
        second=second.name,
        objects=len(pairs),
        photographs=len({a.photo for a, _ in pairs}),
        cluster=cluster,
        clusters=both.bootstrap.clusters,
        draws=draws,
        seed=seed,
        differences=tuple(both.differences()),
        flips=tuple(_flip(a, b) for a, b in pairs if a.right != b.right),
        otherwise=sum(not a.right and not b.right and a.said_class != b.said_class for a, b in pairs),
    )


def require_same(first: Run, second: Run) -> None:
    """Raises OutputError, saying what differs, unless both runs are about the same objects with the same truth."""
    differs = list(_differing(first, second))
    if differs:
        raise OutputError(
            f"{first.name} and {second.name} are not on the same objects: {'; '.join(differs)}. Evaluate both on the "
            f"same split with the same labels and the same boxes."
        )


def _differing(first: Run, second: Run) -> Iterator[str]:
    if first.data and second.data and first.data != second.data:
        yield "their photographs differ (data_sha256)"
    if first.labels and second.labels and first.labels != second.labels:
        yield "their labels or class names differ (labels_sha256, taxonomy_sha256)"
    one, two = ({case.key: case for case in run.cases} for run in (first, second))
    for name, keys in ((first.name, one.keys() - two.keys()), (second.name, two.keys() - one.keys())):
        if keys:
            yield f"{len(keys)} only in {name} ({_named(keys)})"
    shared = one.keys() & two.keys()
    other_ground_truth = [key for key in shared if one[key].true_class != two[key].true_class]
    moved = [key for key in shared if one[key].box != two[key].box and one[key].box.iou(two[key].box) < SAME_BOX]
    for what, found in (("another true class", other_ground_truth), ("another box", moved)):
        if found:
            yield f"{len(found)} with {what} ({_named(found)})"


def _named(keys: Any) -> str:
    first = [f"{photo} {instance_id}" for photo, instance_id in sorted(keys)]
    return ", ".join(first[:NAMED]) + (", ..." if len(first) > NAMED else "")


def _flip(a: Case, b: Case) -> Flip:
    said, sure = (a.said_class, b.said_class), (a.probability, b.probability)
    return Flip(a.photo, a.instance_id, a.true_class, *said, *sure, gained=b.right)


@dataclass(frozen=True)
class _Both:
    """Both runs as codes: `coded` has the ground truth and the first run's answers, `second` (n,) the second run's."""

    coded: Coded
    second: Codes
    bootstrap: ClusterBootstrap

    def differences(self) -> Iterator[Difference]:
        """In the order of a scorecard."""
        overall, *rest = (self.share(s) for s in shares(self.coded))
        accuracy, *rest = rest
        yield from (overall, accuracy)
        yield self.mean("balanced_accuracy", "balanced accuracy", balanced, balanced_draws)
        yield self.mean("macro_f1", "macro F1", macro_f1, macro_f1_draws)
        yield from rest

    def share(self, share: Share) -> Difference:
        """A share in both runs, with McNemar's test."""
        first, second = (share.hits(said) & share.among for said in (self.coded.said, self.second))
        n, more, fewer = int(share.among.sum()), int((second & ~first).sum()), int((first & ~second).sum())
        gained, lost = (fewer, more) if share.lower_is_better else (more, fewer)
        interval, clustered = difference_intervals(first, second, share.among, self.bootstrap)
        return Difference(
            key=share.key,
            label=share.label,
            n=n,
            first=_mean(first, n),
            second=_mean(second, n),
            difference=(more - fewer) / n if n else math.nan,
            interval=interval,
            clustered=clustered,
            gained=gained,
            lost=lost,
            p_value=mcnemar(gained, lost),
            lower_is_better=share.lower_is_better,
        )

    def mean(
        self, key: str, label: str, value: Callable[[Coded, Codes], float], draws: Callable[[Array], Array]
    ) -> Difference:
        """A mean over classes in both runs."""
        columns = np.hstack([table_columns(self.coded, said) for said in (self.coded.said, self.second)])
        half = columns.shape[1] // 2
        clustered = self.bootstrap.interval(
            columns, lambda sums: np.asarray(draws(sums[:, half:]) - draws(sums[:, :half])), limits=LIMITS
        )
        first, second = value(self.coded, self.coded.said), value(self.coded, self.second)
        return Difference(key, label, len(self.coded.cases), first, second, second - first, clustered, clustered)


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p-value of McNemar's exact test: the chance of so uneven a split if gains were as likely as losses.

    >>> mcnemar(6, 0), mcnemar(0, 0)
    (0.03125, 1.0)
    """
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def difference_intervals(
    first: Flags, second: Flags, among: Flags, bootstrap: ClusterBootstrap
) -> tuple[Interval, Interval]:
    """95 % intervals of a difference of two shares, all (n,): the one to quote, and the bootstrap's."""
    columns = np.column_stack([second.astype(int) - first.astype(int), among])
    clustered = bootstrap.interval(columns, share_of, among=among, limits=LIMITS)
    formula = paired_interval(int((second & ~first).sum()), int((first & ~second).sum()), int(among.sum()))
    return hull(clustered, formula), clustered


def paired_interval(more: float, fewer: float, n: float) -> Interval:
    """95 % interval of a difference of two shares of the same n objects (Agresti and Min 2005, Statist. Med. 24:729).

    Wald's interval after half an object was added to each of the four cells; objects are taken as independent.

    >>> paired_interval(0, 0, 98)
    Interval(low=-0.019..., high=0.019...)
    """
    if n == 0:
        return LIMITS
    a, b, whole = more + 0.5, fewer + 0.5, n + 2
    middle = (a - b) / whole
    reach = Z95 * math.sqrt(a + b - (a - b) ** 2 / whole) / whole
    return Interval(max(-1.0, middle - reach), min(1.0, middle + reach))


def _mean(flags: Flags, n: int) -> float:
    return float(flags.sum()) / n if n else math.nan


def _or_null(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
