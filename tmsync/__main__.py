"""Entry point of `tmsync` and `python -m tmsync`."""

import sys

from tmsync import signals


def main() -> None:
    """Run the command line and exit."""
    signals.begin()
    try:
        from tmsync.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = signals.INTERRUPTED
    signals.end(code)


if __name__ == "__main__":
    main()
