"""The errors that a user can mend. Each message says what, where, and what to do; no trace is printed with them."""

from __future__ import annotations

from enum import IntEnum
from importlib import import_module
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
    """Base of all faults that are the user's to mend; anything else is ours and shows its traceback."""

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
        raise SetupError(f"{module} is not installed. Run: pip install 'toeline[{extra}]'") from None
