"""Figures of the structure of the package, each beside its limit: `python benchmarks/structure.py [--json]`.

Reads the files of src/toeline with `ast` and runs nothing. A body is what stands in a function without its docstring,
counted in lines of the file, functions inside it included. A circle is a file that reaches itself through imports, late
ones and those under TYPE_CHECKING included.

"stays" says how far one value travels: in how many functions, of how many files, DATA of `toeline evaluate-detector`
arrives, which is the field `data` of that command's settings record. An expression holds the value if it is the name of
the parameter, a name that was assigned an expression that holds it, or a call such as `str(data)` that gets it and is
of no function of the package. Where a call of a function of the package gets such an expression, that parameter of that
function holds it too; where a call makes a record of it, the field of that record does, and so does `run.field`
wherever `run` is annotated with the record's name. What functions of the package make of it (the opened data set, its
photographs) is another value and not followed. Functions are found by name through the imports of the file, methods
where one class of the package alone has one of that name. It was 25 in 18 files before the rooms were drawn anew, so
its limit is 25: no way longer than that.

Exit code 1 when a figure is over its limit.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

SOURCE = Path(__file__).parent.parent / "src" / "toeline"
START = ("DetectorScoring", "data")  # the record that the command gets, and its field
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Figure(NamedTuple):
    """One figure; without a limit it is shown only."""

    name: str
    value: float
    limit: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the value is within its limit."""
        return self.limit is None or self.value <= self.limit


@dataclass(frozen=True)
class Source:
    """One file: its dotted name, its text and its tree."""

    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def lines(self) -> int:
        return self.text.count("\n")

    @cached_property
    def imports(self) -> dict[str, str]:
        """Local name -> dotted name, wherever in the file it is imported."""
        found: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                found |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
            elif isinstance(node, ast.Import):
                found |= {a.asname or a.name: a.name for a in node.names}
        return found

    @cached_property
    def functions(self) -> dict[Function, list[ast.AST]]:
        """Every function with all that stands in it."""
        return {node: list(ast.walk(node)) for node in ast.walk(self.tree) if isinstance(node, Function)}


def read_sources(root: Path = SOURCE) -> dict[str, Source]:
    """Every Python file below `root`, by its dotted name."""
    found = {}
    for file in sorted(root.rglob("*.py")):
        name = ".".join([root.name, *file.relative_to(root).with_suffix("").parts])
        found[name] = Source(name, file.read_text(encoding="utf-8"))
    return found


def body_lines(function: Function) -> int:
    """Lines from the first statement after the docstring to the last."""
    first = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return 0 if not first else (first[-1].end_lineno or 0) - first[0].lineno + 1


def files_in_circles(sources: Mapping[str, Source]) -> list[str]:
    """Files that reach themselves through imports, late ones included."""
    graph = {}
    for name, source in sources.items():
        whole = set(source.imports.values())
        wanted = whole | {w.rpartition(".")[0] for w in whole}
        graph[name] = {w for w in wanted if w in sources} - {name}
    return [name for name in sorted(graph) if name in _reached(name, graph)]


