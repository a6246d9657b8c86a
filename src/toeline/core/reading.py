"""Files that others wrote, parsed within limits: the one place where JSON, YAML, TOML and XML of a user are read.

A file is refused when it is no regular file (a pipe would wait for ever), too large, no text, nested deeper than DEPTH,
or grows beyond MOST_PARTS by aliases. A key that stands twice is refused too, since one of the two would be lost.
What the values must be is for the reader to check: `number` is there for that.
"""

from __future__ import annotations

import hashlib
import json
import math
import stat
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from toeline.core.words import cut, shown
from toeline.errors import ToelineError

MOST_BYTES = 16 << 20  # of a text that people write; the largest data.yaml in the wild has some kB
DEPTH = 64  # lists and mappings within each other; a COCO file has 5 levels
TOO_DEEP = f"lists and mappings stand more than {DEPTH} deep within each other"
MOST_PARTS = 100_000  # lists and mappings of a YAML file, each counted as often as an alias repeats it

Fault = type[ToelineError]


def is_there(path: Path) -> bool:
    """Whether a path that stands in somebody's file exists; Path.exists raises an OSError for one that is too long."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def is_file(path: Path) -> bool:
    """As is_there, of a file."""
    return is_there(path) and path.is_file()


def file_hash(path: Path) -> str:
    """SHA-256 of the file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_bytes(file: Path, fault: Fault, *, advice: str, most: int = MOST_BYTES) -> bytes:
    """The bytes of a regular file of at most `most` bytes. Raises `fault`, whose message ends with `advice`."""
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise fault(f"{shown(str(file))}: is no regular file. {advice}")
        if found.st_size > most:
            raise fault(f"{shown(str(file))}: has {found.st_size:,} bytes, and the limit is {most:,}. {advice}")
        with file.open("rb") as stream:
            return stream.read(found.st_size)  # it may grow meanwhile
    except OSError as why:
        raise fault(f"{shown(str(file))}: cannot be read ({why.strerror}). {advice}") from None


