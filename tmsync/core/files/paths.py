"""File names as people write them, and files of others read without being held up by them."""

import errno
import os
import stat
from pathlib import Path
from typing import Final


def expanded(text: str | Path) -> Path:
    """With `~` resolved; where there is no home folder at all (a container's bare user id) it stays as it is."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises where there is no home


# Path's own exists(), is_file() and is_dir() raise in a folder that this user may not look into, up to Python 3.13.


def is_there(path: Path) -> bool:
    """Whether there is something at `path` that this user can see."""
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: Path) -> bool:
    """Whether there is a file at `path` that this user can see."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """Whether there is a folder at `path` that this user can see."""
    return os.path.isdir(path)  # noqa: PTH112


def is_hidden(path: Path) -> bool:
    """Whether this user may not know what is at `path`."""
    try:
        path.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


OWN_DESCRIPTORS: Final = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
"""What a shell calls `<(command)` and a redirected standard input: pipes of the user's own."""
NOTHING: Final = Path(os.devnull)
"""A way to say: no file at all."""


def read_regular(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
    """The first `limit` + 1 bytes of a regular file, and what kind of file it is.

    A FIFO or a device in its place neither blocks nor fills the memory.
    Raises: OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        status = os.fstat(descriptor)
        if stat.S_ISFIFO(status.st_mode) and str(path).startswith(OWN_DESCRIPTORS):
            os.set_blocking(descriptor, True)
        elif stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        elif not stat.S_ISREG(status.st_mode) and path != NOTHING:
            raise OSError(errno.EINVAL, "not a regular file")
        return file.read(limit + 1), status
