"""Is another program writing a file at this moment? A lease tells, and holds off the ones to come.

The released TWCManager 1.3.2 does not replace settings.json, it opens and truncates it. Such a writer may hold the file
open while it is renamed, and would then go on writing into a file that has lost its name. On Linux a read lease is
granted only while nobody has the file open for writing, a write lease only while nobody else has it open at all.
Whoever then opens it against the lease waits until it is given back; that somebody waits can be seen. The kernel frees
a lease with its process, and breaks it by itself after 45 s.

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
    """What is known of other programs while it lasts."""

    def __init__(self, descriptor: int, kind: int, *, granted: bool, busy: bool) -> None:
        self._descriptor = descriptor
        self._kind = kind
        self.granted = granted
        """False where the system, the file system or the file's owner does not allow leases."""
        self.busy = busy
        """Another program has the file open, against this kind of lease. Some network file systems always say so."""

    @property
    def wanted(self) -> bool:
        """Whether another program waits to open the file."""
        return self.granted and fcntl.fcntl(self._descriptor, fcntl.F_GETLEASE) != self._kind

    @property
    def status(self) -> os.stat_result:
        """Of the file itself, whatever its name is by now."""
        return os.fstat(self._descriptor)

    def content(self) -> bytes:
        """What is in the file, whatever its name is by now."""
        return os.pread(self._descriptor, self.status.st_size + 1, 0)

    def overwrite(self, data: bytes) -> None:
        """Put `data` over the beginning of the file, durably. For a write lease.

        Raises: OSError; what is in the file then is anybody's guess.
        """
        written = 0
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], written)
        os.fsync(self._descriptor)

    def put(self, new: bytes, old: bytes) -> bytes:
        """Write `new` over `old`, which the file holds; `old` again where that fails. What then stands there.

        It is padded with blanks to the old length, so that no moment has a mixture of lengths. A power cut in the
        middle can still leave a mixture of contents. For a write lease.
        Raises: OSError.
        """
        padded = new.ljust(len(old), b" ")
        try:
            self.overwrite(padded)
        except OSError:
            with suppress(OSError):
                self.overwrite(old)
                self.cut(len(old))
            raise
        return padded

    def cut(self, size: int) -> None:
        """End the file after `size` bytes. For a write lease."""
        os.ftruncate(self._descriptor, size)
        os.fsync(self._descriptor)


@contextmanager
def lease(path: Path, *, to_write: bool = False) -> Iterator[Lease]:
    """Hold a lease on `path`, where that can be had.

    Within a read lease this process must not open it for writing, within a write lease it must not open it again.
    Raises: OSError when the file cannot be opened.
    """
    mode, kind = (os.O_RDWR, fcntl.F_WRLCK) if to_write else (os.O_RDONLY, fcntl.F_RDLCK)
    descriptor = os.open(path, mode | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        taken = _take(descriptor, kind)
        try:
            yield taken
        finally:
            if taken.granted:
                with suppress(OSError):
                    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    finally:
        os.close(descriptor)


def _take(descriptor: int, kind: int) -> Lease:
    if not hasattr(fcntl, "F_SETLEASE"):
        return Lease(descriptor, kind, granted=False, busy=False)
    try:
        # Whoever wants the file makes the kernel send a signal; this one is ignored unless somebody asks for it.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, kind)
    except OSError as error:
        return Lease(descriptor, kind, granted=False, busy=error.errno in BUSY)
    return Lease(descriptor, kind, granted=True, busy=False)
