"""What the class ids of label files are called: every place where labeling tools write it, and what is wrong with it.

Read are `data.yaml` and any other YAML file with `names:`, `classes.txt` and its kin (a name a line), `obj.data` with
its `obj.names`, Roboflow's `_darknet.labels`, and Label Studio's `notes.json`. Files that disagree are refused: ids
mean nothing then. Where there is none, ids are taken in the taxonomy's order, which is a problem to be told.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from toeline.core import reading
from toeline.core.finding import Problem
from toeline.core.taxonomy import Names, Taxonomy, fold, meanings
from toeline.core.words import cut, meant
from toeline.errors import LabelError

YAML_FIRST = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")  # of several, the first says where things are
YAML = (".yaml", ".yml")
LISTS = ("classes.txt", "_darknet.labels", "predefined_classes.txt", "labels.txt")  # a name a line; *.names too
NOTES = "notes.json"
SETTLE = "Delete the wrong one, or name the right one with --classes FILE."
CORRECT = "Correct it, or name another file with --classes FILE."
ABOVE = 2  # folders above the labels that are looked into


@dataclass(frozen=True)
class ClassNames:
    """Names by id, the files that give them (none: the taxonomy's order is assumed), and what is wrong with them."""

    names: Names
    files: tuple[Path, ...] = ()
    problems: tuple[Problem, ...] = ()


def find_names(
    places: Sequence[Sequence[Path]],
    taxonomy: Taxonomy,
    *,
    classes: Path | None = None,
    named: Path | None = None,
    any_class: bool = False,
) -> ClassNames:
    """The class names that hold for labels, from the first of `places` (folders that belong together) that has any.

    `classes` is the one file that the user says they stand in; `named` is a YAML file that was named as the data set,
    so that no other YAML file counts. A name that the taxonomy does not hold is a problem unless `any_class`. Raises
    LabelError for files that cannot be read or disagree.
    """
    if classes is not None:
        given = _read(classes, must=True)
        assert given is not None, "what must be read is read or refused"
        return _checked([given], taxonomy, any_class=any_class)
    for folders in places:
        files = [named] if named else []
        files += [f for at in dict.fromkeys(folders) for f in _files(at) if not (named and f.suffix.lower() in YAML)]
        if found := [given for file in files if (given := _read(file, must=False))]:
            return _checked(found, taxonomy, any_class=any_class)
    where = next((folder for folders in places for folder in folders), Path())
    return ClassNames(taxonomy_names(taxonomy), (), (_assumed(where, taxonomy),))


def above(folder: Path) -> list[Path]:
    """A folder of labels and those above it in which its class names may stand."""
    return [folder, *list(folder.parents)[:ABOVE]]


def taxonomy_names(taxonomy: Taxonomy) -> Names:
    """Class ids in the taxonomy's order."""
    return dict(enumerate(taxonomy.answers()))


def _assumed(where: Path, taxonomy: Taxonomy) -> Problem:
    order = ", ".join(f"{i} {name!r}" for i, name in list(taxonomy_names(taxonomy).items())[:3])
    what = (
        f"no file says what the class ids are called (data.yaml, classes.txt, obj.names, notes.json), so the "
        f"taxonomy's order is assumed: {order} and so on."
    )
    return Problem("", str(where), what, "Name the file that says it with --classes FILE.")


@dataclass(frozen=True)
class _Given:
    """The names of one file."""

    file: Path
    names: Mapping[int, str]
    problems: tuple[Problem, ...] = ()


def _files(folder: Path) -> list[Path]:
    """The files of one folder that may hold class names; of `*.names`, the one that `obj.data` names."""
    try:
        there = sorted(one.name for one in os.scandir(folder) if not one.name.startswith("."))
    except OSError:
        return []
    small = {name: name.lower() for name in there}
    yamls = [n for n in there if small[n].endswith(YAML)]
    yamls.sort(key=lambda n: YAML_FIRST.index(small[n]) if small[n] in YAML_FIRST else len(YAML_FIRST))
    pointers = [n for n in there if small[n].endswith(".data")]
    lists = [n for n in there if small[n].endswith(".names")]
    pointed = [file for n in pointers if (file := _pointed(folder / n))]
    others = [n for n in there if small[n] in LISTS or small[n] == NOTES]
    return [*(folder / n for n in yamls), *(pointed or [folder / n for n in lists]), *(folder / n for n in others)]


def _pointed(file: Path) -> Path | None:
    """The file that `names = data/obj.names` in an obj.data means, seen from its folder or the one above."""
    value = darknet_settings(file).get("names", "").replace("\\", "/")
    if not value:
        return None
    tries = (file.parent / value, file.parent.parent / value, file.parent / PurePosixPath(value).name)
    return next((place for place in tries if reading.is_file(place)), None)


def darknet_settings(file: Path) -> dict[str, str]:
    """The `key = value` lines of darknet's obj.data; empty for a file of another kind."""
    try:
        text = reading.read_text(file, LabelError, advice=CORRECT, most=1 << 16)
    except LabelError:
        return {}
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip(): value.strip() for key, between, value in pairs if between}


