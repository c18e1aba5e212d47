"""Reading pg_hba.conf and what it includes, behind an interface that tests can replace."""

from __future__ import annotations

import errno
import os
import stat
from typing import Protocol

MAX_BYTES = 16 << 20
"""Of one file, and of all that a file includes together: some 400,000 rules."""


class FileReader(Protocol):
    """Where file contents come from. Both calls raise OSError the way the file system would."""

    def read_text(self, path: str) -> str:
        """Whole file with its line ends untouched; bytes that are no UTF-8 become surrogate escapes."""

    def list_dir(self, path: str) -> list[str]:
        """Names of the entries in folder `path` that are not folders themselves, in any order."""


class DiskReader:
    """The real file system."""

    def read_text(self, path: str) -> str:
        """See FileReader."""
        # Without waiting: a FIFO would have nobody at its other end, and a device no end at all.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file", path)
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise OSError(errno.EFBIG, "it is larger than 16 MiB", path)
        return data.decode("utf-8", "surrogateescape")

    def list_dir(self, path: str) -> list[str]:
        """See FileReader."""
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if not entry.is_dir()]
