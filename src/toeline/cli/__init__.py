"""The command line: parses, calls, says what was written. No logic lives here."""

from __future__ import annotations

from collections.abc import Sequence

from toeline.core.threads import sleep_while_waiting


def main(args: Sequence[str] | None = None) -> None:
    """Run `toeline` with `args` (default: the process's own) and exit: 0 all done, 1 some of it, 2 nothing could be."""
    sleep_while_waiting()  # before anything that computes is loaded
    from toeline.cli.app import run

    run(args)
