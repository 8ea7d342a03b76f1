"""`python -m labelvault`: the same as the `labelvault` command."""

from labelvault.cli import main

if __name__ == "__main__":
    main()
