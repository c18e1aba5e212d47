"""Files that exist only in a test."""

from __future__ import annotations

import errno
import posixpath
from dataclasses import dataclass, field


@dataclass
class MemoryReader:
    """A FileReader over a mapping of absolute or relative paths; every folder of a path exists."""

    files: dict[str, str] = field(default_factory=dict)

    def read_text(self, path: str) -> str:
        if path in self.files:
            return self.files[path]
        if any(name.startswith(path + "/") for name in self.files):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)

    def list_dir(self, path: str) -> list[str]:
        names = [posixpath.basename(name) for name in self.files if posixpath.dirname(name) == path]
        if not names:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return names
