"""The real clock, handed to core by the commands."""

import time
from datetime import UTC, datetime


class SystemClock:
    """Wall time and running time of this machine."""

    def now(self) -> datetime:
        """UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds from an arbitrary start."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
