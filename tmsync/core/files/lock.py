"""One tmsync at a time per settings file."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tmsync.core.clock import Clock
from tmsync.core.errors import Cause, DeliveryError
from tmsync.core.fixes import problem

PATIENCE_S: Final = 10.0
PAUSE_S: Final = 0.1
BUSY: Final = frozenset({errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN})


def lock_path(settings_file: Path) -> Path:
    """Where the lock stands: beside the settings file, only while somebody holds or awaits it."""
    return settings_file.with_name(f"{settings_file.name}.lock")


@contextmanager
def exclusive(settings_file: Path, clock: Clock) -> Iterator[None]:
    """Hold the lock; wait up to ten seconds for it.

    Raises: DeliveryError (locked), OSError when the folder takes no file.
    """
    path = lock_path(settings_file)
    descriptor = _acquire(path, clock)
    try:
        yield
    finally:
        # Removed while still held: whoever waits for it finds that its file is no longer the one in the folder.
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _acquire(path: Path, clock: Clock) -> int:
    deadline = clock.monotonic() + PATIENCE_S
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in BUSY:
                raise
        else:
            if _still_there(path, descriptor):
                return descriptor
            os.close(descriptor)
            continue
        if clock.monotonic() >= deadline:
            raise DeliveryError(problem(Cause.LOCKED, f"another tmsync has held {path} for {PATIENCE_S:g} s"))
        clock.sleep(PAUSE_S)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_EXCL, 0o600)
    except FileExistsError:
        # Not made by us: it stays whose it is, since it may be another name of any file of root's.
        return os.open(path, flags, 0o600)
    if os.geteuid() == 0:
        # A lock that root left behind must not shut out the user TWCManager runs as.
        folder = path.parent.stat()
        with suppress(OSError):
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
    return descriptor


def _still_there(path: Path, descriptor: int) -> bool:
    try:
        there, held = path.lstat(), os.fstat(descriptor)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)
