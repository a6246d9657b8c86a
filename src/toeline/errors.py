"""The errors that a user can correct. Each message says what, where, and what to do; no trace is printed with them."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
import traceback
from collections.abc import Iterator
from enum import IntEnum
from importlib import import_module
from pathlib import Path
from types import ModuleType


class ExitCode(IntEnum):
    """What a command ends with; docs/commands.md says the same. A gate has two more answers: pipelines/gate.py."""

    DONE = 0
    PROBLEMS = 1  # done, but some photographs or labels have problems, which are listed
    NOTHING = 2  # nothing could be done, and the message says why

    @classmethod
    def of(cls, *, fine: bool, anything: bool = True) -> ExitCode:
        """Of a command that ended by itself: whether all was `fine`, and whether `anything` was done.

        >>> ExitCode.of(fine=True), int(ExitCode.of(fine=False)), int(ExitCode.of(fine=False, anything=False))
        (<ExitCode.DONE: 0>, 1, 2)
        """
        return cls.NOTHING if not anything else cls.DONE if fine else cls.PROBLEMS


MOST_LETTERS = 1000  # of a message; what is longer quotes a value of somebody's file


class ToelineError(Exception):
    """Base of all faults that are the user's to correct; anything else is ours and shows its traceback."""

    def __init__(self, message: str) -> None:
        """Cuts out the middle of a message that is too long to be read: the place is at its begin, the advice last."""
        half = MOST_LETTERS // 2
        super().__init__(message if len(message) <= MOST_LETTERS else f"{message[:half]} ... {message[-half:]}")


class SetupError(ToelineError):
    """Something is not installed, or this machine cannot do what was asked."""


class TaxonomyError(ToelineError):
    """A taxonomy file that contradicts itself, or a name that it does not hold."""


class LabelError(ToelineError):
    """A label line or label file that cannot be used."""


class PhotoError(ToelineError):
    """A photograph that cannot be read."""


class ModelError(ToelineError):
    """A model directory, weight file or hub id that cannot be loaded."""


class OutputError(ToelineError):
    """An output folder that holds something else."""


def need(module: str, *, extra: str) -> ModuleType:
    """Import `module`, or say which extra brings it.

    A module that is installed but broken raises its own ImportError: that is not a missing extra.

    >>> need("json", extra="any").__name__
    'json'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as gone:
        if gone.name != module.split(".")[0]:
            raise
        raise SetupError(f"{module} is not installed. Run: {install_line(extra)}") from None


def install_line(extra: str) -> str:
    """The command that installs an extra's libraries, wherever this package came from: a clone, a wheel or an index.

    The libraries are named themselves: what was installed from a folder or a file has no name on any index.
    """
    found = (re.fullmatch(r"([^;]+?)\s*;.*\bextra\s*==\s*['\"]([^'\"]+)['\"].*", need) for need in requirements())
    needs = sorted(need[1] for need in found if need and need[2] == extra)
    return pip_install(*needs)


def requirements() -> list[str]:
    """What this package needs, with the extra after a semicolon; in a clone as pyproject.toml has it.

    What pip wrote when a clone was installed does not know what was pulled since.
    """
    from importlib import metadata  # late, as below: it loads much, and most commands end without it

    file = Path(__file__).parents[2] / "pyproject.toml"
    project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {}) if file.is_file() else {}
    if project.get("name") != "toeline":  # installed: this may be the file of whoever vendors us
        return metadata.requires("toeline") or []
    extras: dict[str, list[str]] = project["optional-dependencies"]
    return [f"{need}; extra == '{extra}'" for extra, needs in extras.items() for need in needs]


def pip_install(*needs: str) -> str:
    """The command that installs these into the Python that runs now, which need not be that of `pip` in a terminal."""
    python, here = Path(sys.executable), Path.cwd()
    place = python.relative_to(here) if python.is_relative_to(here) else python
    return shlex.join([str(place), "-m", "pip", "install", *needs])


# Libraries that are made for certain versions of each other, and break when one of them is changed alone.
TOGETHER = (("torch", "torchvision", "torchao"), ("onnxruntime", "numpy"), ("transformers", "tokenizers", "torch"))


def broken_library(why: BaseException) -> SetupError | None:
    """What to say of an error that a library raised while it was loaded; None for any other error.

    Libraries raise anything there, and may wrap it. That it came from loading one is seen by the module that ran.
    """
    chain: list[BaseException] = []
    cause: BaseException | None = why
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    pairs = ((name, group) for one in chain for name in _loading(one) for group in TOGETHER if name in group)
    library, group = next(pairs, ("", ()))
    there = {name: version for name in group if (version := _version(name))}
    if library not in there:
        return None
    found = ", ".join(f"{name} {version}" for name, version in there.items())
    said = next(iter(str(chain[-1]).strip().splitlines()), type(chain[-1]).__name__)
    return SetupError(
        f"{library} is installed and cannot be loaded ({said[:200]}). Installed are {found}, which must be made for "
        f"each other. Install them together: {pip_install('--force-reinstall', *there)}"
    )


def _loading(why: BaseException) -> Iterator[str]:
    """Libraries whose modules were being loaded when an error was raised, the innermost first."""
    frames = [frame for frame, _ in traceback.walk_tb(why.__traceback__) if frame.f_code.co_name == "<module>"]
    yield from (str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame in reversed(frames))
    if isinstance(why, ImportError) and why.name:
        yield why.name.partition(".")[0]


def _version(library: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""
