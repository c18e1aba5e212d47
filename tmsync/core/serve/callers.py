"""Which bearers may use the facade. What is kept of them, across restarts too, is their SHA-256 sums."""

import json
import threading
from pathlib import Path
from typing import Any, Final

from tmsync.core.errors import Problem
from tmsync.core.files.state import StateError, StateFolder
from tmsync.core.serve.ports import Standing
from tmsync.core.twcmanager.local_token import LocalBearers, is_among, sum_of

FILE: Final = "tesla-bearers.json"
CURRENT_AND_LAST: Final = 2
"""TWCManager goes on with the last one until the current one is delivered."""


class LocalCallers:
    """Those that hold a bearer of tmsync's own."""

    def __init__(self, folder: Path) -> None:
        self._bearers = LocalBearers(folder)
        self.problem: Problem | None = None
        """Why the state cannot be read."""

    def check(self, bearer: str) -> Standing:
        """Whether it is one of them."""
        try:
            known = self._bearers.known()
        except StateError as error:
            self.problem = error.problem
            return Standing.UNDECIDED
        self.problem = None
        return Standing.KNOWN if known.accepts(bearer) else Standing.UNKNOWN


class TeslaCallers:
    """Those that hold TeslaMate's current token, or the last one."""

    def __init__(self, folder: Path) -> None:
        self._folder = StateFolder(folder)
        self._lock = threading.Lock()
        self.problem: Problem | None = None
        """Why the state cannot be read or written; then a restart forgets."""
        self.knows_current = False
        """Whether TeslaMate's current token is known, so that any other is a stranger's."""
        self._sums: tuple[str, ...] = ()
        try:
            self._sums = _parsed(self._folder.read(FILE))
        except StateError as error:
            self.problem = error.problem

    def remember(self, token: str) -> None:
        """It is TeslaMate's current one."""
        found = sum_of(token)
        with self._lock:
            self.knows_current = True
            if self._sums[:1] == (found,):
                return
            self._sums = (found, *(one for one in self._sums if one != found))[:CURRENT_AND_LAST]
            try:
                self._folder.write(FILE, json.dumps({"sums": self._sums}).encode())
            except StateError as error:
                self.problem = error.problem
            else:
                self.problem = None

    def check(self, bearer: str) -> Standing:
        """Whether it is one of them."""
        if is_among(sum_of(bearer), self._sums):
            return Standing.KNOWN
        return Standing.UNKNOWN if self.knows_current else Standing.UNDECIDED


def _parsed(raw: bytes) -> tuple[str, ...]:
    try:
        data: Any = json.loads(raw)
        sums = data["sums"]
        return tuple(one for one in sums if isinstance(one, str) and len(one) == 64 and one.isascii())[
            :CURRENT_AND_LAST
        ]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ()
