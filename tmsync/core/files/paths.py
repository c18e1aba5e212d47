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


def is_readable_by_all(path: Path) -> bool:
    """Whether every user of this machine can read the file: by its own mode, and by those of the folders above it."""
    try:
        return is_open_to_all(path) and bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def is_open_to_all(path: Path) -> bool:
    """Whether the folders above it let every user of this machine through."""
    try:
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)
    except OSError:
        return False


LINKS: Final = 40
"""As many as Linux follows."""


def follow(path: Path) -> tuple[Path, str | None]:
    """Where `path` leads by symbolic links that can be trusted, and in words why one of them is not followed.

    In a folder of somebody else's a link may have been planted for a user who may do more, root above all. Trusted is
    one of root's, of this user's, or of whoever owns the file it leads to.
    """
    current, ahead = Path("/"), list(reversed(Path(os.path.abspath(path)).parts[1:]))  # noqa: PTH100
    followed = 0
    while ahead:
        part = ahead.pop()
        if part == "..":
            current = current.parent
            continue
        here = current / part
        rest = here.joinpath(*reversed(ahead))
        try:
            found = here.lstat()
            if not stat.S_ISLNK(found.st_mode):
                current = here
                continue
            target = here.readlink()
        except OSError:
            return rest, None
        followed += 1
        if followed > LINKS:
            return rest, "its symbolic links form a loop"
        if found.st_uid not in {0, os.geteuid(), _owner(here)}:
            return rest, f"{here} is a symbolic link of another user's to a file that is not theirs"
        if target.is_absolute():
            current = Path("/")
        ahead += reversed(target.parts[target.is_absolute() :])
    return current, None


def _owner(path: Path) -> int | None:
    """Who owns what `path` leads to."""
    try:
        return path.stat().st_uid
    except OSError:
        return None


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
