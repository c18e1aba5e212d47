"""File names as people write them."""

import os
from pathlib import Path


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
