"""How Ctrl-C and SIGTERM end a run.

Most commands die of the signal at once and without a word, also while they wait inside libpq or the name service, where
Python could not react; what they write is whole at every moment. Those that have something to put in order first get a
KeyboardInterrupt, and end with an exit code of their own. Until the command is known, a signal is only noted. SIGHUP
ends a run at once, too, unless it is one that reads its settings again for it.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, NoReturn

INTERRUPTED: Final = 130
"""What a shell reports for a program that Ctrl-C ended."""
LOOK_S: Final = 0.2
"""How often it is looked whether somebody still reads what an ending run writes."""
FLUSH_S: Final = 0.4
"""How long the last of it may take."""
_OUTPUTS: Final = (1, 2)


class _Ending:
    """number: the signal that came. code: the exit code of an orderly end; None as long as there is to be none.

    hung_up: whether SIGHUP came.
    """

    managed: tuple[signal.Signals, ...] = ()
    number: int | None = None
    code: int | None = None
    hung_up: bool = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.hung_up = True
            return
        first = self.number is None
        self.number = number
        if self.code is None:
            return
        if first:
            threading.Thread(target=_unblock, args=(number,), name="ending", daemon=True).start()
        raise KeyboardInterrupt


_ENDING: Final = _Ending()


def begin() -> None:
    """Note signals from now on, but for those that whoever started us wants ignored (nohup, a background job)."""
    noted = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    _ENDING.managed = tuple(number for number in noted if signal.getsignal(number) is not signal.SIG_IGN)
    for number in _ENDING.managed:
        signal.signal(number, _ENDING)


def die_at_once() -> None:
    """From now on let a signal end the run by itself; one that has come already does so now."""
    _hang_up()
    for number in _ENDING.managed:
        signal.signal(number, signal.SIG_DFL)
    if _ENDING.number is not None:
        signal.raise_signal(_ENDING.number)


def end_in_order(code: int, *, reloads: bool = False) -> None:
    """From now on raise KeyboardInterrupt instead. code: the exit code of such an end. reloads: SIGHUP is no end."""
    if not reloads:
        _hang_up()
    if not _ENDING.managed:
        return
    _ENDING.code = code
    sys.unraisablehook = _again
    if _ENDING.number is not None:
        signal.raise_signal(_ENDING.number)


def on_hangup(react: Callable[[], None]) -> None:
    """From now on call `react` for SIGHUP; for one that has come already, do so now."""
    signal.signal(signal.SIGHUP, lambda *_: react())
    if _ENDING.hung_up:
        react()


def _hang_up() -> None:
    """From now on let SIGHUP end the run; one that has come already does so now."""
    if signal.SIGHUP in _ENDING.managed:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if _ENDING.hung_up:
        signal.raise_signal(signal.SIGHUP)


def raise_if_asked() -> None:
    """Raise KeyboardInterrupt once more, should it have got lost in somebody's code."""
    if _ENDING.number is not None:
        raise KeyboardInterrupt


def end(code: int) -> NoReturn:
    """Exit with `code`, or as the signal that came wants it."""
    if _ENDING.number is None:
        sys.exit(code)
    if _ENDING.code is None:
        die_at_once()
    _leave(_ENDING.code if _ENDING.code is not None and code == INTERRUPTED else code)


def _again(lost: Any) -> None:
    """Python drops exceptions in some places, such as the callbacks of its own import system: raise it anew."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    else:
        sys.__unraisablehook__(lost)


def _unblock(number: int) -> None:
    """Let an output that nobody reads lead nowhere, and wake up who waits for it: a full pipe holds no end up."""
    while True:
        time.sleep(LOOK_S)
        poller = select.poll()
        for output in _OUTPUTS:
            poller.register(output, select.POLLOUT)
        ready = {output for output, _ in poller.poll(0)}
        for output in set(_OUTPUTS) - ready:
            os.dup2(os.open(os.devnull, os.O_WRONLY), output)
        if len(ready) < len(_OUTPUTS):
            signal.pthread_kill(threading.main_thread().ident or 0, number)


def _leave(code: int) -> NoReturn:
    """Exit with just this code.

    Python's own exit would wait for threads that wait for a server, and kills itself with SIGINT where the exception
    passed through code that was compiled at run time, as that of dataclasses is.
    """
    for number in _ENDING.managed:
        signal.signal(number, signal.SIG_IGN)
    limit = threading.Timer(FLUSH_S, os._exit, (code,))
    limit.daemon = True
    limit.start()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, RuntimeError):
            continue
    os._exit(code)
