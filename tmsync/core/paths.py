"""File names as people write them."""

import os
from pathlib import Path


def expanded(text: str | Path) -> Path:
    """With `~` resolved; where there is no home folder at all (a container's bare user id) it stays as it is."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises where there is no home
