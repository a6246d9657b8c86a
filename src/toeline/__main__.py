"""`python -m toeline` is the same as the command `toeline`."""

from toeline.cli import main

if __name__ == "__main__":
    main()
