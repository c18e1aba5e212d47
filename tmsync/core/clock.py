"""The clocks that are handed in from outside; nothing in core reads the time by itself."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple, Protocol, Self

_running_time: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)


class Clock(Protocol):
    """Wall time, running time and waiting."""

    def now(self) -> datetime:
        """The wall time, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, from an arbitrary start, also while the machine sleeps."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The clock of this machine, made by the commands and handed to core."""

    def now(self) -> datetime:
        """The wall time, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since the machine's start. Time that it slept counts: a broker was not heard then.

        Source: clock_gettime(2): CLOCK_MONOTONIC, which Python's own reads, leaves it out on Linux.
        """
        return _running_time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with `Z`, whole seconds."""
    # Not strftime: it gives years before 1000, which anybody may publish, fewer than four digits.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


class Instant(NamedTuple):
    """One moment on both clocks, so that what was measured in running time can be told as wall time."""

    wall: datetime
    """UTC."""
    running: float
    """Seconds of running time."""

    @classmethod
    def of(cls, clock: Clock) -> Self:
        """Now."""
        return cls(clock.now(), clock.monotonic())

    def wall_at(self, running: float) -> datetime:
        """The wall time, by today's reading, of an earlier or later moment of running time."""
        return self.wall + timedelta(seconds=running - self.running)
