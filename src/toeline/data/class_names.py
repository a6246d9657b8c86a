"""What the class ids of a data set mean: its data.yaml in the words of a taxonomy. Knows no labels and no pixels."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from toeline.core.meanings import Meanings, Names, meanings
from toeline.core.taxonomy import Taxonomy
from toeline.data.label_lines import Problem
from toeline.errors import LabelError

__all__ = ["Meanings", "Names", "find_names", "meanings", "names_in", "read_yaml", "taxonomy_names"]


def taxonomy_names(taxonomy: Taxonomy) -> Names:
    """Class ids in the taxonomy's order."""
    return dict(enumerate(taxonomy.answers()))


def find_names(labels_dir: Path, taxonomy: Taxonomy) -> tuple[Names, tuple[Problem, ...]]:
    """The class names that hold for a folder of labels, and what is wrong with the data.yaml that gives them."""
    here = labels_dir.resolve()
    for folder in (here, *list(here.parents)[:2]):
        if (folder / "data.yaml").is_file():
            return names_in(read_yaml(folder / "data.yaml"), folder / "data.yaml", taxonomy)
    return taxonomy_names(taxonomy), ()


def read_yaml(file: Path) -> Mapping[str, Any]:
    """The content of a data.yaml, empty when there is none. Raises LabelError: without it class ids mean nothing."""
    if not file.is_file():
        return {}
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as why:
        text = " ".join(str(why).split())
        raise LabelError(
            f"{file}: cannot be read as YAML ({text}). Mend it, or delete it if the ids are the taxonomy's."
        ) from None
    if not isinstance(raw, dict):
        raise LabelError(f"{file}: holds no `names:`. Mend it, or delete it if the ids are the taxonomy's.")
    return raw


def names_in(
    raw: Mapping[str, Any], file: Path, taxonomy: Taxonomy, *, any_class: bool = False
) -> tuple[Names, tuple[Problem, ...]]:
    """Class names by id from a data.yaml's content. Raises LabelError when `names` is neither a list nor id: name.

    A name that the taxonomy does not hold is a problem unless `any_class`.
    """
    given = raw.get("names")
    if given is None:
        missing = (Problem(file, None, "there is no `names:`, so class ids are taken in the taxonomy's order."),)
        return taxonomy_names(taxonomy), missing if raw else ()
    names: dict[int, str] = {}
    if isinstance(given, list | dict):
        with suppress(TypeError, ValueError):
            names = {int(i): str(name) for i, name in (given.items() if isinstance(given, dict) else enumerate(given))}
    if not names:
        raise LabelError(f"{file}: `names:` is neither a list of class names nor `id: name` pairs. Mend it.")
    known = names if any_class else meanings(names, taxonomy).kinds
    return names, tuple(
        Problem(file, None, f"class {i} {name!r} is not in the taxonomy; its labels are left out and reported.")
        for i, name in names.items()
        if i not in known
    )