def read_text(file: Path, fault: Fault, *, advice: str, most: int = MOST_BYTES) -> str:
    """As read_bytes: UTF-8, with or without a byte-order mark, or UTF-16 with one."""
    raw = read_bytes(file, fault, advice=advice, most=most)
    try:
        return raw.decode("utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError as why:
        raise fault(f"{shown(str(file))}: is no UTF-8 text (byte {why.start}). {advice}") from None


def read_json(file: Path, fault: Fault, *, advice: str, most: int = MOST_BYTES) -> Any:
    """The content of a JSON file. NaN and Infinity are given as such: see `number`."""
    return parse_json(read_text(file, fault, advice=advice, most=most), str(file), fault, advice=advice)


def parse_json(text: str, where: str, fault: Fault, *, advice: str) -> Any:
    """As read_json, of a text that came from `where`."""
    return _parsed(lambda: json.loads(text, object_pairs_hook=_once), "JSON", where, fault, advice)


def read_toml(file: Path, fault: Fault, *, advice: str) -> dict[str, Any]:
    """The content of a TOML file."""
    text = read_text(file, fault, advice=advice)
    found: dict[str, Any] = _parsed(lambda: tomllib.loads(text), "TOML", str(file), fault, advice)
    return found


def read_yaml(file: Path, fault: Fault, *, advice: str) -> Any:
    """The content of a YAML file, None for an empty one."""
    text = read_text(file, fault, advice=advice, most=MOST_BYTES // 8)  # YAML is slow to parse
    return _parsed(lambda: _yaml(text), "YAML", str(file), fault, advice)


class _Plain(ElementTree.TreeBuilder):
    """Builds a tree without a document type, whose entities could grow without end or name files of this machine."""

    depth = 0

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Called before anything that a document type declares is read."""
        raise ValueError("it declares a document type")

    def start(self, tag: Any, attrs: Any, /) -> Any:
        """One deeper."""
        self.depth += 1
        if self.depth > DEPTH:
            raise ValueError(f"elements stand more than {DEPTH} deep within each other")
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> Any:
        """One less deep."""
        self.depth -= 1
        return super().end(tag)


def plain_xml(raw: bytes) -> ElementTree.Element:
    """The root of an XML document. Raises ValueError for what is none, and for one that declares a document type."""
    parser = ElementTree.XMLParser(target=_Plain())
    try:
        parser.feed(raw)
        root: ElementTree.Element = parser.close()
    except (ElementTree.ParseError, LookupError) as why:  # LookupError: an encoding that nobody knows
        raise ValueError(str(why)) from None
    return root


def parse_xml(raw: bytes, where: str, fault: Fault, *, advice: str) -> ElementTree.Element:
    """As plain_xml, of what came from `where`."""
    root: ElementTree.Element = _parsed(lambda: plain_xml(raw), "XML", where, fault, advice)
    return root


def _parsed(parse: Callable[[], Any], form: str, where: str, fault: Fault, advice: str) -> Any:
    try:
        value = parse()
        parts = _parts(value, {}) if isinstance(value, dict | list) else 0
        if form == "YAML" and parts > MOST_PARTS:
            raise ValueError("aliases (*name) repeat its parts without end or nearly so")
    except RecursionError:
        raise fault(f"{shown(where)}: is nested too deep to be read as {form}. {advice}") from None
    except Exception as why:  # of dates, numbers and tags, parsers raise more than they say
        raise fault(f"{shown(where)}: cannot be read as {form} ({cut(str(why), 200)}). {advice}") from None
    return value


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping whose keys are each there once. Raises ValueError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {cut(next(k for k in keys if keys.count(k) > 1))!r} stands there twice")
    return found


def _yaml(text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types here
        """Only plain values; keys that stand twice are refused. Depth is too, at once: its square is PyYAML's time."""

        def fetch_more_tokens(self) -> None:
            if self.flow_level + len(self.indents) > DEPTH:
                raise ValueError(TOO_DEEP)
            super().fetch_more_tokens()

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        loader.flatten_mapping(node)
        keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise ValueError(f"the key {cut(str(twice[0]))!r} stands there twice")
        return dict(loader.construct_mapping(node, deep=True))

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    return yaml.load(text, Loader)


def _parts(value: Any, known: dict[int, float], depth: int = 0) -> float:
    """How many lists and mappings there are, each as often as it is referred to. Raises ValueError beyond DEPTH."""
    if depth >= DEPTH:
        raise ValueError(TOO_DEEP)
    if id(value) not in known:
        known[id(value)] = math.inf  # what holds itself is without end
        inner = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_parts(one, known, depth + 1) for one in inner if isinstance(one, dict | list))
    return known[id(value)]


def number(value: object, what: str, *, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number between `low` and `high`. Raises ValueError, which says what `what` is instead.

    >>> number(3, "the review threshold", low=0, high=1)
    Traceback (most recent call last):
    ValueError: the review threshold is 3, and must be a number from 0 to 1
    """
    if type(value) is float and low <= value <= high and math.isfinite(value):  # nearly all: a run has millions
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        with suppress(OverflowError):  # a whole number of hundreds of digits
            if math.isfinite(value):
                return float(value)
    bounds = "a finite number" if math.isinf(low) and math.isinf(high) else f"a number from {low:g} to {high:g}"
    raise ValueError(f"{what} is {cut(repr(value))}, and must be {bounds}")


def word(value: object, what: str) -> str:
    """A text, or ValueError.

    >>> word(3, "id")
    Traceback (most recent call last):
    ValueError: id is 3, and must be a text
    """
    if isinstance(value, str):
        return value
    raise ValueError(f"{what} is {cut(repr(value))}, and must be a text")


def numbers(value: object, what: str, *, low: float = -math.inf, high: float = math.inf) -> dict[str, float]:
    """A mapping of texts to numbers, or ValueError: as `number`."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} is {cut(repr(value))}, and must be an object")
    try:
        return {word(name, what): number(one, what, low=low, high=high) for name, one in value.items()}
    except ValueError:  # said again with the name of the one that is wrong
        return {name: number(one, f"{what} of {cut(str(name))}", low=low, high=high) for name, one in value.items()}


def whole(value: object, what: str, *, low: int, high: int) -> int:
    """As number, without a fraction."""
    found = number(value, what, low=low, high=high)
    if found != int(found):
        raise ValueError(f"{what} is {cut(repr(value))}, and must be a whole number from {low} to {high}")
    return int(found)
