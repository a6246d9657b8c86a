"""Types, conditions, class names and every spelling of them. Nobody else compares label strings."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from toeline.core.reading import read_toml
from toeline.core.severity import NO_GRADING, Grading, Legal, faults, grading_from, tables, text, texts
from toeline.core.words import unknown
from toeline.errors import TaxonomyError

DEFAULT_COLOR = "#3b78c9"  # of a condition whose file gives none
FORM = "A taxonomy has [[types]] (name, spoken), [[conditions]] (name, color) and [[classes]] (name, type, condition)"
DEFAULT_FILE = Path(__file__).with_name("default_taxonomy.toml")


@dataclass(frozen=True)
class ObjectType:
    """A type of object that a detector finds: `name` in files, `spoken` in prompts and reports."""

    name: str
    spoken: str


@dataclass(frozen=True)
class Condition:
    """A state an object can be in, with the color (#rrggbb) that pictures and tables give it."""

    name: str
    color: str


@dataclass(frozen=True)
class ObjectClass:
    """A type in a condition, under the name that the labels and the answers use; `meaning` says in words what it is."""

    name: str
    type: str
    condition: str
    spellings: tuple[str, ...] = ()
    meaning: str = ""


def fold(label: str) -> str:
    """Case, spaces, hyphens and underscores made alike, so that spellings of one name compare equal.

    >>> fold("Toe drain- Blocked") == fold("toe_drain_blocked")
    True
    """
    return " ".join(label.replace("-", " ").replace("_", " ").lower().split())


@dataclass(frozen=True)
class Taxonomy:
    """The vocabulary of one owner. The position of a class in `classes` is its id in label files.

    Raises TaxonomyError when it contradicts itself: unknown types or conditions, one name for two classes or two types,
    a class spelled like a type that it does not have, a type without classes, a color that is none, a grading (how bad
    a class is, core/severity.py) that does not fit the classes.
    """

    name: str
    types: tuple[ObjectType, ...]
    conditions: tuple[Condition, ...]
    classes: tuple[ObjectClass, ...]
    source: str = field(default="", compare=False)
    grading: Grading = NO_GRADING

    def __post_init__(self) -> None:
        self._require_unique("type", [t.name for t in self.types])
        self._require_unique("spoken type", [s for t in self.types for s in {fold(t.name), fold(t.spoken)}])
        self._require_unique("condition", [c.name for c in self.conditions])
        self._require_unique("class", [s for c in self.classes for s in {fold(c.name), *map(fold, c.spellings)}])
        self._require_unique("type and condition", [f"{c.type} {c.condition}" for c in self.classes])
        for condition in self.conditions:
            fine = re.fullmatch("#[0-9a-fA-F]{6}", condition.color) is not None
            self._require(fine, f"the color {condition.color!r} of {condition.name!r} is not of the form #rrggbb")
        for c in self.classes:
            self._require_class(c)
        empty = {t.name for t in self.types} - {c.type for c in self.classes}
        self._require(not empty, f"no class has the type {', '.join(sorted(empty))}")
        self._require(len(self.classes) > 0, "there are no [[classes]]")
        legal = {t.name: tuple(c.condition for c in self.classes if c.type == t.name) for t in self.types}
        for fault in faults(self.grading, Legal(self.answers(), legal)):
            self._require(False, fault)

    def _require_class(self, c: ObjectClass) -> None:
        types, conditions = {t.name for t in self.types}, {c.name for c in self.conditions}
        self._require(c.type in types, f"class {c.name!r} has type {c.type!r}, which is not under [[types]]")
        known = c.condition in conditions
        self._require(known, f"class {c.name!r} has condition {c.condition!r}, which is not under [[conditions]]")
        for spelling in (c.name, *c.spellings):
            meant = self._type_by_spelling.get(fold(spelling))
            clear = meant is None or meant.name == c.type
            self._require(clear, f"class {c.name!r} of type {c.type!r} is spelled like another type, {spelling!r}")

    def _require(self, fine: bool, what: str) -> None:
        if not fine:
            raise TaxonomyError(f"{self.source or self.name}: {what}. Fix the taxonomy file.")

    def _require_unique(self, what: str, names: list[str]) -> None:
        blank = next((n for n in names if not fold(n)), None)
        self._require(blank is None, f"a {what} is called {blank!r}, which has no letter")
        twice = sorted({n for n in names if names.count(n) > 1})
        self._require(not twice, f"the same {what} stands there more than once: {', '.join(twice)}")

    @classmethod
    def load(cls, path: Path | None = None) -> Taxonomy:
        """Read a taxonomy file; without `path`, the nine classes that Toeline ships. Raises TaxonomyError."""
        if path is None:
            return _default()
        advice = f"A taxonomy is a TOML file such as {DEFAULT_FILE.name}."
        return cls._from_raw(read_toml(path, TaxonomyError, advice=advice), str(path))

    @classmethod
    def _from_raw(cls, raw: Mapping[str, Any], source: str) -> Taxonomy:
        try:
            if missing := [key for key in ("types", "conditions", "classes") if key not in raw]:
                raise ValueError(f"{missing[0]!r} is missing. {FORM}")
            return cls(
                name=str(raw.get("name", source)),
                types=tuple(
                    ObjectType(name := text(t, "name", where), text(t, "spoken", where, name.replace("_", " ")))
                    for where, t in tables(raw, "types")
                ),
                conditions=tuple(
                    Condition(text(c, "name", where), text(c, "color", where, DEFAULT_COLOR))
                    for where, c in tables(raw, "conditions")
                ),
                classes=tuple(_class(c, where) for where, c in tables(raw, "classes")),
                source=source,
                grading=grading_from(raw),
            )
        except ValueError as why:
            raise TaxonomyError(f"{source}: {why}. Fix the taxonomy file.") from None

    @cached_property
    def _by_spelling(self) -> dict[str, ObjectClass]:
        return {s: c for c in self.classes for s in {fold(c.name), *map(fold, c.spellings)}}

    @cached_property
    def _type_by_spelling(self) -> dict[str, ObjectType]:
        return {s: t for t in self.types for s in {fold(t.name), fold(t.spoken)}}

    def class_of(self, label: str) -> ObjectClass:
        """The class of that spelling. Raises TaxonomyError naming the known ones.

        >>> Taxonomy.load().class_of("TOE_DRAIN blocked").name
        'Toe drain- Blocked'
        """
        try:
            return self._by_spelling[fold(label)]
        except KeyError:
            raise TaxonomyError(unknown("unknown class", label, self.answers())) from None

    def type_of(self, label: str) -> ObjectType:
        """The type of that name, spoken or written; a class name gives its type. Raises TaxonomyError.

        >>> Taxonomy.load().type_of("Rock Toe").name, Taxonomy.load().type_of("slope drain damaged").name
        ('rock_toe', 'slope_drain')
        """
        found = self._type_by_spelling.get(fold(label))
        if found is None:
            found = self._type_by_spelling[fold(self.class_of(label).type)]
        return found

    def spoken(self, kind: str) -> str:
        """How a type is called in prompts and reports."""
        return self.type_of(kind).spoken

    def answers(self, kind: str | None = None) -> tuple[str, ...]:
        """Class names that are legal for a type, in id order; all of them without `kind`.

        >>> Taxonomy.load().answers("rock_toe")
        ('rock toe', 'rock toe damaged')
        """
        return tuple(c.name for c in self.classes if kind is None or c.type == kind)

    def class_id(self, name: str) -> int:
        """Position of a class in label files."""
        return self.classes.index(self.class_of(name))

    def color(self, condition: str) -> str:
        """The color (#rrggbb) of a condition. Raises TaxonomyError."""
        for c in self.conditions:
            if c.name == condition:
                return c.color
        raise TaxonomyError(unknown("unknown condition", condition, [c.name for c in self.conditions]))


def _class(table: Mapping[str, Any], where: str) -> ObjectClass:
    name, kind, condition = (text(table, key, where) for key in ("name", "type", "condition"))
    return ObjectClass(name, kind, condition, texts(table, "spellings", where), text(table, "meaning", where, ""))


@cache
def _default() -> Taxonomy:
    return Taxonomy._from_raw(tomllib.loads(DEFAULT_FILE.read_text(encoding="utf-8")), DEFAULT_FILE.name)


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
