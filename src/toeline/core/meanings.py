"""What a list of names means in the words of a taxonomy: types only, or types in a condition. Names come from files."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from toeline.core.taxonomy import ObjectClass, Taxonomy, fold
from toeline.errors import TaxonomyError

Names = Mapping[int, str]


@dataclass(frozen=True)
class Meanings:
    """Class id -> type name, and class id -> class. `classes` is empty when the names are those of types only."""

    kinds: Mapping[int, str]
    classes: Mapping[int, ObjectClass]


def meanings(names: Names, taxonomy: Taxonomy) -> Meanings:
    """What the ids mean; ids whose name the taxonomy does not hold are left out.

    In many vocabularies a type is spelled like its normal class, so single names do not tell. "toe drain, rock toe" are
    types and say nothing of conditions; as soon as one name is more than a type ("toe drain damaged"), all are classes.
    """
    kinds: dict[int, str] = {}
    classes: dict[int, ObjectClass] = {}
    for i, name in names.items():
        with suppress(TaxonomyError):
            kinds[i] = taxonomy.type_of(name).name
            classes[i] = taxonomy.class_of(name)
    type_names = {fold(word) for t in taxonomy.types for word in (t.name, t.spoken)}
    open_question = any(len(taxonomy.answers(kind)) > 1 for kind in kinds.values())
    types_only = open_question and all(fold(names[i]) in type_names for i in kinds)
    return Meanings(kinds, {} if types_only else classes)
