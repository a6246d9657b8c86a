"""Whether a photograph is like those that a model was trained and measured on. Knows rows of numbers only.

How far a photograph is from them: on the principal axes of what the feature network sees, the mean distance to the
nearest ones of training (Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors"), and beside the
axes how far it lies from them (the residual, as Wang et al. 2022, "ViM"). The
limit is a quantile of the distances of photographs that were held out flight line by flight line (split conformal:
Vovk et al. 2005; Bates et al. 2023, "Testing for outliers with conformal p-values"). What else was tried, and what it
did, is in benchmarks/results/domain.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toeline.core.reading import number, numbers, read_bytes, whole, word
from toeline.core.statistics import wilson
from toeline.core.words import cut, some
from toeline.data.photo_measures import FEATURES, PICTURE, Measures, Row
from toeline.errors import ModelError
from toeline.weights import tables_of, write_tables

VERSION, SEVERAL = 1, 2  # of a file of one kind of photographs, and of several
FALSE_ALARMS = 0.05  # share of photographs like those of training that may be beyond the limit
NEIGHBORS = 5
AXES = 16
FOLDS = 5
FEWEST = 20  # photographs: with fewer no quantile leaves 5 % beyond it
MOST_KEPT = 400  # photographs in the file
TOLERATED = 1 / 3  # share of a run beyond the limit; what flight lines held out of training have: benchmarks/domain.py
SURE = 1.645  # a one-sided bound of 95 %
WHAT = {FEATURES: "what it shows", PICTURE: "its sharpness or light"}
TABLES = ("mean", "spread", "axes", "kept")
FEWEST_OF_A_LINE = 8  # photographs, for its share to say something
UNMEASURED = "Not measured on photographs like these: every finding needs a person"

KEY = "toeline_domain"
MOST_BYTES = 4 << 20
AGAIN = "Make it again with the model that it belongs to, or leave --domain out."


class Score(NamedTuple):
    """A share with its 95 % interval, of `n`; `what` says of what it is, as in 80 % "of objects found"."""

    what: str
    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.0%} {self.what} (95 % interval {self.low:.0%} to {self.high:.0%}, n = {self.n:,})"


@dataclass(frozen=True)
class DomainCard:
    """What a model was trained on, in words, what it scored there (the most telling first), and on what that is."""

    trained_on: str
    measured_on: str = ""
    scores: tuple[Score, ...] = ()


class Standing(NamedTuple):
    """How far a photograph is: 1 is the limit. `part` is what is farthest; `kind` numbers what it is nearest to."""

    ratio: float
    part: str
    kind: int = 0

    @property
    def beyond(self) -> bool:
        """Whether it is not like those of training."""
        return self.ratio > 1


@dataclass(frozen=True, eq=False)
class PartModel:
    """One part of the measures: standardized by `mean` and `spread` (F,), turned onto `axes` (F, k).

    `kept` (n, k) are the photographs of training there; distances are given in units of `usual`.
    """

    mean: Row
    spread: Row
    axes: Row
    kept: Row
    usual: float = 1.0

    def __post_init__(self) -> None:
        size, k = len(self.mean), self.axes.shape[-1]
        if self.mean.shape != (size,) or self.spread.shape != (size,) or self.axes.shape != (size, k):
            raise ValueError("its tables do not fit together")
        if self.kept.ndim != 2 or self.kept.shape[1] != k or not len(self.kept):
            raise ValueError("its photographs do not fit its axes")
        if not all(np.isfinite(table).all() for table in (self.mean, self.spread, self.axes, self.kept)):
            raise ValueError("it holds something that is not a number")
        if not ((self.spread > 0).all() and self.usual > 0):
            raise ValueError("measures cannot be standardized")

    @classmethod
    def fit(cls, rows: Row, axes: int = AXES) -> PartModel:
        """Of (n, F) measures of training."""
        mean = rows.mean(0)
        spread = rows.std(0) + 1e-6
        scaled = (rows - mean) / spread
        onto = np.linalg.svd(scaled, full_matrices=False)[2][:axes].T
        kept = scaled @ onto
        return cls(mean, spread, onto, kept[:: math.ceil(len(kept) / MOST_KEPT)])

    def distances(self, rows: Row) -> Row:
        """(m, F) measures to (m,) distances: to the NEIGHBORS nearest in the mean, and from the axes."""
        scaled = (rows - self.mean) / self.spread
        at = scaled @ self.axes
        squares = (at**2).sum(1)[:, None] + (self.kept**2).sum(1) - 2 * at @ self.kept.T
        nearest = np.sort(np.sqrt(np.maximum(squares, 0)), axis=1)[:, :NEIGHBORS].mean(1)
        beside = ((scaled - at @ self.axes.T) ** 2).sum(1)
        return np.asarray(np.sqrt(nearest**2 + beside) / self.usual)


@dataclass(frozen=True, eq=False)
class DomainModel:
    """What photographs of one kind are like. A photograph is beyond `limit` when its farthest part is.

    Of `n` photographs that were held out `false_alarms` (a share) are beyond it. `others` are further kinds that the
    same models were trained on, such as drawn scenes beside a site: each has a limit and scores of its own, and a
    photograph that is like one of them is like these. One limit around all would hold what lies between them too.
    """

    parts: Mapping[str, PartModel]
    limit: float
    card: DomainCard
    n: int
    false_alarms: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[DomainModel, ...] = ()

    @property
    def kinds(self) -> tuple[DomainModel, ...]:
        """This one, and the others."""
        return (self, *self.others)

    def standing(self, measures: Measures) -> Standing:
        """How far one photograph is from the kind it is nearest to. Raises ModelError for one measured otherwise."""
        of = [one._from_this(measures)._replace(kind=n) for n, one in enumerate(self.kinds)]
        return min(of, key=lambda standing: standing.ratio)

    def _from_this(self, measures: Measures) -> Standing:
        far = {}
        for name, part in self.parts.items():
            row = measures.get(name)
            if row is None or row.shape != part.mean.shape:
                raise ModelError(f"the domain file was made with other measures ({name}) than this Toeline. {AGAIN}")
            far[name] = float(part.distances(row[None])[0])
        farthest = max(far, key=far.__getitem__)
        return Standing(round(far[farthest] / self.limit, 4), farthest)


def fit_domain(
    photos: Iterable[Path], groups: Sequence[str], measure: Callable[[Path], Measures], card: DomainCard
) -> DomainModel:
    """The domain of photographs of training; `groups` are their flight lines, `measure` is photo_measures.measures_in.

    Raises ValueError as `fit` does, and what `measure` raises.
    """
    return fit([measure(photo) for photo in photos], groups, card)


def fit(
    measures: Sequence[Measures], groups: Sequence[str], card: DomainCard, of: Sequence[str] = (FEATURES,)
) -> DomainModel:
    """As fit_domain, of measures, by their parts `of`. Features alone are as good as both, and miss less: domain.md.

    Where all are of one flight line they are held out photograph by photograph.

    Raises ValueError for fewer than FEWEST photographs.
    """
    if len(measures) < FEWEST:
        raise ValueError(f"a domain needs {FEWEST} photographs or more, and there are {len(measures)}")
    lines = np.array(list(groups) if len(set(groups)) > 1 else range(len(measures)))
    parts, far = dict[str, PartModel](), list[Row]()
    for name in of:
        rows = np.stack([one[name] for one in measures])
        held = held_out(rows, lines, lambda its: PartModel.fit(its).distances)
        parts[name] = replace(PartModel.fit(rows), usual=quantile(held))
        far.append(held / parts[name].usual)
    farthest = np.max(far, axis=0)
    limit = quantile(farthest)
    by_line = {str(line): farthest[lines == line] > limit for line in dict.fromkeys(lines)}
    return DomainModel(
        parts, limit, card, len(measures), float((farthest > limit).mean()), _line_facts(by_line, set(groups))
    )


def _line_facts(beyond: Mapping[str, Row], lines: Collection[str]) -> dict[str, Any]:
    """How many flight lines there are, and the largest share beyond the limit of one of FEWEST_OF_A_LINE or more."""
    shares = [float(its.mean()) for its in beyond.values() if len(its) >= FEWEST_OF_A_LINE]
    return {"flight_lines": len(lines), "most_of_a_line": max(shares, default=None)}


def held_out(rows: Row, lines: Row, make: Callable[[Row], Callable[[Row], Row]]) -> Row:
    """The distance of each photograph, by what `make` gives of those of other folds; no flight line is in two folds."""
    fold_of, sizes = dict[Any, int](), np.zeros(FOLDS)
    for line, size in sorted(zip(*np.unique(lines, return_counts=True), strict=True), key=lambda pair: -pair[1]):
        fold_of[line] = int(sizes.argmin())
        sizes[fold_of[line]] += size
    folds = np.array([fold_of[line] for line in lines])
    held = np.empty(len(rows))
    for fold in np.unique(folds):
        held[folds == fold] = make(rows[folds != fold])(rows[folds == fold])
    return held


def quantile(values: Row) -> float:
    """The limit that FALSE_ALARMS of new values of the same kind, at most, are beyond."""
    place = math.ceil((len(values) + 1) * (1 - FALSE_ALARMS))
    return float(np.sort(values)[min(place, len(values)) - 1])


class RunStanding(NamedTuple):
    """How many photographs of a run were compared, and how many of them are beyond the limit.

    `kinds` are the kinds of those that are not, the most common first.
    """

    n: int
    beyond: int
    kinds: tuple[int, ...] = (0,)

    @classmethod
    def of(cls, standings: Iterable[Standing]) -> RunStanding:
        """Of the photographs of a run."""
        every = list(standings)
        within = Counter(s.kind for s in every if not s.beyond)
        return cls(len(every), sum(s.beyond for s in every), tuple(kind for kind, _ in within.most_common()))

    @property
    def least(self) -> float:
        """The share beyond the limit, at least, with 95 % certainty."""
        return wilson(self.beyond, self.n, z=SURE).low

    @property
    def unlike(self) -> bool:
        """Whether the run as a whole is not like the photographs of training.

        >>> RunStanding(49, 20).unlike, RunStanding(49, 30).unlike, RunStanding(1, 1).unlike, RunStanding(0, 0).unlike
        (False, True, True, False)
        """
        return self.n > 0 and (self.beyond == self.n or self.least > TOLERATED)

    def said(self, *cards: DomainCard) -> str:
        """In plain words: what a finding of this run is worth. `cards` are those of all kinds.

        >>> RunStanding(2, 2).said(DomainCard("drawn scenes"))
        'Not measured on photographs like these: every finding needs a person. 2 of 2 photographs are unlike those that
        the models were trained on (drawn scenes).'
        """
        if not self.n:
            return ""
        which = f"{self.beyond:,} of {some(self.n, 'photograph')}"
        if self.unlike:
            verb, trained_on = "is" if self.n == 1 else "are", "; ".join(card.trained_on for card in cards)
            return f"{UNMEASURED}. {which} {verb} unlike those that the models were trained on ({trained_on})."
        scored = [cards[kind] for kind in self.kinds if cards[kind].scores]
        told = "; ".join(f"{card.scores[0]} on {card.measured_on}" for card in scored)
        expected = f": {told}" if told else ""
        be = "is" if self.beyond == 1 else "are"
        apart = f" {which} {be} not like them: findings there need a person." if self.beyond else ""
        return f"Measured on photographs like these{expected}.{apart}"


def save_domain(model: DomainModel, file: Path) -> None:
    """Write a domain file, whole or not at all. The same model gives the same bytes."""
    tables = {
        f"{_before(n)}{name}.{table}": getattr(part, table).astype(np.float32)
        for n, kind in enumerate(model.kinds)
        for name, part in kind.parts.items()
        for table in TABLES
    }
    heads = [_head(kind) for kind in model.kinds]
    more = {"version": SEVERAL, "others": heads[1:]} if model.others else {}
    write_tables(file, tables, {**heads[0], **more}, KEY)


def _before(kind: int) -> str:
    """What the names of the tables of a kind begin with; nothing for the first, as files of one kind have it."""
    return f"{kind}/" if kind else ""


def _head(model: DomainModel) -> dict[str, Any]:
    return {
        "version": VERSION,
        "usual": {name: part.usual for name, part in model.parts.items()},
        "limit": model.limit,
        "n": model.n,
        "false_alarms": model.false_alarms,
        "facts": dict(model.facts),
        "card": card_record(model.card),
    }


def load_domain(file: Path) -> DomainModel:
    """Read a domain file. Raises ModelError, saying what to do, for any other file."""
    raw = read_bytes(file, ModelError, advice="This is to be a domain file: check the path.", most=MOST_BYTES)
    head, tables = tables_of(raw, file, KEY, what="domain file", advice=AGAIN)
    if head.get("version") not in (VERSION, SEVERAL):
        raise ModelError(f"{file}: is a domain file of version {head.get('version')}; this is {VERSION}. {AGAIN}")
    heads = [head, *(head["others"] if isinstance(head.get("others"), list) else ())]
    try:
        first, *others = (_kind(one, tables, _before(n)) for n, one in enumerate(heads))
        return replace(first, others=tuple(others))
    except (KeyError, TypeError, ValueError, AttributeError) as why:
        raise ModelError(f"{file}: is damaged ({cut(str(why), 200)}). {AGAIN}") from None


def _kind(head: Mapping[str, Any], tables: Mapping[str, Any], before: str) -> DomainModel:
    usual = numbers(head["usual"], "usual", low=0)
    return DomainModel(
        {name: _part(name, value, tables, before) for name, value in usual.items()},
        number(head["limit"], "limit", low=1e-9),
        card_from(head["card"]),
        whole(head["n"], "n", low=1, high=10**9),
        number(head["false_alarms"], "false_alarms", low=0, high=1),
        dict(head["facts"]),
    )


def _part(name: str, usual: float, tables: Mapping[str, Any], before: str) -> PartModel:
    if name not in WHAT:
        raise ValueError(f"the measures {cut(name)!r} are not known")
    found = {table: tables[f"{before}{name}.{table}"] for table in TABLES}
    if any(table.dtype != np.float32 for table in found.values()):
        raise ValueError("a table is not of float32")
    return PartModel(**{table: values.astype(np.float64) for table, values in found.items()}, usual=usual)


def card_record(card: DomainCard) -> dict[str, Any]:
    """As a domain file and run.json hold it."""
    return {**asdict(card), "scores": [score._asdict() for score in card.scores]}


def card_from(record: Mapping[str, Any]) -> DomainCard:
    """Raises KeyError, TypeError and ValueError for a record that is none."""
    scores = tuple(
        Score(
            word(one["what"], "what"),
            number(one["value"], "value", low=0, high=1),
            number(one["low"], "low", low=0, high=1),
            number(one["high"], "high", low=0, high=1),
            whole(one["n"], "n", low=0, high=10**9),
        )
        for one in record["scores"]
    )
    return DomainCard(word(record["trained_on"], "trained_on"), word(record["measured_on"], "measured_on"), scores)
