"""Runs a command for every change of source, one after the other, without holding up anything."""

import json
import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tmsync.core.causes import Cause
from tmsync.core.errors import Problem
from tmsync.core.fixes import problem
from tmsync.core.process import run_command

TIMEOUT_S: Final = 30.0
AT_END_S: Final = 5.0
"""How long the last commands may take when tmsync ends."""
MOST_WAITING: Final = 1000


class Hook:
    """`run` hands over an event; the command gets it as one line of JSON on its standard input.

    tell: told of a command that failed, from the thread that runs it.
    """

    def __init__(self, command: Sequence[str], tell: Callable[[Problem], None]) -> None:
        self._command = list(command)
        self._tell = tell
        self._queue: queue.Queue[bytes | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="exec", daemon=True)
        self._thread.start()

    def run(self, event: Mapping[str, Any]) -> None:
        """Run the command for `event`, later and elsewhere."""
        try:
            self._queue.put_nowait(json.dumps(event).encode() + b"\n")
        except queue.Full:
            self._tell(self._failed("it is so slow that an event was left out"))

    def close(self) -> None:
        """Let what is under way end."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(AT_END_S)

    def _run(self) -> None:
        while (event := self._queue.get()) is not None:
            words = self._once(event)
            if words:
                self._tell(self._failed(words))

    def _once(self, event: bytes) -> str:
        """Run it once; what went wrong, in words."""
        return run_command(self._command, environ=os.environ, timeout_s=TIMEOUT_S, given=event)

    def _failed(self, words: str) -> Problem:
        return problem(Cause.COMMAND_FAILED, f"--exec {self._command[0]}: {words}")
