"""A process that writes settings.json and is killed with SIGKILL right before or after one of its system calls.

python -m tests.twcmanager.surgery SETTINGS TOKEN STEP before|after exchange|rename|in-place|raced
Exits with 0 when STEP lies beyond the last call.
"""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tmsync.core.clock import SystemClock
from tmsync.core.files import replace, swap
from tmsync.core.twcmanager.settings_content import TokenFields
from tmsync.core.twcmanager.settings_file import SettingsFile

EXPIRY = 1_800_000_000
CALLS = ("open", "fsync", "ftruncate", "link", "fchmod", "fchown", "rename", "replace", "unlink", "pwrite", "close")


def save_like_twcmanager(path: Path, **changes: Any) -> None:
    """TWCManager's save: temporary file, the old one to .backup, the new one into place; no lock."""
    data = {**json.loads(path.read_text()), **changes}
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(data))
    path.rename(path.with_name(f"{path.name}.backup"))
    temporary.rename(path)


def main() -> None:
    path, token, step, moment, mode = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
    done = 0

    def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            nonlocal done
            done += 1
            if done == step and moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return call(*arguments, **named)
            finally:
                if done == step and moment == "after":
                    os.kill(os.getpid(), signal.SIGKILL)

        return run

    real = replace.exchange
    raced = mode == "raced"

    def exchange(one: Path, other: Path) -> None:
        nonlocal raced
        if mode == "rename":
            raise replace.ExchangeUnsupported
        if mode == "in-place":
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        if raced:
            raced = False
            save_like_twcmanager(other, counter=2)
        real(one, other)

    swap.exchange = guarded(exchange)  # type: ignore[assignment]
    for name in CALLS:
        setattr(os, name, guarded(getattr(os, name)))
    SettingsFile(path).write(TokenFields(token, "", EXPIRY), SystemClock())


if __name__ == "__main__":
    main()
