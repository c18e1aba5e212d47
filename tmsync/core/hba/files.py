"""Reading pg_hba.conf and what it includes, behind an interface that tests can replace."""

from __future__ import annotations

import os
from typing import Protocol


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
        # not pathlib, which takes longer to load than the file to match
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:  # noqa: PTH123
            return file.read()

    def list_dir(self, path: str) -> list[str]:
        """See FileReader."""
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if not entry.is_dir()]
