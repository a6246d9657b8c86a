"""What the class names of somebody's detector mean: object types, or types in a condition. Knows no pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from toeline.core.meanings import Names, meanings
from toeline.core.taxonomy import Taxonomy, fold
from toeline.errors import TaxonomyError

# Names that say that there is nothing to report: unused rows of heads (COCO has eleven "N/A"), and the background.
NOTHING = frozenset({"", "n/a", "na", "none", "background", "no object", "nothing", "ignore"})
MOST_SHOWN = 20  # names in a message: a detector of everything has hundreds


class Label(NamedTuple):
    """A type name of the taxonomy; and the class name, empty for a detector that knows types only."""

    kind: str
    class_name: str = ""


def labels_of(names: Names, taxonomy: Taxonomy, *, where: str) -> Mapping[int, Label]:
    """Class id -> what it means; ids whose name says that there is nothing are left out.

    Raises TaxonomyError, which lists all the names, when one of the others is not in the taxonomy: an object left out
    in silence would be an object that nobody inspects. `where` is the file or model that the names come from.

    >>> labels_of({0: "N/A", 1: "Toe Drain", 2: "rock-toe"}, Taxonomy.load(), where="best.pt")
    {1: Label(kind='toe_drain', class_name=''), 2: Label(kind='rock_toe', class_name='')}
    >>> labels_of({0: "rock toe", 1: "rock toe damaged"}, Taxonomy.load(), where="best.pt")[1]
    Label(kind='rock_toe', class_name='rock toe damaged')
    """
    wanted = {i: name for i, name in sorted(names.items()) if fold(name) not in NOTHING}
    said = meanings(wanted, taxonomy)
    odd = [name for i, name in wanted.items() if i not in said.kinds]
    if odd or not wanted:
        raise TaxonomyError(_misfit(list(names.values()), odd, taxonomy, where))
    return {i: Label(kind, said.classes[i].name if i in said.classes else "") for i, kind in said.kinds.items()}


def _misfit(names: list[str], odd: list[str], taxonomy: Taxonomy, where: str) -> str:
    shown = ", ".join(map(repr, names[:MOST_SHOWN])) + (
        f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    )
    few = ", ".join(map(repr, odd[:MOST_SHOWN])) or "none of them names an object"
    types = ", ".join(t.name for t in taxonomy.types)
    return (
        f"{where}: this detector's classes are {shown}; not in the taxonomy {taxonomy.name!r}: {few}. It knows the "
        f"types {types}, and their classes by name. Use a detector of these, add the names as `spellings` to a copy of "
        f"the taxonomy (--taxonomy), or rename in the model a class that is to be left out: 'N/A'."
    )