def _read(file: Path, *, must: bool) -> _Given | None:
    """The class names in a file, or None where it holds none, which `must` not be. Raises LabelError."""
    small = file.name.lower()
    if not reading.is_there(file):
        raise LabelError(f"{file}: there is no such file of class names. Check the path.")
    if small.endswith(YAML):
        given = _in_yaml(file, must=must)
    elif small.endswith(".json"):
        given = _in_json(file, must=must)
    elif small.endswith(".data"):
        pointed = _pointed(file)
        given = _in_list(pointed) if pointed else None
    else:
        given = _in_list(file)
    if given is None and must:
        raise LabelError(
            f"{file}: holds no class names. Name a data.yaml, a classes.txt with a name a line, or the like."
        )
    return given


def _in_yaml(file: Path, *, must: bool) -> _Given | None:
    """The `names:` of a YAML file; those of other programs, which have none, are passed over unless `must`."""
    main = must or file.name.lower() in YAML_FIRST
    try:
        raw = read_settings(file)
        return _Given(file, *_names_of(raw, file)) if raw.get("names") is not None else None
    except LabelError:
        if main:
            raise
        return None


def read_settings(file: Path) -> Mapping[str, Any]:
    """The content of a data.yaml. Raises LabelError: without it class ids and places mean nothing."""
    advice = "Correct it, or delete it if it says nothing that is needed."
    raw = reading.read_yaml(file, LabelError, advice=advice)
    if not isinstance(raw, dict):
        raise LabelError(f"{file}: holds no `names:`. {advice}")
    return raw


def _names_of(raw: Mapping[str, Any], file: Path) -> tuple[dict[int, str], tuple[Problem, ...]]:
    """`names:` as a list, as `id: name`, or as the name of a file. Raises LabelError."""
    given = raw.get("names")
    if isinstance(given, str) and reading.is_file(file.parent / given):
        listed = _in_list(file.parent / given)
        given = dict(listed.names) if listed else None
    pairs = list(given.items() if isinstance(given, dict) else enumerate(given) if isinstance(given, list) else ())
    if not pairs:
        raise LabelError(f"{file}: `names:` is neither a list of class names nor `id: name` pairs. {CORRECT}")
    names = _numbered(pairs, file)
    count = raw.get("nc")
    if count is None or count == len(names):
        return names, ()
    what = f"`nc: {cut(str(count))}` and the {len(names)} names under `names:` do not agree; the names are used."
    return names, (Problem("", str(file), what, "Correct the one that is wrong."),)


def _numbered(pairs: Iterable[tuple[Any, Any]], file: Path) -> dict[int, str]:
    """Ids and names of a file, checked. Raises LabelError."""
    names: dict[int, str] = {}
    for key, value in pairs:
        number = str(key).strip()
        if not re.fullmatch(r"[0-9]{1,6}", number) or isinstance(key, bool):
            raise LabelError(f"{file}: {cut(str(key))!r} is no class id; they are 0, 1, 2 and so on. {CORRECT}")
        if not isinstance(value, str | int | float) or isinstance(value, bool) or not str(value).strip():
            raise LabelError(
                f"{file}: the name of class {number} is {cut(str(value))!r}, which is no text. Write it in quotes."
            )
        if int(number) in names:
            raise LabelError(f"{file}: class {number} stands there twice. {CORRECT}")
        names[int(number)] = str(value).strip()
    return names


