"""One tmsync at a time per settings file."""

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tmsync.core.causes import Cause
from tmsync.core.clock import Clock
from tmsync.core.errors import DeliveryError
from tmsync.core.files.replace import NO_HARD_LINKS, give_to_owner_of
from tmsync.core.fixes import problem

PATIENCE_S: Final = 10.0
PAUSE_S: Final = 0.1
LEFT_AFTER_S: Final = 60.0
"""No run holds it for so long."""
ATTEMPTS: Final = 20
LOCKS: Final = Path("/proc/locks")
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


def sweep_lock(settings_file: Path) -> None:
    """Remove a lock that a killed run left, where nobody holds it."""
    path = lock_path(settings_file)
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _still_there(path, descriptor):
                path.unlink()
        finally:
            os.close(descriptor)


def patiently(take: Callable[[], int | None], clock: Clock, patience_s: float) -> int | None:
    """The descriptor of a lock that `take` gets, or None where another one has held it for so long."""
    deadline = clock.monotonic() + patience_s
    while (descriptor := take()) is None:
        if clock.monotonic() >= deadline:
            return None
        clock.sleep(PAUSE_S)
    return descriptor


def _acquire(path: Path, clock: Clock) -> int:
    descriptor = patiently(lambda: _take(path, clock), clock, PATIENCE_S)
    if descriptor is None:
        raise DeliveryError(problem(Cause.LOCKED, f"another tmsync has held {path} for {PATIENCE_S:g} s"))
    return descriptor


def _take(path: Path, clock: Clock) -> int | None:
    """The lock; None while another one holds it."""
    while True:
        descriptor = _open(path, clock)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in BUSY:
                raise
            return None
        if _still_there(path, descriptor):
            return descriptor
        os.close(descriptor)


def _open(path: Path, clock: Clock) -> int:
    """One that is there stays whose it is: it may be another name of any file of root's."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    for _ in range(ATTEMPTS):
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            _make(path)
        except PermissionError:
            if not _is_left_behind(path, clock):
                raise
            path.unlink(missing_ok=True)
    return os.open(path, flags | os.O_CREAT, 0o600)


def _make(path: Path) -> None:
    """Let it appear with its owner: one that root left behind must not shut out the user TWCManager runs as."""
    draft = path.with_name(f".{path.stem}.tmsync-lock-{os.urandom(6).hex()}")
    _create(draft)
    try:
        # Both fail where another run was faster.
        with suppress(FileExistsError, FileNotFoundError):
            try:
                os.link(draft, path)
            except OSError as error:
                if error.errno not in NO_HARD_LINKS:
                    raise
                _create(path)
    finally:
        draft.unlink(missing_ok=True)


def _create(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        give_to_owner_of(path.parent, descriptor)
    finally:
        os.close(descriptor)


def _is_left_behind(path: Path, clock: Clock) -> bool:
    """Whether a lock of another user's is held by nobody. Every run removes its own when it ends.

    Whoever has opened it and does not hold it yet finds out that it is no longer the one in the folder.
    Source: proc_locks(5).
    """
    try:
        found = path.lstat()
        held = {line.split()[-3].rpartition(":")[2] for line in LOCKS.read_text().splitlines()}
    except (OSError, IndexError):
        return False
    old = clock.now().timestamp() - found.st_ctime > LEFT_AFTER_S
    return old and stat.S_ISREG(found.st_mode) and str(found.st_ino) not in held


def _still_there(path: Path, descriptor: int) -> bool:
    try:
        there, held = path.lstat(), os.fstat(descriptor)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)
