"""`python -m toeline` is the same as the command `toeline`."""

from __future__ import annotations

from toeline.cli import main

if __name__ == "__main__":
    main()
