"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable


def until(is_so: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for something to come true; it fails where that takes longer."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.01)