def _in_json(file: Path, *, must: bool) -> _Given | None:
    """`categories` with `id` and `name`, as Label Studio's notes.json has them."""
    try:
        raw = reading.read_json(file, LabelError, advice=CORRECT)
    except LabelError:
        if must:
            raise
        return None
    listed = raw.get("categories") if isinstance(raw, dict) else None
    if not isinstance(listed, list) or not listed:
        return None
    if not all(isinstance(c, dict) and {"id", "name"} <= c.keys() for c in listed):
        raise LabelError(f"{file}: its categories have no `id` and `name` each. {CORRECT}")
    return _Given(file, _numbered([(c["id"], c["name"]) for c in listed], file))


def _in_list(file: Path) -> _Given | None:
    """A name a line, the first of class 0; None where the lines are labels. Raises LabelError for a blank line."""
    text = reading.read_text(file, LabelError, advice=f"Save it as UTF-8. {CORRECT}", most=1 << 20)
    rows = [row.strip() for row in re.split(r"\r*\n|\r", text)]
    while rows and not rows[-1]:
        rows.pop()
    if not rows or all(_is_labels(row) for row in rows):
        return None
    if "" in rows:
        raise LabelError(
            f"{file}: line {rows.index('') + 1} is blank, and it is not clear whether it counts as a class. Delete it. "
            f"{CORRECT}"
        )
    if marked := next((at for at, row in enumerate(rows, start=1) if row.startswith(("#", "//"))), 0):
        raise LabelError(
            f"{file}: line {marked} looks like a comment, and it is not clear whether it counts as a class. Delete it. "
            f"{CORRECT}"
        )
    counted = [re.fullmatch(r"([0-9]+)[\s:,]+(\S.*)", row) for row in rows]
    if not all(counted):
        return _Given(file, dict(enumerate(rows)))
    ids = [int(found[1]) for found in counted if found]
    if ids == [*range(1, len(rows) + 1)]:
        raise LabelError(f"{file}: numbers its classes from 1, and class ids are counted from 0. {CORRECT}")
    names = [found[2] for found in counted if found]  # `0 toe drain`, as TensorFlow's labels.txt has it
    return _Given(file, dict(enumerate(names if ids == [*range(len(rows))] else rows)))


def _is_labels(row: str) -> bool:
    return re.fullmatch(r"[0-9.]+(\s+[-+0-9.eE]+){4,}", row) is not None


def _checked(found: Sequence[_Given], taxonomy: Taxonomy, *, any_class: bool) -> ClassNames:
    """The names on which all files agree, and what is wrong with them. Raises LabelError for two that differ."""
    first = found[0]
    for other in found[1:]:
        if {i: fold(n) for i, n in first.names.items()} != {i: fold(n) for i, n in other.names.items()}:
            raise LabelError(f"{first.file} and {other.file}: {_difference(first, other)} {SETTLE}")
    names = dict(first.names)
    known = names if any_class else meanings(names, taxonomy).kinds
    unknown = [
        Problem.in_file(
            first.file,
            f"class {i} {cut(name)!r} is not in the taxonomy; its labels are left out and reported."
            f"{meant(name, _spoken(taxonomy))}",
        )
        for i, name in names.items()
        if i not in known
    ]
    alike = [name for name, n in Counter(map(fold, names.values())).items() if n > 1]
    twice = [
        Problem.in_file(first.file, f"several class ids are called {cut(name)!r}; they are one class.", note=True)
        for name in alike
    ]
    given = [p for one in found for p in one.problems]
    return ClassNames(names, tuple(one.file for one in found), (*given, *unknown, *twice))


def _spoken(taxonomy: Taxonomy) -> list[str]:
    """Every name that the taxonomy has for its classes and types."""
    return [*taxonomy.answers(), *(t.spoken for t in taxonomy.types)]


def _difference(a: _Given, b: _Given) -> str:
    at = next(
        i
        for i in sorted({*a.names, *b.names})
        if not {i} <= a.names.keys() & b.names.keys() or fold(a.names[i]) != fold(b.names[i])
    )
    said = [cut(repr(one.names[at])) if at in one.names else "not there" for one in (a, b)]
    return f"class {at} is {said[0]} in the first and {said[1]} in the second, so class ids mean nothing."
