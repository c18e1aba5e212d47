"""Is another program writing a file at this moment? A lease tells, and holds off the ones to come.

The released TWCManager 1.3.2 does not replace settings.json, it opens and truncates it. Such a writer may hold the file
open while it is renamed, and would then go on writing into a file that has lost its name. On Linux a read lease is
granted only while nobody has the file open for writing, and whoever then wants to waits until it is given back; that
somebody waits can be seen. The kernel frees it with the process, and breaks it by itself after 45 s.

Source: fcntl(2), F_SETLEASE; TWCManager 1.3.2 TWCMaster.py (saveSettings).
"""

import errno
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

BUSY: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK})


class Lease:
    """What is known of other writers while it lasts."""

    def __init__(self, descriptor: int, *, granted: bool, busy: bool) -> None:
        self._descriptor = descriptor
        self.granted = granted
        """False where the system, the file system or the file's owner does not allow leases."""
        self.busy = busy
        """Another program has the file open for writing."""

    @property
    def wanted(self) -> bool:
        """Whether another program waits to write."""
        return self.granted and fcntl.fcntl(self._descriptor, fcntl.F_GETLEASE) != fcntl.F_RDLCK

    def content(self) -> bytes:
        """What is in the file, whatever its name is by now."""
        size = os.fstat(self._descriptor).st_size
        return os.pread(self._descriptor, size + 1, 0)


@contextmanager
def lease(path: Path) -> Iterator[Lease]:
    """Hold a read lease on `path`, where that can be had. Within, this process must not open it for writing.

    Raises: OSError when the file cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        taken = _take(descriptor)
        try:
            yield taken
        finally:
            if taken.granted:
                with suppress(OSError):
                    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> Lease:
    if not hasattr(fcntl, "F_SETLEASE"):
        return Lease(descriptor, granted=False, busy=False)
    try:
        # Whoever wants the file makes the kernel send a signal; this one is ignored unless somebody asks for it.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return Lease(descriptor, granted=False, busy=error.errno in BUSY)
    return Lease(descriptor, granted=True, busy=False)
