"""The problems that the facade has met and that still hold; told once each, when they come and when they go."""

from typing import NamedTuple

from tmsync.core.causes import Cause
from tmsync.core.clock import Clock
from tmsync.core.errors import Problem
from tmsync.core.serve.ports import Events, RaisedProblem


class _Open(NamedTuple):
    raised: RaisedProblem
    until: float | None
    """Seconds of running time; None where something must show that it is over."""


class OpenProblems:
    """By cause."""

    def __init__(self, events: Events, clock: Clock) -> None:
        self._events = events
        self._clock = clock
        self._open: dict[Cause, _Open] = {}

    def raised(self, problem: Problem, *, critical: bool = False, for_s: float | None = None) -> None:
        """It holds, until it is cleared or was not raised again for so many seconds."""
        until = None if for_s is None else self._clock.monotonic() + for_s
        raised = RaisedProblem(problem, critical)
        before = self._open.get(problem.cause)
        self._open[problem.cause] = _Open(raised, until)
        if before is None:
            self._events.raised(self._clock.now(), raised)

    def cleared(self, *causes: Cause) -> None:
        """They hold no more."""
        for cause in causes:
            if self._open.pop(cause, None) is not None:
                self._events.cleared(self._clock.now(), cause)

    def current(self) -> tuple[RaisedProblem, ...]:
        """Those that hold."""
        self.forget_old()
        return tuple(found.raised for found in self._open.values())

    def forget(self) -> None:
        """None of them is anybody's any more."""
        self.cleared(*self._open)

    def forget_old(self) -> None:
        """Clear those that were not raised again in their time."""
        now = self._clock.monotonic()
        self.cleared(*[cause for cause, found in self._open.items() if found.until is not None and found.until <= now])
