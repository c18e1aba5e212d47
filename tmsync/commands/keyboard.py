"""Single keys from a terminal, while something else is drawn on it."""

import contextlib
import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Callable
from typing import Any, Self


class Keyboard:
    """From `with` on, every key that is pressed is handed to `on_key`, from a thread, and is not echoed.

    Ctrl-C and Ctrl-Z stay signals. Where standard input is no terminal, or belongs to another job, nothing happens.
    """

    def __init__(self, on_key: Callable[[str], None]) -> None:
        self._on_key = on_key
        self._modes: list[Any] | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        # A job in the background would be stopped by the operating system for changing the terminal.
        with contextlib.suppress(OSError, ValueError, termios.error):
            self._terminal = sys.stdin.fileno()
            if os.tcgetpgrp(self._terminal) == os.getpgrp():
                self._modes = termios.tcgetattr(self._terminal)
                self.resume()
        if self.active:
            self._ended, self._end = os.pipe()
            self._thread = threading.Thread(target=self._read, name="keyboard", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread is None:
            return
        os.close(self._end)
        self._thread.join()
        os.close(self._ended)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._modes or [])

    @property
    def active(self) -> bool:
        """Whether keys are heard."""
        return self._modes is not None

    def resume(self) -> None:
        """Take the terminal again, after the shell had it (SIGCONT)."""
        if self.active:
            with contextlib.suppress(termios.error):
                tty.setcbreak(self._terminal, termios.TCSANOW)

    def _read(self) -> None:
        while True:
            ready, _, _ = select.select([self._terminal, self._ended], [], [])
            if self._ended in ready:
                return
            try:
                pressed = os.read(self._terminal, 64)
            except OSError:
                return
            if not pressed:
                return
            for key in pressed.decode("ascii", "replace"):
                self._on_key(key)
