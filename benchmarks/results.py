"""How a benchmark writes its results: a page for people and a small JSON of its figures, without lists of objects.

Pages and JSON files in `benchmarks/results` are committed and take at most 200 kB together, by test. The figures as
they were measured, object by object and with all digits, go to `runs/benchmarks`, which git ignores.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
UNCUT = Path(__file__).parent.parent / "runs" / "benchmarks"
WIDTH = 200  # characters of a line in the JSON
BY_OBJECT = ("flips", "worst", "review", "every_100")  # lists with a row for each object, or each moment
ELSEWHERE = ("### The plotted probabilities", "## How it was made")  # sections of pages that the JSON has in short
ALIKE = 4  # records from which a table is shorter
IMPLIED = ("key", "label", "clustered", "wilson", "target", "verdict", "lower_is_better")
"""Of a figure: what its key and docs/scorecard.md say, and the two parts that `interval` is made of."""


def write(name: str, page: str, figures: Any, out: Path = RESULTS, *, all_of: Any = None) -> None:
    """NAME.md and the compact NAME.json into `out`; `all_of` (or the figures) uncut into the folder for that."""
    save(out / f"{name}.json", as_json(compact(figures)))
    save(out / f"{name}.md", page.rstrip("\n"))
    save(uncut(out) / f"{name}.json", as_json(figures if all_of is None else all_of))


def uncut(out: Path) -> Path:
    """The folder for everything that was measured, when the compact form is written to `out`."""
    return UNCUT if out.resolve() == RESULTS.resolve() else out / "uncut"


def save(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n", encoding="utf-8")


def compact(value: Any) -> Any:
    """The same figures without lists of objects, empty fields, and digits that no page prints.

    A list of records that have a key becomes a table: the names of its columns, and a row for each key. So do ALIKE
    records or more of the same plain fields.
    """
    if isinstance(value, dict):
        if alike(value):
            return compact(table(value))
        gone = {*(IMPLIED if "key" in value else ()), *(k for k in BY_OBJECT if isinstance(value.get(k), list))}
        return {k: compact(v) for k, v in value.items() if k not in gone and v is not None and v != ""}
    if isinstance(value, list | tuple):
        if value and all(isinstance(v, dict) and "key" in v for v in value):
            return table({v["key"]: compact(v) for v in value})
        return [compact(v) for v in value]
    return rounded(value) if isinstance(value, float) else value


def alike(value: dict[str, Any]) -> bool:
    """Whether these are records of the same fields, with nothing inside each other."""
    rows = [row for row in value.values() if isinstance(row, dict) and row]
    plain = not any(isinstance(field, dict) for row in rows for field in row.values())
    return len(rows) == len(value) >= ALIKE and plain and len({tuple(row) for row in rows}) == 1


def table(rows: dict[str, dict[str, Any]]) -> dict[str, list[Any]]:
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    return {"columns": columns, **{key: [row.get(name) for name in columns] for key, row in rows.items()}}


def rounded(value: float) -> float:
    """Shares to four decimals, what is smaller to three significant digits, what is larger to six.

    >>> rounded(2 / 3), rounded(6.2094957e-08), rounded(32.00021362)
    (0.6667, 6.21e-08, 32.0002)
    """
    return round(value, 4) if 0.001 < abs(value) <= 1 else float(f"{value:.{6 if abs(value) > 1 else 3}g}")


def as_json(value: Any, indent: str = "") -> str:
    """JSON in which everything that fits into a line stands on one."""
    line = json.dumps(value, separators=(",", ":"))
    if not isinstance(value, dict | list) or len(indent) + len(line) < WIDTH:
        return line
    deeper = indent + " "
    if isinstance(value, dict):
        rows = [f"{deeper}{json.dumps(k)}:{as_json(v, deeper)}" for k, v in value.items()]
    else:
        rows = [f"{deeper}{as_json(v, deeper)}" for v in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return "\n".join([opening, ",\n".join(rows), f"{indent}{closing}"])


def shortened_page(page: str) -> str:
    """The Markdown of a command without sections that list single objects, points of a plot, or settings."""
    sections = re.split(r"(?m)^(?=#+ )", page)
    return "".join(s for s in sections if "| photograph | object |" not in s and not s.startswith(ELSEWHERE))
