"""What run.json holds: enough to know later what a result depends on. Paths stand there as the user typed them."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toeline._version import __version__

if TYPE_CHECKING:
    from toeline.core.taxonomy import Taxonomy

LIBRARIES = ("torch", "transformers", "peft", "onnxruntime", "numpy", "pillow", "opencv-python-headless")


def start_record(command: str, settings: Mapping[str, Any], taxonomy: Taxonomy, *, title: str = "") -> dict[str, Any]:
    """run.json as it is written before the first photograph. Equal `settings` make the same run."""
    now = datetime.now().astimezone()
    return {
        "title": title,
        "command": command,
        "settings": {
            **settings,
            "taxonomy_sha256": taxonomy_hash(taxonomy),
            "grading_sha256": grading_hash(taxonomy),
        },
        "classes_sha256": classes_hash(taxonomy),
        "started": now.isoformat(timespec="seconds"),
        "started_words": f"{now:%d %B %Y, %H:%M}",
        "finished": None,
        "versions": versions(),
        "machine": machine(),
        **called_now(),
    }


_CALLED: ContextVar[dict[str, Any]] = ContextVar("called", default={})  # noqa: B039 (it is never changed, only replaced)


def called_with(options: Mapping[str, Any], file: Path | None, from_file: Mapping[str, Any]) -> dict[str, Any]:
    """Note how the command line was called, for every record that is started from now on, and return its options.

    `options` are those that were given, by their names, `from_file` those among them that a settings file gave.
    """
    plain: dict[str, Any] = json.loads(json.dumps(options, default=as_typed))
    taken = {"file": str(file), "options": json.loads(json.dumps(from_file, default=as_typed))}
    _CALLED.set({"options": plain, **({"config": taken} if file else {})})
    return plain


def called_now() -> dict[str, Any]:
    """What `called_with` noted of the command that is at work."""
    return dict(_CALLED.get())


def settings_of(run: Any) -> dict[str, Any]:
    """The fields of a settings record as JSON gives them back: paths as they were typed, tuples as lists."""
    settings: dict[str, Any] = json.loads(json.dumps(asdict(run), default=as_typed))
    return settings


def as_typed(value: Any) -> str:
    """The text of a value; of an address, s3://bucket/flight7, also the slash that it loses as a path.

    >>> as_typed(Path("s3://bucket/flight7")), as_typed(Path("runs/a")), as_typed(0.5)
    ('s3://bucket/flight7', 'runs/a', '0.5')
    """
    return re.sub(r"^([a-z][a-z0-9+.-]+):/+", r"\1://", str(value)) if isinstance(value, Path) else str(value)


def versions() -> dict[str, str]:
    """Versions of what results depend on; what is not installed is left out."""
    from importlib import metadata  # late: it loads much, and --help does without

    found = {"toeline": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The kind of machine, without its name or owner."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "cpu": platform.machine(),
        "cores": os.cpu_count(),
    }


def grading_hash(taxonomy: Taxonomy) -> str:
    """SHA-256 of severities, actions and rules; findings hold them, so they are part of what makes a run the same."""
    return hashlib.sha256(json.dumps(asdict(taxonomy.grading), sort_keys=True).encode("utf-8")).hexdigest()


def taxonomy_hash(taxonomy: Taxonomy) -> str:
    """SHA-256 of the words of a taxonomy, wherever it was read from.

    How bad a class is does not belong to them: no answer depends on it, so runs that differ in nothing else compare.
    """
    said = asdict(taxonomy)
    del said["source"], said["grading"]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode("utf-8")).hexdigest()


def classes_hash(taxonomy: Taxonomy) -> str:
    """SHA-256 of what can be answered: a run is another one with other classes, but not with other words for them."""
    classes = [[c.name, c.type, c.condition] for c in taxonomy.classes]
    return hashlib.sha256(json.dumps(classes).encode("utf-8")).hexdigest()


def models_fingerprint(record: Mapping[str, Any]) -> str:
    """Equal for equal weights and rules for review: 16 hex digits over what run.json says of the models."""
    models = record.get("models") or {}
    lasting = {
        room: {k: v for k, v in dict(facts).items() if k != "versions"} for room, facts in models.items() if facts
    }
    weights = record.get("settings", {}).get("weights")
    return hashlib.sha256(json.dumps([lasting, weights], sort_keys=True, default=str).encode()).hexdigest()[:16]


def data_hash(progress: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 over the names and hashes of all photographs, whatever their order.

    >>> a, b = {"photo": "a", "sha256": "1"}, {"photo": "b", "sha256": "2"}
    >>> data_hash([a, b]) == data_hash([b, a]) != data_hash([a])
    True
    """
    lines = sorted(f"{p['photo']}\t{p['sha256']}\n" for p in progress)
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()


def now_words() -> str:
    """This moment, with the zone."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


KIB = 1024


def peak_memory() -> dict[str, Any]:
    """The most memory in use at any time so far, in bytes: `process` (resident), and `gpu` for CUDA devices.

    The process's figure includes its libraries and everything before the first photograph. Empty where the system does
    not say (Windows).
    """
    found: dict[str, Any] = {}
    try:
        import resource
    except ImportError:
        return found
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found["process"] = most if sys.platform == "darwin" else most * KIB  # Linux counts KiB, macOS bytes
    torch: Any = sys.modules.get("torch")  # not imported for this: saved findings are scored without it
    if torch is not None and torch.cuda.is_available():
        found["gpu"] = torch.cuda.max_memory_allocated()
    return found


def reset_peak() -> None:
    """Let peak_memory count from now on, where the system can (Linux, CUDA): for several models in a row."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # see proc_pid_clear_refs(5)
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def most(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    """The larger of each figure of two starts of one run.

    >>> most({"process": 7}, {"process": 5, "gpu": 3})
    {'gpu': 3, 'process': 7}
    """
    return {name: max(before.get(name, 0), now.get(name, 0)) for name in sorted({*before, *now})}
