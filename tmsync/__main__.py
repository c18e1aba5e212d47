"""Entry point of `tmsync` and `python -m tmsync`."""

import sys

INTERRUPTED = 130
"""What a shell reports for a program that Ctrl-C ended."""


def main() -> None:
    """Run the command line and exit."""
    try:
        from tmsync.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
