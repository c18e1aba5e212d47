"""tmsync with a wall clock that somebody sets: `python -m tests.faults.jumping COMMAND ...`.

The file that SECONDS_AHEAD_FILE names holds how many seconds the clock is ahead. The running time is not touched: the
operating system does not touch it either when the time is set.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tmsync.__main__ import main
from tmsync.core.clock import SystemClock


def _now(_: SystemClock) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=float(Path(os.environ["SECONDS_AHEAD_FILE"]).read_text()))


SystemClock.now = _now  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
