"""Which objects each figure is a share of, and which answers count: the definitions, as a table. numpy only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from toeline.core.taxonomy import Taxonomy
from toeline.errors import OutputError
from toeline.evaluate.cases import Judged
from toeline.evaluate.resample import Flags

NORMAL = "normal"  # the condition in which nobody has to act; a taxonomy without one uses its first condition
Codes = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Coded:
    """Cases as numbers: (n,) positions of the true and the said class in the taxonomy; `unreadable` is one past them.

    Raises OutputError for a class that the taxonomy does not hold.
    """

    cases: Sequence[Judged]
    taxonomy: Taxonomy

    def __post_init__(self) -> None:
        known = {"", *self.taxonomy.answers()}
        for case in self.cases:
            if {case.true_class, case.said_class} - known or not case.true_class:
                raise OutputError(
                    f"{case.photo}, object {case.thing_id}: {case.true_class!r} was said to be {case.said_class!r}, "
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
        return np.array([case.kind == kind for case in self.cases], dtype=bool)

    @cached_property
    def choice(self) -> Flags:
        """(n,) whether the true type leaves a choice."""
        free = {t.name for t in self.taxonomy.types if len(self.taxonomy.answers(t.name)) > 1}
        return np.array([case.kind in free for case in self.cases], dtype=bool)

    def looked_up(self, lookup: Mapping[str, str]) -> Codes:
        """(n,) what a look-up by type says; a type that it does not hold is not answered."""
        return self.codes(lookup.get(case.kind, "") for case in self.cases)


@dataclass(frozen=True)
class Share:
    """One figure: of the objects `among` (n,), those whose answer `hits`, a function of what was said (n,)."""

    key: str
    label: str
    among: Flags
    hits: Callable[[Codes], Flags]
    sides: bool = False  # whether only normal or not is asked, which has a look-up of its own
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
        yield Share(f"class/{c.name}", c.name, coded.true == words.class_id(c.name), _same(coded))


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
    yield Share("normal_or_not", "normal or not, every type", every, agrees, sides=True)
    yield Share("normal_or_not_given_type", "normal or not, given the type", coded.choice, agrees, sides=True)
    yield Share(
        "missed_defects", "defects missed", true == 1, lambda said: ~alarms(said), sides=True, lower_is_better=True
    )
    healthy = coded.choice & (true == 0)
    yield Share("false_alarms", "false alarms", healthy, alarms, sides=True, lower_is_better=True)


def _by_condition(coded: Coded) -> Iterator[Share]:
    """Each condition over every type; and over types that leave a choice, where that is something else."""
    names = [c.name for c in coded.taxonomy.conditions]
    of = np.array([*(names.index(c.condition) for c in coded.taxonomy.classes), -1])
    for number, name in enumerate(names):
        among = of[coded.true] == number

        def hits(said: Codes, number: int = number) -> Flags:
            return np.asarray(of[said] == number)

        yield Share(f"condition/{name}", name, among, hits)
        if (among & ~coded.choice).any():
            yield Share(f"condition_given_type/{name}", f"{name}, given the type", among & coded.choice, hits)


def normal_condition(taxonomy: Taxonomy) -> str:
    """The condition in which nobody has to act: the one called normal, else the taxonomy's first."""
    names = [c.name for c in taxonomy.conditions]
    return NORMAL if NORMAL in names else names[0]


def side_of(taxonomy: Taxonomy) -> Codes:
    """(classes + 1,) 0 for a class in the normal condition, 1 for another one, -1 for an unreadable answer."""
    normal = normal_condition(taxonomy)
    return np.array([*(int(c.condition != normal) for c in taxonomy.classes), -1], dtype=np.intp)


def most_common(truths: Iterable[tuple[str, str]], taxonomy: Taxonomy) -> dict[str, str]:
    """The most common class of each type, from pairs of type and class: what can be said without looking at a pixel.

    Among equals the taxonomy's first.

    >>> most_common([("rock_toe", "rock toe"), ("rock_toe", "rock toe damaged")], Taxonomy.load())
    {'rock_toe': 'rock toe'}
    """
    counts = Counter(truths)
    kinds = [t.name for t in taxonomy.types if any(kind == t.name for kind, _ in counts)]
    return {kind: max(taxonomy.answers(kind), key=lambda name: counts[kind, name]) for kind in kinds}


def most_common_side(truths: Iterable[tuple[str, str]], taxonomy: Taxonomy) -> dict[str, str]:
    """For each type a class on its more common side, normal or not: the look-up for figures that ask no more.

    >>> truths = [("toe_drain", name) for name in ("Toe drain", "Toe drain- Blocked", "Toe drain- Damaged")]
    >>> most_common(truths, Taxonomy.load()), most_common_side(truths, Taxonomy.load())
    ({'toe_drain': 'Toe drain'}, {'toe_drain': 'Toe drain- Blocked'})
    """
    side = side_of(taxonomy)
    first = {(c.type, int(side[i])): c.name for i, c in reversed(list(enumerate(taxonomy.classes)))}
    return most_common(((kind, first[kind, int(side[taxonomy.class_id(name)])]) for kind, name in truths), taxonomy)
