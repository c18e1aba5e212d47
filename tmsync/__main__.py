"""Entry point of `tmsync` and `python -m tmsync`, and how Ctrl-C and SIGTERM end it."""

import os
import signal
import sys
from types import FrameType
from typing import Any, Final, NoReturn

INTERRUPTED: Final = 130
"""What a shell reports for a program that Ctrl-C ended."""
ORDERLY: Final = {"watch-mqtt": 0, "demo": INTERRUPTED, "init": INTERRUPTED}
"""Commands that have something to put in order first, and the exit code they end with when interrupted.

The others die of the signal at once and without a word, also while they wait inside libpq or the name service, where
Python could not react; what they write is whole at every moment.
"""


def main() -> None:
    """Run the command line and exit."""
    command = next((word for word in sys.argv[1:] if word in ORDERLY), None)
    if command is None:
        _instead_of_ignored(signal.SIGINT, signal.SIG_DFL)
        from tmsync.cli import run

        sys.exit(run(sys.argv[1:]))
    stop = _Stop()
    sys.unraisablehook = stop.again
    _instead_of_ignored(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        from tmsync.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED
    if stop.asked:
        _leave(ORDERLY[command] if code == INTERRUPTED else code)
    sys.exit(code)


class _Stop:
    """Raises KeyboardInterrupt when a signal comes, until it reaches somebody."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked = True
        raise KeyboardInterrupt

    @staticmethod
    def again(lost: Any) -> None:
        """Python drops exceptions in some places, such as the callbacks of its own import system: raise it anew."""
        if issubclass(lost.exc_type, KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        else:
            sys.__unraisablehook__(lost)


def _instead_of_ignored(number: signal.Signals, handler: Any) -> None:
    """Handle a signal, unless whoever started us wants it ignored (nohup, a job in the background)."""
    if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, handler)


def _leave(code: int) -> NoReturn:
    """Exit with just this code.

    Python's own exit would wait for threads that wait for a server, and kills itself with SIGINT where the exception
    passed through code that was compiled at run time, as that of dataclasses is.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)


if __name__ == "__main__":
    main()
