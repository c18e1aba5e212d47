"""What is wrong at the moment, and what has been counted since the start; told by several threads, and shown by one."""

import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.clock import Clock, iso
from tmsync.core.errors import Problem
from tmsync.core.serve.ports import OTHER, RaisedProblem, Request
from tmsync.core.status.report import Part, RatedProblem, Severity

NUMBERS: Final = re.compile(r"\d+")


class Event(NamedTuple):
    """Something that happened. kind: what JSON calls the event. fields: all of it, without `event`."""

    at: datetime
    kind: str
    message: str
    fields: dict[str, Any]


class ServiceChange:
    """The service is ready, has read its settings again, or ends; or all that it published was taken back."""

    @staticmethod
    def as_json(at: datetime, state: str, message: str) -> dict[str, Any]:
        """The serve event's fields, without `event`.

        Fields:
            at (time): when
            state (text): ready, reloaded, kept (a reload failed, and the former settings stay), stopping, unpublished
            message (text): in words
        """
        return {"at": iso(at), "state": state, "message": message}


class ProblemChange(NamedTuple):
    """A problem came up, or is no more."""

    at: datetime
    raised: bool
    rated: RatedProblem

    def as_json(self) -> dict[str, Any]:
        """The problem event's fields, without `event`.

        Fields:
            at (time): when that was noticed
            state (text): raised or cleared
            severity (Severity): how bad it is
            part (Part): the part of the link that it is about
            car_ids (list of integer): the vehicles that share it
            cause (Cause): what is wrong
            message (text): the same in words
            hint (text): the first step that fixes it
            fix (list of text): all steps, each command standing by itself
        """
        return {"at": iso(self.at), "state": "raised" if self.raised else "cleared", **self.rated.as_json()}

    @property
    def event(self) -> Event:
        """As an event."""
        found = self.rated.problem
        first = " ".join(found.fix[0].as_lines()) if found.fix else ""
        words = (
            f"{self.rated.severity} {found.cause}: {found.message}. {first}".strip()
            if self.raised
            else f"solved: {found.message}"
        )
        return Event(self.at, "problem", words, self.as_json())


class Board:
    """The problems that hold, by who tells them; each is told once, and again when it changes.

    tell: called for every change, from whatever thread brings it.
    """

    def __init__(self, clock: Clock, tell: Callable[[Event], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._lock = threading.Lock()
        self._held: dict[str, RatedProblem] = {}

    def put(self, key: str, found: RatedProblem | None) -> None:
        """What `key` is about is wrong in this way, or not at all. One that differs in numbers only is no news."""
        now = self._clock.now()
        with self._lock:
            before = self._held.get(key)
            if found is None:
                self._held.pop(key, None)
            else:
                self._held[key] = found
        if _meaning(before) == _meaning(found):
            return
        if before is not None and (found is None or found.problem.cause is not before.problem.cause):
            self._tell(ProblemChange(now, raised=False, rated=before).event)
        if found is not None:
            self._tell(ProblemChange(now, raised=True, rated=found).event)

    def put_all(self, key: str, found: Iterable[RatedProblem]) -> None:
        """Likewise for what may be wrong in several ways at once."""
        wanted = {f"{key} {number}": one for number, one in enumerate(found)}
        with self._lock:
            gone = [name for name in self._held if name.startswith(f"{key} ") and name not in wanted]
        for name in (*gone, *wanted):
            self.put(name, wanted.get(name))

    def problems(self) -> tuple[RatedProblem, ...]:
        """All of them, worst first."""
        with self._lock:
            return tuple(sorted(self._held.values(), key=lambda one: list(Severity).index(one.severity)))


class FacadeEvents:
    """What the facade tells, on the board and in the log."""

    def __init__(self, board: Board, tell: Callable[[Event], None]) -> None:
        self._board = board
        self._tell = tell

    def raised(self, at: datetime, raised: RaisedProblem) -> None:
        """A problem that did not hold before."""
        del at
        self._board.put(f"facade {raised.problem.cause}", rated(raised.problem, critical=raised.critical))

    def cleared(self, at: datetime, cause: Cause) -> None:
        """It holds no more."""
        del at
        self._board.put(f"facade {cause}", None)

    def answered(self, request: Request) -> None:
        """One request was answered. What strangers ask, and what is not served, is counted and not logged."""
        if request.source != "tmsync" or request.path != OTHER:
            words = f"{request.path}: {request.status} from {request.source}, {request.reason}"
            self._tell(Event(request.at, "request", words, request.as_json()))


def rated(found: Problem, *, critical: bool, part: Part = Part.FACADE) -> RatedProblem:
    """A problem of the service."""
    return RatedProblem(Severity.CRITICAL if critical else Severity.WARNING, part, found)


class Counters:
    """What only grows."""

    def __init__(self) -> None:
        self.source_changes: Counter[tuple[int, str]] = Counter()
        """(car id, the new source) -> how often."""
        self.deliveries: Counter[str] = Counter()
        """Result of sync-tokens -> how often."""
        self.broker_reconnects = 0
        self.untrusted_s: defaultdict[int, float] = defaultdict(float)
        """Car id -> for how many seconds TeslaMate was not to be trusted."""


def _meaning(one: RatedProblem | None) -> object:
    return one and (one.severity, one.problem.cause, NUMBERS.sub("", one.problem.message), one.car_ids)
