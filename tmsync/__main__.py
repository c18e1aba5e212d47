"""Entry point of `tmsync` and `python -m tmsync`."""

import sys


def main() -> None:
    """Run the command line and exit."""
    from tmsync.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