def _reached(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    left = [start]
    while left:
        new = graph.get(left.pop(), set()) - seen
        seen |= new
        left += new
    return seen


@dataclass
class Walk:
    """Follows one value; see the docstring of the file for what that means."""

    sources: Mapping[str, Source]
    parameters: set[tuple[str, str, str]] = field(default_factory=set)  # file, function, parameter
    fields: set[tuple[str, str]] = field(default_factory=set)  # record, field

    @cached_property
    def functions(self) -> dict[str, tuple[str, Function]]:
        """Dotted name -> file and function, of the functions at the top of files."""
        return {
            f"{s.name}.{n.name}": (s.name, n)
            for s in self.sources.values()
            for n in s.tree.body
            if isinstance(n, Function)
        }

    @cached_property
    def records(self) -> dict[str, list[str]]:
        """Class -> names of its fields, in order."""
        return {
            n.name: [f.target.id for f in n.body if isinstance(f, ast.AnnAssign) and isinstance(f.target, ast.Name)]
            for s in self.sources.values()
            for n in ast.walk(s.tree)
            if isinstance(n, ast.ClassDef)
        }

    @cached_property
    def methods(self) -> dict[str, tuple[str, Function]]:
        """Method -> file and function, where one class of the package alone has a method of that name."""
        found = [
            (m.name, (s.name, m))
            for s in self.sources.values()
            for n in ast.walk(s.tree)
            if isinstance(n, ast.ClassDef)
            for m in n.body
            if isinstance(m, Function)
        ]
        counted = Counter(name for name, _ in found)
        return {name: where for name, where in found if counted[name] == 1}

    def follow(self) -> set[tuple[str, str]]:
        """File and function of every stay, from the parameters and fields that are known to hold the value."""
        stays: set[tuple[str, str]] = set()
        before = -1
        while before != len(self.parameters) + len(self.fields):
            before = len(self.parameters) + len(self.fields)
            for source in self.sources.values():
                for node in source.functions:
                    if self._look(source, node):
                        stays.add((source.name, node.name))
        return stays

    def _look(self, source: Source, function: Function) -> bool:
        """Note where the value goes from here; whether it was here at all."""
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        held = {a.arg for a in arguments if (source.name, function.name, a.arg) in self.parameters}
        typed = {a.arg: set(_names(a.annotation)) for a in arguments if a.annotation}
        here = bool(held)
        nodes = source.functions[function]
        for node in nodes:
            if isinstance(node, ast.Assign) and self._holds(source, node.value, held, typed):
                held |= {t.id for t in node.targets if isinstance(t, ast.Name)}
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                made = ast.unparse(node.value.func).split(".")[0]
                typed |= {t.id: {made} for t in node.targets if isinstance(t, ast.Name) and made in self.records}
        for node in nodes:
            here = here or (isinstance(node, ast.Attribute) and self._holds(source, node, held, typed))
            if isinstance(node, ast.Call):
                self._pass_on(source, node, held, typed)
        return here

    def _holds(self, source: Source, node: ast.expr, held: set[str], typed: Mapping[str, set[str]]) -> bool:
        if isinstance(node, ast.Name):
            return node.id in held
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return any((record, node.attr) in self.fields for record in typed.get(node.value.id, ()))
        if isinstance(node, ast.Call) and self._callee(source, node) is None:
            known = isinstance(node.func, ast.Name) and node.func.id not in self.records
            return known and any(self._holds(source, a, held, typed) for a in node.args)
        if isinstance(node, ast.IfExp):
            return self._holds(source, node.body, held, typed) or self._holds(source, node.orelse, held, typed)
        return False

    def _callee(self, source: Source, call: ast.Call) -> tuple[str, Function] | None:
        if isinstance(call.func, ast.Name):
            name = call.func.id
            return self.functions.get(source.imports.get(name, f"{source.name}.{name}"))
        if isinstance(call.func, ast.Attribute):
            return self.methods.get(call.func.attr)
        return None

    def _pass_on(self, source: Source, call: ast.Call, held: set[str], typed: Mapping[str, set[str]]) -> None:
        callee = self._callee(source, call)
        record = call.func.id if isinstance(call.func, ast.Name) else ""  # records are known by a plain name
        names = _parameters(callee[1]) if callee else self.records.get(record, [])
        given = [*zip(names, call.args, strict=False), *((k.arg, k.value) for k in call.keywords)]
        for name, value in given:
            if name is None or not self._holds(source, value, held, typed):
                continue
            if callee:
                self.parameters.add((callee[0], callee[1].name, name))
            elif record in self.records:
                self.fields.add((record, name))


def _parameters(function: Function) -> list[str]:
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def _names(annotation: ast.expr) -> Iterator[str]:
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name):
            yield node.id


def figures(sources: Mapping[str, Source]) -> list[Figure]:
    """All figures, with their limits."""
    files = [s for s in sources.values() if not s.name.endswith("__init__")]
    cli = [s for s in sources.values() if s.name.startswith("toeline.cli.")]
    bodies = sorted(body_lines(f) for s in sources.values() for f in s.functions)
    classes = Counter(n.name for s in sources.values() for n in ast.walk(s.tree) if isinstance(n, ast.ClassDef))
    stays = Walk(sources, fields={START}).follow()
    return [
        Figure("files without __init__", len(files), 170),
        Figure("lines of src", sum(s.lines for s in sources.values()), 31_000),
        Figure("files of cli", len(cli), 8),
        Figure("lines of cli", sum(s.lines for s in cli), 1_100),
        Figure("body, median lines", median(bodies), 10),
        Figure("body, 90th percentile", quantiles(bodies, n=10)[-1], 25),
        Figure("body, longest", bodies[-1], 45),
        Figure("class names taken twice", sum(n > 1 for n in classes.values()), 8),
        Figure("files in import circles", len(files_in_circles(sources)), 0),
        Figure("lines a file, median", median(s.lines for s in files)),
        Figure("lines a file, most", max(s.lines for s in files)),
        Figure("evaluate-detector's data: functions", len(stays), 25),
        Figure("evaluate-detector's data: files", len({file for file, _ in stays})),
    ]


def main() -> None:
    """Print the table and exit: 1 when a figure is over its limit."""
    parser = argparse.ArgumentParser(description="Figures of the structure of the package, each beside its limit.")
    parser.add_argument("--json", action="store_true", help="as JSON")
    wanted = parser.parse_args()
    found = figures(read_sources())
    if wanted.json:
        print(json.dumps([{**f._asdict(), "met": f.is_met} for f in found], indent=2))
    else:
        for f in found:
            limit = "" if f.limit is None else f"at most {f.limit:,.0f}"
            print(f"{f.name:<36} {f.value:>8,.10g}  {limit:<15} {'' if f.is_met else 'OVER'}".rstrip())
    sys.exit(not all(f.is_met for f in found))


if __name__ == "__main__":
    main()
