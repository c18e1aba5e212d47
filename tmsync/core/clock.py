"""The clocks that are handed in from outside; nothing in core reads the time by itself."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time, running time and waiting."""

    def now(self) -> datetime:
        """The wall time, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, from an arbitrary start."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with `Z`, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
